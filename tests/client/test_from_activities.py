"""What an activity may do with the client of the runtime that runs it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

import trioflow
from tests.runtime.programs import running
from trioflow import activity, durable, testing
from trioflow.abc import Store


@attrs.define(eq=False)
class Office:
    """An app whose activities use their client, and what they found."""

    app: trioflow.App = attrs.field(factory=lambda: trioflow.App("office"))
    found: dict[str, Any] = attrs.field(factory=dict)


def make_office() -> Office:
    """Activities that start, tell, list, read and prune."""
    office = Office()
    app = office.app

    @app.activity
    async def ask_a_colleague(name: str) -> str:
        """Starts another instance, tells it something, waits for its answer in its kv."""
        client = activity.client()
        handle = await client.start("colleague", id=name, if_exists="attach")
        await handle.raise_event("question", "how?", dedupe_key=activity.info().idempotency_key)
        return await handle.wait_kv("answer", type=str)

    @app.activity
    async def look_around() -> list[str]:
        """Lists, and looks at what waits for it."""
        client = activity.client()
        office.found["metrics"] = (await client.metrics()).count()
        own = client.handle(activity.info().instance)
        office.found["status"] = await own.status()
        return [info.id async for info in client.list()]

    @app.activity
    def look_from_a_thread() -> dict[str, Any]:
        """A plain function, which runs in a thread."""
        client = activity.client()
        return trio.from_thread.run(client.kv, activity.info().instance)

    @app.activity
    async def forget_the_past(keep: int) -> int:
        """Prunes the instance that asks for it."""
        client = activity.client()
        return await client.prune(activity.info().instance, keep=keep)

    @app.orchestration
    async def colleague() -> None:
        question = await durable.wait_event("question", str)
        durable.kv["answer"] = question.replace("?", "!")

    @app.orchestration
    async def clerk() -> list[Any]:
        durable.set_status("busy")
        durable.kv["note"] = 1
        answer = await ask_a_colleague("ann")
        return [answer, await look_around(), await look_from_a_thread()]

    @app.orchestration
    async def watchman(round: int) -> int:
        """Eternal, if one lets it; keeps two rounds of its past."""
        await forget_the_past(2)
        if round < 20:
            durable.continue_as_new(round + 1)
        return round

    return office


async def test_an_activity_starts_tells_lists_and_reads(store: Store) -> None:
    """The client of an activity is a whole one, also in a thread."""
    office = make_office()
    async with running(office.app, store) as client:
        handle = await client.start("clerk", id="c")
        assert await handle.result(timeout=20) == ["how!", ["ann", "c"], {"note": 1}]
        assert office.found == {"metrics": 2, "status": "busy"}


async def test_an_eternal_orchestration_prunes_its_own_history(store: Store) -> None:
    """It asks an activity to, each time; however long it lives, no more than that is kept."""
    office = make_office()
    async with running(office.app, store) as client:
        handle = await client.start("watchman", 1, id="w")
        assert await handle.result(timeout=20) == 20
        assert [one.execution for one in await handle.executions()] == [19, 20]


async def test_there_is_no_client_without_a_runtime() -> None:
    """`run_durable` has no store to ask; the error says so."""
    office = make_office()
    definition = office.app.find_orchestration("watchman", None)
    with pytest.raises(trioflow.ActivityFailed, match="without a runtime"):
        await testing.run_durable(definition, 1)
