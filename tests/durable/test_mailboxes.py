"""Events and their waiters where several things happen at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.driving import START, Driven, kinds
from trioflow import durable
from trioflow.app import App
from trioflow.errors import EncodeError, LimitExceeded
from trioflow.history import CancelRequested, CarriedEvent, OrchestrationCancelled, OrchestrationCompleted

app = App("mailboxes")


@app.activity
async def step(value: int = 0) -> int:
    """Never runs here."""
    return value


async def patient_and_impatient() -> list[object]:
    """Three wait for one name; the one in the middle for five seconds."""
    got: list[object] = []

    async def wait(who: str, patience: float) -> None:
        with durable.move_on_after(patience):
            got.append([who, await durable.wait_event("e")])

    async with durable.open_nursery() as nursery:
        nursery.start_soon(wait, "a", 100)
        nursery.start_soon(wait, "b", 5)
        nursery.start_soon(wait, "c", 100)
        await durable.wait_event("stop")
        nursery.cancel_scope.cancel()
    return got


@pytest.mark.parametrize("together", [True, False])
def test_events_and_a_deadline_in_one_turn_are_served_as_in_several(together: bool) -> None:
    """In order of arrival: the second waiter is gone when the second event comes."""
    driven = Driven(patient_and_impatient)
    driven.start()
    came = [(driven.event("e", 1), 2.0), (driven.event("e", 2), 8.0), (driven.event("stop"), 9.0)]
    if together:
        driven.turn(*(event for event, _ in came), now=START + 20, arrived=[START + at for _, at in came])
    else:
        for event, at in came:
            driven.turn(event, now=START + at)
    assert driven.result() == [["a", 1], ["c", 2]]
    driven.close()


def test_an_event_that_comes_with_the_deadline_is_taken() -> None:
    """The operation is resumed first; the scope is seen at the next checkpoint."""

    async def program() -> list[object]:
        with durable.move_on_after(5) as scope:
            value = await durable.wait_event("e")
            await durable.lowlevel.checkpoint()
        return [value, scope.cancelled_caught]

    driven = Driven(program)
    driven.start()
    driven.turn(driven.event("e", 1), now=START + 6)
    assert driven.result() == [1, True]
    driven.close()


def test_a_cancel_and_an_event_in_one_turn_go_by_their_order() -> None:
    """The event behind the cancel is not taken by the wait that was cancelled."""

    async def program() -> None:
        await durable.wait_event("e")

    first = Driven(program)
    first.start()
    first.turn(first.event("e", 1), CancelRequested())
    assert isinstance(first.last, OrchestrationCompleted)
    second = Driven(program)
    second.start()
    second.turn(CancelRequested(), second.event("e", 1))
    assert isinstance(second.last, OrchestrationCancelled)
    assert second.last.unread == (CarriedEvent(name="e", payload=b"1"),)
    first.close()
    second.close()


def test_a_wait_given_up_in_the_step_that_began_it_takes_nothing() -> None:
    """Another branch cancels it before the program has blocked; the event is left for the next."""

    async def program() -> list[object]:
        await step()
        async with durable.open_nursery() as nursery:
            nursery.start_soon(durable.wait_event, "e")
            await durable.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await step()
        return [durable.wait_event_nowait("e")]

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(driven.event("e", 1))
    driven.complete(driven.scheduled[0])
    driven.complete(driven.scheduled[1])
    assert driven.result() == [1]
    driven.close()


def test_waiters_that_gave_up_are_not_kept_behind_one_that_waits() -> None:
    """A long execution that waits with timeouts, beside a patient waiter of the same name, does not grow."""

    async def program() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(durable.wait_event, "e")
            while True:
                with durable.move_on_after(1):
                    await durable.wait_event("e")

    driven = Driven(program)
    driven.start()
    for number in range(20):
        driven.turn(now=START + 10 * number)
    assert len(driven.live._event_waits.by_name["e"]) == 2
    driven.close()


def test_a_name_that_cannot_be_raised_cannot_be_waited_for() -> None:
    """Empty, too long, or no text: the error comes where the name is."""

    async def program() -> int:
        refused = 0
        for call in (durable.events, durable.wait_event_nowait):
            try:
                call("")
            except LimitExceeded:
                refused += 1
        try:
            await durable.wait_event("x" * 300)
        except LimitExceeded:
            refused += 1
        nothing: Any = None
        for call in (durable.events, durable.wait_event_nowait):
            try:
                call(nothing)
            except EncodeError:
                refused += 1
        try:
            await durable.wait_event(nothing)
        except EncodeError:
            refused += 1
        return refused

    driven = Driven(program)
    driven.start()
    assert driven.result() == 6
    driven.close()


def test_an_event_taken_at_once_goes_on_in_the_same_segment() -> None:
    """Asking for what is there costs no turn."""

    async def program() -> list[object]:
        return [await durable.wait_event("e") for _ in range(3)]

    driven = Driven(program)
    result = driven.start(carried_events=tuple(CarriedEvent(name="e", payload=b"%d" % n) for n in range(3)))
    assert kinds(result) == ["OrchestrationStarted", *["EventWaited"] * 3, "OrchestrationCompleted"]
    assert driven.result() == [0, 1, 2]
    driven.close()
