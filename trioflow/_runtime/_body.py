"""One attempt of an activity: its body in a cancel scope, from recorded arguments to a recorded result.

Laws: whatever happens, it ends in one of three ways: it returned, it raised, or it was stopped; a body that was asked
to end and returned all the same has returned, unless its time was over: then it has timed out, whatever it did. What
was asked to end before it began is not called. Only what is nobody's failure goes through: KeyboardInterrupt,
SystemExit, a cancellation from outside.

Must never know: stores, leases. Who calls it: `_activities.py`, `testing.run_durable`. Read next: `_verdicts.py`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import attrs
import trio

from trioflow._runtime._crew import Within
from trioflow._runtime._fatal import goes_through
from trioflow._runtime._threads import run_in_thread
from trioflow._runtime._troubles import log
from trioflow.abc import ActivityLock, Attempt as AttemptFact, Env, LockedActivity
from trioflow.activity._context import ActivityInfo, current
from trioflow.app import ActivityDefinition, ActivityOptions, App
from trioflow.errors import PayloadError
from trioflow.history import Category, PayloadCodec

Why = Literal["cancelled", "timed out", "silent", "lost", "stopping"]
"""Why a body was stopped."""

SAID: Final[dict[Why, str]] = {
    "cancelled": "its orchestration asked for its end",
    "timed out": "its time is over",
    "silent": "it sent no heartbeat in time",
    "lost": "its lease is lost: another worker may run it",
    "stopping": "the runtime that runs it stops",
}
"""The reason of the `trio.Cancelled` that a body sees."""

NOTHING: Any = object()
"""The result of a body that has not returned."""

HEARING: Final = 0.1
"""Seconds after its timeout in which a thread that listens may still end by itself; then it is left behind."""


@attrs.frozen
class Returned:
    """The body returned; the result, encoded."""

    payload: bytes


@attrs.frozen
class Raised:
    """The body raised, or could not be called, or its result cannot be recorded."""

    error: BaseException
    category: Category = Category.APPLICATION
    retryable: bool = True


@attrs.frozen
class Stopped:
    """The body ended by our cancellation, or its time was over."""

    why: Why
    ran: bool = True  # False: it was never called


Ending = Returned | Raised | Stopped


@attrs.define(eq=False)
class Attempt:
    """One attempt while it lasts. `why` is set before its scope is cancelled, so an ended attempt knows its reason."""

    item: LockedActivity
    options: ActivityOptions
    born: bool = False  # began where it was asked for, with the commit that asked
    lock: ActivityLock = attrs.field(init=False)  # its lease
    token: str = attrs.field(init=False)  # its lock's
    scope: Within | None = None  # around the body, from its begin to its end
    abandon: trio.CancelScope | None = None  # of a body in a thread; cancelled: the thread is left behind
    safe_until: float = math.inf  # before its lease ends, on `Env.monotonic`
    timeout_at: float = math.inf  # on `Env.monotonic`
    why: Why | None = None
    heartbeat: bytes | None = None  # noted and not yet kept
    on_heartbeat: Callable[[], None] = lambda: None  # told of each, in the thread that sends it
    silent: bool = False  # it has sent none for as long as it may, and so has no time left
    ended: bool = False  # the body has ended
    ended_at: float | None = None  # by the store's clock, for instruments
    fact: AttemptFact | None = None  # what instruments are told of it, until they are told of its end

    def __attrs_post_init__(self) -> None:
        self.lock = self.item.lock
        self.token = self.lock.token

    def end(self, why: Why) -> None:
        """Cancel the body, for this reason; the first reason counts."""
        if self.why is None:
            self.why = why
        if self.scope is not None:
            self.scope.cancel(SAID[self.why])

    def note(self, details: bytes) -> None:
        """Keep a heartbeat."""
        self.heartbeat = details
        self.on_heartbeat()

    def fall_silent(self, now: float) -> None:
        """It has sent no heartbeat in time: its time is over."""
        self.silent = True
        self.timeout_at = min(self.timeout_at, now)
        if self.abandon is not None:
            self.abandon.deadline = self.timeout_at + HEARING
        self.end("silent")

    # -- as something leased

    def extended(self, until: float) -> None:
        """The body may run until then, by our own clock; whoever keeps the lease ends it."""
        self.safe_until = until

    def lost(self) -> None:
        """Somebody else may run it now: stop."""
        self.end("lost")

    def cancel_asked(self) -> None:
        """The orchestration asked for its end."""
        self.end("cancelled")


def attempt_timeout(options: ActivityOptions, elapsed: float) -> float:
    """Seconds that one attempt may take, `elapsed` seconds after it was scheduled; infinite if nothing limits it."""
    retry = options.retry
    limits = [math.inf if seconds is None else seconds for seconds in (options.timeout, retry.timeout)]
    if retry.total_timeout is not None:
        limits.append(max(retry.total_timeout - elapsed, 0.0))
    return min(limits)


async def run_body(
    attempt: Attempt,
    definition: ActivityDefinition[..., Any],
    app: App,
    env: Env,
    limiter: trio.CapacityLimiter,
    within: Within,
    client: Any = None,
) -> Ending:
    """Call the activity's function and say how that ended."""
    item, codec = attempt.item, app.codec
    try:
        args, kwargs = codec.decode_arguments(
            definition.spec, item.payload, what=f"the arguments of activity {item.name!r}"
        )
        around = _surroundings(attempt, codec, env, client)
    except PayloadError as exc:
        return Raised(exc, Category.CONFIGURATION, retryable=False)
    if attempt.why is not None or min(attempt.safe_until, attempt.timeout_at) <= env.monotonic():
        return Stopped(_why(attempt, env), ran=False)
    call = definition.fn if definition.is_async else _in_thread(attempt, definition, limiter)
    current.set(around)  # in this attempt's own context
    attempt.scope, result = within, NOTHING
    if attempt.timeout_at < math.inf:
        within.end_at(attempt.timeout_at)
    try:
        with within:
            env.reached("activity.before_body")
            result = await call(*args, **kwargs)
    except BaseException as exc:
        if goes_through(exc):
            raise
        return Stopped(_over(attempt)) if _too_late(attempt, env) else Raised(exc)
    finally:
        attempt.scope = None
        if within.worn:
            await within.tidy()
    env.reached("activity.after_body")
    if result is NOTHING:
        return Stopped(_why(attempt, env))
    if _too_late(attempt, env):
        return Stopped(_over(attempt))
    try:
        return Returned(codec.encode(result, definition.spec.returns, what=f"the result of activity {item.name!r}"))
    except PayloadError as exc:
        return Raised(exc, Category.CONFIGURATION, retryable=False)


def _in_thread(
    attempt: Attempt, definition: ActivityDefinition[..., Any], limiter: trio.CapacityLimiter
) -> Callable[..., Awaitable[Any]]:
    """A plain function as an async one."""
    abandon = attempt.abandon = trio.CancelScope(deadline=attempt.timeout_at + HEARING)

    def call(*args: Any, **kwargs: Any) -> Awaitable[Any]:
        fn: Callable[[], Any] = functools.partial(definition.fn, *args, **kwargs)
        return run_in_thread(fn, limiter=limiter, abandon=abandon)

    return call


def _too_late(attempt: Attempt, env: Env) -> bool:
    """The time for this attempt is over: what it did since does not count."""
    return attempt.timeout_at < math.inf and env.monotonic() >= attempt.timeout_at


def _over(attempt: Attempt) -> Why:
    """Which time is over."""
    return "silent" if attempt.silent else "timed out"


def _why(attempt: Attempt, env: Env) -> Why:
    """The scope was cancelled by somebody who said why, or by its deadline."""
    if attempt.why is None:
        attempt.why = _over(attempt) if _too_late(attempt, env) else "lost"
    if attempt.abandon is not None and attempt.abandon.cancelled_caught and attempt.why != "lost":
        log.warning(
            "activity %s of instance %s does not end although its timeout has passed; its thread is abandoned",
            attempt.item.name,
            attempt.lock.instance,
        )
        return _over(attempt)  # also if its end had been asked for: it has not ended
    return attempt.why


@attrs.define(eq=False)
class _Around:
    """What a body may ask for; each has one and few ask, so what it tells is made when it is asked."""

    _attempt: Attempt
    codec: PayloadCodec
    client: Any
    _deadline: float | None
    _last_heartbeat: Any

    def info(self) -> ActivityInfo:
        """Who asks."""
        item = self._attempt.item
        return ActivityInfo(
            instance=item.lock.instance,
            execution=item.lock.execution,
            event_id=item.lock.event_id,
            name=item.name,
            attempt=item.attempt,
            tag=item.tag,
            session=item.session,
            deadline=self._deadline,
            heartbeat_timeout=self._attempt.options.heartbeat_timeout,
            last_heartbeat=self._last_heartbeat,
        )

    def note(self, details: bytes) -> None:
        """Keep a heartbeat."""
        self._attempt.note(details)


def _surroundings(attempt: Attempt, codec: PayloadCodec, env: Env, client: Any) -> _Around:
    heartbeat = attempt.item.heartbeat
    last = None if heartbeat is None else codec.decode(heartbeat, what="a heartbeat")
    left = attempt.timeout_at - env.monotonic() if attempt.timeout_at < math.inf else None
    return _Around(attempt, codec, client, None if left is None else env.now() + left, last)
