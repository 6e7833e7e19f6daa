"""Leases: kept as long as the work lasts, lost without harm."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, find, running, shape, virtual_store
from trioflow import durable
from trioflow._runtime._leases import LeaseKeeper, Renewed
from trioflow.abc import ActivitiesRenewed, CommitTurn, Env, RenewActivities, TurnCommitted
from trioflow.errors import StoreUnavailable
from trioflow.testing import FaultyStore


async def test_long_work_keeps_its_lease(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """An activity that lasts many leases runs once, although another worker looks for work all the time."""
    store = virtual_store()
    async with running(app, store) as client, running(app, store, poll_interval=1.0):
        handle = await client.start(find(app, "hanging"), "x")
        await trio.sleep(1000)
        probe.door("x").set()
        assert await handle.result() == "x"
    assert probe.calls == ["x"]


async def test_a_failed_renewal_is_no_loss(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A renewal that fails is tried again before the lease runs out."""
    store = FaultyStore(virtual_store())
    for nth in (1, 2, 4):
        store.fail("renew_activities", StoreUnavailable("busy"), nth=nth)
        store.fail("renew_turns", StoreUnavailable("busy"), nth=nth)
    async with running(app, store) as client:
        handle = await client.start(find(app, "hanging"), "x")
        await trio.sleep(100)
        probe.door("x").set()
        assert await handle.result() == "x"
    assert probe.calls == ["x"]
    assert "could not be renewed" in caplog.text


async def test_a_body_ends_before_a_lease_that_cannot_be_renewed(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """Cut off from its store, a worker ends the body by its own clock before anybody else may run it."""
    store = virtual_store()
    cut_off = FaultyStore(store)
    async with running(app, cut_off) as client:
        handle = await client.start(find(app, "hanging"), "x")
        await probe.door("x runs").wait()
        began = trio.current_time()
        cut_off.dead = True
        await probe.door("x cancelled").wait()
        assert 28 <= trio.current_time() - began < 30
        probe.door("x").set()
        async with running(app, store) as elsewhere:
            assert await elsewhere.handle(handle.id).result() == "x"
        cut_off.dead = False
    assert probe.calls == ["x", "x"]


class Stolen(FaultyStore):
    """A store whose renewals say that everything is lost."""

    async def renew_activities(self, request: RenewActivities) -> ActivitiesRenewed:
        """Everything is lost."""
        return ActivitiesRenewed(lost=request.locks, cancelled=())


async def test_a_lost_lease_ends_the_body(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Told that its lease is lost, the body is cancelled and nothing is recorded for it."""
    async with running(app, Stolen(virtual_store())) as client:
        handle = await client.start(find(app, "hanging"), "x")
        await probe.door("x runs").wait()
        began = trio.current_time()
        await probe.door("x cancelled").wait()
        assert trio.current_time() - began == pytest.approx(25, abs=1)
        assert shape(await handle.history()) == ["OrchestrationStarted", "ActivityScheduled"]
        probe.door("x").set()
        assert await handle.result() == "x"
    assert "its lease is lost" in caplog.text


async def test_an_outcome_that_comes_too_late_is_refused(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Two workers ran it because the first was cut off and deaf: the first to commit counts, the other is refused."""
    app, probe, store = trioflow.App("deaf"), Probe(), virtual_store()
    cut_off = FaultyStore(store)

    @app.activity
    async def deaf() -> int:
        probe.calls.append(1)
        number = len(probe.calls)
        if number == 1:
            with trio.CancelScope(shield=True):
                await probe.door("late").wait()
        return number

    @app.orchestration
    async def main() -> int:
        return await deaf()

    async with running(app, cut_off) as client:
        handle = await client.start(main)
        while not probe.calls:
            await trio.sleep(0.01)
        cut_off.dead = True
        await trio.sleep(100)
        async with running(app, store) as elsewhere:
            assert await elsewhere.handle(handle.id).result() == 2
        cut_off.dead = False
        probe.door("late").set()
        await trio.sleep(10)
        assert shape(await handle.history()).count("ActivityCompleted") == 1
    assert "its outcome was refused" in caplog.text


class CutOffAtThirdTurn(FaultyStore):
    """A store that cannot be reached any more when the third turn is to be committed."""

    async def commit_turn(self, request: CommitTurn) -> TurnCommitted:
        """Be cut off in time."""
        if self.calls.get("commit_turn") == 2:
            self.dead = True
        return await super().commit_turn(request)


async def test_a_turn_whose_lock_was_lost_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    """A worker that slept through its lease commits nothing; the instance goes on from where the other brought it."""
    app, probe, store = trioflow.App("sleepy"), Probe(), virtual_store()
    cut_off = CutOffAtThirdTurn(store)

    @app.activity
    async def step(name: str) -> str:
        probe.calls.append(name)
        return name

    @app.orchestration
    async def main() -> list[str]:
        first = await step("a")
        await durable.wait_event("go")
        return [first, await step("b")]

    async with running(app, cut_off) as client:
        handle = await client.start(main)
        while "ActivityCompleted" not in shape(await handle.history()):
            await trio.sleep(0.01)
        await handle.raise_event("go")
        await trio.sleep(50)
        async with running(app, store) as elsewhere:
            assert await elsewhere.handle(handle.id).result() == ["a", "b"]
        cut_off.dead = False
        await trio.sleep(50)
        assert await handle.result() == ["a", "b"]
    assert probe.calls == ["a", "b"]


# -- the keeper itself ------------------------------------------------------------------------------------------------


class Thing:
    """Something leased."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.until = 0.0
        self.heard: list[str] = []

    def extended(self, until: float) -> None:
        """Noted."""
        self.until = until

    def lost(self) -> None:
        """Noted."""
        self.heard.append("lost")

    def cancel_asked(self) -> None:
        """Noted."""
        self.heard.append("cancelled")


async def test_the_keeper_renews_together_what_is_due_together(autojump_clock: trio.testing.MockClock) -> None:
    """One call renews all that are due; what was dropped meanwhile is left out, what is lost or cancelled is told."""
    keeper: LeaseKeeper[Thing] = LeaseKeeper(Env(), 30.0, 25.0)
    calls: list[tuple[float, list[str]]] = []

    async def renew(things: Sequence[Thing]) -> Renewed:
        calls.append((trio.current_time() - began, [thing.token for thing in things]))
        return Renewed(lost=("b",), cancelled=("c",))

    began = trio.current_time()
    a, b, c, d = (Thing(token) for token in "abcd")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run, renew)
        await trio.sleep(0)
        for thing in (a, b, c):
            keeper.keep(thing, began)
        await trio.sleep(10)
        keeper.keep(d, trio.current_time())
        await trio.sleep(16)
        assert calls == [(25.0, ["a", "b", "c"])]
        assert (a.heard, b.heard, c.heard) == ([], ["lost"], ["cancelled"])
        assert a.until == began + 25 + 29
        assert len(keeper) == 3
        keeper.drop(a)
        keeper.drop(a)
        keeper.drop(c)
        await trio.sleep(20)
        assert calls[1:] == [(35.0, ["d"])]
        keeper.stop()


async def test_what_is_hastened_is_renewed_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Alone, long before its time; what has ended meanwhile is left out; the others are renewed when they are due."""
    keeper: LeaseKeeper[Thing] = LeaseKeeper(Env(), 30.0, 25.0)
    calls: list[tuple[float, list[str]]] = []

    async def renew(things: Sequence[Thing]) -> Renewed:
        calls.append((trio.current_time() - began, [thing.token for thing in things]))
        return Renewed(lost=(), cancelled=("b",))

    began = trio.current_time()
    a, b, gone = (Thing(token) for token in ("a", "b", "gone"))
    async with trio.open_nursery() as nursery:
        for thing in (a, b):
            keeper.keep(thing, began)
        nursery.start_soon(keeper.run, renew)
        await trio.sleep(10)
        keeper.hasten(b)
        keeper.hasten(gone)
        await trio.sleep(16)
        keeper.stop()
    assert calls == [(10.0, ["b"]), (25.0, ["a"])]
    assert (a.heard, b.heard, b.until) == ([], ["cancelled"], began + 10 + 29)


async def test_what_ends_during_its_renewal_is_left_alone(autojump_clock: trio.testing.MockClock) -> None:
    """An answer about something that has ended meanwhile is nobody's business any more."""
    keeper: LeaseKeeper[Thing] = LeaseKeeper(Env(), 30.0, 25.0)
    thing = Thing("a")

    async def renew(things: Sequence[Thing]) -> Renewed:
        await trio.sleep(1)
        return Renewed(lost=("a",))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run, renew)
        keeper.keep(thing, trio.current_time())
        await trio.sleep(25.5)
        keeper.drop(thing)
        await trio.sleep(5)
        keeper.stop()
    assert thing.heard == []


async def test_what_cannot_be_renewed_is_ended_before_its_lease_runs_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each at its own time, a second before, and once; what was renewed or dropped meanwhile goes on."""
    keeper: LeaseKeeper[Thing] = LeaseKeeper(Env(), 30.0, 25.0)
    ended: list[tuple[str, float]] = []
    began = trio.current_time()
    a, b, c, d = (Thing(token) for token in "abcd")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.end_overdue, lambda thing: ended.append((thing.token, trio.current_time() - began)))
        await trio.sleep(10)
        for thing in (a, b, c):
            keeper.keep(thing, began)
        await trio.sleep(10)
        keeper.keep(d, trio.current_time())
        keeper.keep(b, trio.current_time())
        keeper.drop(c)
        await trio.sleep(100)
        keeper.stop()
    assert ended == [("a", 29.0), ("d", 49.0), ("b", 49.0)]  # out here: its task hears of no failure in there
    assert not len(keeper)


async def test_a_lease_whose_answer_came_late_ends_at_its_own_time(autojump_clock: trio.testing.MockClock) -> None:
    """A lease counts from its request, also where that of a later request was kept before it, and has ended or not."""
    keeper: LeaseKeeper[Thing] = LeaseKeeper(Env(), 30.0, 25.0)
    ended: list[tuple[str, float]] = []
    renewed: list[tuple[list[str], float]] = []
    began = trio.current_time()
    a, b, c, d = (Thing(token) for token in "abcd")

    async def renew(things: Sequence[Thing]) -> Renewed:
        renewed.append(([thing.token for thing in things], trio.current_time() - began))
        await trio.sleep_forever()
        return Renewed(())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.end_overdue, lambda thing: ended.append((thing.token, trio.current_time() - began)))
        nursery.start_soon(keeper.run, renew)
        await trio.sleep(9)
        keeper.keep(a, began + 9)
        await trio.sleep(1)
        keeper.keep(b, began)
        keeper.keep(c, began + 4)
        await trio.sleep(90)
        keeper.keep(a, began + 100)
        await trio.sleep(1)
        keeper.drop(a)
        keeper.keep(d, began + 90)
        await trio.sleep(90)
        keeper.stop()
    assert renewed == [(["b"], 25.0)]
    assert ended == [("b", 29.0), ("c", 33.0), ("a", 38.0), ("d", 119.0)]


async def test_cut_off_and_cancelled_it_leaves_its_leases_to_run_out(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """When the host is cancelled while the store is away, nothing hangs; the leases run out by themselves."""
    store = virtual_store()
    cut_off = FaultyStore(store)
    with trio.CancelScope() as host:
        async with running(app, cut_off) as client:
            handle = await client.start(find(app, "hanging"), "x")
            await probe.door("x runs").wait()
            await trio.sleep(1)
            cut_off.dead = True
            host.cancel()
            await trio.sleep_forever()
    assert host.cancelled_caught
    probe.door("x").set()
    async with running(app, store) as elsewhere:
        assert await elsewhere.handle(handle.id).result() == "x"


async def test_a_runtime_that_stops_while_its_store_is_away_does_not_hang(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """A graceful stop has its limits: what cannot be given back is left to run out."""
    store = FaultyStore(virtual_store())
    with trio.fail_after(60):
        async with running(app, store, grace=5) as client:
            await client.start(find(app, "hanging"), "x")
            await probe.door("x runs").wait()
            store.dead = True
            with pytest.raises(StoreUnavailable):
                await client.get("x")


def test_stores_are_renewed_in_time() -> None:
    """Renewal is a margin before the end, at half of a short lease, and never before half."""
    options = trioflow.RuntimeOptions()
    assert options.renew_after(30) == 25
    assert options.renew_after(10) == 5
    assert trioflow.RuntimeOptions(lease_margin=28.0).renew_after(30) == 15
