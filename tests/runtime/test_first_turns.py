"""What a client of a runtime starts begins there at once, with the start; nothing waits for a lease because of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, running, shape, virtual_store
from trioflow.abc import end_topic
from trioflow.errors import OutcomeUnknown, StoreClosed
from trioflow.testing import FaultyStore


def flow(probe: Probe) -> trioflow.App:
    """One orchestration with one step."""
    app = trioflow.App("flow")

    @app.activity
    async def step(value: int) -> int:
        probe.calls.append(f"step {value}")
        return value

    @app.orchestration
    async def main(value: int) -> int:
        return await step(value)

    @app.orchestration
    async def patient() -> None:
        await trioflow.durable.wait_event("enough")

    return app


@pytest.mark.parametrize("born_leased", [True, False])
async def test_the_first_turn_comes_with_the_start(
    born_leased: bool, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """No dispatcher asks the store for it; with the option off one does, and the history is the same."""
    store = FaultyStore(virtual_store())
    async with running(flow(probe), store, born_leased=born_leased) as client:
        await trio.testing.wait_all_tasks_blocked()
        before = store.calls["lock_turns"]
        handle = await client.start("main", 7)
        assert await handle.result() == 7
        assert (store.calls["lock_turns"] == before) is born_leased
        assert shape(await handle.history()) == [
            "OrchestrationStarted",
            "ActivityScheduled",
            "ActivityCompleted",
            "OrchestrationCompleted",
        ]


async def test_who_came_first_is_served_first(probe: Probe, autojump_clock: trio.testing.MockClock) -> None:
    """While others wait for room, what is started waits behind them."""
    store = FaultyStore(virtual_store())
    async with trioflow.connect(store, flow(probe)) as outside:
        for number in range(3):
            await outside.start("main", number)
            autojump_clock.jump(1)
        async with running(flow(probe), store, turn_concurrency=1) as client:
            late = await client.start("main", 9)
            await late.result()
            assert probe.calls[-1] == "step 9"


async def test_a_start_without_an_answer_leaves_nobody_waiting_for_its_lease(
    probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """It was carried out, its answer was lost, and whoever asked has gone: it runs at once all the same."""
    store = FaultyStore(virtual_store()).fail("start_instance", OutcomeUnknown("lost"), when="after")
    async with running(flow(probe), store) as client:
        began = trio.current_time()
        with trio.move_on_after(0.001) as gone:
            await client.start("main", 7, id="it")
        assert gone.cancelled_caught
        assert await client.handle("it").result() == 7
        assert trio.current_time() - began < 5


async def test_a_start_that_was_not_carried_out_leaves_nothing(
    probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """A store that refuses gets its error to the caller; the room that was kept is free again."""
    store = FaultyStore(virtual_store()).fail("start_instance", StoreClosed("no"))
    async with running(flow(probe), store, turn_concurrency=1) as client:
        with pytest.raises(StoreClosed):
            await client.start("main", 7)
        assert await (await client.start("main", 8)).result() == 8
        assert "release_turn" not in store.calls
        assert "read_instance" not in store.calls  # a refusal leaves nothing to look for


async def test_a_taken_id_leaves_the_room_free(probe: Probe, autojump_clock: trio.testing.MockClock) -> None:
    """What is attached to or refused takes no turn and no room."""
    async with running(flow(probe), virtual_store(), turn_concurrency=1) as client:
        await client.start("patient", id="it")
        with pytest.raises(trioflow.InstanceExists):
            await client.start("patient", id="it")
        for _ in range(3):
            handle: Any = await client.start("patient", id="it", if_exists="attach")
        await handle.raise_event("enough")
        assert await handle.result() is None


async def test_a_client_may_outlive_its_runtime(probe: Probe, autojump_clock: trio.testing.MockClock) -> None:
    """What it starts then is left to others, and not leased to a runtime that has gone."""
    store = virtual_store()
    async with store:
        async with running(flow(probe), store) as client:
            pass
        handle = await client.start("main", 7)
        async with running(flow(probe), store):
            began = trio.current_time()
            assert await handle.result() == 7
            assert trio.current_time() - began < 5


async def test_a_start_that_is_under_way_when_the_runtime_leaves(
    probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """Its answer comes too late for this runtime; the next one runs it."""
    store = virtual_store()
    async with store, trio.open_nursery() as nursery:
        async with running(flow(probe), FaultyStore(store)) as client:
            nursery.start_soon(client.start, "main", 7)
        async with running(flow(probe), store) as other:
            [found] = [info async for info in other.list()]
            assert await other.handle(found.id).result() == 7


async def test_an_end_that_was_committed_here_is_not_read(probe: Probe, autojump_clock: trio.testing.MockClock) -> None:
    """Who waits for a result is told it by the runtime beside him, however it ended, and leaves nothing behind."""
    store = FaultyStore(virtual_store())
    async with running(flow(probe), store) as client:
        handle = await client.start("main", 7)
        assert await handle.result() == 7
        patient = await client.start("patient")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patient.cancel)
            with pytest.raises(trioflow.OrchestrationCancelled):
                await patient.result()
        assert "read_instance" not in store.calls
        assert not {end_topic(handle.id), end_topic(patient.id)} & store.signals.watches.keys()
        assert await handle.result() == 7  # what ended before is read
        assert store.calls["read_instance"] == 1
    assert not store.signals.on_cancel


async def test_an_end_that_came_before_the_question_is_found(
    probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """A handle that has just started something does not wait for a hint that has come already."""
    async with running(flow(probe), virtual_store()) as client:
        handle = await client.start("main", 7)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        assert await handle.result() == 7
        assert trio.current_time() == began
