"""Dropping a kernel that waits: everything unwinds, nothing acts, nothing is left."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from tests.kernel.helpers import World
from trioflow._kernel import (
    CancelScope,
    Dropped,
    cancel_shielded_checkpoint,
    checkpoint,
    current_kernel,
    current_task,
    move_on_after,
    open_nursery,
    perform,
    sleep,
    sleep_forever,
    take_operation_key,
    wait_all_tasks_blocked,
)
from trioflow.durable import Event, lowlevel
from trioflow.errors import ForeignAwaitError


def test_children_are_dropped_before_parents() -> None:
    """The youngest task unwinds first, whoever's nursery it is in."""
    log: list[str] = []

    async def child(depth: int) -> None:
        place = current_task().place
        try:
            async with open_nursery() as nursery:
                if depth:
                    nursery.start_soon(child, depth - 1)
                    nursery.start_soon(child, depth - 1)
                else:
                    await perform("work")
        finally:
            log.append(place)

    world = World(child, 2)
    world.run()
    world.kernel.close()
    assert len(log) == 7
    for place in log:
        below = [other for other in log if other.startswith(place + ".")]
        assert all(log.index(other) < log.index(place) for other in below)
    assert log[-1] == "0"


def test_nothing_acts_any_more() -> None:
    """Every verb raises Dropped in `finally` blocks, sync or async, shielded or not; plain Python runs."""
    log: list[str] = []
    verbs: dict[str, Any] = {
        "perform": lambda: perform("refund"),
        "sleep": lambda: sleep(5),
        "sleep(0)": lambda: sleep(0),
        "sleep_forever": sleep_forever,
        "checkpoint": checkpoint,
        "checkpoint_if_cancelled": lowlevel.checkpoint_if_cancelled,
        "shielded": cancel_shielded_checkpoint,
        "wait_all_tasks_blocked": wait_all_tasks_blocked,
    }
    sync: dict[str, Any] = {
        "current_kernel": current_kernel,
        "take_operation_key": take_operation_key,
        "Event": Event,
        "reschedule": lambda: lowlevel.reschedule(current_task()),
    }

    async def main() -> None:
        event = Event()
        verbs["event.wait"] = event.wait
        sync["event.set"] = event.set
        async with open_nursery() as nursery:
            verbs["start"] = lambda: nursery.start(checkpoint)
            sync["start_soon"] = lambda: nursery.start_soon(checkpoint)
            try:
                await perform("wait")
            finally:
                with CancelScope(shield=True):
                    for name, verb in verbs.items():
                        with pytest.raises(Dropped):
                            await verb()
                        log.append(name)
                    for name, verb in sync.items():
                        with pytest.raises(Dropped, match="dropped from memory"):
                            verb()
                        log.append(name)
                    with pytest.raises(Dropped):
                        async with open_nursery():
                            raise AssertionError

    world = World(main)
    world.run()
    world.kernel.close()
    assert log == [*verbs, *sync]
    assert world.kernel.asked == []
    assert not world.answer("0#1")


def test_a_task_that_never_ran_runs_nothing() -> None:
    """Its coroutine is closed without a step and without a warning."""
    log: list[str] = []

    async def child() -> None:
        log.append("ran")

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(child)
            current_kernel().abort(KeyError())

    world = World(main)
    with pytest.raises(KeyError):
        world.run()
    world.kernel.close()
    assert log == []


def test_errors_and_returns_while_unwinding_are_nobody_s() -> None:
    """A `finally` that raises, and a task that swallows Dropped and returns, both end their task."""
    log: list[str] = []

    async def raises() -> None:
        try:
            await perform("a")
        finally:
            log.append("raises")
            raise KeyError

    async def returns() -> None:
        try:
            await perform("b")
        except BaseException:
            log.append("returns")

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(raises)
            nursery.start_soon(returns)

    world = World(main)
    world.run()
    world.kernel.close()
    assert log == ["returns", "raises"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_must_not_be_swallowed_leaves_close(error: type[BaseException]) -> None:
    """But only when all others were dropped."""
    log: list[str] = []

    async def child() -> None:
        try:
            await perform("a")
        finally:
            raise error

    async def main() -> None:
        try:
            async with open_nursery() as nursery:
                nursery.start_soon(child)
        finally:
            log.append("main")

    world = World(main)
    world.run()
    with pytest.raises(error):
        world.kernel.close()
    assert log == ["main"]
    assert world.kernel.tasks == {}


def swallows(verb: Any) -> Any:
    async def main(count: list[int], released: list[bool]) -> None:
        while not released:
            try:
                await verb()
            except BaseException:
                count[0] += 1

    return main


async def via_the_host() -> None:
    current_kernel().host.anything()  # type: ignore[attr-defined]
    await perform("x")


async def via_a_nursery() -> None:
    async with open_nursery():
        await sleep_forever()


async def via_a_swallowing_nursery() -> None:
    async with open_nursery():
        try:
            await sleep_forever()
        except BaseException:
            pass


@pytest.mark.parametrize(
    "verb",
    [
        lambda: perform("x"),
        lambda: sleep(5),
        sleep_forever,
        via_a_nursery,
        via_a_swallowing_nursery,
        via_the_host,
    ],
)
def test_a_task_that_swallows_for_ever_is_undead(verb: Any) -> None:
    """After a hundred throws it is kept and counted; `close` returns."""
    count = [0]
    released: list[bool] = []

    class Host:
        def anything(self) -> None: ...

    world = World(swallows(verb), count, released, host=Host())
    world.run()
    world.kernel.close()
    (task,) = world.kernel.undead
    assert task.place == "0"
    assert count[0] >= 99
    released.append(True)
    task.coro.close()


def test_sleeping_nurseries_scopes_and_starts_unwind() -> None:
    """Dropping in the middle of anything leaves the blocks in order."""
    log: list[str] = []

    async def slow_start(*, task_status: Any) -> None:
        try:
            await sleep(50)
        finally:
            log.append("starting")

    async def crash() -> None:
        raise KeyError

    async def stubborn() -> None:
        with CancelScope(shield=True):
            await sleep(50)

    async def failing() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(stubborn)
            nursery.start_soon(crash)

    async def main() -> None:
        try:
            with move_on_after(100):
                async with open_nursery() as nursery:
                    nursery.start_soon(failing)
                    nursery.start_soon(wait_all_tasks_blocked)
                    await nursery.start(slow_start)
        finally:
            log.append("main")

    world = World(main)
    world.run()
    world.kernel.close()
    assert log == ["starting", "main"]
    assert world.kernel.next_deadline == float("inf")


@pytest.mark.parametrize("body_waits", [True, False])
def test_scopes_around_a_nursery_see_it_closed(body_waits: bool) -> None:
    """What unwinds is Dropped all the way: no scope takes the nursery inside it for one that was left open."""
    seen: list[BaseException] = []

    async def main() -> None:
        try:
            with CancelScope(), move_on_after(5):
                async with open_nursery() as nursery:
                    nursery.start_soon(sleep_forever)
                    if body_waits:
                        await sleep_forever()
        except BaseException as exc:
            seen.append(exc)
            raise

    world = World(main)
    world.run()
    world.kernel.close()
    assert list(map(type, seen)) == [Dropped]


def test_a_nursery_that_only_waits_for_a_start_unwinds() -> None:
    """The call that keeps it open is dropped first, and wakes nobody."""
    log: list[str] = []

    async def slow_start(*, task_status: Any) -> None:
        await sleep(50)

    async def starter(nursery: Any) -> None:
        await nursery.start(slow_start)

    async def main() -> None:
        async with open_nursery() as other:
            try:
                async with open_nursery() as nursery:
                    other.start_soon(starter, nursery)
                    await checkpoint()
            finally:
                log.append("main")

    world = World(main)
    world.run()
    world.kernel.close()
    assert log == ["main"]


def test_time_and_cancellation_may_come_after_the_end() -> None:
    """A driver that is late does no harm."""

    async def main() -> None:
        with move_on_after(5):
            await perform("a")

    world = World(main)
    world.run()
    world.kernel.close()
    world.kernel.advance(10)
    world.kernel.cancel()
    assert world.kernel.branches() == ()


# -- garbage -----------------------------------------------------------------------------------------------------------


@contextmanager
def no_cycles() -> Iterator[list[weakref.ref[Any]]]:
    """Whatever is added is gone afterwards, without the collector."""
    gc.collect()
    gc.disable()
    try:
        refs: list[weakref.ref[Any]] = []
        yield refs
        assert [ref() for ref in refs if ref() is not None] == []
        assert gc.collect() == 0
    finally:
        gc.enable()


class Precious:
    """Something whose end can be seen."""


async def busy(refs: list[Any]) -> None:
    precious = Precious()
    refs.append(weakref.ref(precious))
    refs.append(weakref.ref(current_task()))
    refs.append(weakref.ref(current_kernel()))

    async def child() -> None:
        held = precious
        with move_on_after(50):
            async with open_nursery() as inner:
                inner.start_soon(sleep_forever)
                await perform(held)

    async with open_nursery() as nursery:
        nursery.start_soon(child)
        nursery.start_soon(child)
        await checkpoint()


def test_a_dropped_kernel_leaves_no_cycles() -> None:
    """Tasks, scopes, nurseries, locals and the kernel are freed at once."""
    with no_cycles() as refs:
        world = World(busy, refs)
        world.run()
        world.kernel.close()
        World.made.clear()
        del world


async def fails(refs: list[Any]) -> None:
    precious = Precious()
    refs.append(weakref.ref(precious))
    refs.append(weakref.ref(current_kernel()))

    async def child() -> None:
        raise KeyError

    async def foreign() -> None:
        try:
            await trio.sleep(0)
        except ForeignAwaitError:
            await trio.sleep(0)

    async with open_nursery() as nursery:
        nursery.start_soon(child)
        nursery.start_soon(foreign)
        nursery.start_soon(sleep_forever)
        with CancelScope() as scope:
            scope.cancel()
            await sleep_forever()


def test_a_failed_kernel_leaves_no_cycles() -> None:
    """Once the outcome is taken from it: from CPython 3.12 on a traceback leads to whoever ran the kernel."""
    with no_cycles() as refs:
        world = World(fails, refs)
        world.run()
        assert isinstance(world.error, ExceptionGroup)
        world.kernel.close()
        world.kernel.outcome = None
        World.made.clear()
        del world


def test_a_kernel_that_ended_leaves_no_cycles_without_being_closed() -> None:
    """Cancelled operations, started tasks and scopes with deadlines are forgotten as they end."""

    async def server(*, task_status: Any) -> None:
        task_status.started()
        await sleep(3)

    async def main(refs: list[Any]) -> None:
        refs.append(weakref.ref(current_kernel()))
        async with open_nursery() as nursery:
            await nursery.start(server)
            with move_on_after(1):
                await perform("a", on_cancel="abandon")

    with no_cycles() as refs:
        world = World(main, refs)
        world.run()
        world.kernel.advance(1)
        world.run()
        world.kernel.advance(5)
        world.run()
        assert world.value is None
        World.made.clear()
        del world


def test_nurseries_that_are_left_crosswise_are_dropped_all_the_same() -> None:
    """Misnesting is nobody's concern any more; everything inside unwinds, and nothing is left."""
    log: list[str] = []

    async def child(name: str) -> None:
        try:
            await sleep_forever()
        finally:
            log.append(name)

    async def main(refs: list[Any]) -> None:
        refs.append(weakref.ref(current_kernel()))
        outer, inner = open_nursery(), open_nursery()
        (await outer.__aenter__()).start_soon(child, "in the outer one")
        (await inner.__aenter__()).start_soon(child, "in the inner one")
        try:
            await perform("stay")
        except Dropped as exc:
            await outer.__aexit__(type(exc), exc, None)
            await inner.__aexit__(type(exc), exc, None)
            log.append("left")
            raise

    with no_cycles() as refs:
        world = World(main, refs)
        world.run()
        world.kernel.close()
        World.made.clear()
        del world
    assert log == ["in the inner one", "in the outer one", "left"]
