"""Cancellation reaches what runs, and what really happened reaches the code."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, find, running, shape, virtual_store
from trioflow import activity, durable
from trioflow.abc import LockActivities, LockedActivities, Store
from trioflow.history import ActivityCancelled
from trioflow.testing import FaultyStore


async def cancel_running(
    app: trioflow.App, store: Store, probe: Probe, orchestration: Any, name: str, **options: Any
) -> tuple[Any, list[Any]]:
    """Start, wait until the activity runs, cancel; the result or error, and the history."""
    async with running(app, store, **options) as client:
        handle = await client.start(orchestration)
        await probe.door(f"{name} runs").wait()
        await handle.cancel("enough")
        try:
            result: Any = await handle.result(timeout=20)
        except trioflow.TrioflowError as exc:
            result = exc
        return result, await handle.history()


async def test_the_receipt_of_what_went_through_is_not_lost(store: Store) -> None:
    """An activity that returns although it was cancelled gives its value to the cancelled branch, which may undo it."""
    app, probe = trioflow.App("receipts"), Probe()

    @app.activity
    async def charge() -> str:
        probe.door("charge runs").set()
        with trio.CancelScope(shield=True):
            await probe.door("charged").wait()
        return "receipt"

    @app.activity
    async def refund(receipt: str) -> None:
        probe.calls.append(f"refunded {receipt}")

    @app.orchestration
    async def main() -> str:
        receipt = await charge()
        try:
            await durable.lowlevel.checkpoint()
        finally:
            with durable.CancelScope(shield=True):
                await refund(receipt)
        return "paid"

    async with running(app, store) as client:
        handle = await client.start(main)
        await probe.door("charge runs").wait()
        await handle.cancel("changed my mind")
        while "ActivityCancelRequested" not in shape(await handle.history()):
            await trio.lowlevel.checkpoint()
        probe.door("charged").set()
        with pytest.raises(trioflow.OrchestrationCancelled, match="changed my mind") as caught:
            await handle.result(timeout=20)
    assert caught.value.reason == "changed my mind"
    assert probe.calls == ["refunded receipt"]


async def test_a_body_hears_of_cancellation_at_once(app: trioflow.App, store: Store, probe: Probe) -> None:
    """A running body is cancelled as trio cancels, and the branch goes on when it has ended."""
    async with running(app, store) as client:
        handle = await client.start(find(app, "hanging"), "x")
        await probe.door("x runs").wait()
        await handle.cancel()
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result(timeout=20)
        assert probe.door("x cancelled").is_set()
        events = await handle.history()
    assert [event.how for event in events if isinstance(event, ActivityCancelled)] == ["ended"]


async def test_another_runtime_in_the_process_hears_too(app: trioflow.App, store: Store, probe: Probe) -> None:
    """The body runs under one runtime, the turn under another: the body hears without waiting for a renewal."""
    async with store, running(app, store, untagged=False) as client:
        handle = await client.start(find(app, "hanging"), "x")
        async with running(trioflow_activities(app), store):
            await probe.door("x runs").wait()
            await handle.cancel()
            with pytest.raises(trioflow.OrchestrationCancelled):
                await handle.result(timeout=20)
            assert probe.door("x cancelled").is_set()


def trioflow_activities(app: trioflow.App) -> trioflow.App:
    """The activities of an app, without its orchestrations."""
    only = trioflow.App("activities")
    for key, definition in app.definitions():
        if key[0] == "activity":
            only.activity(name=key[1])(definition.fn)
    return only


async def test_what_never_started_is_gone(app: trioflow.App, store: Store, probe: Probe) -> None:
    """An activity that waits in the queue is removed by the cancellation."""
    async with running(app, store, untagged=False) as client:
        handle = await client.start(find(app, "hanging"), "x")
        while "ActivityScheduled" not in shape(await handle.history()):
            await trio.lowlevel.checkpoint()
        await handle.cancel()
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result(timeout=20)
        events = await handle.history()
    assert [event.how for event in events if isinstance(event, ActivityCancelled)] == ["never_started"]
    assert not probe.calls


async def test_no_retry_starts_after_a_cancellation(autojump_clock: trio.testing.MockClock) -> None:
    """A body that raises when it is cancelled has failed, once, whatever the policy says."""
    app, probe = trioflow.App("stubborn"), Probe()

    @app.activity(retry=trioflow.Retry(max_attempts=9, initial=0))
    async def stubborn() -> None:
        probe.calls.append(1)
        probe.door("stubborn runs").set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise ValueError("not so fast") from None

    @app.orchestration
    async def main() -> str:
        try:
            await stubborn()
        except ValueError as exc:
            return str(exc)
        return "ended"

    result, _ = await cancel_running(app, virtual_store(), probe, main, "stubborn")
    assert result == "not so fast"
    assert len(probe.calls) == 1


async def test_a_thread_hears_through_check_cancelled(store: Store) -> None:
    """A plain function sees the cancellation through `check_cancelled`, and what it returns then counts."""
    app, probe, heard = trioflow.App("threads"), Probe(), threading.Event()

    @app.activity
    def work() -> str:
        trio.from_thread.run_sync(probe.door("work runs").set)
        while True:
            try:
                trio.from_thread.check_cancelled()
            except trio.Cancelled:
                heard.set()
                return "half a result"

    @app.orchestration
    async def main() -> str:
        return await work()

    result, history = await cancel_running(app, store, probe, main, "work")
    assert result == "half a result"
    assert heard.is_set()
    assert "ActivityCompleted" in shape(history)


async def test_a_thread_that_lets_cancelled_through_is_cancelled(store: Store) -> None:
    """Cancelled out of a thread ends the activity as cancelled."""
    app, probe = trioflow.App("threads"), Probe()

    @app.activity
    def work() -> None:
        trio.from_thread.run_sync(probe.door("work runs").set)
        while True:
            trio.from_thread.check_cancelled()

    @app.orchestration
    async def main() -> None:
        await work()

    result, _ = await cancel_running(app, store, probe, main, "work")
    assert isinstance(result, trioflow.OrchestrationCancelled)


async def test_a_thread_hears_through_its_heartbeat(store: Store) -> None:
    """A plain function that notes how far it has come needs nothing else to hear."""
    app, probe = trioflow.App("threads"), Probe()

    @app.activity
    def work() -> None:
        trio.from_thread.run_sync(probe.door("work runs").set)
        for done in itertools.count():
            activity.heartbeat(done)

    @app.orchestration
    async def main() -> None:
        await work()

    result, history = await cancel_running(app, store, probe, main, "work")
    assert isinstance(result, trioflow.OrchestrationCancelled)
    assert [event.how for event in history if isinstance(event, ActivityCancelled)] == ["ended"]


async def test_a_heartbeat_of_an_async_body_is_no_checkpoint(store: Store) -> None:
    """It raises nothing: the body hears at its next checkpoint."""
    app, probe = trioflow.App("hearts"), Probe()

    @app.activity
    async def work() -> None:
        probe.door("work runs").set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            activity.heartbeat("cleaning up")
            probe.calls.append((exc.source, exc.reason))
            raise

    @app.orchestration
    async def main() -> None:
        await work()

    await cancel_running(app, store, probe, main, "work")
    assert probe.calls == [("explicit", "its orchestration asked for its end")]


async def test_a_cancelled_nursery_leaves_nothing_running(store: Store) -> None:
    """When one branch fails, its siblings' activities have ended before the nursery block is left."""
    app, probe = trioflow.App("nursery"), Probe()

    @app.activity
    async def forever(name: str) -> None:
        probe.calls.append(f"{name} runs")
        if len(probe.calls) == 2:
            probe.door("both run").set()
        try:
            await trio.sleep_forever()
        finally:
            probe.calls.append(f"{name} ended")

    @app.activity
    async def fail() -> None:
        await probe.door("both run").wait()
        raise ValueError("one fails")

    @app.activity
    async def after() -> None:
        probe.calls.append("after")

    @app.orchestration
    async def main() -> str:
        try:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(forever, "a")
                nursery.start_soon(forever, "b")
                nursery.start_soon(fail)
        except* ValueError:
            pass
        await after()
        return "done"

    async with running(app, store) as client:
        assert await (await client.start(main)).result(timeout=20) == "done"
    assert sorted(probe.calls[2:4]) == ["a ended", "b ended"]
    assert probe.calls[4:] == ["after"]


async def test_a_cancelled_parent_waits_for_its_child(store: Store) -> None:
    """A child is asked to unwind, does so durably, and only then its parent ends."""
    app, probe = trioflow.App("family"), Probe()

    @app.activity
    async def tidy() -> None:
        probe.calls.append("tidied")

    @app.orchestration
    async def child() -> None:
        try:
            await durable.wait_event("never")
        finally:
            with durable.CancelScope(shield=True):
                await tidy()

    @app.orchestration
    async def parent() -> None:
        await child.options(id="the-child")()

    async with running(app, store) as client:
        handle = await client.start(parent)
        while True:
            try:
                if (await client.get("the-child")).state is trioflow.State.WAITING:
                    break
            except trioflow.InstanceNotFound:
                pass
            await trio.lowlevel.checkpoint()
        await handle.cancel("stop")
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result(timeout=20)
        assert probe.calls == ["tidied"]
        assert (await client.get("the-child")).state is trioflow.State.CANCELLED


async def test_terminate_ends_activities_and_children(app: trioflow.App, store: Store, probe: Probe) -> None:
    """Termination runs no user code; the running activity is cancelled, the child terminated."""

    @app.orchestration
    async def parent_of_hanging() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(find(app, "hanging").options(id="child"), "x")
            nursery.start_soon(find(app, "hang"), "y")

    async with running(app, store) as client:
        handle = await client.start(parent_of_hanging)
        await probe.door("x runs").wait()
        await probe.door("y runs").wait()
        await handle.terminate("out of budget")
        with pytest.raises(trioflow.OrchestrationTerminated, match="out of budget"):
            await handle.result(timeout=20)
        with pytest.raises(trioflow.OrchestrationTerminated, match="out of budget"):
            await client.handle("child").result(timeout=20)
        await probe.door("x cancelled").wait()
        await probe.door("y cancelled").wait()


class SlowToTell(FaultyStore):
    """A store whose answers about taken activities are on their way for a while."""

    async def lock_activities(self, request: LockActivities) -> LockedActivities:
        """Take now, tell later."""
        answer = await super().lock_activities(request)
        if answer.activities:
            await trio.sleep(1)
        return answer


async def test_what_is_cancelled_while_it_is_being_taken_hears_of_it(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """An activity that was leased to us and cancelled before we knew of it is cancelled as soon as it begins."""
    async with running(app, SlowToTell(virtual_store()), born_leased=False) as client:
        handle = await client.start(find(app, "hanging"), "x")
        while "ActivityScheduled" not in shape(await handle.history()):
            await trio.sleep(0.01)
        await trio.sleep(0.1)
        began = trio.current_time()
        await handle.cancel()
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result()
        assert trio.current_time() - began < 2


async def test_a_cancelled_branch_may_go_on_at_once(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """With `on_cancel="request"` the body is asked to end and nobody waits; with "abandon" it runs on."""

    @app.orchestration
    async def both() -> float:
        begun = durable.current_time()
        with durable.move_on_after(5):
            async with durable.open_nursery() as nursery:
                nursery.start_soon(find(app, "hang").options(on_cancel="request"), "asked")
                nursery.start_soon(find(app, "hang").options(on_cancel="abandon"), "left")
        return durable.current_time() - begun

    async with running(app, virtual_store(), grace=0.0) as client:
        handle = await client.start(both)
        assert await handle.result() == pytest.approx(5, abs=0.1)
        await trio.sleep(1)
        assert probe.door("asked cancelled").is_set()
        assert not probe.door("left cancelled").is_set()
