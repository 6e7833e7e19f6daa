"""`start_detached` and `continue_as_new`: beginning other executions."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.engine.driving import Driven, kinds
from trioflow import durable
from trioflow._engine import ContinueAsNewAction
from trioflow.app import App
from trioflow.errors import ConfigurationError, LimitExceeded, UnregisteredError
from trioflow.history import (
    CarriedCancel,
    DetachedScheduled,
    DetachedStarted,
    OrchestrationContinuedAsNew,
    OrchestrationFailed,
)

app = App("beginning")
stranger = App("stranger")


@app.activity
async def step(value: int = 0) -> int:
    """Never runs here."""
    return value


@app.orchestration
async def other(value: int, *, factor: int = 1) -> int:
    """Never runs here."""
    return value * factor


@stranger.orchestration
async def unknown(value: int) -> int:
    """Of an app that is not included."""
    return value


@pytest.mark.parametrize(
    ("what", "args", "id", "expected"),
    [
        (functools.partial(other, 1, factor=2), (), None, ("i-1:1:0#1", b'{"value":1,"factor":2}', None)),
        (functools.partial(other, factor=3), (5,), "mine", ("mine", b'{"value":5,"factor":3}', None)),
        ("other", (7,), None, ("i-1:1:0#1", b'{"value":7}', None)),
        (other.options(id="opted", version="1.0.0"), (8,), None, ("opted", b'{"value":8}', "1.0.0")),
        (other.options(id="opted"), (8,), "given", ("given", b'{"value":8}', None)),
    ],
)
def test_a_detached_start_says_what_with_what_and_under_which_id(
    what: Any, args: tuple[Any, ...], id: str | None, expected: tuple[object, ...]
) -> None:
    """By definition, `functools.partial` or name; the id given wins over that of the options."""

    async def program() -> str:
        return await durable.start_detached(what, *args, id=id)

    driven = Driven(program, app=app)
    driven.start()
    scheduled = driven.last
    assert isinstance(scheduled, DetachedScheduled)
    assert (scheduled.instance, scheduled.payload, scheduled.version) == expected
    driven.turn(DetachedStarted(answers=scheduled.id, instance=scheduled.instance))
    assert driven.result() == expected[0]
    driven.close()


@pytest.mark.parametrize(
    ("what", "id", "error"),
    [
        ("othr", None, UnregisteredError),
        (unknown, None, ConfigurationError),
        (step, None, TypeError),
        (test_a_detached_start_says_what_with_what_and_under_which_id, None, TypeError),
        (other, "", LimitExceeded),
    ],
)
def test_what_cannot_be_started_is_an_error_where_it_is_asked_for(
    what: Any, id: str | None, error: type[Exception]
) -> None:
    """Nothing is scheduled."""

    async def program() -> str:
        try:
            return await durable.start_detached(what, 1, id=id)
        except error as exc:
            return str(exc)

    driven = Driven(program, app=app)
    driven.start()
    assert driven.kinds == ["OrchestrationStarted", "OrchestrationCompleted"]
    assert driven.result()
    driven.close()


def test_a_cancelled_detached_start_still_happens() -> None:
    """It is never lost: the branch waits for its answer, which comes at once."""

    async def program() -> list[object]:
        with durable.CancelScope() as scope:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(durable.start_detached, other, 1)
                await durable.wait_event("go")
                scope.cancel()
        return [scope.cancelled_caught]

    driven = Driven(program, app=app)
    driven.start()
    scheduled = next(event for event in driven.history if isinstance(event, DetachedScheduled))
    result = driven.turn(driven.event("go"))
    assert kinds(result) == ["EventReceived"]
    assert result.actions == ()
    driven.turn(DetachedStarted(answers=scheduled.id, instance=scheduled.instance))
    assert driven.result() == [False]
    driven.close()


def test_continue_as_new_leaves_nested_nurseries_one_after_the_other() -> None:
    """Every level cancels and awaits its branches; groups of one are looked through; what is given goes on."""

    async def program(n: int, *, step_by: int = 1) -> None:
        async with durable.open_nursery() as outer:
            outer.start_soon(step, 1)
            async with durable.open_nursery() as inner:
                inner.start_soon(step, 2)
                await durable.wait_event("go")
                async with durable.open_nursery():
                    durable.continue_as_new(functools.partial(program, n + step_by, step_by=step_by))

    driven = Driven(program, 1, app=app)
    driven.start()
    asked = driven.turn(driven.event("go"))
    assert kinds(asked) == ["EventReceived", "ActivityCancelRequested"]  # the inner one first
    inner = driven.scheduled[1] if driven.scheduled[1].payload == b'{"value":2}' else driven.scheduled[0]
    outer = driven.scheduled[0] if inner is driven.scheduled[1] else driven.scheduled[1]
    assert kinds(driven.complete(inner)) == ["ActivityCompleted", "ActivityCancelRequested"]
    result = driven.complete(outer)
    assert isinstance(driven.last, OrchestrationContinuedAsNew)
    (action,) = result.actions
    assert isinstance(action, ContinueAsNewAction)
    assert action.start.payload == b'{"n":2,"step_by":1}'
    driven.close()


def test_continue_as_new_in_the_cleanup_of_a_cancelled_execution_carries_the_cancel() -> None:
    """It is not lost between two executions."""

    async def program() -> None:
        try:
            await durable.sleep_forever()
        finally:
            durable.continue_as_new()

    driven = Driven(program)
    driven.start()
    result = driven.cancel("enough")
    (action,) = result.actions
    assert isinstance(action, ContinueAsNewAction)
    assert action.start.carried_cancel == CarriedCancel(reason="enough")
    driven.close()


def test_continue_as_new_with_arguments_that_do_not_fit_fails_where_it_is_called() -> None:
    """The signature is the orchestration's own."""

    async def program(n: int) -> None:
        durable.continue_as_new(n, "too many")

    driven = Driven(program, 1)
    driven.start()
    assert isinstance(driven.last, OrchestrationFailed)
    assert driven.last.failure.type == "builtins.TypeError"
    driven.close()
