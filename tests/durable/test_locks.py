"""Locks, conditions, semaphores, limiters and parking lots: what trio's own tests do not look at.

That they mean what they mean in trio is measured by trio's tests (tests/trio_tests); here is what is our own: whose
they are, what replay and dropping do to them, how they look.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import pytest

from tests.engine.driving import Driven
from tests.kernel.helpers import World, finish
from trioflow import durable
from trioflow._kernel import Kernel, wait_all_tasks_blocked
from trioflow.app import App
from trioflow.durable import lowlevel
from trioflow.errors import NotInOrchestration

MAKERS: list[Callable[[], Any]] = [
    durable.Lock,
    durable.StrictFIFOLock,
    durable.Condition,
    lambda: durable.Semaphore(1),
    lambda: durable.CapacityLimiter(1),
]
NAMES = ["Lock", "StrictFIFOLock", "Condition", "Semaphore", "CapacityLimiter"]

app = App("locks")


@app.activity
async def step(value: str) -> None:
    """Never runs here."""


@contextmanager
def kernel_of(made: list[Any], make: Callable[[], Any]) -> Iterator[Kernel]:
    """A kernel whose program has made something and waits."""

    async def main() -> None:
        made.append(make())
        await durable.sleep_forever()

    world = World(main)
    world.run()
    yield world.kernel


@pytest.mark.parametrize("make", [*MAKERS, lowlevel.ParkingLot], ids=[*NAMES, "ParkingLot"])
def test_they_are_made_inside_an_orchestration(make: Callable[[], Any]) -> None:
    """Outside there is none that they could belong to."""
    with pytest.raises(NotInOrchestration):
        make()


@pytest.mark.parametrize("make", MAKERS, ids=NAMES)
@pytest.mark.parametrize("nowait", [True, False], ids=["nowait", "wait"])
def test_another_orchestration_cannot_take_them(make: Callable[[], Any], nowait: bool) -> None:
    """The error says whose it is, and nothing has changed."""
    made: list[Any] = []
    with kernel_of(made, make):

        async def thief() -> None:
            with pytest.raises(
                RuntimeError, match="belongs to instance test and was used from another instance of the same name"
            ):
                if nowait:
                    made[0].acquire_nowait()
                else:
                    await made[0].acquire()
            with pytest.raises(RuntimeError):
                made[0].release()

        finish(thief)
    assert "waiting" in repr(made[0]) or "unlocked" in repr(made[0])


def test_another_orchestration_cannot_touch_a_parking_lot_or_a_limit() -> None:
    """Not by waiting in it, nor by waking, moving, breaking, or changing it."""
    made: list[Any] = []
    with kernel_of(made, lowlevel.ParkingLot), kernel_of(made, lambda: durable.CapacityLimiter(1)):

        async def thief() -> None:
            own = lowlevel.ParkingLot()
            lot, limiter = made
            with pytest.raises(RuntimeError, match="this parking lot belongs"):
                await lot.park()
            for use in (lot.unpark, lot.unpark_all, lot.break_lot, lambda: lot.repark(own)):
                with pytest.raises(RuntimeError, match="this parking lot belongs"):
                    use()
            with pytest.raises(RuntimeError, match="this capacity limiter belongs"):
                limiter.total_tokens = 3

        finish(thief)
    assert made[1].total_tokens == 1


def test_looks() -> None:
    """A repr tells the state, by places and numbers, never by address."""

    async def main() -> list[str]:
        lock, lot = durable.Lock(), lowlevel.ParkingLot()
        condition, limiter = durable.Condition(durable.Lock()), durable.CapacityLimiter(inf)
        looks = [repr(lock), repr(condition), repr(lot), repr(durable.Semaphore(2, max_value=3))]
        async with lock, limiter, durable.open_nursery() as nursery:
            nursery.start_soon(lock.acquire)
            nursery.start_soon(lot.park)
            await wait_all_tasks_blocked()
            looks += [repr(lock), repr(limiter), repr(durable.StrictFIFOLock()), repr(lot)]
            nursery.cancel_scope.cancel()
        lot.break_lot()
        return [*looks, repr(lot)]

    looks = finish(main)
    main_task = f"<Task '{__name__}.test_looks.<locals>.main' at 0>"
    assert looks == [
        "<durable.Lock, unlocked>",
        "<durable.Condition, 0 waiting, with <durable.Lock, unlocked>>",
        "<durable.lowlevel.ParkingLot, 0 waiting>",
        "<durable.Semaphore, 2 of 3, 0 waiting>",
        "<durable.Lock, locked, 1 waiting>",
        "<durable.CapacityLimiter, 1/inf borrowed, 0 waiting>",
        "<durable.StrictFIFOLock, unlocked>",
        "<durable.lowlevel.ParkingLot, 1 waiting>",
        f"<durable.lowlevel.ParkingLot, 0 waiting, broken by [{main_task}]>",
    ]


def test_a_lock_orders_durable_steps_and_replays_so() -> None:
    """Branches take a lock around an activity: one at a time, first come first served, the same in every replay."""

    async def program() -> list[str]:
        order: list[str] = []
        lock = durable.Lock()

        async def branch(name: str) -> None:
            async with lock:
                await step(name)
                order.append(name)

        async with durable.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(branch, name)
        return order

    driven = Driven(program, app=app)
    driven.start()
    for _ in range(3):
        driven.complete(driven.scheduled[-1])
    assert [event.payload for event in driven.scheduled] == [b'{"value":"a"}', b'{"value":"b"}', b'{"value":"c"}']
    assert driven.result() == ["a", "b", "c"]
    driven.close()


def test_limits_are_fair_to_durable_steps_and_replay_so() -> None:
    """A limiter of two lets two activities run, and the next as soon as one has ended."""

    async def program() -> int:
        limiter, most = durable.CapacityLimiter(2), 0

        async def branch(name: str) -> None:
            nonlocal most
            async with limiter:
                most = max(most, limiter.borrowed_tokens)
                await step(name)

        async with durable.open_nursery() as nursery:
            for name in "abcd":
                nursery.start_soon(branch, name)
        return most

    driven = Driven(program, app=app)
    driven.start()
    assert len(driven.scheduled) == 2
    driven.complete(driven.scheduled[1])
    assert [event.place for event in driven.scheduled] == ["0.1#1", "0.2#1", "0.3#1"]
    for index in (0, 2, 3):
        driven.complete(driven.scheduled[index])
    assert driven.result() == 2
    driven.close()


@pytest.mark.parametrize("make", MAKERS, ids=NAMES)
def test_dropping_who_holds_and_who_waits_leaves_nothing(make: Callable[[], Any]) -> None:
    """Nothing is handed on while the kernel is dropped, and nothing is left for the cyclic collector."""
    log: list[str] = []
    seen: list[weakref.ref[Any]] = []

    async def holder(lock: Any, name: str) -> None:
        async with lock:
            log.append(name)
            await durable.sleep_forever()

    async def main() -> None:
        lock, other = make(), durable.Lock()
        seen.append(weakref.ref(lock))
        async with durable.open_nursery() as nursery, other:
            nursery.start_soon(holder, lock, "first")
            nursery.start_soon(holder, lock, "second")
            nursery.start_soon(other.acquire)
            await durable.sleep_forever()

    gc.collect()
    gc.disable()
    try:
        world = World(main)
        world.run()
        world.kernel.close()
        del world
        World.made.clear()
        assert log == ["first"]
        assert seen[0]() is None
    finally:
        gc.enable()


def test_a_dropped_waiter_of_a_condition_does_not_take_the_lock_again() -> None:
    """What it does on its way out is stopped, too."""
    log: list[str] = []

    async def main() -> None:
        condition = durable.Condition()
        async with condition:
            try:
                await condition.wait()
            finally:
                log.append(f"locked: {condition.locked()}")

    world = World(main)
    world.run()
    world.kernel.close()
    assert log == ["locked: False"]


def test_a_parking_lot_takes_whole_numbers() -> None:
    """Or all, as `math.inf`; a fraction of a task is an error, and a lot is moved to a lot only."""

    async def main() -> None:
        lot, other = lowlevel.ParkingLot(), lowlevel.ParkingLot()
        with pytest.raises(ValueError, match=r"^Cannot pop a non-integer number of tasks\.$"):
            lot.unpark(count=1.5)
        with pytest.raises(TypeError, match="new_lot must be a ParkingLot, not None"):
            lot.repark(None)  # type: ignore[arg-type]
        async with durable.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(lot.park)
            await wait_all_tasks_blocked()
            assert lot.unpark(count=-1) == []
            lot.repark(other, count=inf)
            assert not lot
            assert other.statistics().tasks_waiting == 3
            assert len(other.unpark(count=inf)) == 3

    finish(main)


def test_what_breaks_a_lot_is_forgotten_with_its_task() -> None:
    """A task that has ended keeps no lock, nor the lock it."""

    async def main() -> None:
        lock = durable.Lock()
        dead: list[Any] = []

        async def careless() -> None:
            await lock.acquire()
            dead.append(lowlevel.current_task())

        async with durable.open_nursery() as nursery:
            nursery.start_soon(careless)
        assert not dead[0]._exit_callbacks
        with pytest.raises(durable.BrokenResourceError, match=r"exited without releasing: <Task .*careless' at 0\.1>"):
            await lock.acquire()

    finish(main)
