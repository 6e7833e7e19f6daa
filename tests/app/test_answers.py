"""What the failure of an activity or a child becomes in the code that waits for it."""

from __future__ import annotations

import dataclasses

import pytest
import trio

from tests.engine.driving import Driven
from trioflow.app import App
from trioflow.errors import (
    ActivityFailed,
    ActivityPoisoned,
    ActivityTimedOut,
    ChildCancelled,
    ChildFailed,
    ChildTerminated,
)
from trioflow.history import (
    ActivityFailed as ActivityFailedEvent,
    Category,
    ChildCancelled as ChildCancelledEvent,
    ChildFailed as ChildFailedEvent,
    ChildScheduled,
    ChildTerminated as ChildTerminatedEvent,
    Event,
    Failure,
    OrchestrationFailed,
)

app = App("answers")


@app.exception
@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Refuses to have its attributes set."""

    code: int


@app.activity
async def step(value: int = 0) -> int:
    """Never runs here."""
    return value


@app.orchestration
async def child(value: int = 0) -> int:
    """Never runs here."""
    return value


def story(failure: Failure) -> list[object]:
    """What the code sees: the class of what is raised, and of the chain behind it."""
    found: list[object] = []

    async def program() -> None:
        try:
            await step(1)
        except Exception as exc:
            found.clear()
            error: BaseException | None = exc
            while error is not None:
                found.append(error)
                error = error.__cause__

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(ActivityFailedEvent(answers=driven.scheduled[0].id, failure=failure))
    driven.close()
    return found


def test_an_exception_comes_back_as_itself_with_the_story_behind_it() -> None:
    """The cause tells of type, message and attempts; what caused the original comes behind that."""
    try:
        raise KeyError("k") from OSError(2, "gone")
    except KeyError as exc:
        failure = app.failures.to_failure(exc, attempts=3)
    raised, told, behind = story(failure)
    assert isinstance(raised, KeyError)
    assert raised.args == ("k",)
    assert isinstance(told, ActivityFailed)
    assert (told.type, told.attempts) == ("builtins.KeyError", 3)
    assert "after 3 attempts" in str(told)
    assert isinstance(behind, FileNotFoundError)


def test_a_class_that_cannot_be_changed_comes_back_too() -> None:
    """A frozen dataclass gets its cause all the same."""
    raised, told = story(app.failures.to_failure(Frozen(7)))
    assert raised == Frozen(7)
    assert isinstance(told, ActivityFailed)


def test_a_group_keeps_its_structure() -> None:
    """Its members are the original exceptions."""
    raised, _ = story(app.failures.to_failure(ExceptionGroup("two", [ValueError("a"), KeyError("b")])))
    assert isinstance(raised, ExceptionGroup)
    assert [type(member) for member in raised.exceptions] == [ValueError, KeyError]


def test_what_caused_an_unknown_exception_stands_behind_its_story() -> None:
    """The chain is not lost because the class is."""
    cause = app.failures.to_failure(OSError(2, "gone"))
    told, behind = story(Failure(type="m.Unreg", message="u", cause=cause))
    assert isinstance(told, ActivityFailed)
    assert isinstance(behind, FileNotFoundError)


def failing_child(failure: Failure) -> Failure:
    """The failure of an orchestration whose child failed so, and which does not mind."""
    driven = Driven(caller, app=app)
    driven.start()
    assert isinstance(driven.last, ChildScheduled)
    driven.turn(ChildFailedEvent(answers=driven.last.id, failure=failure))
    driven.close()
    assert isinstance(driven.last, OrchestrationFailed)
    return driven.last.failure


async def caller() -> None:
    """Calls a child."""
    await child(1)


def test_an_unknown_exception_is_the_same_at_every_caller() -> None:
    """Type, message, category and attempts are told on as they are."""
    failure = Failure(
        type="m.Unreg", message="u", category=Category.CONFIGURATION, attempts=3, retryable=False, traceback="there"
    )
    assert failing_child(failing_child(failing_child(failure))) == failure


@pytest.mark.parametrize(
    ("type_", "error"),
    [("trioflow.ActivityTimedOut", ActivityTimedOut), ("trioflow.ActivityPoisoned", ActivityPoisoned)],
)
def test_how_an_activity_of_a_child_ended_can_be_caught(type_: str, error: type[ActivityFailed]) -> None:
    """As itself, with the story of the child behind it; also when it passed through several."""
    failure = Failure(type=type_, message="too slow", category=Category.INFRASTRUCTURE, attempts=2)
    caught: list[BaseException] = []

    async def program() -> None:
        try:
            await child(1)
        except error as exc:
            caught.append(exc)

    for given in (failure, failing_child(failing_child(failure))):
        driven = Driven(program, app=app)
        driven.start()
        driven.turn(ChildFailedEvent(answers=driven.last.id, failure=given))
        driven.close()
        assert driven.result() is None
    for exc in caught:
        assert isinstance(exc, error)
        assert isinstance(exc, trio.TooSlowError) == (error is ActivityTimedOut)
        assert (str(exc), exc.type, exc.attempts) == ("too slow", type_, 2)
        assert isinstance(exc.__cause__, ChildFailed)
        assert "child 'child' failed" in str(exc.__cause__)


@pytest.mark.parametrize("reason", ["because", None])
@pytest.mark.parametrize(
    ("make", "error"),
    [(ChildCancelledEvent, ChildCancelled), (ChildTerminatedEvent, ChildTerminated)],
)
def test_a_child_ended_by_others_is_an_error_of_its_own(
    make: type[ChildCancelledEvent | ChildTerminatedEvent], error: type[Exception], reason: str | None
) -> None:
    """It says why, if anybody knows."""

    async def program() -> str:
        try:
            await child(1)
        except error as exc:
            return str(exc)
        return ""

    driven = Driven(program, app=app)
    driven.start()
    assert isinstance(driven.last, ChildScheduled)
    answer: Event = make(answers=driven.last.id, reason=reason)
    driven.turn(answer)
    assert driven.result().endswith(reason or "no reason given")
    driven.close()
