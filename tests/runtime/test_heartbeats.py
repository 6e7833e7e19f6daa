"""`heartbeat_timeout`: an attempt that is silent for too long has timed out; and what the next attempt is told."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, running, virtual_store
from trioflow import Retry, activity, durable
from trioflow._runtime._heartbeats import _Watch
from trioflow.abc import Env
from trioflow.history import ActivityCancelled
from trioflow.testing import run_durable

ONCE = Retry(max_attempts=1)


def watched(pauses: list[float], **options: Any) -> trioflow.App:
    """An activity that sends a heartbeat after each pause; its orchestration tells how that went and how long."""
    app = trioflow.App("watched")

    @app.activity(**{"retry": ONCE, "heartbeat_timeout": 10.0, **options})
    async def work() -> str:
        for number, pause in enumerate(pauses):
            await trio.sleep(pause)
            activity.heartbeat(number)
        return "worked"

    @app.orchestration
    async def main() -> list[Any]:
        begun = durable.current_time()
        try:
            result = await work()
        except trioflow.ActivityTimedOut as exc:
            result = exc.message
        return [result, round(durable.current_time() - begun)]

    return app


SILENT = "activity 'work' sent no heartbeat for 10 s"


@pytest.mark.parametrize(
    ("pauses", "options", "told"),
    [
        ([9.0] * 5, {}, ["worked", 45]),
        ([11.0], {}, [SILENT, 10]),
        ([9.0, 11.0], {}, [SILENT, 19]),
        ([9.0, 9.0, 100.0], {}, [SILENT, 28]),
        ([9.0, 9.0, 100.0], {"timeout": 20}, ["activity 'work' took longer than 20 s", 20]),
        ([9.0, 100.0], {"heartbeat_timeout": None}, ["worked", 109]),
        ([], {}, ["worked", 0]),
    ],
)
async def test_an_attempt_may_be_silent_for_so_long(
    pauses: list[float], options: dict[str, Any], told: list[Any], autojump_clock: trio.testing.MockClock
) -> None:
    """From its start, and from each heartbeat; the other limits hold beside it. In a runtime and in `run_durable`."""
    app = watched(pauses, **options)
    async with running(app, virtual_store()) as client:
        assert await (await client.start("main")).result() == told
    assert await run_durable(app.find_orchestration("main")) == told


async def test_it_is_retried_as_one_that_timed_out(autojump_clock: trio.testing.MockClock) -> None:
    """By its policy; the next attempt is told the details of the last heartbeat, which no renewal has kept before."""
    app, told = trioflow.App("again"), list[Any]()

    @app.activity(retry=Retry(max_attempts=3, initial=1, factor=1), heartbeat_timeout=2)
    async def work() -> None:
        info = activity.info()
        told.append((info.attempt, info.heartbeat_timeout, info.last_heartbeat))
        activity.heartbeat(f"of attempt {info.attempt}")
        await trio.sleep_forever()

    @app.orchestration
    async def main() -> str:
        try:
            await work()
        except trioflow.ActivityTimedOut as exc:
            return f"{exc.attempts} attempts"
        return "worked"

    async with running(app, virtual_store()) as client:
        assert await (await client.start(main)).result() == "3 attempts"
    assert told == [(1, 2, None), (2, 2, "of attempt 1"), (3, 2, "of attempt 2")]
    told.clear()
    assert await run_durable(main) == "3 attempts"
    assert told == [(1, 2, None), (2, 2, "of attempt 1"), (3, 2, "of attempt 2")]


async def test_who_takes_over_from_a_runtime_that_stops_is_told_the_last_heartbeat(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It was sent a moment ago, and goes with the work that is given back."""
    app, probe, store = trioflow.App("handed over"), Probe(), virtual_store()

    @app.activity
    async def work() -> Any:
        if activity.info().last_heartbeat is not None:
            return activity.info().last_heartbeat
        activity.heartbeat({"done": 7})
        probe.door("runs").set()
        return await trio.sleep_forever()

    @app.orchestration
    async def main() -> Any:
        return await work()

    async with trioflow.connect(store, app) as client:
        handle = await client.start(main)
        async with running(app, store, grace=0.0):
            await probe.door("runs").wait()
        async with running(app, store):
            assert await handle.result() == {"done": 7}


async def test_an_option_of_the_call_counts_more(autojump_clock: trio.testing.MockClock) -> None:
    """`options(heartbeat_timeout=)` changes it for one call."""
    app = watched([5.0])
    work = app.find_activity("work")

    @app.orchestration
    async def impatient() -> str:
        try:
            return str(await work.options(heartbeat_timeout=3)())
        except trioflow.ActivityTimedOut as exc:
            return exc.message

    assert await run_durable(impatient) == "activity 'work' sent no heartbeat for 3 s"


async def test_a_shielded_body_that_was_silent_has_timed_out(autojump_clock: trio.testing.MockClock) -> None:
    """Its heartbeats come too late, and so does its value."""
    app = trioflow.App("shielded")

    @app.activity(retry=ONCE, heartbeat_timeout=1)
    async def work() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
            activity.heartbeat()
        return "late"

    @app.orchestration
    async def main() -> str:
        try:
            return await work()
        except trioflow.ActivityTimedOut as exc:
            return exc.message

    async with running(app, virtual_store()) as client:
        assert await (await client.start(main)).result() == "activity 'work' sent no heartbeat for 1 s"


async def test_a_body_asked_to_end_and_then_silent_was_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    """The first reason counts, as long as it ends by it."""
    app, probe = trioflow.App("both"), Probe()

    @app.activity(heartbeat_timeout=5)
    async def work() -> None:
        try:
            probe.door("runs").set()
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(30)

    @app.orchestration
    async def main() -> None:
        await work()

    async with running(app, virtual_store()) as client:
        handle = await client.start(main)
        await probe.door("runs").wait()
        await handle.cancel()
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result()
        assert [event.how for event in await handle.history() if isinstance(event, ActivityCancelled)] == ["ended"]


# -- threads


class Going(Env):
    """Time stands still until a body has ended, and goes by itself from then on: no thread is overtaken by it."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self.clock = clock

    def reached(self, moment: str) -> None:
        if moment == "activity.after_body":
            self.clock.autojump_threshold = 0.0


def threaded(clock: trio.testing.MockClock, beats: int) -> tuple[trioflow.App, threading.Event]:
    """A plain function that sends heartbeats, nine seconds from each to the next, and then hangs until it may go on.

    Time is moved by the function itself, and by itself as soon as the function hangs.
    """
    app, door = trioflow.App("threads"), threading.Event()

    @app.activity(retry=ONCE, heartbeat_timeout=10)
    def work() -> str:
        for number in range(beats):
            trio.from_thread.run_sync(clock.jump, 9.0)
            trio.from_thread.run(trio.testing.wait_all_tasks_blocked)  # leases are renewed, and nothing has run out
            activity.heartbeat(number)
        if not door.is_set():
            trio.from_thread.run_sync(setattr, clock, "autojump_threshold", 0.0)
            door.wait(20)
        return "worked"

    @app.orchestration
    async def main() -> str:
        try:
            return await work()
        except trioflow.ActivityTimedOut as exc:
            return exc.message

    return app, door


async def test_a_thread_puts_it_off_by_its_heartbeats(mock_clock: trio.testing.MockClock) -> None:
    """Beyond what it may be silent for."""
    app, door = threaded(mock_clock, 8)
    door.set()
    async with running(app, virtual_store(), env=Going(mock_clock)) as client:
        assert await (await client.start("main")).result() == "worked"
    assert trio.current_time() >= 72


async def test_a_thread_that_is_silent_and_does_not_listen_is_left_behind(
    mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As at its timeout: it is named, its activity goes on without it, and what it says later reaches nobody."""
    app, door = threaded(mock_clock, 2)
    try:
        async with running(app, virtual_store()) as client:
            result = await (await client.start("main")).result()
            assert result == "activity 'work' sent no heartbeat for 10 s"
            assert not door.is_set()
    finally:
        door.set()
    assert "is abandoned" in caplog.text


async def test_a_heartbeat_counts_although_the_trio_thread_was_busy_meanwhile(
    probe: Probe, mock_clock: trio.testing.MockClock
) -> None:
    """A thread that speaks while something else blocks trio is heard late, and has not been silent."""
    app, blocked, spoken = trioflow.App("busy"), threading.Event(), threading.Event()

    @app.activity(retry=ONCE, heartbeat_timeout=10)
    def work() -> str:
        trio.from_thread.run_sync(probe.door("runs").set)
        blocked.wait(20)
        activity.heartbeat()
        spoken.set()
        trio.from_thread.run(trio.testing.wait_all_tasks_blocked)
        return "worked"

    @app.orchestration
    async def main() -> str:
        return await work()

    async with running(app, virtual_store(), env=Going(mock_clock)) as client:
        handle = await client.start(main)
        await probe.door("runs").wait()
        await trio.testing.wait_all_tasks_blocked()
        blocked.set()
        spoken.wait(20)
        mock_clock.jump(11)
        assert await handle.result() == "worked"


async def test_a_thread_that_was_left_behind_may_speak_when_nobody_is_left() -> None:
    """Its trio has ended meanwhile: a heartbeat goes nowhere, and breaks nothing."""

    async def token() -> trio.lowlevel.TrioToken:
        return trio.lowlevel.current_trio_token()

    attempt: Any = None
    watch = _Watch(attempt, 1.0, Env(), await trio.to_thread.run_sync(trio.run, token), 0.0)
    watch.note()
    assert watch.noted


class Passing(Env):
    """A second passes between two looks at the clock."""

    def __init__(self) -> None:
        self.looks = itertools.count(100.0)

    def monotonic(self) -> float:
        return next(self.looks)


async def test_time_that_passes_between_two_looks_breaks_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """The limit may come while the watch works out how long to sleep."""
    said: list[float] = []

    class Silent:
        fall_silent = staticmethod(said.append)

    attempt: Any = Silent()
    env = Passing()
    await _Watch(attempt, 2.0, env, trio.lowlevel.current_trio_token(), next(env.looks) + 1.5).run()
    assert said == [103.0]
