"""One attempt of an activity: its body in a cancel scope, from recorded arguments to a recorded result.

Laws: whatever happens, it ends in one of three ways: it returned, it raised, or it was stopped; a body that was asked
to end and returned all the same has returned, unless its time was over: then it has timed out, whatever it did. What
was asked to end before it began is not called. Only what is nobody's failure goes through: KeyboardInterrupt,
SystemExit, a cancellation from outside.

Must never know: stores, leases. Who calls it: `_activities.py`, `testing.run_durable`. Read next: `_verdicts.py`.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import attrs
import trio

from trioflow._runtime._fatal import goes_through
from trioflow._runtime._leftovers import end_nurseries
from trioflow._runtime._threads import run_in_thread
from trioflow._runtime._troubles import log
from trioflow.abc import ActivityLock, Env, LockedActivity
from trioflow.activity._context import ActivityInfo, Surroundings, current
from trioflow.app import ActivityDefinition, ActivityOptions, App
from trioflow.errors import PayloadError
from trioflow.history import Category

Why = Literal["cancelled", "timed out", "silent", "lost", "stopping"]
"""Why a body was stopped."""

SAID: Final[dict[Why, str]] = {
    "cancelled": "its orchestration asked for its end",
    "timed out": "its time is over",
    "silent": "its last heartbeat is too long ago",
    "lost": "its lease is lost: another worker may run it",
    "stopping": "the runtime that runs it stops",
}
"""The reason of the `trio.Cancelled` that a body sees."""

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
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    abandon: trio.CancelScope = attrs.field(factory=trio.CancelScope)  # cancelled: its thread is left behind
    # On `Env.monotonic`: its scope ends at the earliest of these.
    lease_until: float = math.inf
    timeout_at: float = math.inf
    silent_at: float = math.inf  # moved by each heartbeat
    _pulse: Callable[[], None] | None = None  # moves it; callable in any thread
    why: Why | None = None
    heartbeat: bytes | None = None  # noted and not yet kept
    ended: bool = False  # the body has ended

    @property
    def lock(self) -> ActivityLock:
        """Its lease."""
        return self.item.lock

    @property
    def token(self) -> str:
        """Its lock's token."""
        return self.item.lock.token

    def end(self, why: Why) -> None:
        """Cancel the body, for this reason; the first reason counts."""
        if self.why is None:
            self.why = why
        self.scope.cancel(SAID[self.why])

    def note(self, details: bytes) -> None:
        """Keep a heartbeat. May be called in any thread."""
        self.heartbeat = details
        if self._pulse is not None:
            self._pulse()

    # -- its time

    @property
    def over_at(self) -> float:
        """When its own time is over, whoever holds the lease."""
        return min(self.timeout_at, self.silent_at)

    def begin(self, env: Env, elapsed: float) -> None:
        """Its time runs from now; it was scheduled `elapsed` seconds ago."""
        self.timeout_at = env.monotonic() + attempt_timeout(self.options, elapsed)
        patience = self.options.heartbeat_timeout
        if patience is None:
            return
        heard = functools.partial(self._heard, env, patience)
        soon = trio.lowlevel.current_trio_token().run_sync_soon

        def pulse() -> None:
            try:
                soon(heard, idempotent=True)
            except trio.RunFinishedError:
                pass  # a thread that was left behind

        self._pulse = pulse
        heard()

    def _heard(self, env: Env, patience: float) -> None:
        if not self.scope.cancel_called:  # else it comes too late
            self.silent_at = env.monotonic() + patience
            self.limit()

    def limit(self) -> None:
        """End the body in time, and leave it behind if it is a thread that does not end then."""
        self.scope.deadline = min(self.lease_until, self.over_at)
        self.abandon.deadline = self.over_at + HEARING

    # -- as something leased

    def extended(self, until: float) -> None:
        """End the body by our own clock before the lease runs out."""
        self.lease_until = until
        self.scope.deadline = min(until, self.over_at)

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
    client: object = None,
) -> Ending:
    """Call the activity's function and say how that ended."""
    item, codec = attempt.item, app.codec
    try:
        args, kwargs = codec.decode_arguments(
            definition.spec, item.payload, what=f"the arguments of activity {item.name!r}"
        )
        around = Surroundings(info=_info(attempt, app, env), codec=codec, note=attempt.note, client=client)
    except PayloadError as exc:
        return Raised(exc, Category.CONFIGURATION, retryable=False)
    if attempt.why is not None or attempt.scope.cancel_called:
        return Stopped(_why(attempt, env), ran=False)
    attempt.limit()
    call = _call(definition, args, kwargs, limiter, attempt.abandon)
    current.set(around)  # in this attempt's own task
    task, results = trio.lowlevel.current_task(), list[Any]()
    around_it = len(task.child_nurseries)
    try:
        with attempt.scope:
            env.reached("activity.before_body")
            results.append(await call())
    except BaseException as exc:
        if goes_through(exc):
            raise
        return Stopped(_over(attempt)) if _too_late(attempt, env) else Raised(exc)
    finally:
        if len(task.child_nurseries) > around_it:
            await end_nurseries(task, around_it)
    env.reached("activity.after_body")
    if not results:
        return Stopped(_why(attempt, env))
    if _too_late(attempt, env):
        return Stopped(_over(attempt))
    try:
        what = f"the result of activity {item.name!r}"
        return Returned(codec.encode(results[0], definition.spec.returns, what=what))
    except PayloadError as exc:
        return Raised(exc, Category.CONFIGURATION, retryable=False)


def _call(
    definition: ActivityDefinition[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    limiter: trio.CapacityLimiter,
    abandon: trio.CancelScope,
) -> Callable[[], Awaitable[Any]]:
    fn: Any = definition.fn
    if inspect.iscoroutinefunction(fn):
        return functools.partial(fn, *args, **kwargs)
    return functools.partial(run_in_thread, functools.partial(fn, *args, **kwargs), limiter=limiter, abandon=abandon)


def _too_late(attempt: Attempt, env: Env) -> bool:
    """The time for this attempt is over: what it did since does not count."""
    return env.monotonic() >= attempt.over_at


def _over(attempt: Attempt) -> Why:
    """Which of its times is over."""
    return "silent" if attempt.silent_at < attempt.timeout_at else "timed out"


def _why(attempt: Attempt, env: Env) -> Why:
    """The scope was cancelled by somebody who said why, or by its deadline."""
    if attempt.why is None:
        attempt.why = _over(attempt) if _too_late(attempt, env) else "lost"
    if attempt.abandon.cancelled_caught and attempt.why != "lost":
        log.warning(
            "activity %s of instance %s does not end although its timeout has passed; its thread is abandoned",
            attempt.item.name,
            attempt.lock.instance,
        )
        return _over(attempt)  # also if its end had been asked for: it has not ended
    return attempt.why


def _info(attempt: Attempt, app: App, env: Env) -> ActivityInfo:
    item = attempt.item
    left = attempt.timeout_at - env.monotonic() if attempt.timeout_at < math.inf else None
    return ActivityInfo(
        instance=item.lock.instance,
        execution=item.lock.execution,
        event_id=item.lock.event_id,
        name=item.name,
        attempt=item.attempt,
        tag=item.tag,
        session=item.session,
        deadline=None if left is None else env.now() + left,
        last_heartbeat=None if item.heartbeat is None else app.codec.decode(item.heartbeat, what="a heartbeat"),
    )
