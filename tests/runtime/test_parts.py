"""The small parts, each by itself: options, slots, cache, clock, threads, logger."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import threading
from typing import Any, cast

import pytest
import trio

import trioflow
from tests.runtime.programs import EPOCH
from trioflow import activity
from trioflow._runtime._cache import OVERHEAD, LiveCache
from trioflow._runtime._clock import StoreClock
from trioflow._runtime._options import safe_until
from trioflow._runtime._presence import Presence
from trioflow._runtime._slots import Slots
from trioflow._runtime._threads import run_in_thread
from trioflow._runtime._watchdog import Watchdog
from trioflow.abc import Env, TagFilter


@pytest.mark.parametrize(
    "options",
    [
        {"worker": ""},
        {"worker": 7},
        {"worker": "w\0"},
        {"turn_concurrency": 0},
        {"turn_concurrency": 1.5},
        {"activity_concurrency": True},
        {"thread_concurrency": -1},
        {"turn_lease": 0},
        {"activity_lease": math.inf},
        {"lease_margin": "5"},
        {"max_attempts": 0},
        {"poll_interval": 0},
        {"poll_interval": math.nan},
        {"grace": -1},
        {"grace": math.inf},
        {"cache_executions": -1},
        {"cache_bytes": None},
        {"on_nondeterminism": "shrug"},
        {"slow_turn": 0},
        {"tags": "gpu"},
        {"tags": (1,)},
        {"tags": ("a", "b\0")},
        {"untagged": "no"},
        {"fuse": None},
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    """Each option says what it takes."""
    with pytest.raises(trioflow.ConfigurationError, match=next(iter(options))):
        trioflow.RuntimeOptions(**options)


def test_options_answer_questions() -> None:
    """Tags, polling, pauses and the end of unrenewed work follow from the options."""
    default = trioflow.RuntimeOptions()
    assert default.tag_filter == TagFilter(untagged=True, tags=("trioflow:any-worker",))
    assert trioflow.RuntimeOptions(tags=None).tag_filter == TagFilter(untagged=True, tags=None)
    assert (default.takes(None), default.takes("gpu")) == (True, False)
    assert trioflow.RuntimeOptions(tags=None, untagged=False).takes("gpu")
    assert trioflow.RuntimeOptions(tags=("gpu",)).takes("gpu")
    assert default.poll == 5.0
    assert trioflow.RuntimeOptions(poll_interval=math.inf).poll == math.inf
    assert [default.unknown_pause(fetches) for fetches in (1, 2, 3, 7, 999)] == [1, 2, 4, 60, 60]
    assert safe_until(30) == 29
    assert safe_until(1) == pytest.approx(0.9)


def test_what_runs_is_counted() -> None:
    """An execution has activities here from the first that begins to the last that ends."""
    presence, one, two = Presence(), ("a", 1), ("a", 2)
    presence.began(one)
    presence.began(one)
    presence.ended(one)
    assert (presence.runs(one), one in presence, presence.runs(two), two in presence) == (True, True, False, False)
    presence.ended(one)
    assert (presence.runs(one), one in presence) == (False, False)


def test_what_waits_for_room_is_counted() -> None:
    """No more than can wait at all, until it is taken or nothing is left; who never had any is not counted."""
    presence, one, two = Presence(), ("a", 1), ("a", 2)
    presence.began(one)
    presence.expect(one, 5, 9)
    presence.expect(one, 5, 9)  # one of nine runs
    presence.ended(one)
    presence.expect(two, 1, 9)
    presence.took(("b", 1))
    for _ in range(7):
        presence.took(one)
    presence.took(two)
    assert (one in presence, presence.runs(one), two in presence) == (True, False, False)
    presence.expect(one, 0, 0)
    assert one not in presence


def test_what_a_look_did_not_find_is_forgotten() -> None:
    """But not what has come since."""
    presence, one = Presence(), ("a", 1)
    presence.look()
    presence.expect(one, 2, 2)
    assert presence.forget() == ()
    presence.look()
    assert presence.forget() == (one,)
    assert presence.forget() == ()
    assert one not in presence


async def test_slots_are_waited_for() -> None:
    """Whoever must may take more than there is; whoever waits gets a place when one is really free."""
    slots = Slots(2)
    await slots.wait_free()
    slots.take(3)
    assert (str(slots), slots.free) == ("3/2", 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slots.wait_free)
        await trio.testing.wait_all_tasks_blocked()
        slots.give()
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        slots.give()
    assert slots.free == 1


class Live:
    """What the cache knows of a live execution."""

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.closed = False

    def close(self) -> None:
        """Noted."""
        self.closed = True


def test_the_cache_gives_back_only_what_stands_exactly_there() -> None:
    """By instance, execution and revision, or not at all; what is stale is closed."""
    cache, live = LiveCache(10, 1_000_000, Watchdog(None)), Live()
    cache.put("a", 1, 5, cast(Any, live))
    assert cache.take("b", 1, 5) is None
    assert cache.take("a", 1, 6) is None
    assert live.closed
    again = Live()
    cache.put("a", 1, 6, cast(Any, Live()))
    cache.put("a", 1, 7, cast(Any, again))
    assert cache.take("a", 1, 7) is cast(Any, again)
    assert (len(cache), cache.hits, cache.misses) == (0, 1, 2)


def test_the_cache_is_bounded_by_number_and_by_bytes() -> None:
    """The one used least recently goes first, closed; what is too large for it does not stay."""
    lives = [Live() for _ in range(4)]
    cache = LiveCache(3, 1_000_000, Watchdog(None))
    for number, live in enumerate(lives):
        cache.put(f"i{number}", 1, 1, cast(Any, live))
    assert [live.closed for live in lives] == [True, False, False, False]
    small = LiveCache(100, 3 * OVERHEAD, Watchdog(None))
    small.put("a", 1, 1, cast(Any, Live()))
    big = Live(10 * OVERHEAD)
    small.put("b", 1, 1, cast(Any, big))
    assert big.closed
    assert len(small) == 0
    cache.close()
    assert all(live.closed for live in lives)


async def test_the_store_clock_goes_on_from_the_last_answer(autojump_clock: trio.testing.MockClock) -> None:
    """Between answers our own clock counts; an older answer does not turn it back."""
    clock = StoreClock(Env())
    clock.heard(EPOCH)
    await trio.sleep(10)
    assert clock.now() == EPOCH + 10
    clock.heard(EPOCH + 5)
    assert clock.now() >= EPOCH + 5
    clock.heard(EPOCH - 5)
    assert clock.now() >= EPOCH + 5


# -- threads ----------------------------------------------------------------------------------------------------------


async def test_a_thread_that_never_got_its_place_is_cancelled_at_once() -> None:
    """Waiting for a free thread is cancelled like any wait."""
    limiter, release, ran = trio.CapacityLimiter(1), threading.Event(), list[int]()

    async def hold() -> None:
        await trio.to_thread.run_sync(release.wait, limiter=limiter)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0) as scope:
            await run_in_thread(lambda: ran.append(1), limiter=limiter, abandon=trio.CancelScope())
        assert scope.cancelled_caught
        release.set()
    assert not ran


async def test_what_a_thread_raises_wins_over_its_cancellation() -> None:
    """Cancelled while it ran, the function raised its own error: that is what happened."""
    started, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def fail() -> None:
        trio.from_thread.run_sync(started.set, trio_token=token)
        go_on.wait()
        raise ValueError("what happened")

    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:

                async def cancel() -> None:
                    await started.wait()
                    scope.cancel()
                    go_on.set()

                nursery.start_soon(cancel)
                await run_in_thread(fail, limiter=trio.CapacityLimiter(1), abandon=trio.CancelScope())
    assert caught.group_contains(ValueError, match="what happened")


# -- logger ----------------------------------------------------------------------------------------------------------


def test_the_activity_logger_works_outside_too(caplog: pytest.LogCaptureFixture) -> None:
    """Outside an activity it is an ordinary logger."""
    with caplog.at_level(logging.INFO, logger="trioflow.activity"):
        activity.logger.info("plain", extra={"mine": 1})
    record = caplog.records[0]
    assert getattr(record, "mine", None) == 1
    assert not hasattr(record, "attempt")


async def test_the_activity_logger_says_for_whom_it_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Records carry instance, execution, activity and attempt."""
    app = trioflow.App("logs")

    @app.activity
    async def talk() -> None:
        activity.logger.warning("hello")

    @app.orchestration
    async def main() -> None:
        await talk()

    async with trioflow.open_runtime(app, "memory:") as runtime:
        await (await runtime.client.start(main, id="me")).result(timeout=20)
    record = next(record for record in caplog.records if record.getMessage() == "hello")
    assert (record.__dict__["instance"], record.__dict__["activity"], record.__dict__["attempt"]) == ("me", "talk", 1)


async def test_without_a_runtime_there_is_no_client() -> None:
    """In `run_durable` an activity has no client to ask, and is told so."""
    app = trioflow.App("alone")

    @app.activity
    async def ask() -> str:
        try:
            activity.client()
        except trioflow.NotInOrchestration as exc:
            return str(exc)
        return "a client"

    @app.orchestration
    async def main() -> str:
        return await ask()

    assert "without a runtime" in await trioflow.testing.run_durable(main)


FORK = """
import os
from trioflow.abc import Env
env = Env()
given = [env.token() for _ in range(1_000)]
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    given = []
print(*given, *(env.token() for _ in range(300)), flush=True)
os._exit(0)
"""


def test_tokens_are_never_given_twice_also_to_a_forked_process() -> None:
    """They are drawn many at once; what was drawn before a fork is not given on both sides of it."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)
    tokens = done.stdout.split()
    assert len(tokens) == len(set(tokens)) == 1_600
    assert all(len(token) == 32 and int(token, 16) >= 0 for token in tokens)
