"""What the answer to an activity or a child means to the code that asked: a value, or the exception to raise.

Law: a failure comes back as its own class where that is a builtin or registered and can be rebuilt, with the whole
story as its `__cause__`; otherwise as `ActivityFailed` or `ChildFailed`. What caused the original comes behind
the story.
"""

from __future__ import annotations

from typing import Any

from trioflow._ambient import Host
from trioflow.errors import (
    ActivityFailed,
    ActivityPoisoned,
    ActivityTimedOut,
    ChildCancelled,
    ChildFailed,
    ChildTerminated,
    DecodeError,
    OperationFailed,
)
from trioflow.history import (
    ActivityCompleted,
    ActivityFailed as ActivityFailedEvent,
    Category,
    ChildCancelled as ChildCancelledEvent,
    ChildCompleted,
    ChildFailed as ChildFailedEvent,
    ChildTerminated as ChildTerminatedEvent,
    Event,
    Failure,
    What,
)

TIMED_OUT = "trioflow.ActivityTimedOut"
"""The failure type of an activity that took too long, or was not taken in time."""


def read_activity(answer: Event, host: Host, type_: Any, name: str) -> Any:
    """The value of a completed activity; raises what a failed one means."""
    if isinstance(answer, ActivityCompleted):
        return read_value(answer.payload, host, type_, ("the recorded result of activity", name))
    assert isinstance(answer, ActivityFailedEvent), answer
    failure = answer.failure
    if failure.category is Category.POISON:
        raise _operation_failed(ActivityPoisoned, "activity", name, failure, host)
    if failure.type == TIMED_OUT:
        raise _operation_failed(ActivityTimedOut, "activity", name, failure, host)
    raise rebuilt(ActivityFailed, "activity", name, failure, host)


def read_child(answer: Event, host: Host, type_: Any, name: str) -> Any:
    """The value of a completed child; raises what any other end means."""
    match answer:
        case ChildCompleted():
            return read_value(answer.payload, host, type_, ("the recorded result of child", name))
        case ChildFailedEvent():
            raise rebuilt(ChildFailed, "child", name, answer.failure, host)
        case ChildCancelledEvent():
            raise ChildCancelled(
                f"child {name!r} was cancelled: {answer.reason or 'no reason given'}", category="application"
            )
        case _:
            assert isinstance(answer, ChildTerminatedEvent), answer
            raise ChildTerminated(f"child {name!r} was terminated: {answer.reason or 'no reason given'}")


def read_value(payload: bytes, host: Host, type_: Any, what: What) -> Any:
    """A recorded value as today's type. One that does not fit cannot be answered for by the code: the turn stops."""
    try:
        return host.codec.decode(payload, type_, what=what)
    except DecodeError as exc:
        raise host.fatal(exc) from None


def rebuilt(cls: type[OperationFailed], noun: str, name: str, failure: Failure, host: Host) -> BaseException:
    """The exception to raise: the original class with the story as its cause, or the story itself."""
    story = _operation_failed(cls, noun, name, failure, host)
    original = host.failures.to_exception(failure)
    if original is None:
        return story
    BaseException.__setattr__(original, "__cause__", story)  # a frozen class would refuse it
    return original


def _operation_failed(
    cls: type[OperationFailed], noun: str, name: str, failure: Failure, host: Host
) -> OperationFailed:
    tries = f" after {failure.attempts} attempts" if failure.attempts > 1 else ""
    story = cls(
        f"{noun} {name!r} failed{tries}: {failure}",
        type=failure.type,
        message=failure.message,
        category=failure.category.value,
        retryable=failure.retryable,
        attempts=failure.attempts,
        remote_traceback=failure.traceback,
    )
    cause = host.failures.cause_of(failure)
    if cause is not None:  # else what it is raised in the handling of stays visible
        story.__cause__ = cause
    return story
