"""What is to become of an activity after an attempt: pure decisions.

Laws: an attempt ends in an answer to the orchestration, another attempt, a give-back, or nothing because somebody else
has it; after a cancellation was asked for there is no other attempt; what no retry can mend is not retried.

Who calls it: `_activities.py`, `testing.run_durable`. Read next: `_activities.py`.
"""

from __future__ import annotations

import attrs

from trioflow._runtime._body import Ending, Raised, Returned, Stopped
from trioflow._runtime._turns import never_begun
from trioflow.abc import LockedActivity
from trioflow.app import TIMED_OUT, ActivityOptions, App
from trioflow.errors import ActivityTimedOut, OperationFailed, UnregisteredError
from trioflow.history import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    Answer,
    Category,
    Failure,
)


@attrs.frozen
class Answered:
    """It is done; this tells the orchestration."""

    event: Answer


@attrs.frozen
class Again:
    """Another attempt, after so many seconds, since this one failed."""

    delay: float
    failure: Failure


@attrs.frozen
class GiveBack:
    """Not run, or not to its end: another worker may. `clean`: as if not taken. `leave`: its session goes, too."""

    delay: float = 0.0
    clean: bool = True
    leave: bool = False


@attrs.frozen
class Nothing:
    """The lease is gone, and with it our say."""


Verdict = Answered | Again | GiveBack | Nothing


def _failed(item: LockedActivity, failure: Failure) -> Answered:
    return Answered(ActivityFailed(answers=item.lock.event_id, failure=failure))


def poisoned(item: LockedActivity, max_attempts: int) -> Answered:
    """It was taken many times and never came to an end."""
    message = f"activity {item.name!r} was started {max_attempts} times and never ended: its workers died under it"
    return _failed(
        item,
        Failure(
            type="trioflow.ActivityPoisoned",
            message=message,
            category=Category.POISON,
            retryable=False,
            attempts=item.attempt - 1,
        ),
    )


def unknown(item: LockedActivity, error: UnregisteredError, pause: float, max_attempts: int) -> Verdict:
    """Nobody here knows an activity of that name: perhaps another worker does; at last it fails."""
    if item.fetches <= max_attempts:
        return GiveBack(pause, clean=False, leave=True)
    return _failed(
        item,
        Failure(
            type="trioflow.UnregisteredError",
            message=f"no worker knows it: {error}",
            category=Category.CONFIGURATION,
            retryable=False,
            attempts=item.attempt,
        ),
    )


def unreadable(item: LockedActivity, error: Exception, app: App) -> Answered:
    """Its options or arguments cannot be read here."""
    failure = app.failures.to_failure(
        error, category=Category.CONFIGURATION, retryable=False, attempts=item.failures + 1
    )
    return _failed(item, failure)


def too_late(item: LockedActivity, options: ActivityOptions, elapsed: float) -> Answered | None:
    """It was not taken in time, so it is not begun."""
    limit, total = options.schedule_timeout, options.retry.total_timeout
    if limit is not None and not item.failures and item.attempt == 1 and elapsed > limit:
        return Answered(never_begun(item.lock.event_id, item.name, limit))
    if total is not None and elapsed >= total:
        return _failed(item, _timed_out(f"activity {item.name!r} did not end within {total:g} s in all", item.failures))
    return None


def completed(item: LockedActivity, ending: Returned) -> Answered:
    """It has come to its end: there is nothing to weigh."""
    return Answered(ActivityCompleted(answers=item.lock.event_id, payload=ending.payload))


def decide(
    item: LockedActivity,
    options: ActivityOptions,
    ending: Ending,
    app: App,
    *,
    elapsed: float,
    chance: float,
    cancelled: bool,
    with_traceback: bool = False,
) -> Verdict:
    """What follows from the end of an attempt.

    Args:
        item: what was attempted.
        options: how it was to be run.
        ending: how the attempt ended.
        app: describes exceptions.
        elapsed: seconds since the activity was scheduled.
        chance: a random number in [0, 1), for jitter.
        cancelled: whether its end had been asked for.
        with_traceback: keep the traceback.
    """
    answers, failures = item.lock.event_id, item.failures + 1
    match ending:
        case Returned():
            return completed(item, ending)
        case Stopped(why="cancelled"):
            return Answered(ActivityCancelled(answers=answers, how="ended" if ending.ran else "never_started"))
        case Stopped(why="lost"):
            return Nothing()
        case Stopped(why="stopping"):
            return GiveBack()
        case Raised():
            error = ending.error
            retryable = ending.retryable and not (isinstance(error, OperationFailed) and not error.retryable)
            failure = app.failures.to_failure(
                error,
                category=ending.category,
                attempts=failures,
                retryable=retryable,
                with_traceback=with_traceback,
            )
        case Stopped(why="silent"):
            message = f"activity {item.name!r} sent no heartbeat for {options.heartbeat_timeout:g} s"
            error, retryable, failure = ActivityTimedOut(message), True, _timed_out(message, failures)
        case _:
            message = _took_too_long(item, options, elapsed)
            error, retryable, failure = ActivityTimedOut(message), True, _timed_out(message, failures)
    if not cancelled:
        pause = options.retry.next_attempt(
            error, failures=failures, elapsed=elapsed, retryable=retryable, chance=chance
        )
        if pause is not None:
            return Again(pause, failure)
    return _failed(item, failure)


def _took_too_long(item: LockedActivity, options: ActivityOptions, elapsed: float) -> str:
    total = options.retry.total_timeout
    if total is not None and elapsed >= total:
        return f"activity {item.name!r} did not end within {total:g} s in all"
    limits = [seconds for seconds in (options.timeout, options.retry.timeout) if seconds is not None]
    return f"activity {item.name!r} took longer than {min(limits, default=elapsed):g} s"


def _timed_out(message: str, attempts: int) -> Failure:
    return Failure(type=TIMED_OUT, message=message, category=Category.INFRASTRUCTURE, attempts=attempts)
