"""Code that no longer fits its history is noticed, in every direction, with both sides shown; harmless changes are
not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from tests.engine.driving import START, Driven, define
from trioflow import durable
from trioflow._engine import Execution, Message, run_turn
from trioflow.app import App
from trioflow.errors import HistoryError, NondeterminismError
from trioflow.history import Event, Failure, Parked, Resumed, Suspended

app = App("nondeterminism")


@attrs.frozen
class Order:
    """As it was."""

    id: str


@attrs.frozen
class NewOrder:
    """As it is."""

    id: str
    currency: str = "EUR"


@app.activity
async def step(value: int) -> int:
    """Never runs here."""
    return value


@app.activity
async def another(value: int) -> int:
    """Never runs here."""
    return value


@app.orchestration
async def child(value: int) -> int:
    """Never runs here."""
    return value


async def yesterday() -> int:
    """The code that made the history of these tests."""
    with durable.move_on_after(100):
        first = await step(1)
    await durable.record(int)
    async with durable.open_nursery() as nursery:
        nursery.start_soon(step, 2)
        nursery.start_soon(durable.wait_event, "go")
    return first


def recorded(program: Callable[..., Any] = yesterday) -> list[Event]:
    """A history in which the first step and its completion are recorded."""
    driven = Driven(define(program), app=app)
    driven.start()
    driven.complete(driven.scheduled[0], 1)
    driven.live.close()
    return driven.history


def replay(program: Callable[..., Any], history: list[Event]) -> None:
    """Replay under other code."""
    execution = Execution(app, define(program))
    try:
        for _ in execution.replay(history):
            pass
    finally:
        execution.close()


async def _tail(first: int) -> int:
    await durable.record(int)
    async with durable.open_nursery() as nursery:
        nursery.start_soon(step, 2)
        nursery.start_soon(durable.wait_event, "go")
    return first


async def another_name() -> int:
    """The first step is another activity."""
    with durable.move_on_after(100):
        first = await another(1)
    return await _tail(first)


async def another_input() -> int:
    """The first step has another argument."""
    with durable.move_on_after(100):
        first = await step(7)
    return await _tail(first)


async def another_kind() -> int:
    """The first step is a child."""
    with durable.move_on_after(100):
        first = await child(1)
    return await _tail(first)


async def another_deadline() -> int:
    """The timeout is longer."""
    with durable.move_on_after(101):
        first = await step(1)
    return await _tail(first)


async def no_deadline() -> int:
    """The timeout is gone."""
    return await _tail(await step(1))


async def a_step_more() -> int:
    """Two activities where there was one."""
    with durable.move_on_after(100):
        both = await durable.gather(step(1), step(1))
    return await _tail(both[0])


async def a_step_before() -> int:
    """The branch that was recorded begins with something else."""
    await durable.sleep(1)
    with durable.move_on_after(100):
        first = await step(1)
    return await _tail(first)


async def no_record() -> int:
    """The recorded value is not asked for."""
    with durable.move_on_after(100):
        first = await step(1)
    async with durable.open_nursery() as nursery:
        nursery.start_soon(step, 2)
        nursery.start_soon(durable.wait_event, "go")
    return first


async def another_record() -> int:
    """Another function is recorded."""
    with durable.move_on_after(100):
        first = await step(1)
    await durable.record(float)
    return first


async def another_event() -> int:
    """Another event is waited for."""
    with durable.move_on_after(100):
        first = await step(1)
    await durable.record(int)
    async with durable.open_nursery() as nursery:
        nursery.start_soon(step, 2)
        nursery.start_soon(durable.wait_event, "stop")
    return first


async def returns_early() -> int:
    """It ends where the history goes on."""
    with durable.move_on_after(100):
        return await step(1)
    return 0


async def returns_at_once() -> int:
    """It asks for nothing."""
    return 0


async def does_not_close_the_timer() -> int:
    """The scope stays open."""
    with durable.move_on_after(100):
        return await _tail(await step(1))
    return 0


@pytest.mark.parametrize(
    ("program", "place", "expected", "actual"),
    [
        (another_name, "0#1", "ActivityScheduled 'step' at 0#1", "ActivityScheduled 'another' at 0#1"),
        (
            another_input,
            "0#1",
            "ActivityScheduled 'step' at 0#1",
            "ActivityScheduled 'step' at 0#1, with another input",
        ),
        (another_kind, "0#1", "ActivityScheduled 'step' at 0#1", "ChildScheduled 'child' as 'i-1:1:0#1' at 0#1"),
        (another_deadline, "0@1", "TimerCreated for 1101.0 at 0@1", "TimerCreated for 1102.0 at 0@1"),
        (no_deadline, "0@1", "TimerCreated for 1101.0 at 0@1", None),
        (a_step_more, "0.1#1", None, "ActivityScheduled 'step' at 0.1#1"),
        (a_step_before, "0#1", "ActivityScheduled 'step' at 0#1", "TimerCreated for 1002.0 at 0#1"),
        (no_record, "0#2", "Recorded 'int' at 0#2", None),
        (another_record, "0#2", "Recorded 'int' at 0#2", "Recorded 'float' at 0#2"),
        (another_event, "0.2#1", "EventWaited 'go' at 0.2#1", "EventWaited 'stop' at 0.2#1"),
        (returns_early, "0", None, "OrchestrationCompleted"),
        (returns_at_once, "0", None, "OrchestrationCompleted"),
        (does_not_close_the_timer, "TimerCancelled 3", "TimerCancelled of event 3", None),
    ],
)
def test_a_change_in_the_recorded_part_is_found(
    program: Callable[..., Any], place: str, expected: str | None, actual: str | None
) -> None:
    """The error names the place and shows what the history holds and what the code asked for."""
    with pytest.raises(NondeterminismError) as info:
        replay(program, recorded())
    error = info.value
    assert (error.place, error.expected, error.actual) == (place, expected, actual)
    assert f"expected: {expected or 'nothing'}" in str(error)
    assert f"actual:   {actual or 'nothing'}" in str(error)
    assert "instance 'i-1'" in str(error)


def test_the_error_names_the_source_line_of_the_branch() -> None:
    """A person can go where the code asks for what it did not ask for then."""
    with pytest.raises(NondeterminismError, match=r"test_nondeterminism\.py.* in another_name"):
        replay(another_name, recorded())


def test_it_is_found_before_anything_later_is_delivered() -> None:
    """The first segment that differs is reported, not a later one."""
    seen: list[int] = []

    async def program() -> int:
        with durable.move_on_after(100):
            first = await another(1)
        seen.append(first)
        return first

    with pytest.raises(NondeterminismError):
        replay(program, recorded())
    assert seen == []


def test_code_that_swallows_everything_cannot_hide_it() -> None:
    """The turn ends whatever the program does with the error."""

    async def program() -> int:
        with durable.move_on_after(100):
            first = await step(1)
        try:
            await durable.record(float)
        except BaseException:
            pass
        return await _tail(first)

    with pytest.raises(NondeterminismError):
        replay(program, recorded())


def test_the_code_beyond_the_recorded_part_may_change() -> None:
    """Editing what the history has not reached replays."""

    async def program() -> int:
        with durable.move_on_after(100):
            first = await step(1)
        await durable.record(int)
        async with durable.open_nursery() as nursery:
            nursery.start_soon(step, 2)
            nursery.start_soon(durable.wait_event, "go")
        await another(3)
        await durable.sleep(7)
        return first + 1

    replay(program, recorded())


def test_a_new_parameter_with_a_default_is_harmless() -> None:
    """Inputs are compared as today's type would write them."""
    old, new = App("old"), App("new")

    @old.activity(name="charge")
    async def charge(order: Order) -> str:
        return order.id

    @new.activity(name="charge")
    async def new_charge(order: NewOrder, dry: bool = False) -> str:
        return order.id

    async def program() -> str:
        return await charge(Order("o"))

    async def new_program() -> str:
        return await new_charge(NewOrder("o"))

    driven = Driven(define(program), app=old)
    driven.start()
    driven.live.close()
    execution = Execution(new, define(new_program))
    for _ in execution.replay(driven.history):
        pass
    execution.close()


def test_suspended_resumed_and_parked_are_passed_over() -> None:
    """Administrative events belong to no segment; ids go on behind them."""
    driven = Driven(define(yesterday), app=app)
    driven.start()
    history = [
        *driven.history,
        Parked(id=4, failure=Failure(type="x", message="y")),
        Suspended(id=5),
        Resumed(id=6),
    ]
    result = run_turn(
        driven.definition,
        history,
        [Message(9, START + 5, driven.completion(driven.scheduled[0], 1))],
        START + 5,
        app=app,
    )
    assert [event.id for event in result.events][:2] == [7, 8]
    driven.live.close()


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda events: events[1:], "goes on with event 2 where 1 should be"),
        (lambda events: [events[0], *events[2:]], "goes on with event 3 where 2 should be"),
        (lambda events: [attrs.evolve(events[1], id=1)], "begins with"),
        (lambda events: [attrs.evolve(events[3], id=1)], "should be OrchestrationStarted"),
        (lambda events: [*events[:3], attrs.evolve(events[3], answers=77)], "which nobody asked"),
    ],
)
def test_what_cannot_be_a_history_is_refused(damage: Callable[[list[Event]], list[Event]], text: str) -> None:
    """A damaged history is a typed error, never a wrong result."""
    with pytest.raises(HistoryError, match=text):
        replay(yesterday, damage(recorded()))


def test_a_history_that_goes_on_after_its_end_is_refused() -> None:
    """Nothing is delivered behind a terminal event."""
    driven = Driven(define(returns_at_once), app=app)
    driven.start()
    with pytest.raises(HistoryError, match="after it has ended"):
        replay(returns_at_once, [*driven.history, attrs.evolve(driven.event("e"), id=3)])
    driven.live.close()


def test_an_end_that_the_code_does_not_reach_is_found() -> None:
    """The history has ended where the code waits."""
    driven = Driven(define(returns_at_once), app=app)
    driven.start()
    driven.live.close()

    async def waits() -> None:
        await durable.sleep_forever()

    with pytest.raises(NondeterminismError) as info:
        replay(waits, driven.history)
    assert info.value.expected == "OrchestrationCompleted"
