"""Our own errors tell of an exception that happened elsewhere, and are recorded as that one, hop after hop."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from trioflow.errors import (
    ActivityFailed,
    ActivityPoisoned,
    ActivityTimedOut,
    ChildFailed,
    OperationFailed,
    OrchestrationFailed,
)
from trioflow.history import Category, Failure, FailureCodec, PayloadCodec

CODEC = FailureCodec(PayloadCodec())
TIMED_OUT, POISONED = "trioflow.ActivityTimedOut", "trioflow.ActivityPoisoned"


def story(cls: type[OperationFailed] = ActivityFailed, **facts: Any) -> OperationFailed:
    """What is raised for an error of a class that nobody registered."""
    told: dict[str, Any] = {"type": "m.Unreg", "message": "u", "category": "configuration", "attempts": 3}
    told.update(retryable=False, remote_traceback="Traceback: there", **facts)
    return cls("activity 'boom' failed after 3 attempts: m.Unreg: u", **told)


UNREG = Failure(
    type="m.Unreg",
    message="u",
    category=Category.CONFIGURATION,
    attempts=3,
    retryable=False,
    traceback="Traceback: there",
)


@pytest.mark.parametrize("cls", [OperationFailed, ActivityFailed, ChildFailed, OrchestrationFailed])
def test_a_story_is_recorded_as_what_it_tells_of(cls: type[OperationFailed]) -> None:
    """Type, message, category, attempts and traceback are those of the exception that happened."""
    assert CODEC.to_failure(story(cls)) == UNREG
    assert CODEC.to_failure(story(cls), with_traceback=True) == UNREG


def test_the_caller_knows_better() -> None:
    """What it says of the category, the attempts and whether another may help is what counts."""
    failure = CODEC.to_failure(story(), category=Category.APPLICATION, attempts=5, retryable=True)
    assert (failure.type, failure.category, failure.attempts, failure.retryable) == (
        "m.Unreg",
        Category.APPLICATION,
        5,
        True,
    )


def test_a_story_in_a_group_is_recorded_so_too() -> None:
    """And one that is the cause of something else."""
    assert CODEC.to_failure(ExceptionGroup("g", [story(), KeyError("k")])).members[0] == UNREG
    wrapped = ValueError("mine")
    wrapped.__cause__ = story()
    assert CODEC.to_failure(wrapped).cause == UNREG


def test_the_chain_behind_a_story_is_kept() -> None:
    """What caused the original causes what is recorded."""
    error = story()
    error.__cause__ = KeyError("k")
    failure = CODEC.to_failure(error)
    assert failure.cause is not None
    assert failure.cause.type == "builtins.KeyError"
    assert isinstance(CODEC.cause_of(failure), KeyError)
    assert CODEC.cause_of(failure.cause) is None


def test_a_story_behind_the_exception_it_tells_of_says_where_that_was() -> None:
    """Repeating type and message would say nothing new."""
    error = ValueError("x")
    error.__cause__ = ActivityFailed("activity 'boom' failed: x", type="builtins.ValueError", message="x", attempts=2)
    failure = CODEC.to_failure(error)
    assert failure.cause == Failure(type="trioflow.ActivityFailed", message="activity 'boom' failed: x", attempts=2)


def test_a_note_on_a_story_is_kept() -> None:
    """Somebody added it on the way."""
    error = story()
    error.add_note("while packing")
    assert CODEC.to_failure(error).message == "u\nwhile packing"


def test_a_program_may_raise_them_itself() -> None:
    """Then they tell of nothing but themselves."""
    failure = CODEC.to_failure(ActivityFailed("no", category="poison", attempts=2))
    assert failure == Failure(type="trioflow.ActivityFailed", message="no", category=Category.POISON, attempts=2)
    assert CODEC.to_failure(ActivityTimedOut("slow")) == Failure(type=TIMED_OUT, message="slow")


def test_a_subclass_is_an_exception_of_its_own() -> None:
    """An application that makes one speaks for itself; a registered one comes back."""

    class Refused(ActivityFailed):
        """Somebody's own."""

    failures = FailureCodec(PayloadCodec())
    assert failures.to_failure(story(Refused)).type.endswith("Refused")
    failures.register(Refused)
    failures.register(ChildFailed)
    for cls in (Refused, ChildFailed):
        back = failures.to_exception(failures.to_failure(story(cls)))
        assert type(back) is cls
        assert vars(back) == vars(story(cls))


@pytest.mark.parametrize(("cls", "type_"), [(ActivityTimedOut, TIMED_OUT), (ActivityPoisoned, POISONED)])
def test_how_an_activity_ended_is_the_same_for_every_caller(cls: type[ActivityFailed], type_: str) -> None:
    """Through many hops, alone or in a group, a timeout stays a timeout."""
    failure = Failure(type=type_, message="slow", category=Category.INFRASTRUCTURE, attempts=2)
    for _ in range(3):
        error = CODEC.to_exception(failure)
        assert type(error) is cls
        assert (str(error), error.type, error.category, error.attempts) == ("slow", type_, "infrastructure", 2)
        assert isinstance(error, trio.TooSlowError) == (cls is ActivityTimedOut)
        assert CODEC.to_failure(error) == failure
        group = CODEC.to_exception(CODEC.to_failure(ExceptionGroup("g", [error])))
        assert isinstance(group, ExceptionGroup)
        assert type(group.exceptions[0]) is cls


class Text(str):
    """Not quite a str."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __getitem__(self, index: object) -> str:
        raise RuntimeError("no")

    __hash__ = str.__hash__


@pytest.mark.parametrize(
    "odd", [object(), None, "", b"x", "a\ud800b", Text("text")], ids=lambda odd: type(odd).__name__
)
def test_no_story_can_break_its_description(odd: Any) -> None:
    """Its attributes may hold anything, or be gone."""
    error = story()
    for name in ("type", "message", "category", "attempts", "retryable", "remote_traceback"):
        setattr(error, name, odd)
    failure = CODEC.to_failure(error)
    assert type(failure.type) is type(failure.message) is str
    assert failure.attempts == 1
    failure.type.encode()
    vars(error).clear()
    assert CODEC.to_failure(error).type == "trioflow.ActivityFailed"
