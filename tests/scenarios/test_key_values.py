"""Status and key values: read by clients, carried, limited, and the same on every replay."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import running
from trioflow import State, durable
from trioflow.abc import Store


async def test_a_server_answers_through_its_values(store: Store) -> None:
    """duroxide: sample_kv_request_response, persistent_and_positional_are_independent."""
    app = trioflow.App("server")

    @app.activity
    async def square(number: int) -> int:
        return number * number

    @app.orchestration
    async def serve(served: int) -> int:
        request = await durable.wait_event("request")
        if request is not None:
            durable.kv[request["id"]] = await square(request["number"])
            durable.continue_as_new(served + 1)
        return served

    async with running(app, store) as client:
        handle = await client.start(serve, 0)
        for number in range(4):
            await handle.raise_event("request", {"id": f"r{number}", "number": number})
        while len(await handle.kv()) < 4:
            await trio.lowlevel.checkpoint()
        assert await handle.kv() == {f"r{number}": number * number for number in range(4)}
        await handle.raise_event("request")
        assert await handle.result(timeout=20) == 4
        assert len(await client.kv(handle.id)) == 4  # they outlive the end


@pytest.mark.parametrize("cached", [0, 100])
async def test_a_counter_is_read_modified_and_written_over_turns(store: Store, cached: int) -> None:
    """duroxide: sample_kv_read_modify_write_counter, kv_read_modify_write_every_turn_snapshot_poisons_replay.

    A turn reads what the execution before it, and this one so far, has written, also when it is replayed.
    """
    app = trioflow.App("counter")

    @app.activity
    async def step() -> int:
        return 1

    @app.orchestration
    async def main(again: bool) -> int:
        for _ in range(5):
            durable.kv["n"] = durable.kv.get("n", 0) + await step()
        if again:
            durable.continue_as_new(False)
        del durable.kv["n"]
        assert "n" not in durable.kv
        durable.kv["n"] = 100
        await step()
        return int(durable.kv["n"])

    async with running(app, store, cache_executions=cached, fuse=bool(cached)) as client:
        handle = await client.start(main, True)
        while (await handle.info()).execution == 1:
            await trio.lowlevel.checkpoint()
        assert await handle.result(timeout=20) == 100
        assert await handle.kv() == {"n": 100}


async def test_another_instance_is_read_by_an_activity(store: Store) -> None:
    """duroxide: sample_kv_cross_orchestration_read. An activity asks its client; the answer is a recorded step."""
    app = trioflow.App("readers")

    @app.activity
    async def look(id: str) -> dict[str, Any]:
        values: dict[str, Any] = await trioflow.activity.client().kv(id)
        return values

    @app.orchestration
    async def writer() -> None:
        durable.kv["answer"] = 42
        durable.set_status("written")
        await durable.sleep_forever()

    @app.orchestration
    async def reader() -> dict[str, Any]:
        return await look("writer")

    async with running(app, store) as client:
        async for status in (await client.start(writer, id="writer")).watch():
            if status == "written":
                break
        assert await (await client.start(reader)).result(timeout=20) == {"answer": 42}


@pytest.mark.parametrize(
    ("limit", "allowed", "refused"),
    [("status_size", 262_142, 262_143), ("kv_value_size", 65_534, 65_535), ("kv_keys", 1000, 1001)],
)
async def test_a_limit_is_an_error_where_it_is_broken(store: Store, limit: str, allowed: int, refused: int) -> None:
    """duroxide: limits are looked at after the turn, only for the last write, and fail the whole instance.

    Here the very call raises, it may be caught, the value before it stands, and the instance goes on.
    """
    app = trioflow.App("limits")

    def write(size: int) -> None:
        match limit:
            case "status_size":
                durable.set_status("x" * size)
            case "kv_value_size":
                durable.kv["k"] = "x" * size
            case _:
                for number in range(size):
                    durable.kv[str(number)] = 0

    @app.orchestration
    async def main() -> str:
        write(allowed)
        try:
            write(refused)
        except trioflow.LimitExceeded as exc:
            await durable.sleep(0)
            return exc.limit
        return "written"

    async with running(app, store) as client:
        handle = await client.start(main)
        assert await handle.result(timeout=20) == limit
        status, values = await handle.status(), await handle.kv()
        assert len({"status_size": status, "kv_value_size": values.get("k")}.get(limit) or values) == allowed


async def test_whoever_breaks_a_limit_and_does_not_catch_it_fails(store: Store) -> None:
    """duroxide: a limit error keeps the parent of a child waiting for ever. Here both have an end that says why."""
    app = trioflow.App("uncaught")

    @app.orchestration
    async def child() -> None:
        durable.set_status("before")
        await durable.sleep(0)
        durable.kv["k" * 300] = 1

    @app.orchestration
    async def main() -> None:
        await child.options(id="child")()

    async with running(app, store) as client:
        handle = await client.start(main)
        with pytest.raises(trioflow.OrchestrationFailed, match="kv_key_length"):
            await handle.result(timeout=20)
        info = await client.get("child")
        assert (info.state, info.status) == (State.FAILED, "before")
        assert info.failure is not None
        assert info.failure.type.endswith("LimitExceeded")


async def test_a_status_is_watched_to_the_end(store: Store) -> None:
    """duroxide: wait_for_status_change, custom_status over continue-as-new: each poll reads the whole history."""
    app = trioflow.App("watch")

    @app.orchestration
    async def main(chapter: int) -> str:
        await durable.wait_event("go")
        durable.set_status(f"chapter {chapter}")
        if chapter < 3:
            durable.continue_as_new(chapter + 1)
        return str(durable.get_status())

    async with running(app, store) as client:
        handle = await client.start(main, 1)
        seen = []
        await handle.raise_event("go")
        async for status in handle.watch():
            seen.append(status)
            if len(seen) < 3:
                await handle.raise_event("go")
        assert seen == ["chapter 1", "chapter 2", "chapter 3"]
        assert await handle.result(timeout=20) == "chapter 3"
