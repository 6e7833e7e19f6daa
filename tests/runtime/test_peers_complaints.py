"""What users of other products complain of about cancellation does not happen here. One test a complaint.

Each docstring begins with the product and the complaint, in our own words.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trioflow
from tests.engine.driving import Driven
from tests.runtime.programs import Probe, running, shape, virtual_store
from trioflow import State, durable
from trioflow.abc import Store
from trioflow.history import (
    ActivityCancelled,
    ActivityCompleted,
    CancelRequested,
    OrchestrationCancelled,
)

Clock = trio.testing.MockClock
engine = trioflow.App("engine")


@engine.activity
async def step(name: str) -> str:
    """Never runs here."""
    return name


async def steps(count: int) -> None:
    """Awaits of several kinds, one after the other."""
    for number in range(count):
        await step(f"step {number}")
        await durable.lowlevel.checkpoint()
        with durable.move_on_after(1000):
            await durable.wait_event("never") if number % 2 else await step("inner")


@pytest.mark.parametrize("with_news", ["before", "behind", "alone"])
@pytest.mark.parametrize("turns", range(1, 7))
def test_a_cancel_between_two_awaits_is_not_lost(turns: int, with_news: str) -> None:
    """Temporal: a cancel that arrives between two awaits, or together with other news, may never reach the code.

    Here it is kept by the scope, whatever comes before or behind it in the same turn.
    """
    driven = Driven(steps, 5, app=engine)
    driven.start()
    for _ in range(turns - 1):
        _advance(driven)
    news = _news(driven)
    driven.turn(*{"before": [CancelRequested(), *news], "behind": [*news, CancelRequested()]}.get(with_news, []))
    if with_news == "alone":
        driven.cancel()
    if not isinstance(driven.last, OrchestrationCancelled):  # an activity in flight is waited for
        driven.turn(ActivityCancelled(answers=driven.scheduled[-1].id))
    assert isinstance(driven.last, OrchestrationCancelled)
    driven.close()


def _news(driven: Driven) -> list[Any]:
    """The answer to what the program waits for now."""
    done = [event.answers for event in driven.history if isinstance(event, ActivityCompleted)]
    return [driven.completion(event) for event in driven.scheduled if event.id not in done]


def _advance(driven: Driven) -> None:
    news = _news(driven)
    if news:
        driven.turn(*news)
    else:
        driven.turn(now=driven.now + 2000)


@pytest.mark.parametrize("first", ["cancel", "completion"])
def test_a_cancel_is_not_swallowed_by_an_activity_that_finishes(first: str) -> None:
    """Temporal: a cancel that comes together with the end of an activity disappears, and the run goes on.

    Here the value reaches the code, and the next checkpoint raises.
    """
    got: list[str] = []

    async def program() -> None:
        got.append(await step("charge"))
        await step("never asked for")

    driven = Driven(program, app=engine)
    driven.start()
    both = [CancelRequested(reason="stop"), driven.completion(driven.scheduled[0], "receipt")]
    driven.turn(*(both if first == "cancel" else reversed(both)))
    asked = 1 if first == "cancel" else 2
    assert len(driven.scheduled) == asked
    if first == "completion":  # it was asked for in the same turn, before the cancel: nobody ran it
        driven.turn(ActivityCancelled(answers=driven.scheduled[1].id, how="never_started"))
    assert isinstance(driven.last, OrchestrationCancelled)
    assert driven.last.reason == "stop"
    assert set(got) == {"receipt"}
    driven.close()


async def test_no_timer_is_left_running_by_a_cancel(store: Store) -> None:
    """Temporal: the timer of a cancelled sleep stays behind and wakes the run later.

    Here it is taken back in the same commit, and nothing is left to wake for.
    """
    app = trioflow.App("timers")

    @app.orchestration
    async def main() -> str:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(durable.sleep, 3600)
            nursery.start_soon(durable.sleep, 7200)
            await durable.wait_event("enough")
            nursery.cancel_scope.cancel()
        return str(await durable.wait_event("more"))

    async with running(app, store) as client:
        handle = await client.start(main)
        await handle.raise_event("enough")
        while "TimerCancelled" not in shape(await handle.history()):
            await trio.lowlevel.checkpoint()
        kinds = shape(await handle.history())
        assert kinds.count("TimerCreated") == kinds.count("TimerCancelled") == 2
        assert (await handle.info()).wake_at is None
        await handle.raise_event("more", "done")
        assert await handle.result(timeout=20) == "done"


async def test_a_cancel_with_an_activity_in_flight_does_not_wedge_the_run(autojump_clock: Clock) -> None:
    """Temporal: a cancel while an activity runs may leave the run stuck for ever.

    Here the branch waits for the real end of the body, even one that takes its time to clean up, and then goes on; so
    does the next worker, if the first one stops meanwhile.
    """
    app, probe, store = trioflow.App("wedge"), Probe(), virtual_store()

    @app.activity
    async def slow_to_end() -> None:
        probe.calls.append("runs")
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)

    @app.orchestration
    async def main() -> str:
        with durable.move_on_after(1):
            await slow_to_end()
        return "went on"

    async with trioflow.connect(store, app) as client:
        handle = await client.start(main)
        with trio.move_on_after(50):
            async with running(app, store, grace=0.5):
                await trio.sleep_forever()
        async with running(app, store):
            assert await handle.result(timeout=200) == "went on"
    assert probe.calls == ["runs"]


async def test_a_cancel_that_was_swallowed_comes_again(store: Store) -> None:
    """Temporal: code that swallows a cancel once can never be cancelled again.

    Here a cancelled scope raises at every checkpoint, and the instance ends.
    """
    app = trioflow.App("swallow")

    @app.orchestration
    async def main() -> int:
        swallowed = []
        while len(swallowed) < 5:
            try:
                await durable.sleep_forever()
            except durable.Cancelled as exc:
                swallowed.append(exc.reason)
        durable.set_status(swallowed)
        await durable.sleep_forever()
        return 0

    async with running(app, store) as client:
        handle = await client.start(main)
        await handle.cancel("please")
        with pytest.raises(trioflow.OrchestrationCancelled, match="please"):
            await handle.result(timeout=20)
        assert await handle.status() == ["please"] * 5


async def test_cancel_and_wait_needs_no_heartbeat(store: Store) -> None:
    """Temporal: there is no clean way to cancel an activity and wait for its end, and one that sends no heartbeat
    never hears.

    Here it is the default, and the body hears at its next await, without sending anything.
    """
    app, probe = trioflow.App("wait"), Probe()

    @app.activity
    async def body() -> None:
        probe.door("body runs").set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            probe.calls.append("body ended")

    @app.activity
    async def after() -> list[str]:
        return list(probe.calls)

    @app.orchestration
    async def main() -> list[str]:
        with durable.CancelScope() as scope:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(body)
                await durable.wait_event("enough")
                scope.cancel()
        return await after()

    async with running(app, store) as client:
        handle = await client.start(main)
        await probe.door("body runs").wait()
        await handle.raise_event("enough")
        assert await handle.result(timeout=20) == ["body ended"]


async def test_a_cancelled_scope_does_not_spin(autojump_clock: Clock) -> None:
    """Pydantic AI on Temporal: a cancel scope inside a workflow spins through thousands of turns until a detector
    fires.

    Here a cancelled branch that waits for the end of its activity costs not a single turn.
    """
    app, probe, store = trioflow.App("spin"), Probe(), virtual_store()

    @app.activity
    async def stubborn() -> None:
        probe.door("runs").set()
        with trio.CancelScope(shield=True):
            await trio.sleep(600)

    @app.orchestration
    async def main() -> str:
        with durable.move_on_after(1):
            await stubborn()
        return "done"

    async with running(app, store) as client:
        handle = await client.start(main)
        await trio.sleep(5)
        before = await client.read(handle.id)
        await trio.sleep(500)
        assert await client.read(handle.id) == before
        assert await handle.result() == "done"


async def test_cleanup_after_a_cancel_is_durable(autojump_clock: Clock) -> None:
    """DBOS: after a cancel every further step raises, so nothing can be undone.

    Here `finally` and a shield run activities, timers and children, and a worker that stops in the middle is no harm.
    """
    app, probe, store = trioflow.App("cleanup"), Probe(), virtual_store()

    @app.activity
    async def undo(what: str) -> None:
        probe.calls.append(what)

    @app.orchestration
    async def undo_rest() -> None:
        await undo("by a child")

    @app.orchestration
    async def main() -> None:
        try:
            await durable.wait_event("never")
        finally:
            with durable.CancelScope(shield=True):
                await undo("at once")
                await durable.sleep(100)
                await undo_rest()
                await durable.gather(undo("one"), undo("two"))

    async with trioflow.connect(store, app) as client:
        handle = await client.start(main)
        await handle.cancel("changed my mind")
        with trio.move_on_after(50):
            async with running(app, store):
                await trio.sleep_forever()
        async with running(app, store):
            with pytest.raises(trioflow.OrchestrationCancelled, match="changed my mind"):
                await handle.result()
    assert probe.calls[:2] == ["at once", "by a child"]
    assert sorted(probe.calls[2:]) == ["one", "two"]


@pytest.mark.parametrize("first", ["cancel", "completion"])
async def test_a_cancel_and_a_success_at_once_have_one_outcome(first: str, store: Store) -> None:
    """DBOS: a cancel that races with success may turn a finished run into a cancelled one, or the other way round.

    Here they are messages in one inbox: what comes first counts, for good.
    """
    app = trioflow.App("race")

    @app.orchestration
    async def main() -> str:
        return str(await durable.wait_event("done"))

    async with trioflow.connect(store, app) as client:
        handle = await client.start(main)
        for what in [first, *({"cancel", "completion"} - {first})]:
            await (handle.cancel("late or not") if what == "cancel" else handle.raise_event("done", "success"))
        async with running(app, store):
            if first == "completion":
                assert await handle.result(timeout=20) == "success"
            else:
                with pytest.raises(trioflow.OrchestrationCancelled):
                    await handle.result(timeout=20)
            with pytest.raises(trioflow.InstanceFinished):
                await handle.cancel()
            info = await handle.info()
        assert info.state is (State.COMPLETED if first == "completion" else State.CANCELLED)
        assert len([event for event in await handle.history() if event.ends]) == 1


async def test_activities_and_children_in_flight_are_cancelled(store: Store) -> None:
    """Durable Functions, DBOS, duroxide: cancelling ends the record of a run; what it has running goes on and costs
    money, its children live, and its own code is never asked.

    Here the code, its activities and its children are all told, and the run ends after them.
    """
    app, probe = trioflow.App("in flight"), Probe()

    @app.activity
    async def costly(name: str) -> None:
        probe.door(f"{name} runs").set()
        try:
            await trio.sleep_forever()
        finally:
            probe.calls.append(f"{name} stopped")

    @app.orchestration
    async def child() -> None:
        await costly("the child's")

    @app.orchestration
    async def main() -> None:
        try:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(costly, "its own")
                nursery.start_soon(child.options(id="child"))
        finally:
            durable.set_status("the code was asked")

    async with running(app, store) as client:
        handle = await client.start(main)
        await probe.door("its own runs").wait()
        await probe.door("the child's runs").wait()
        await handle.cancel()
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result(timeout=20)
        assert sorted(probe.calls) == ["its own stopped", "the child's stopped"]
        assert await handle.status() == "the code was asked"
        assert (await client.get("child")).state is State.CANCELLED


@pytest.mark.parametrize("what", ["backing off", "unregistered", "a tag that nobody takes"])
async def test_a_cancel_has_effect_while_an_activity_backs_off(what: str, autojump_clock: Clock) -> None:
    """Restate: a cancel has no effect while an invocation backs off between two attempts.

    Here an activity that no worker holds is removed by the cancel itself, whatever keeps it from running.
    """
    app, elsewhere, caller, probe = (*map(trioflow.App, ("here", "elsewhere", "caller")), Probe())

    @app.activity(retry=trioflow.Retry(max_attempts=9, initial=3600))
    async def flaky() -> None:
        probe.calls.append("an attempt")
        raise ConnectionError("not now")

    @elsewhere.activity
    async def unknown() -> None:
        """No worker of this test knows it."""

    caller.include(app)
    caller.include(elsewhere)

    @caller.orchestration
    async def main() -> None:
        kind = {"backing off": flaky, "unregistered": unknown, "a tag that nobody takes": flaky.options(tag="gpu")}
        await kind[what]()

    store = virtual_store()
    async with running(caller, store, untagged=False) as client, running(app, store):
        handle = await client.start(main)
        await trio.sleep(100)
        began = trio.current_time()
        await handle.cancel()
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result()
        assert trio.current_time() - began < 1
        how = [event.how for event in await handle.history() if isinstance(event, ActivityCancelled)]
        assert how == ["never_started"]
    assert len(probe.calls) == (what == "backing off")


async def test_a_thread_does_not_run_on_after_a_cancel(store: Store) -> None:
    """Hatchet: cancelled tasks that run in threads go on, unnoticed.

    Here the thread is told, and the run does not end before the thread has.
    """
    app, probe = trioflow.App("threads"), Probe()

    @app.activity
    def work() -> None:
        trio.from_thread.run_sync(probe.door("runs").set)
        try:
            while True:
                trio.from_thread.check_cancelled()
        finally:
            probe.calls.append("ended")

    @app.orchestration
    async def main() -> None:
        await work()

    async with running(app, store) as client:
        handle = await client.start(main)
        await probe.door("runs").wait()
        await handle.cancel()
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result(timeout=20)
        assert probe.calls == ["ended"]
