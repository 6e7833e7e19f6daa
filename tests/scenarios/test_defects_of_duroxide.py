"""What was seen to go wrong in duroxide 0.1.32 cannot happen here: one test a defect, named after it."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import running, virtual_store
from trioflow import State, durable
from trioflow.abc import Draft, OutMessage, PostMessage, Store
from trioflow.history import CancelRequested, EventCodec
from trioflow.stores import SqliteStore

Clock = trio.testing.MockClock


@pytest.mark.parametrize("verb", ["raise_event", "cancel", "terminate"])
async def test_a_message_to_an_unknown_instance_stops_every_orchestration(store: Store, verb: str) -> None:
    """Defect 1, issues #4 and #5: it stays at the head of the queue for ever.

    The sender is told, and nothing is written; not even a message that goes straight to the store.
    """
    app = trioflow.App("orphans")

    @app.orchestration
    async def main() -> str:
        await durable.sleep(0)
        return "done"

    draft = Draft(*EventCodec().encode(CancelRequested(reason=None)))
    message = OutMessage(instance="nobody", draft=draft)
    async with running(app, store) as client:
        for _ in range(3):
            with pytest.raises(trioflow.InstanceNotFound):
                await getattr(client, verb)("nobody", *(("news",) if verb == "raise_event" else ()))
            with pytest.raises(trioflow.InstanceNotFound):
                await store.post_message(PostMessage(request_id="0" * 32, message=message, mailbox_limit=10))
        assert await (await client.start(main)).result(timeout=20) == "done"
        assert await (await client.start(main, id="nobody")).result(timeout=20) == "done"


async def test_a_detached_start_beside_continue_as_new_is_lost(store: Store) -> None:
    """Defect 2: the event is recorded, and the start never sent."""
    app = trioflow.App("detached")

    @app.orchestration
    async def other() -> str:
        return "other"

    @app.orchestration
    async def main(again: bool) -> str:
        if again:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(lambda: durable.start_detached(other, id="other"))
                await durable.lowlevel.checkpoint()
                durable.continue_as_new(False)
        return "done"

    async with running(app, store) as client:
        handle = await client.start(main, True)
        assert await handle.result(timeout=20) == "done"
        assert await client.handle("other").result(timeout=20) == "other"


async def test_code_that_returns_before_its_history_ends_is_accepted(store: Store) -> None:
    """Defect 3: a history with an activity and a wait, and new code that returns at once: completed.

    Here it is noticed at the first segment that differs, the instance is parked, and old code goes on.
    """
    app, changed = trioflow.App("shorter"), [False]

    @app.activity
    async def step() -> str:
        return "step"

    @app.orchestration
    async def main() -> str:
        if changed[0]:
            return "at once"
        return await step() + str(await durable.wait_event("go"))

    async with running(app, store, cache_executions=0) as client:
        handle = await client.start(main)
        while (await handle.info()).history_length < 4:
            await trio.lowlevel.checkpoint()
        changed[0] = True
        await handle.raise_event("go", " done")
        with pytest.raises(trioflow.InstanceParked, match="NondeterminismError"):
            await handle.result(timeout=20)
        changed[0] = False
        await handle.resume()
        assert await handle.result(timeout=20) == "step done"


@pytest.mark.parametrize("what", ["status", "value", "keys", "key", "result", "activity's arguments"])
async def test_a_child_that_breaks_a_limit_never_reports(store: Store, what: str) -> None:
    """Defect 4: the limit path clears all outgoing messages, so the parent waits for ever."""
    app = trioflow.App("limits")

    @app.activity
    async def step(text: str) -> None: ...

    @app.orchestration
    async def child() -> str:
        match what:
            case "status":
                durable.set_status("x" * 300_000)
            case "value":
                durable.kv["k"] = "x" * 70_000
            case "keys":
                durable.kv.update({str(number): number for number in range(1001)})
            case "key":
                durable.kv["k" * 257] = 1
            case "activity's arguments":
                await step("x" * 3_000_000)
        return "x" * 3_000_000

    @app.orchestration
    async def main() -> str:
        try:
            await child()
        except trioflow.LimitExceeded as exc:
            return getattr(exc.__cause__, "type", "its own call")  # behind it is the ChildFailed
        return "no limit"

    async with running(app, store) as client:
        assert "LimitExceeded" in await (await client.start(main)).result(timeout=20)


async def test_the_times_of_an_instance_are_zero(store: Store) -> None:
    """Defect 5: created_at, updated_at, started_at are 0 in SQLite."""
    app = trioflow.App("times")

    @app.orchestration
    async def main(again: bool) -> None:
        await durable.wait_event("go")
        if again:
            durable.continue_as_new(False)

    began = time.time() - 1
    async with running(app, store) as client:
        handle = await client.start(main, True)
        running_info = await handle.info()
        for _ in range(2):
            await handle.raise_event("go")
        await handle.result(timeout=20)
        info, executions = await handle.info(), await handle.executions()
        histories = [event.at for number in (1, 2) for event in await handle.history(number)]
    assert running_info.ended_at is None
    assert info.ended_at is not None
    times = [began, info.created_at, *histories, info.ended_at, info.updated_at, time.time() + 1]
    assert times == sorted(times)
    spans = [moment for one in executions for moment in (one.started_at, one.ended_at)]
    assert len(spans) == 4
    assert spans == sorted(spans)
    assert (spans[0], spans[-1]) == (histories[0], histories[-1])


async def test_starts_and_ends_are_counted_more_than_once(store: Store) -> None:
    """Defect 6, as far as a store tells: 13 starts for 6 instances, 4 failures for 3.

    Every execution has one start and one end, whatever happened in between, and each instance is counted once.
    """
    app = trioflow.App("counts")

    @app.activity
    async def step() -> None: ...

    @app.orchestration
    async def main(left: int, fails: bool) -> None:
        await step()
        await durable.gather(step(), step())
        if left:
            durable.continue_as_new(left - 1, fails)
        if fails:
            raise ValueError("no")

    async with running(app, store, cache_executions=0) as client:
        handles = [await client.start(main, 1, number % 2 == 0) for number in range(6)]
        for handle in handles:
            try:
                await handle.result(timeout=20)
            except trioflow.OrchestrationFailed:
                pass
            for execution in (1, 2):
                history = await handle.history(execution)
                assert [event.id for event in history if event.ends] == [len(history)]
                assert [type(event).__name__ for event in history].count("OrchestrationStarted") == 1
        metrics = await client.metrics()
    assert metrics.instances == {"main": {State.COMPLETED: 3, State.FAILED: 3}}
    assert (metrics.count(), metrics.executions) == (6, 12)


async def test_two_pollers_of_one_file_meet_a_busy_database(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Defect 7: SQLITE_BUSY and BUSY_SNAPSHOT again and again, each costing a fifth of a second.

    Here one thread writes, in transactions that begin as writers: nothing has to be tried again.
    """
    app = trioflow.App("busy")

    @app.activity
    async def step(number: int) -> int:
        return number

    @app.orchestration
    async def main() -> int:
        return sum(await durable.gather(*[step(number) for number in range(5)]))

    store = SqliteStore(tmp_path / "busy.db", durability="fast")
    with caplog.at_level(logging.INFO, "trioflow"):
        async with store, running(app, store), running(app, store) as client:
            handles = [await client.start(main) for _ in range(20)]
            assert [await handle.result(timeout=30) for handle in handles] == [10] * 20
    assert [record.getMessage() for record in caplog.records if "again" in record.getMessage()] == []


async def test_an_event_before_its_wait_is_lost(store: Store) -> None:
    """Defect 8: an event that comes before the code waits for it is dropped, also one of the same batch."""
    app = trioflow.App("early")

    @app.orchestration
    async def main() -> list[int]:
        await durable.wait_event("first")
        return [await durable.wait_event("second", int), await durable.wait_event("second", int)]

    async with store, trioflow.connect(store, app) as client:
        handle = await client.start(main)
        await handle.raise_event("second", 1)
        async with running(app, store):
            while (await handle.info()).unread != 1:
                await trio.lowlevel.checkpoint()
        await handle.raise_event("first")
        await handle.raise_event("second", 2)
        async with running(app, store):
            assert await handle.result(timeout=20) == [1, 2]


async def test_a_race_has_exactly_two_runners(autojump_clock: Clock) -> None:
    """Defect 9: Python's race takes two, and neither nests nor takes most verbs."""
    app, store = trioflow.App("races"), virtual_store()

    @app.orchestration
    async def child() -> str:
        await durable.sleep(7)
        return "child"

    @app.orchestration
    async def main() -> Any:
        async def detached() -> str:
            await durable.sleep(3)
            return await durable.start_detached(child, id="detached")

        naps = [durable.sleep(100 + number) for number in range(50)]
        inner = durable.race(*naps, durable.gather(child(), durable.sleep(9)), durable.sleep(8))
        return await durable.race(durable.wait_event("never"), inner, durable.sleep(10), durable.race(detached))

    async with running(app, store) as client:
        assert await (await client.start(main)).result() == [3, [0, "detached"]]
        assert await client.handle("detached").result() == "child"
        assert (await client.get("detached")).state is State.COMPLETED
