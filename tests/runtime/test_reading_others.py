"""Reading other instances, end to end: by any worker, whatever its tags, and the same for ever."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import running
from trioflow import State, durable
from trioflow.abc import Store
from trioflow.errors import ConfigurationError
from trioflow.testing import run_durable


def library() -> trioflow.App:
    """One instance that says something of itself, and one that reads it."""
    app = trioflow.App("library")

    @app.orchestration
    async def counter(start: int) -> None:
        durable.kv["n"] = start
        durable.set_status({"at": start})
        async for step in durable.events("add", int):
            if not step:
                return
            durable.kv["n"] = durable.kv["n"] + step
            durable.set_status({"at": durable.kv["n"]})

    @app.orchestration
    async def reader(of: str) -> list[Any]:
        found = [await durable.read_kv(of, "n", int, -1), await durable.read_status(of, dict[str, int])]
        await durable.wait_event("again")
        return [*found, await durable.read_kv(of, "n", int, -1), await durable.read_kv(of, "m", int, -1)]

    return app


def find(app: trioflow.App, name: str) -> Any:
    """An orchestration by name."""
    return app.find_orchestration(name)


async def test_the_last_commit_is_read_and_recorded(store: Store) -> None:
    """The first answers stay what they were, although the value has changed and the reader is replayed."""
    app = library()
    async with running(app, store, cache_executions=0) as client:
        other = await client.start("counter", 5, id="other")
        with trio.fail_after(60):
            while not await other.kv():
                await trio.sleep(0.01)
            handle = await client.start("reader", "other")
            while len(await handle.history()) < 5:
                await trio.sleep(0.01)
        await other.raise_event("add", 3)
        await other.raise_event("add", 0)
        await other.result(timeout=20)
        await handle.raise_event("again")
        assert await handle.result(timeout=20) == [5, {"at": 5}, 8, -1]
        assert (await other.info()).state is State.COMPLETED


async def test_an_unknown_instance_gives_the_default(store: Store) -> None:
    """And does not wait for it to be started."""
    async with running(library(), store) as client:
        handle = await client.start("reader", "nobody")
        await handle.raise_event("again")
        assert await handle.result(timeout=20) == [-1, None, -1, -1]


@pytest.mark.parametrize("born_leased", [True, False])
@pytest.mark.parametrize("options", [{"tags": ("gpu",)}, {"tags": ()}, {"tags": None}])
async def test_duroxide_leaves_its_system_activities_to_untagged_workers(
    options: dict[str, Any], born_leased: bool, store: Store
) -> None:
    """Here a fleet that takes no untagged work reads all the same, at once or out of the queue."""
    async with running(library(), store, untagged=False, born_leased=born_leased, **options) as client:
        handle = await client.start("reader", "nobody")
        await handle.raise_event("again")
        assert await handle.result(timeout=20) == [-1, None, -1, -1]


async def test_a_worker_that_knows_no_such_orchestration_reads_for_others(store: Store) -> None:
    """What reads belongs to no app: the turns are run here, and the reading there, where there is room."""
    app, busy, free = library(), trio.Event(), trio.Event()

    @app.activity
    async def hang() -> None:
        busy.set()
        await free.wait()

    @app.orchestration
    async def hanging() -> None:
        await hang()

    async with running(trioflow.App("stranger"), store, tags=("other",), untagged=False):
        async with running(app, store, activity_concurrency=1) as client:
            await client.start(hanging)
            await busy.wait()
            handle = await client.start("reader", "nobody")
            await handle.raise_event("again")
            assert await handle.result(timeout=20) == [-1, None, -1, -1]
            free.set()


async def test_run_durable_reads_as_well() -> None:
    """A child of the same little world, while it runs and after its end; a key that was removed is gone."""
    app = library()

    @app.orchestration
    async def child() -> None:
        durable.kv["n"], durable.kv["m"] = 1, 2
        durable.set_status("begun")
        await durable.sleep(10)
        del durable.kv["m"]

    @app.orchestration
    async def main() -> list[Any]:
        found: list[Any] = []
        async with durable.open_nursery() as nursery:
            nursery.start_soon(child.options(id="it"))
            await durable.sleep(5)
            found += [await durable.read_kv("it", "m"), await durable.read_status("it")]
        found += [await durable.read_kv("it", "n"), await durable.read_kv("it", "m")]
        return [*found, await durable.read_kv("x", "y")]

    assert await run_durable(main) == [2, "begun", 1, None, None]
    assert await run_durable(find(app, "child")) is None


@pytest.mark.parametrize("noun", ["activity", "orchestration"])
def test_no_app_can_take_a_name_of_our_own(noun: str) -> None:
    """Else two things would have one name."""

    async def fn() -> None: ...

    with pytest.raises(ConfigurationError, match="trioflow's own"):
        getattr(trioflow.App("a"), noun)(name="trioflow:read_kv")(fn)
