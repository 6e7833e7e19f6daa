"""Leaving a runtime: by the end of the block, by an error, by a cancellation, by the store."""

from __future__ import annotations

import threading

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, find, running, virtual_store
from trioflow import durable
from trioflow.abc import Store
from trioflow.errors import StoreCorrupt, StoreUnavailable
from trioflow.stores import MemoryStore
from trioflow.testing import FaultyStore


async def test_an_activity_may_end_in_its_grace(app: trioflow.App, probe: Probe, store: Store) -> None:
    """Leaving waits for running activities; what they did is recorded, and the next runtime goes on from there."""
    async with store, trioflow.connect(store, app) as client:
        async with trio.open_nursery() as nursery:

            async def open_the_door() -> None:
                await probe.door("left").wait()
                probe.door("x").set()

            nursery.start_soon(open_the_door)
            async with running(app, store):
                handle = await client.start(find(app, "hanging"), "x")
                await probe.door("x runs").wait()
                probe.door("left").set()
        async with running(app, store):
            assert await handle.result(timeout=20) == "x"
    assert probe.calls == ["x"]


async def test_after_the_grace_an_activity_goes_back(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """An activity that does not end in time is cancelled and run again elsewhere, at once and as if never taken."""
    store = virtual_store()
    async with trioflow.connect(store, app) as client:
        async with running(app, store, grace=10):
            handle = await client.start(find(app, "hanging"), "x")
            await probe.door("x runs").wait()
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(10)
        assert probe.door("x cancelled").is_set()
        probe.door("x").set()
        began = trio.current_time()
        async with running(app, store):
            assert await handle.result() == "x"
        assert trio.current_time() - began < 1
    assert probe.calls == ["x", "x"]


async def test_leases_are_renewed_during_the_grace(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """A grace longer than the lease keeps the lease: nobody else takes the activity meanwhile."""
    store = virtual_store()
    async with trio.open_nursery() as nursery, trioflow.connect(store, app) as client:

        async def open_the_door() -> None:
            await trio.sleep(100)
            probe.door("x").set()

        async with running(app, store, grace=300):
            handle = await client.start(find(app, "hanging"), "x")
            await probe.door("x runs").wait()
            nursery.start_soon(open_the_door)
        async with running(app, store):
            assert await handle.result() == "x"
    assert probe.calls == ["x"]


async def test_a_thread_that_does_not_end_is_abandoned(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain function that ignores cancellation is left behind, named in a warning."""
    monkeypatch.setattr("trioflow._runtime._worker.ABANDON_AFTER", 0.01)
    app, started, release = trioflow.App("threads"), threading.Event(), threading.Event()

    @app.activity
    def deaf() -> None:
        started.set()
        release.wait()

    @app.orchestration
    async def main() -> None:
        await deaf()

    try:
        async with running(app, store, grace=0.0) as client:
            await client.start(main)
            while not started.is_set():
                await trio.lowlevel.checkpoint()
    finally:
        release.set()
    assert "activity deaf of instance" in caplog.text
    assert "abandoned" in caplog.text


async def test_an_error_of_the_body_arrives_as_it_was_raised(app: trioflow.App, store: Store) -> None:
    """An exception out of the block is not wrapped in a group, keeps its cause, and ends the runtime."""
    cause = KeyError("cause")
    with pytest.raises(ValueError, match="mine") as caught:
        async with running(app, store):
            raise ValueError("mine") from cause
    assert caught.value.__cause__ is cause


async def test_a_group_of_the_body_is_not_taken_apart(app: trioflow.App, store: Store) -> None:
    """A group that the block itself raised arrives whole, also if it holds one exception."""
    group = ExceptionGroup("mine", [ValueError("one")])
    with pytest.raises(ExceptionGroup) as caught:
        async with running(app, store):
            raise group
    assert caught.value.message == "mine"
    assert caught.value.exceptions == group.exceptions


async def test_a_damaged_store_reaches_the_host(app: trioflow.App) -> None:
    """What no waiting can mend ends the runtime with the store's own error."""
    store = FaultyStore(MemoryStore()).fail("lock_turns", StoreCorrupt("damaged"))
    with pytest.raises(StoreCorrupt, match="damaged"):
        async with running(app, store):
            await trio.sleep_forever()


async def test_two_errors_arrive_together(app: trioflow.App) -> None:
    """An error of the block beside one of the runtime arrives in a group."""
    store = FaultyStore(MemoryStore()).fail("lock_turns", StoreCorrupt("damaged"))
    with pytest.raises(ExceptionGroup) as caught:
        async with running(app, store):
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("mine")
    assert caught.group_contains(StoreCorrupt)
    assert caught.group_contains(ValueError)


async def test_a_store_that_is_away_for_a_while_harms_nobody(
    app: trioflow.App, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Dispatchers and commits wait a little longer each time and go on when the store is back."""
    away = StoreUnavailable("busy")
    store = FaultyStore(virtual_store())
    for verb in ("lock_turns", "lock_activities", "commit_turn", "read_history", "commit_activities"):
        for nth in (1, 2, 3):
            store.fail(verb, away, nth=nth)
    async with running(app, store, fuse=False, cache_executions=0) as client:
        handle = await client.start(find(app, "chain"), 3)
        assert await handle.result() == 6
    assert "the store answers again after 3 failures" in caplog.text


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_cancelled_at_any_point_it_leaves_the_work_to_others(app: trioflow.App, probe: Probe, steps: int) -> None:
    """Whenever the host is cancelled, what it held is given back, and the next runtime finishes at once."""
    store = MemoryStore()
    async with trioflow.connect(store, app) as client:
        handle = await client.start(find(app, "chain"), 4)
        with trio.CancelScope() as host:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trioflow.serve, app, store)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                host.cancel()
        with trio.fail_after(20):
            async with running(app, store):
                assert await handle.result() == 12
    assert list(dict.fromkeys(probe.calls)) == [0, 1, 2, 3]


async def test_waiting_orchestrations_are_dropped_without_acting(store: Store) -> None:
    """When the runtime goes, a waiting orchestration's `finally` blocks do nothing durable."""
    app, probe = trioflow.App("drop"), Probe()

    @app.activity
    async def act(name: str) -> None:
        probe.calls.append(name)

    @app.orchestration
    async def main() -> str:
        try:
            await durable.wait_event("go")
        finally:
            await act("tidy")
        return "done"

    async with store, trioflow.connect(store, app) as client:
        async with running(app, store):
            handle = await client.start(main)
            while (await handle.info()).state is not trioflow.State.WAITING:
                await trio.lowlevel.checkpoint()
        assert probe.calls == []
        await handle.raise_event("go")
        async with running(app, store):
            assert await handle.result(timeout=20) == "done"
    assert probe.calls == ["tidy"]
