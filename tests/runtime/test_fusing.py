"""Fused steps and born-leased activities: fewer transactions. That the history is the same: see `test_four_ways.py`."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, find, running, virtual_store
from trioflow import durable
from trioflow.abc import CommitTurn, TurnCommitted
from trioflow.errors import LockLost
from trioflow.testing import FaultyStore


async def test_a_step_costs_one_commit(app: trioflow.App, autojump_clock: trio.testing.MockClock) -> None:
    """A chain of steps takes one transaction for each, and nothing else."""
    store = FaultyStore(virtual_store())
    async with running(app, store, poll_interval=1e9) as client:
        assert await (await client.start(find(app, "chain"), 50)).result() == 2450
    assert store.calls["commit_turn"] == 51
    assert "commit_activities" not in store.calls
    assert store.calls["lock_turns"] <= 3
    assert "release_turn" not in store.calls


async def test_without_fusing_a_step_costs_its_settling_and_its_turn(
    app: trioflow.App, autojump_clock: trio.testing.MockClock
) -> None:
    """With the option off each outcome is settled on its own."""
    store = FaultyStore(virtual_store())
    async with running(app, store, fuse=False) as client:
        assert await (await client.start(find(app, "chain"), 10)).result() == 90
    assert store.calls["commit_activities"] == 10
    assert store.calls["commit_turn"] == 11


async def test_outcomes_that_are_ready_together_are_one_turn(
    app: trioflow.App, autojump_clock: trio.testing.MockClock
) -> None:
    """A fan-out is committed in batches, not one by one."""
    store = FaultyStore(virtual_store())
    async with running(app, store) as client:
        await (await client.start(find(app, "fan"), 200)).result()
    assert store.calls["commit_turn"] < 40


async def test_what_waits_for_room_is_fused_as_well(app: trioflow.App, autojump_clock: trio.testing.MockClock) -> None:
    """The lock is held while activities wait in the store for room here: none is settled on its own."""
    store = FaultyStore(virtual_store())
    async with running(app, store, activity_concurrency=2) as client:
        await (await client.start(find(app, "fan"), 20)).result()
    assert "commit_activities" not in store.calls
    assert "release_turn" not in store.calls
    assert store.calls["lock_turns"] <= 3


async def test_a_lock_is_let_go_when_others_took_what_waited_for_room(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """Once the store has nothing left for this runtime, and nothing runs here, the instance is free."""
    hang = find(app, "hang")
    only = trioflow.App("activities")
    only.activity(name="hang")(hang.fn)

    @app.orchestration
    async def three() -> list[str]:
        return list(await durable.gather(hang("x"), hang("y"), hang("z")))

    store = virtual_store()
    counted = FaultyStore(store)
    async with running(app, counted, activity_concurrency=1) as client:
        handle = await client.start(three)
        await probe.door("x runs").wait()
        async with running(only, store):
            await probe.door("y runs").wait()
            await probe.door("z runs").wait()
            await trio.sleep(100)
            assert "release_turn" not in counted.calls
            probe.door("x").set()
            await trio.sleep(1)
            assert counted.calls["release_turn"] == 1
            probe.door("y").set()
            probe.door("z").set()
            assert await handle.result() == ["x", "y", "z"]


async def test_those_who_come_to_full_slots_are_fused_as_well(
    app: trioflow.App, autojump_clock: trio.testing.MockClock
) -> None:
    """An instance of which nothing could be born here keeps its lock while its activities wait for room."""
    store = FaultyStore(virtual_store())
    async with running(app, store, activity_concurrency=2) as client, trio.open_nursery() as nursery:

        async def one() -> None:
            await (await client.start(find(app, "fan"), 5)).result()

        for _ in range(10):
            nursery.start_soon(one)
    assert "commit_activities" not in store.calls
    assert "release_turn" not in store.calls


async def test_a_lock_is_let_go_when_there_is_no_room_for_long(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """Activities of others may keep the slots for hours: after a second the lock is given back."""
    store = FaultyStore(virtual_store())
    async with running(app, store, activity_concurrency=1) as client:
        first = await client.start(find(app, "hanging"), "x")
        await probe.door("x runs").wait()
        second = await client.start(find(app, "hanging"), "y")
        await trio.sleep(0.9)
        assert "release_turn" not in store.calls
        await trio.sleep(0.2)
        assert store.calls["release_turn"] == 1
        for name in ("x", "y"):
            probe.door(name).set()
        assert [await first.result(), await second.result()] == ["x", "y"]


async def test_a_message_reaches_an_instance_whose_activity_runs(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """The lock is held while an activity runs here, and given back at once when a message waits."""

    @app.orchestration
    async def both() -> list[Any]:
        results: list[Any] = []

        async def one() -> None:
            results.append(await durable.wait_event("go"))
            durable.set_status("heard")

        async with durable.open_nursery() as nursery:
            nursery.start_soon(one)
            results.append(await find(app, "hang")("x"))
        return results

    store = FaultyStore(virtual_store())
    async with running(app, store) as client:
        handle = await client.start(both)
        await probe.door("x runs").wait()
        await trio.sleep(100)
        began = trio.current_time()
        await handle.raise_event("go", 1)
        while await handle.status() != "heard":
            await trio.sleep(0.01)
        assert trio.current_time() - began < 0.2
        probe.door("x").set()
        assert await handle.result() == [1, "x"]


async def test_a_deadline_passes_while_an_activity_runs(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """A deadline around a running activity is kept, although the instance is held for the activity."""

    @app.orchestration
    async def limited() -> str:
        with durable.move_on_after(50):
            await find(app, "hang")("x")
            return "it ended"
        return f"after {durable.current_time() - 1_700_000_000:.0f}"

    async with running(app, virtual_store()) as client:
        handle = await client.start(limited)
        assert await handle.result() == f"after {trio.current_time():.0f}"
        assert probe.door("x cancelled").is_set()


class LosesOnce(FaultyStore):
    """A store that refuses the second turn: as if its lock had been lost."""

    async def commit_turn(self, request: CommitTurn) -> TurnCommitted:
        """Refuse once, and let the lock go, as the store would have."""
        if self.calls.get("commit_turn") == 1:
            self.calls["commit_turn"] = 2
            raise LockLost("told to")
        return await super().commit_turn(request)


async def test_outcomes_of_a_turn_that_was_refused_are_settled_alone(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """When a fused commit is refused, the outcomes in it are not lost: they are settled, and the turn runs later."""
    store = LosesOnce(virtual_store())
    async with running(app, store) as client:
        handle = await client.start(find(app, "chain"), 3)
        assert await handle.result() == 6
    assert probe.calls == [0, 1, 2]
    assert store.calls["commit_activities"] == 1


async def test_a_retry_lets_the_lock_go(autojump_clock: trio.testing.MockClock) -> None:
    """While an activity waits for its next attempt nothing runs here, so the instance is free."""
    app, begun = trioflow.App("retry"), list[float]()

    @app.activity(retry=trioflow.Retry(max_attempts=2, initial=1000))
    async def flaky() -> str:
        begun.append(trio.current_time())
        if len(begun) == 1:
            raise ValueError
        return "second"

    @app.orchestration
    async def main() -> str:
        return await flaky()

    store = FaultyStore(virtual_store())
    async with running(app, store) as client:
        handle = await client.start(main)
        await trio.sleep(500)
        assert store.calls["release_turn"] == 1
        assert await handle.result() == "second"


async def test_born_leased_work_does_not_exceed_the_slots(probe: Probe, autojump_clock: trio.testing.MockClock) -> None:
    """However many activities a turn asks for, no more run at once than the option allows."""
    app, now, most = trioflow.App("slots"), [0], [0]

    @app.activity
    async def work() -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await trio.sleep(1)
        now[0] -= 1

    @app.orchestration
    async def main(count: int) -> None:
        await durable.gather(*[work() for _ in range(count)])

    async with running(app, virtual_store(), activity_concurrency=7) as client:
        handles = [await client.start(main, 10) for _ in range(5)]
        for handle in handles:
            await handle.result()
    assert most == [7]


async def test_the_live_cache_is_bounded(app: trioflow.App, autojump_clock: trio.testing.MockClock) -> None:
    """More instances wait than the cache holds, and all of them go on."""
    store = virtual_store()
    async with running(app, store, cache_executions=3) as client:
        handles = [await client.start(find(app, "waiting"), "go") for _ in range(10)]
        await trio.sleep(1)
        for number, handle in enumerate(handles):
            await handle.raise_event("go", number)
        assert [await handle.result() for handle in handles] == list(range(10))


async def test_a_long_history_is_replayed_in_pieces(app: trioflow.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cold replay of thousands of steps reaches checkpoints, so other tasks run meanwhile."""
    monkeypatch.setattr("trioflow._runtime._evaluating.BREATHE_ROWS", 100)
    store = virtual_store()
    breaths: list[int] = []
    async with running(app, store) as client:

        @app.orchestration
        async def long() -> int:
            for number in range(700):
                await find(app, "double")(number)
            return await durable.wait_event("go", int)

        handle = await client.start(long)
        while (await handle.info()).history_length < 1402:
            await trio.sleep(0.01)
    await trio.lowlevel.checkpoint()
    async with trio.open_nursery() as nursery:

        async def breathe() -> None:
            while True:
                breaths.append(1)
                await trio.lowlevel.checkpoint()

        async with running(app, store) as client:
            await trio.sleep(0.1)
            nursery.start_soon(breathe)
            before = len(breaths)
            await client.raise_event(handle.id, "go", 5)
            assert await client.handle(handle.id).result() == 5
            assert len(breaths) - before > 5
        nursery.cancel_scope.cancel()
