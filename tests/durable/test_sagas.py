"""`saga`: when compensations run, in which order, and what comes out."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.engine.driving import START, Driven, kinds
from trioflow import durable
from trioflow.app import App
from trioflow.errors import NotInOrchestration
from trioflow.history import (
    ActivityCancelled,
    ActivityFailed,
    OrchestrationCancelled,
    OrchestrationContinuedAsNew,
    OrchestrationFailed,
    TimerFired,
)
from trioflow.testing import run_durable

app = App("sagas")


@app.activity
async def book(what: str) -> str:
    """Never runs here."""
    return what


@app.activity
async def cancel_booking(what: str) -> None:
    """Never runs here."""


def refusal(event_id: int, message: str = "sold out") -> ActivityFailed:
    """The message that an activity failed."""
    return ActivityFailed(answers=event_id, failure=app.failures.to_failure(ValueError(message)))


def asked(driven: Driven) -> list[str]:
    """All activities asked for so far, with their argument."""
    return [f"{event.name} {event.payload.decode().split(':')[1][1:-2]}" for event in driven.scheduled]


async def trip() -> str:
    """Three bookings, each with its compensation."""
    async with durable.saga() as saga:
        for what in ("car", "hotel", "flight"):
            await book(what)
            saga.on_failure(cancel_booking, what)
    return "booked"


def test_what_ends_well_is_not_undone() -> None:
    """The compensations are forgotten."""
    driven = Driven(trip, app=app)
    driven.start()
    for index in range(3):
        driven.complete(driven.scheduled[index])
    assert driven.result() == "booked"
    assert len(driven.scheduled) == 3
    driven.close()


def test_a_failure_is_undone_in_reverse_and_raised_again() -> None:
    """One compensation after the other; what was not done is not undone."""
    driven = Driven(trip, app=app)
    driven.start()
    driven.complete(driven.scheduled[0])
    driven.complete(driven.scheduled[1])
    driven.turn(refusal(driven.scheduled[2].id))
    assert asked(driven)[3:] == ["cancel_booking hotel"]
    driven.complete(driven.scheduled[3])
    assert asked(driven)[4:] == ["cancel_booking car"]
    driven.complete(driven.scheduled[4])
    assert isinstance(driven.last, OrchestrationFailed)
    assert (driven.last.failure.type, driven.last.failure.message) == ("builtins.ValueError", "sold out")
    driven.close()


def test_a_cancellation_is_undone_shielded() -> None:
    """Cancelling again does not stop it; it is cancelled when it has ended."""
    driven = Driven(trip, app=app)
    driven.start()
    driven.complete(driven.scheduled[0])
    driven.cancel("changed my mind")
    driven.turn(ActivityCancelled(answers=driven.scheduled[1].id))
    assert asked(driven)[2:] == ["cancel_booking car"]
    driven.cancel("really")
    driven.complete(driven.scheduled[2])
    assert isinstance(driven.last, OrchestrationCancelled)
    assert driven.last.reason == "changed my mind"
    driven.close()


def test_every_compensation_runs_and_all_errors_are_told() -> None:
    """One that fails stops no other; what the block raised comes first."""

    async def program() -> list[str]:
        try:
            await trip()
        except ExceptionGroup as group:
            return [group.message, *(str(exc) for exc in group.exceptions)]
        return []

    driven = Driven(program, app=app)
    driven.start()
    driven.complete(driven.scheduled[0])
    driven.complete(driven.scheduled[1])
    for index, message in ((2, "sold out"), (3, "hotel is closed"), (4, "car is gone")):
        driven.turn(refusal(driven.scheduled[index].id, message))
    told = ["sold out", "hotel is closed", "car is gone"]
    assert driven.result() == ["a saga failed, and so did compensations", *told]
    driven.close()


def test_the_scope_of_a_cancelled_saga_keeps_what_its_compensations_raised() -> None:
    """The cancellation is caught, the errors are not."""

    async def program() -> list[str]:
        try:
            with durable.move_on_after(5):
                await trip()
        except ExceptionGroup as group:
            return [str(exc) for exc in group.exceptions]
        return []

    driven = Driven(program, app=app)
    driven.start()
    driven.complete(driven.scheduled[0])
    driven.turn(now=START + 6)
    driven.turn(ActivityCancelled(answers=driven.scheduled[1].id))
    driven.turn(refusal(driven.scheduled[2].id, "car is gone"))
    assert driven.result() == ["car is gone"]
    driven.close()


def test_compensations_have_a_time_of_their_own() -> None:
    """When it is over the one that runs is cancelled, the rest is not begun, and that is told with the other errors."""

    async def program() -> list[str]:
        try:
            async with durable.saga(timeout=10) as saga:
                for what in ("car", "hotel", "flight"):
                    saga.on_failure(cancel_booking, what)
                raise KeyError("why")
        except ExceptionGroup as group:
            return [type(exc).__name__ + ": " + str(exc) for exc in group.exceptions]
        return []

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(refusal(driven.scheduled[0].id, "not open"), now=START + 9)
    assert kinds(driven.turn(now=START + 12)) == [TimerFired.__name__, "ActivityCancelRequested"]
    driven.turn(ActivityCancelled(answers=driven.scheduled[1].id))
    assert driven.result() == [
        "KeyError: 'why'",
        "ValueError: not open",
        "TooSlowError: 2 compensations were not done within 10 s",
    ]
    assert asked(driven) == ["cancel_booking flight", "cancel_booking hotel"]
    driven.close()


def test_what_a_compensation_raises_when_its_time_is_over_is_told() -> None:
    """Also if it comes in one group with the cancellation."""

    async def stubborn() -> None:
        try:
            await durable.sleep_forever()
        except durable.Cancelled:
            raise ValueError("half done") from None

    async def two() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(stubborn)
            await durable.sleep_forever()

    async def program() -> list[str]:
        try:
            async with durable.saga(timeout=10) as saga:
                saga.on_failure(two)
                raise KeyError("why")
        except ExceptionGroup as group:
            return [type(exc).__name__ for exc in group.exceptions]
        return []

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(now=START + 20)
    assert driven.result() == ["KeyError", "ExceptionGroup", "TooSlowError"]
    driven.close()


def test_continue_as_new_undoes_nothing() -> None:
    """Not in the branch that calls it, nor around its nursery; a branch that it cancels is undone, as by any cancel."""

    async def bystander() -> None:
        async with durable.saga() as saga:
            saga.on_failure(cancel_booking, "bystander")
            await durable.sleep_forever()

    async def goes_on() -> None:
        async with durable.saga() as saga:
            saga.on_failure(cancel_booking, "own")
            await durable.sleep(1)
            durable.continue_as_new()

    async def program() -> None:
        async with durable.saga() as saga:
            saga.on_failure(cancel_booking, "outer")
            async with durable.open_nursery() as nursery:
                nursery.start_soon(bystander)
                nursery.start_soon(goes_on)

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(now=START + 5)
    assert asked(driven) == ["cancel_booking bystander"]
    driven.complete(driven.scheduled[0])
    assert isinstance(driven.last, OrchestrationContinuedAsNew)
    assert len(driven.scheduled) == 1
    driven.close()


def test_a_dropped_saga_undoes_nothing() -> None:
    """It goes on where it is replayed; not even plain code of a compensation runs here."""
    log: list[str] = []

    async def compensation() -> None:
        log.append("undone")

    async def program() -> None:
        try:
            async with durable.saga() as saga:
                saga.on_failure(compensation)
                try:
                    await book("car")
                except BaseException:
                    raise ValueError("seen as a failure") from None
        finally:
            log.append("unwound")

    driven = Driven(program, app=app)
    driven.start()
    driven.live.close()
    assert "undone" not in log
    assert log[-1] == "unwound"


def test_a_ctrl_c_undoes_nothing() -> None:
    """A worker that is stopped is no failure of the saga."""
    log: list[str] = []

    async def compensation() -> None:
        log.append("undone")

    async def program() -> None:
        async with durable.saga() as saga:
            saga.on_failure(compensation)
            raise KeyboardInterrupt

    driven = Driven(program, app=app)
    with pytest.raises(KeyboardInterrupt):
        driven.start()
    assert log == []


async def test_anything_can_be_a_compensation() -> None:
    """An activity, a partial, an async function that does several things."""
    log: list[str] = []

    async def both(first: str, *, second: str) -> None:
        await durable.sleep(3600)
        log.extend([first, second])

    async def program() -> None:
        async with durable.saga() as saga:
            saga.on_failure(both, "a", *()) if False else saga.on_failure(functools.partial(both, second="b"), "a")
            saga.on_failure(cancel_booking, "c")
            assert repr(saga) == "<durable.Saga, 2 compensations>"
            raise KeyError("why")

    with pytest.raises(KeyError, match="why"):
        await run_durable(program, app=app)
    assert log == ["a", "b"]


async def test_wrong_use_is_told() -> None:
    """A coroutine instead of a function, a saga outside of its block or used twice, a time that is none."""

    async def program() -> None:
        saga = durable.saga()
        with pytest.raises(RuntimeError, match="only inside its `async with` block"):
            saga.on_failure(cancel_booking, "a")
        async with saga:
            wrong: Any = cancel_booking("a")
            with pytest.raises(TypeError, match=r"saga.on_failure\(refund, receipt\)"):
                saga.on_failure(wrong)
            with pytest.raises(TypeError, match="not None"):
                saga.on_failure(None)  # type: ignore[arg-type]
            with pytest.raises(RuntimeError, match="for a single `async with` block"):
                await saga.__aenter__()
        with pytest.raises(RuntimeError, match="for a single"):
            await saga.__aenter__()
        with pytest.raises(RuntimeError, match="only inside"):
            saga.on_failure(cancel_booking, "a")
        text: Any = "3"
        for seconds in (-1, float("nan"), 10**400, text):
            with pytest.raises(ValueError, match="at least 0"):
                durable.saga(timeout=seconds)

    await run_durable(program, app=app)
    with pytest.raises(NotInOrchestration):
        async with durable.saga():
            pass


def test_no_compensation_begins_when_the_time_is_over() -> None:
    """Also if the one before it ended late, with what really happened; that the rest was not done is told."""
    begun: list[str] = []

    async def without_a_checkpoint() -> None:
        begun.append("began")

    async def program() -> list[str]:
        try:
            async with durable.saga(timeout=5) as saga:
                saga.on_failure(without_a_checkpoint)
                saga.on_failure(cancel_booking, "late")
                raise KeyError("why")
        except ExceptionGroup as group:
            return [str(exc) for exc in group.exceptions]
        return []

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(now=START + 10)
    driven.complete(driven.scheduled[0])
    assert driven.result() == ["'why'", "1 compensations were not done within 5 s"]
    assert begun == []
    driven.close()


@pytest.mark.parametrize("again", [False, True], ids=["odd", "continue as new"])
def test_whatever_a_compensation_raises_the_others_run(again: bool) -> None:
    """What is no `Exception` stops no other either, and what the block raised is not lost."""

    class Odd(BaseException):
        """Of somebody else's."""

    async def strange() -> None:
        if again:
            durable.continue_as_new()
        raise Odd

    async def program() -> None:
        async with durable.saga() as saga:
            saga.on_failure(cancel_booking, "car")
            saga.on_failure(strange)
            raise ValueError("the reason")

    driven = Driven(program, app=app)
    driven.start()
    assert asked(driven) == ["cancel_booking car"]
    driven.complete(driven.scheduled[0])
    assert isinstance(driven.last, OrchestrationFailed)
    assert "ValueError: the reason" in str(driven.last.failure)
    driven.close()
