"""`gather`, `race` and `map`: nurseries with a result, also where something goes wrong."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.engine.driving import START, Driven, kinds
from tests.kernel.helpers import World
from trioflow import durable
from trioflow.app import App
from trioflow.history import ActivityCancelled, ActivityFailed, Event, Failure, OrchestrationFailed

app = App("combinators")


@app.activity
async def step(value: int = 0) -> int:
    """Never runs here."""
    return value


def refused(driven: Driven, event_id: int) -> Event:
    """The message that an activity failed."""
    return ActivityFailed(answers=event_id, failure=Failure(type="builtins.ValueError", message="no"))


async def caught(work: Awaitable[Any]) -> list[object]:
    """What awaiting it raises: the classes, group by group."""
    try:
        return ["returned", await work]
    except ExceptionGroup as group:
        return [type(exc).__name__ for exc in group.exceptions]
    except Exception as exc:
        return [str(exc)]


def test_async_functions_without_arguments_are_taken_too() -> None:
    """They run in the branch of their position, as awaitables do."""

    async def program() -> list[object]:
        index, value = await durable.race(functools.partial(step, 1), step(2))
        return [*await durable.gather(lambda: step(3), functools.partial(step, value=4)), index, value]

    driven = Driven(program, app=app)
    driven.start()
    one, two = driven.scheduled
    driven.turn(driven.completion(two, 20), ActivityCancelled(answers=one.id))
    three, four = driven.scheduled[2:]
    assert [three.payload, four.payload] == [b'{"value":3}', b'{"value":4}']
    driven.turn(driven.completion(four, 40), driven.completion(three, 30))
    assert driven.result() == [30, 40, 1, 20]
    driven.close()


def test_gathering_nothing_is_a_checkpoint_with_no_result() -> None:
    """As an empty nursery."""

    async def program() -> list[object]:
        return list(await durable.gather())

    driven = Driven(program)
    driven.start()
    assert driven.result() == []
    driven.close()


@pytest.mark.parametrize("verb", ["gather", "race"])
def test_what_can_neither_be_awaited_nor_called_is_refused(verb: str) -> None:
    """Nothing is scheduled, and the coroutines beside it are closed without a warning."""

    async def program() -> list[object]:
        combine: Callable[..., Awaitable[Any]] = getattr(durable, verb)
        return await caught(combine(step(1), 5, step(2)))

    driven = Driven(program, app=app)
    driven.start()
    (text,) = driven.result()
    assert text.startswith("5 can neither be awaited nor called")
    assert driven.scheduled == []
    driven.close()


def test_a_race_needs_competitors() -> None:
    """Otherwise it would never end."""

    async def program() -> list[object]:
        return await caught(durable.race())

    driven = Driven(program)
    driven.start()
    assert driven.result() == ["race() needs at least one competitor"]
    driven.close()


def test_the_first_to_end_may_raise() -> None:
    """Then the race raises, as a nursery does, and the others have ended; what they returned is dropped."""

    async def program() -> list[object]:
        return await caught(durable.race(step(1), step(2)))

    driven = Driven(program, app=app)
    driven.start()
    one, two = driven.scheduled
    assert kinds(driven.turn(refused(driven, two.id))) == ["ActivityFailed", "ActivityCancelRequested"]
    driven.complete(one, 10)
    assert driven.result() == ["ActivityFailed"]
    driven.close()


def test_a_loser_that_completes_is_dropped_and_one_that_fails_is_not() -> None:
    """An error is never swallowed."""

    async def program() -> list[object]:
        first = await caught(durable.race(step(1), step(2)))
        return [first, await caught(durable.race(step(3), step(4)))]

    driven = Driven(program, app=app)
    driven.start()
    one, two = driven.scheduled
    driven.turn(driven.completion(one, 10), driven.completion(two, 20))
    three, four = driven.scheduled[2:]
    driven.turn(driven.completion(three, 30), refused(driven, four.id))
    assert driven.result() == [["returned", [0, 10]], ["ActivityFailed"]]
    driven.close()


def test_a_race_cancelled_from_outside_is_cancelled() -> None:
    """All competitors are asked to end and waited for; a value that comes then does not win."""

    async def program() -> list[object]:
        with durable.move_on_after(5) as scope:
            await durable.race(step(1), step(2))
        return [scope.cancelled_caught]

    driven = Driven(program, app=app)
    driven.start()
    one, two = driven.scheduled
    result = driven.turn(now=START + 6)
    assert kinds(result) == ["TimerFired", "ActivityCancelRequested", "ActivityCancelRequested"]
    driven.turn(driven.completion(one, 10), ActivityCancelled(answers=two.id))
    assert driven.result() == [True]
    driven.close()


def test_a_gather_that_is_cancelled_before_it_begins_asks_for_nothing() -> None:
    """Its coroutines are closed without a warning."""

    async def program() -> list[object]:
        with durable.CancelScope() as scope:
            scope.cancel()
            await durable.gather(step(1), step(2))
        return [scope.cancelled_caught]

    driven = Driven(program, app=app)
    driven.start()
    assert driven.result() == [True]
    assert driven.scheduled == []
    driven.close()


@pytest.mark.parametrize("verb", ["gather", "race"])
def test_an_execution_dropped_in_the_middle_leaves_no_coroutine(verb: str) -> None:
    """Those that had not begun are closed, too."""

    async def program() -> None:
        async def late() -> None:
            await getattr(durable, verb)(step(2), step(3))

        async with durable.open_nursery() as nursery:
            nursery.start_soon(late)
            await durable.lowlevel.checkpoint()
            raise KeyboardInterrupt  # ends the turn before the branches of `late` have taken their first step

    driven = Driven(program, app=app)
    with pytest.raises(KeyboardInterrupt):
        driven.start()
    driven.live.close()


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "2"])
def test_a_limit_is_a_whole_number(limit: Any) -> None:
    """At least 1, or None."""

    async def program() -> list[object]:
        return await caught(durable.map(step, [1], limit=limit))

    driven = Driven(program, app=app)
    driven.start()
    (text,) = driven.result()
    assert repr(limit) in text
    driven.close()


def test_mapping_nothing_gives_nothing() -> None:
    """As an empty nursery."""

    async def program() -> list[int]:
        return await durable.map(step, [], limit=2)

    driven = Driven(program, app=app)
    driven.start()
    assert driven.result() == []
    driven.close()


def test_a_map_stops_starting_items_after_a_failure() -> None:
    """Not even the code in front of an item's first step runs, and the iterable is not read on."""
    begun: list[int] = []

    async def program() -> list[object]:
        async def one(value: int) -> int:
            begun.append(value)
            return await step(value)

        return await caught(durable.map(one, range(10), limit=2))

    driven = Driven(program, app=app)
    driven.start()
    one, two = driven.scheduled
    begun.clear()
    driven.turn(refused(driven, one.id))
    assert begun == [0, 1] * 2  # those of the cold replays, traced and not
    driven.complete(two, 2)
    assert driven.result() == ["ActivityFailed"]
    assert len(driven.scheduled) == 2
    driven.close()


def test_an_iterable_that_raises_fails_the_map() -> None:
    """What runs is cancelled and waited for."""

    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    async def program() -> list[object]:
        return await caught(durable.map(step, items()))

    driven = Driven(program, app=app)
    driven.start()
    assert driven.result() == ["LookupError"]
    assert driven.scheduled == []
    driven.close()


def test_a_group_keeps_its_structure_to_the_end() -> None:
    """A failure nobody catches is recorded as a group in a group."""

    async def program() -> None:
        await durable.gather(durable.gather(step(1)), step(2))

    driven = Driven(program, app=app)
    driven.start()
    inner, outer = driven.scheduled if driven.scheduled[0].place == "0.1.1#1" else reversed(driven.scheduled)
    driven.turn(refused(driven, inner.id), ActivityCancelled(answers=outer.id))
    assert isinstance(driven.last, OrchestrationFailed)
    failure = driven.last.failure
    assert failure.type.endswith("ExceptionGroup")
    (member,) = failure.members
    assert [inner.type.rpartition(".")[2] for inner in member.members] == ["ValueError"]
    driven.close()


def test_branches_are_called_after_the_function() -> None:
    """A tree shows what was given to `race`, never how it is made, and which lock a branch waits for."""

    async def holds(lock: Any) -> None:
        async with lock:
            await durable.sleep_forever()

    async def main() -> None:
        lock, semaphore = durable.Lock(), durable.Semaphore(0)
        await durable.race(holds(lock), functools.partial(holds, lock), holds(semaphore), semaphore.acquire)

    world = World(main)
    world.run()
    shown = str(world.kernel.branches()[0])
    world.kernel.close()
    prefix = "test_branches_are_called_after_the_function.<locals>.holds"
    assert f"0.1 {prefix} sleeps for ever" in shown
    assert f"0.2 {prefix} waits in Lock.acquire" in shown
    assert f"0.3 {prefix} waits in Semaphore.acquire" in shown
    assert "0.4 Semaphore.acquire waits in Semaphore.acquire" in shown
