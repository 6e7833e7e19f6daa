"""Identity by place: what one branch does, or has changed to do, moves nothing of the others."""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.engine.driving import START, Driven, define
from trioflow import durable
from trioflow._engine import Execution, Message
from trioflow.app import App
from trioflow.errors import NondeterminismError
from trioflow.history import AskedAt, Event, OrchestrationStarted

app = App("identity")


@app.activity
async def step(name: str) -> int:
    """Never runs here."""
    return len(name)


Branch = Callable[[], Awaitable[Any]]


async def steady(name: str) -> str:
    """A branch that draws, waits, draws, with a branch of its own."""
    before = durable.random()
    await step(f"{name} {before}")
    async with durable.open_nursery() as nursery:
        nursery.start_soon(step, f"{name} below {durable.uuid4()}")
    await durable.sleep(50)
    return f"{name} {durable.random()}"


async def plain(name: str) -> None:
    """The branch that will be edited, as it was."""
    await step(f"{name} one")
    await step(f"{name} two")
    await step(f"{name} three")


def program(middle: Branch, *, before: tuple[str, ...] = ("a",), behind: tuple[str, ...] = ("b",)) -> Any:
    """Branches around the one in the middle."""

    async def whole() -> None:
        async with durable.open_nursery() as nursery:
            for name in before:
                nursery.start_soon(steady, name)
            nursery.start_soon(middle)
            for name in behind:
                nursery.start_soon(steady, name)

    return define(whole)


def recorded(definition: Any) -> list[Event]:
    """A history in which every branch has been answered once."""
    driven = Driven(definition, app=app)
    driven.start()
    for event in list(driven.scheduled):
        driven.complete(event, 1)
    driven.live.close()
    return driven.history


def replay(definition: Any, history: list[Event]) -> Execution:
    """Replay under other code; close it."""
    execution = Execution(app, definition)
    try:
        for _ in execution.replay(history):
            pass
    finally:
        execution.close()
    return execution


def asked(history: list[Event]) -> dict[str, bytes | None]:
    """What was asked for, by place; inputs hold what the branch has drawn."""
    return {event.place: getattr(event, "payload", None) for event in history if isinstance(event, AskedAt)}


async def edited_later() -> None:
    """As `plain`, but what comes after the second step is another program."""
    await step("m one")
    await step("m two")
    durable.random()
    async with durable.open_nursery() as nursery:
        nursery.start_soon(durable.sleep, 5)
        nursery.start_soon(step, "m new")


def test_editing_a_branch_beyond_what_it_has_reached_replays() -> None:
    """The others, and the part that was recorded, know nothing of it."""
    history = recorded(program(lambda: plain("m")))
    assert replay(program(edited_later), history).length == len(history)


async def another_name() -> None:
    """The recorded second step has another input."""
    await step("m one")
    await step("m 2")


async def a_step_less() -> None:
    """The recorded second step is gone."""
    await step("m one")
    await durable.sleep_forever()


async def a_branch_more() -> None:
    """The second step is asked for by a branch of its own."""
    await step("m one")
    async with durable.open_nursery() as nursery:
        nursery.start_soon(step, "m two")


async def draws_more() -> None:
    """Draws and spawns more than before, and then does what was recorded no longer."""
    for _ in range(3):
        durable.random()
        durable.uuid4()
    await step("m one")
    await durable.record(int)
    await step("m two")


@pytest.mark.parametrize(
    ("edited", "place", "expected", "actual", "source"),
    [
        (
            another_name,
            "0.2#2",
            "ActivityScheduled 'step' at 0.2#2",
            "ActivityScheduled 'step' at 0.2#2, with another input",
            "another_name",
        ),
        (a_step_less, "0.2#2", "ActivityScheduled 'step' at 0.2#2", None, None),
        (a_branch_more, "0.2.1#1", None, "ActivityScheduled 'step' at 0.2.1#1", None),
        (draws_more, "0.2#2", "ActivityScheduled 'step' at 0.2#2", "Recorded 'int' at 0.2#2", None),
    ],
)
def test_editing_a_recorded_step_names_that_branch_and_step(
    edited: Branch, place: str, expected: str | None, actual: str | None, source: str | None
) -> None:
    """The place, both sides, and the line of code where it has one."""
    history = recorded(program(lambda: plain("m")))
    with pytest.raises(NondeterminismError) as info:
        replay(program(edited), history)
    error = info.value
    assert (error.place, error.expected, error.actual) == (place, expected, actual)
    if source is not None:
        assert f"test_identity.py:{edited.__code__.co_firstlineno + 3} in {source}" in str(error)


@pytest.mark.parametrize("edited", [edited_later, another_name, a_step_less, a_branch_more, draws_more])
def test_nothing_of_the_other_branches_moves(edited: Branch) -> None:
    """Places and what was drawn, in new executions of the edited code, are as they were before."""
    before, after = asked(recorded(program(lambda: plain("m")))), asked(recorded(program(edited)))
    others = [place for place in before if not place.startswith("0.2")]
    assert len(others) == 4
    assert {place: after.get(place) for place in others} == {place: before[place] for place in others}


def test_a_branch_is_placed_by_who_spawned_it_not_by_who_is_left() -> None:
    """Branches that have ended do not give their numbers away, whichever nursery they were in."""

    async def late() -> list[str]:
        places: list[str] = []

        async def note() -> None:
            places.append(durable.lowlevel.current_task().place)

        for _ in range(2):
            async with durable.open_nursery() as nursery:
                nursery.start_soon(note)
                await step("between")
                nursery.start_soon(note)
        return places

    driven = Driven(define(late), app=app)
    driven.start()
    driven.complete(driven.scheduled[0])
    driven.complete(driven.scheduled[1])
    assert driven.result() == ["0.1", "0.2", "0.3", "0.4"]
    driven.close()


def test_a_branch_that_was_moved_keeps_its_place_and_its_numbers() -> None:
    """Before and after `started`, it is the spawner's branch; so is its random stream, and its count of operations."""

    async def moved(task_status: Any) -> None:
        await step(f"before {durable.random()}")
        task_status.started()
        await step(f"after {durable.random()}")

    async def whole() -> None:
        async with durable.open_nursery() as nursery:

            async def starter() -> None:
                await nursery.start(moved)

            nursery.start_soon(durable.sleep, 5)
            nursery.start_soon(starter)

    driven = Driven(define(whole), app=app)
    driven.start()
    driven.complete(driven.scheduled[0])
    first, second = driven.scheduled
    assert [first.place, second.place] == ["0.2.1#1", "0.2.1#2"]
    assert first.payload.split()[-1] != second.payload.split()[-1]
    driven.close()


@pytest.mark.parametrize("order", range(24))
def test_every_order_of_four_branches_asks_for_the_same(order: int) -> None:
    """All permutations of what is ready: the same places with the same draws, segment by segment."""
    permutation = list(itertools.permutations(range(4)))[order]
    definition = program(lambda: plain("m"), before=("a", "b"), behind=("c",))

    def permute(batch: list[Any]) -> None:
        if len(batch) == 4:
            batch[:] = [batch[index] for index in permutation]
        else:
            random.Random(order).shuffle(batch)

    histories = [first_segments(definition, None), first_segments(definition, permute)]
    assert histories[0] == histories[1]


def first_segments(definition: Any, order: Callable[[list[Any]], None] | None) -> list[dict[str, bytes | None]]:
    """What was asked for at the start and behind the completion of each branch's first step."""
    execution = Execution(app, definition)
    execution.kernel.order = order
    started = OrchestrationStarted(instance="i", name="whole", payload=b"{}", seed="5eed")
    events = list(execution.run([Message(1, START, started)], START).events)
    found = [asked(events)]
    driven = Driven(definition, app=app)
    by_place = {event.place: event for event in events if isinstance(event, AskedAt)}
    for number, place in enumerate(sorted(by_place), 2):
        done = driven.completion(by_place[place], 1)  # type: ignore[arg-type]
        found.append(asked(list(execution.run([Message(number, START, done)], START).events)))
    execution.close()
    return found
