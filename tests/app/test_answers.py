"""What the failure of an activity or a child becomes in the code that waits for it."""

from __future__ import annotations

import dataclasses

import pytest

from tests.engine.driving import Driven
from trioflow.app import App
from trioflow.errors import ActivityFailed, ChildCancelled, ChildTerminated
from trioflow.history import (
    ActivityFailed as ActivityFailedEvent,
    ChildCancelled as ChildCancelledEvent,
    ChildScheduled,
    ChildTerminated as ChildTerminatedEvent,
    Event,
    Failure,
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
