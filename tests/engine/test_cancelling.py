"""Cancelling operations in flight: wait, request, abandon; the outcome wins (SEMANTICS 4)."""

from __future__ import annotations

import pytest

from tests.engine.driving import START, Driven, actions, kinds
from trioflow import durable
from trioflow._engine import CancelActivity
from trioflow.app import App
from trioflow.errors import ActivityFailed
from trioflow.history import (
    ActivityCancelled,
    ActivityFailed as ActivityFailedEvent,
    CancelRequested,
    Failure,
    OrchestrationCancelled,
    OrchestrationFailed,
    OrchestrationTerminated,
)

app = App("cancelling")


@app.activity
async def charge(order: str) -> str:
    """Never runs here."""
    return order


@app.activity
async def refund(receipt: str) -> None:
    """Never runs here."""


def test_a_timed_out_wait_gets_what_really_happened() -> None:
    """The receipt of a charge that went through reaches the code, and the scope is seen at the next checkpoint."""

    async def program() -> list[object]:
        receipt = None
        with durable.move_on_after(5) as scope:
            receipt = await charge("o")
            await durable.lowlevel.checkpoint()
        return [receipt, scope.cancelled_caught]

    driven = Driven(program, app=app)
    driven.start()
    timeout = driven.turn(now=START + 6)
    assert kinds(timeout) == ["TimerFired", "ActivityCancelRequested"]
    assert timeout.actions == (CancelActivity(driven.scheduled[0].id),)
    driven.complete(driven.scheduled[0], "receipt")
    assert driven.result() == ["receipt", True]
    driven.close()


@pytest.mark.parametrize("how", ["ended", "never_started", "lost"])
def test_a_body_that_ended_by_our_cancellation_gives_cancelled(how: str) -> None:
    """Ended, never started and lost are all the same to the code."""

    async def program() -> bool:
        with durable.move_on_after(5) as scope:
            await charge("o")
        return scope.cancelled_caught

    driven = Driven(program, app=app)
    driven.start()
    assert not driven.turn(now=START + 6).ended
    driven.turn(ActivityCancelled(answers=driven.scheduled[0].id, how=how))
    assert driven.result() is True
    driven.close()


def test_a_body_that_failed_while_cancelled_raises_its_error() -> None:
    """The error wins over the cancellation."""

    async def program() -> str:
        try:
            with durable.move_on_after(5):
                await charge("o")
        except ValueError as exc:
            return str(exc)
        return "lost"

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(now=START + 6)
    failure = driven.app.failures.to_failure(ValueError("no funds"))
    driven.turn(ActivityFailedEvent(answers=driven.scheduled[0].id, failure=failure))
    assert driven.result() == "no funds"
    driven.close()


def test_request_asks_and_goes_on_and_drops_the_late_completion() -> None:
    """The branch ends at once; what comes later is no event."""

    async def program() -> str:
        with durable.move_on_after(5):
            await charge.options(on_cancel="request")("o")
        await charge("second")
        return "done"

    driven = Driven(program, app=app)
    driven.start()
    result = driven.turn(now=START + 6)
    assert kinds(result) == ["TimerFired", "ActivityCancelRequested", "ActivityScheduled"]
    assert actions(result) == ["CancelActivity", "ScheduleActivity"]
    late = driven.complete(driven.scheduled[0], "late")
    assert kinds(late) == []
    assert late.consumed
    driven.complete(driven.scheduled[1])
    assert driven.result() == "done"
    driven.close()


def test_abandon_asks_nothing() -> None:
    """It lets the body run; a late completion is dropped without an event."""

    async def program() -> str:
        with durable.move_on_after(5):
            await charge.options(on_cancel="abandon")("o")
        await charge("second")
        return "done"

    driven = Driven(program, app=app)
    driven.start()
    assert kinds(driven.turn(now=START + 6)) == ["TimerFired", "ActivityScheduled"]
    assert kinds(driven.complete(driven.scheduled[0])) == []
    driven.complete(driven.scheduled[1])
    assert driven.result() == "done"
    driven.close()


def test_a_client_cancel_unwinds_with_durable_cleanup() -> None:
    """`except BaseException` and a shielded scope run real steps; the reason is kept."""

    async def program() -> str:
        receipt = await charge("o")
        try:
            await durable.wait_event("approved")
        except BaseException:
            with durable.CancelScope(shield=True):
                await refund(receipt)
            raise
        return receipt

    driven = Driven(program, app=app)
    driven.start()
    driven.complete(driven.scheduled[0], "receipt")
    assert kinds(driven.cancel("changed my mind")) == ["CancelRequested", "ActivityScheduled"]
    assert kinds(driven.cancel("again")) == []
    driven.complete(driven.scheduled[1])
    assert driven.last == OrchestrationCancelled(id=driven.last.id, at=driven.last.at, reason="changed my mind")
    driven.close()


def test_a_value_after_a_swallowed_cancel_completes() -> None:
    """Catching `durable.Cancelled` at the top is the program's right."""

    async def program() -> str:
        try:
            await durable.sleep_forever()
        except durable.Cancelled as exc:
            return f"{exc.source}: {exc.reason}"

    driven = Driven(program)
    driven.start()
    driven.cancel("enough")
    assert driven.result() == "explicit: enough"
    driven.close()


def test_an_error_beside_the_cancellation_fails_the_execution() -> None:
    """Cleanup that raises is not hidden by the cancel."""

    async def program() -> None:
        async def bad() -> None:
            try:
                await durable.sleep_forever()
            finally:
                raise ValueError("in cleanup")

        async with durable.open_nursery() as nursery:
            nursery.start_soon(bad)
            nursery.start_soon(durable.sleep_forever)

    driven = Driven(program)
    driven.start()
    driven.cancel()
    assert isinstance(driven.last, OrchestrationFailed)
    assert [member.message for member in driven.last.failure.members] == ["in cleanup"]
    driven.close()


def test_a_race_has_a_winner_by_history_order_and_its_losers_have_ended() -> None:
    """The loser is cancelled and waited for before race returns."""

    async def program() -> list[object]:
        return list(await durable.race(charge("a"), charge("b"), durable.wait_event("c")))

    driven = Driven(program, app=app)
    driven.start()
    won = driven.complete(driven.scheduled[1], "B")
    assert kinds(won) == ["ActivityCompleted", "ActivityCancelRequested"]
    driven.complete(driven.scheduled[0], "A, too late")
    assert driven.result() == [1, "B"]
    driven.close()


def test_a_sibling_that_fails_cancels_the_others_and_the_group_comes_out() -> None:
    """When the nursery block ends, no activity of it is outstanding."""

    async def program() -> str:
        try:
            await durable.gather(charge("a"), charge("b"))
        except ExceptionGroup as group:
            return str(group.exceptions[0])
        return "nothing"

    driven = Driven(program, app=app)
    driven.start()
    failure = driven.app.failures.to_failure(ValueError("a failed"))
    result = driven.turn(ActivityFailedEvent(answers=driven.scheduled[0].id, failure=failure))
    assert kinds(result) == ["ActivityFailed", "ActivityCancelRequested"]
    driven.turn(ActivityCancelled(answers=driven.scheduled[1].id))
    assert driven.result() == "a failed"
    driven.close()


def test_termination_ends_it_at_once_without_unwinding() -> None:
    """No step of a `finally` is taken; unread events are listed; later messages are consumed."""

    async def program() -> None:
        try:
            await durable.sleep_forever()
        finally:
            await charge("never")

    driven = Driven(program, app=app)
    driven.start()
    result = driven.turn(
        driven.event("e", 1), OrchestrationTerminated(reason="enough"), driven.event("e", 2), CancelRequested()
    )
    assert kinds(result) == ["EventReceived", "OrchestrationTerminated"]
    assert result.ended
    assert len(result.consumed) == 4
    assert isinstance(driven.last, OrchestrationTerminated)
    assert [event.payload for event in driven.last.unread] == [b"1", b"2"]
    driven.close()


def test_a_cancelled_call_asks_for_nothing() -> None:
    """A definition checks for cancellation before it schedules, and takes no number."""

    async def program() -> str:
        with durable.CancelScope() as scope:
            scope.cancel()
            await charge("never")
        await charge("first")
        return "done"

    driven = Driven(program, app=app)
    driven.start()
    assert [(event.place, event.payload) for event in driven.scheduled] == [("0#1", b'{"order":"first"}')]
    driven.complete(driven.scheduled[0])
    assert driven.result() == "done"
    driven.close()


def test_failure_records_travel_unchanged() -> None:
    """A failure from elsewhere is raised with type and message even if its class is unknown here."""

    async def program() -> str:
        try:
            await charge("o")
        except ActivityFailed as exc:
            return f"{exc.type}: {exc.message} ({exc.attempts})"
        return ""

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(
        ActivityFailedEvent(answers=driven.scheduled[0].id, failure=Failure(type="m.X", message="boo", attempts=3))
    )
    assert driven.result() == "m.X: boo (3)"
    driven.close()
