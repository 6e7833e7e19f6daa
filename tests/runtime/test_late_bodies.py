"""Bodies that do not end when they should: their time is over all the same; and bodies that are not to begin at all."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, running, virtual_store
from trioflow import Retry, durable
from trioflow._runtime._body import Attempt, Ending, Raised, Returned, Stopped, run_body
from trioflow._runtime._crew import Within
from trioflow._runtime._verdicts import Answered, decide
from trioflow.abc import ActivityLock, Env, LockedActivity, Store
from trioflow.app import ActivityOptions
from trioflow.history import ActivityCancelled

ONCE = Retry(max_attempts=1)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_thread_that_does_not_listen_is_left_behind(
    store: Store, probe: Probe, cancelled: bool, caplog: pytest.LogCaptureFixture, mock_clock: trio.testing.MockClock
) -> None:
    """At its timeout, whether its end was asked for or not, the activity has timed out while its thread still runs."""
    app, door = trioflow.App("deaf"), threading.Event()

    @app.activity(retry=ONCE, timeout=0.2)
    def deaf() -> str:
        trio.from_thread.run_sync(probe.door("runs").set)
        door.wait(600)
        return "late"

    @app.orchestration
    async def main() -> str:
        try:
            return await deaf()
        except trioflow.ActivityTimedOut as exc:
            return exc.message

    try:
        async with running(app, store) as client:
            handle = await client.start(main)
            await probe.door("runs").wait()
            if cancelled:
                await handle.cancel()
            mock_clock.rate = 1.0  # however long all this took
            assert await handle.result(timeout=60) == "activity 'deaf' took longer than 0.2 s"
            assert not door.is_set()
    finally:
        door.set()
    assert "activity deaf of instance" in caplog.text
    assert "is abandoned" in caplog.text


async def test_a_thread_that_listens_is_not_left_behind(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that hears of its timeout has ended before the activity has timed out, and nobody warns."""
    monkeypatch.setattr("trioflow._runtime._body.HEARING", 60.0)  # however late this machine lets it begin, or hear
    app, ended = trioflow.App("attentive"), list[str]()

    @app.activity(retry=ONCE, timeout=0.1)
    def attentive() -> str:
        try:
            while True:
                trio.from_thread.check_cancelled()
        except trio.Cancelled:
            ended.append("ended")
            return "half"

    @app.orchestration
    async def main() -> list[str]:
        try:
            return [await attentive()]
        except trioflow.ActivityTimedOut:
            return ["timed out"]

    async with running(app, store) as client:
        assert await (await client.start(main)).result(timeout=20) == ["timed out"]
        assert ended == ["ended"]
    assert "abandoned" not in caplog.text


@pytest.mark.parametrize("raises", [False, True])
async def test_a_shielded_body_has_timed_out(raises: bool, autojump_clock: trio.testing.MockClock) -> None:
    """A body that shields itself is waited for; the value or the error that comes too late does not count."""
    app = trioflow.App("shielded")

    @app.activity(retry=ONCE, timeout=1)
    async def shielded() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        if raises:
            raise ValueError("late")
        return "late"

    @app.orchestration
    async def main() -> str:
        begun = durable.current_time()
        try:
            return await shielded()
        except trioflow.ActivityTimedOut:
            return f"timed out after {durable.current_time() - begun:.0f} s"

    async with running(app, virtual_store()) as client:
        assert await (await client.start(main)).result() == "timed out after 5 s"


# -- not to begin at all


def one_activity(probe: Probe) -> tuple[trioflow.App, Any]:
    """An app with one activity that says that it was called."""
    app = trioflow.App("one")

    @app.activity
    async def work() -> str:
        probe.calls.append("work")
        return "worked"

    return app, work


def an_attempt(app: trioflow.App, work: Any) -> Attempt:
    """A first attempt of it."""
    item = LockedActivity(
        lock=ActivityLock("a", 1, 2, "token"),
        name="work",
        tag=None,
        session=None,
        attempt=1,
        failures=0,
        fetches=1,
        scheduled_at=0.0,
        heartbeat=None,
        data=b"",
        payload=app.codec.encode_arguments(work.spec, (), {}, what="arguments"),
    )
    return Attempt(item, ActivityOptions())


async def ending_of(attempt: Attempt, app: trioflow.App, work: Any) -> Ending:
    """How it ends."""
    with closing(Within()) as within:
        return await run_body(attempt, work, app, Env(), trio.CapacityLimiter(1), within)


@pytest.mark.parametrize("why", ["cancelled", "stopping", "lost"])
async def test_what_is_to_end_before_it_began_is_not_called(probe: Probe, why: Any) -> None:
    """An attempt whose end was asked for first is stopped for that reason, and has not run."""
    app, work = one_activity(probe)
    attempt = an_attempt(app, work)
    attempt.end(why)
    ending = await ending_of(attempt, app, work)
    assert ending == Stopped(why, ran=False)
    assert not probe.calls
    if why == "cancelled":
        verdict = decide(attempt.item, attempt.options, ending, app, elapsed=0.0, chance=0.5, cancelled=True)
        assert verdict == Answered(ActivityCancelled(answers=2, how="never_started"))


async def test_what_has_no_time_left_is_not_called(probe: Probe, autojump_clock: trio.testing.MockClock) -> None:
    """A lease or a timeout that is over before the body begins keeps it from beginning."""
    app, work = one_activity(probe)
    for timeout_at, why in ((trio.current_time(), "timed out"), (float("inf"), "lost")):
        attempt = an_attempt(app, work)
        attempt.timeout_at = timeout_at
        attempt.extended(trio.current_time())
        assert await ending_of(attempt, app, work) == Stopped(why, ran=False)
    assert not probe.calls
    assert isinstance(await ending_of(an_attempt(app, work), app, work), Returned | Raised)
    assert probe.calls == ["work"]
