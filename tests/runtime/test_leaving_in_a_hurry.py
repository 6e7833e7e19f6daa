"""A runtime that is cancelled or left by an exception hands its work on at once, and waits for no thread."""

from __future__ import annotations

import threading

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe
from trioflow import durable
from trioflow.abc import Store
from trioflow.stores import MemoryStore
from trioflow.testing import FaultyStore


class SlowRelease(MemoryStore):
    """A store in which giving a turn back can be caught in the act."""

    releasing: trio.Event
    may_go_on: trio.Event

    async def release_turn(self, request: object) -> None:
        """Wait, like a busy store, before the work is done; later calls do not."""
        if not self.releasing.is_set():
            self.releasing.set()
            await self.may_go_on.wait()
        await super().release_turn(request)  # type: ignore[arg-type]


async def test_a_turn_that_is_being_given_back_is_given_back() -> None:
    """Cancelled in the middle of a release: the next runtime has the instance at once, not after the lease."""
    store = SlowRelease()
    store.releasing, store.may_go_on = trio.Event(), trio.Event()
    app, probe = trioflow.App("release"), Probe()

    @app.activity
    async def wait() -> str:
        probe.door("runs").set()
        if len(probe.calls) == 0:
            probe.calls.append("first")
            await trio.sleep_forever()
        return "done"

    @app.orchestration
    async def main() -> str:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(durable.wait_event, "go")
            return await wait()

    async with trioflow.connect(store, app) as client:
        handle = await client.start(main)
        async with trio.open_nursery() as nursery:
            await nursery.start(trioflow.serve, app, store)
            await probe.door("runs").wait()
            await handle.raise_event("go")
            await store.releasing.wait()
            nursery.cancel_scope.cancel()
        assert store.releasing.is_set()
        with trio.fail_after(20):
            async with trioflow.open_runtime(app, store):
                assert await handle.result() == "done"


@pytest.mark.parametrize("way", ["exception", "cancellation"])
async def test_a_thread_that_does_not_hear_is_left_behind(
    store: Store, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Leaving in a hurry takes a moment, is told in a warning, and leaves the lease to run out."""
    app, running, may_end = trioflow.App("threads"), threading.Event(), threading.Event()

    @app.activity
    def deaf() -> None:
        running.set()
        may_end.wait(600)

    @app.orchestration
    async def main() -> None:
        await deaf()

    class Hurry(Exception):
        pass

    async def begin(client: trioflow.Client) -> None:
        await client.start(main)
        assert await trio.to_thread.run_sync(running.wait, 60)

    began = trio.current_time()
    try:
        if way == "exception":
            with pytest.raises(Hurry):
                async with trioflow.open_runtime(app, store) as runtime:
                    await begin(runtime.client)
                    raise Hurry
        else:
            async with trio.open_nursery() as nursery, trioflow.open_runtime(app, store) as runtime:
                await begin(runtime.client)
                nursery.cancel_scope.cancel()
        assert trio.current_time() - began < 60
        assert "its thread is abandoned" in caplog.text
    finally:
        may_end.set()


async def test_a_store_that_has_ended_ends_the_runtime() -> None:
    """What can never succeed is not tried for ever: the error comes out of the block, as it is."""
    store = FaultyStore(MemoryStore())
    store.fail("lock_turns", trioflow.StoreClosed("the file is gone"))
    with pytest.raises(trioflow.StoreClosed, match="the file is gone"), trio.fail_after(60):
        async with trioflow.open_runtime(trioflow.App("closed"), store):
            await trio.sleep_forever()


async def test_one_failure_of_the_store_is_one_error_whoever_meets_it() -> None:
    """Several parts of a runtime run into it at once: the first error comes out, and what others were told is noted."""
    store = FaultyStore(MemoryStore())
    for verb in ("lock_turns", "lock_activities"):
        store.fail(verb, trioflow.StoreClosed(f"{verb}: the file is gone"))
    with pytest.raises(trioflow.StoreClosed, match="the file is gone") as caught, trio.fail_after(60):
        async with trioflow.open_runtime(trioflow.App("closed"), store):
            await trio.sleep_forever()
    told = [str(caught.value), *caught.value.__notes__]
    assert ["lock_activities" in text for text in sorted(told)].count(True) == 1
    assert len(told) == 2


async def test_the_failure_that_the_block_met_too_is_the_block_s() -> None:
    """The block asks the store itself and gets the same answer: its own error comes out, not a group of equal ones."""
    store = FaultyStore(MemoryStore())
    for verb in ("lock_turns", "lock_activities"):
        store.fail(verb, trioflow.StoreClosed("the file is gone"))
    mine = trioflow.StoreClosed("the file is gone")
    with pytest.raises(trioflow.StoreClosed) as caught, trio.fail_after(60):
        async with trioflow.open_runtime(trioflow.App("closed"), store):
            try:
                await trio.sleep_forever()
            finally:
                raise mine
    assert caught.value is mine
    assert not hasattr(mine, "__notes__")  # nobody was told anything else


async def test_different_failures_stay_a_group() -> None:
    """What is not one failure is not told as one."""
    store = FaultyStore(MemoryStore())
    store.fail("lock_turns", trioflow.StoreClosed("the file is gone"))
    store.fail("lock_activities", trioflow.StoreReadOnly("no more room for ink"))
    with trio.fail_after(60), pytest.RaisesGroup(trioflow.StoreClosed, trioflow.StoreReadOnly, flatten_subgroups=True):
        async with trioflow.open_runtime(trioflow.App("closed"), store):
            await trio.sleep_forever()
