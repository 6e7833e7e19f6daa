"""Async generators that are not finished: each is closed in the kernel that first iterated it, and nowhere else."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncGenerator
from contextvars import Context
from functools import partial
from typing import Any

import pytest

from tests.kernel.helpers import World, ask, finish
from trioflow._kernel import (
    CancelScope,
    Cancelled,
    Dropped,
    Kernel,
    cancel_shielded_checkpoint,
    checkpoint,
    current_kernel,
    current_task,
    open_nursery,
    perform,
    take_operation_key,
)
from trioflow._util import LogContext, log_context
from trioflow.durable import Event


async def numbers(log: list[Any], name: str = "gen") -> Any:
    """Yield for ever; say who closes it."""
    try:
        while True:
            yield 1
    finally:
        log.append((name, current_kernel_name()))


def current_kernel_name() -> str:
    try:
        return current_kernel().name
    except Dropped:
        return "closing"


def test_one_that_is_collected_is_closed_by_its_own_kernel() -> None:
    """A ResourceWarning says so; the closing runs as a task of the kernel, outside of the program's places."""
    log: list[Any] = []

    async def generates() -> Any:
        try:
            yield 1
        finally:
            log.append(current_task().place)
            log.append(current_task().name)

    async def main() -> None:
        async for _ in generates():
            break
        await checkpoint()

    with pytest.warns(ResourceWarning, match="generates' was garbage collected before it had been exhausted.*aclosing"):
        finish(main)
    assert log[0] == "~1"
    assert log[1].startswith("close asyncgen")


def test_one_is_closed_in_its_own_kernel_even_if_collected_in_another() -> None:
    """No generator's `finally` takes its step inside another instance."""
    log: list[Any] = []
    kept: list[Any] = []

    async def owner() -> None:
        kept.append(numbers(log))
        await anext(kept[0])
        await perform("stay")

    async def stranger() -> None:
        kept.clear()
        gc.collect()
        await cancel_shielded_checkpoint()

    world = World(owner)
    world.run()
    other = World(stranger)
    other.kernel.name = "instance b"
    with pytest.warns(ResourceWarning, match="garbage collected"):
        other.run()
    assert other.value is None
    assert log == []
    assert world.run() == []
    assert log == [("gen", "closing")]


def test_closing_may_not_act_nor_wait() -> None:
    """Not even in a shield: when the collector comes is no part of a history."""
    log: list[str] = []

    async def generates() -> Any:
        try:
            yield 1
        finally:
            try:
                take_operation_key()
            except Dropped:
                log.append("no number")
            try:
                await checkpoint()
            except Cancelled:
                log.append("cancelled")
            with CancelScope(deadline=50, shield=True):
                with pytest.raises(Dropped):
                    await perform("refund")
                await Event().wait()
            log.append("never")

    async def main() -> None:
        async for _ in generates():
            break
        await checkpoint()
        await perform("own")

    world = World(main)
    with pytest.warns(ResourceWarning):
        assert world.run() == ["ask 0#1 own"]
    assert log == ["no number", "cancelled"]
    world.kernel.close()
    assert log == ["no number", "cancelled"]


def test_an_error_while_closing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """There is nobody to raise it to."""

    async def generates() -> Any:
        try:
            yield 1
        finally:
            raise KeyError("in cleanup")

    async def main() -> None:
        async for _ in generates():
            break
        await checkpoint()

    with pytest.warns(ResourceWarning), caplog.at_level(logging.ERROR):
        finish(main)
    assert "during finalization of async generator 'generates': KeyError (at test_async_generators.py:" in caplog.text
    assert "in cleanup" not in caplog.text  # a message may hold anything


def test_an_error_while_closing_is_told_whole_where_messages_are(caplog: pytest.LogCaptureFixture) -> None:
    """Closing has the contextvars that the main task began with, so it knows what may be logged."""

    async def generates() -> Any:
        try:
            yield 1
        finally:
            raise KeyError("in cleanup")

    async def main() -> None:
        log_context.set(LogContext(messages=False))  # too late
        async for _ in generates():
            break
        await checkpoint()

    context, kernel = Context(), Kernel(name="test")
    context.run(log_context.set, LogContext(messages=True))
    kernel.start(main, context=context)
    with pytest.warns(ResourceWarning):
        kernel.run_until_blocked()
    kernel.close()
    (record,) = caplog.records
    assert record.getMessage().endswith("KeyError: 'in cleanup'")
    assert record.exc_info is not None


async def leaves(log: list[Any], kept: list[Any], *, then: str | None = None) -> None:
    """Begin two generators, finish a third, and end, or wait."""

    async def done() -> Any:
        yield 1

    for name in ("old", "young"):
        kept.append(numbers(log, name))
        await anext(kept[-1])
    kept.append(done())
    async for _ in kept[-1]:
        pass
    if then is not None:
        await perform(then)


def test_those_left_at_the_end_of_the_program_are_closed_then() -> None:
    """The youngest first, in the same run; nobody is warned, as in trio."""
    log: list[Any] = []
    kept: list[Any] = []
    world = World(leaves, log, kept)
    assert world.run() == []
    assert log == [("young", "closing"), ("old", "closing")]
    assert world.value is None
    world.kernel.close()


def test_a_cleanup_that_waits_is_cut_short_and_the_next_goes_on() -> None:
    """Cancelled is no error of a generator that is closed at the end."""
    log: list[Any] = []
    kept: list[Any] = []

    async def waits(name: str) -> Any:
        try:
            yield 1
        finally:
            log.append(name)
            await checkpoint()

    async def main() -> None:
        for name in ("old", "young"):
            kept.append(waits(name))
            await anext(kept[-1])

    world = World(main)
    assert world.run() == []
    assert log == ["young", "old"]
    world.kernel.close()


def test_those_left_when_a_kernel_is_dropped_are_closed_with_it() -> None:
    """After its tasks, in state closing; nobody is warned: they are only out of memory."""
    log: list[Any] = []
    kept: list[Any] = []
    world = World(partial(leaves, then="stay"), log, kept)
    world.run()
    assert log == []
    world.kernel.close()
    assert log == [("young", "closing"), ("old", "closing")]


def test_those_that_iterate_each_other_are_closed_one_by_one() -> None:
    """A generator whose cleanup iterates another finds it finished, not running."""
    log: list[Any] = []
    kept: list[Any] = []

    async def innermost() -> Any:
        try:
            yield 0
        finally:
            await cancel_shielded_checkpoint()
            log.append("innermost")

    async def around(inner: Any, label: int) -> Any:
        try:
            yield await anext(inner)
        finally:
            with pytest.raises(StopAsyncIteration):
                await anext(inner)
            log.append(label)

    async def main() -> None:
        chain = innermost()
        for label in range(10):
            chain = around(chain, label)
        kept.append(chain)
        await anext(chain)

    world = World(main)
    world.run()
    assert log == ["innermost", *range(10)]
    world.kernel.close()


def test_those_that_dropping_brings_up_are_closed_too() -> None:
    """A generator that a dropped task iterated is closed after the task."""
    log: list[Any] = []

    async def main() -> None:
        async for _ in numbers(log):
            try:
                await perform("stay")
            finally:
                log.append("task")

    world = World(main)
    world.run()
    world.kernel.close()
    assert log == ["task", ("gen", "closing")]


def test_what_is_collected_while_a_kernel_closes_is_nobody_s_fault() -> None:
    """A program in the middle of a loop is only out of memory: no warning, not even where warnings are errors."""
    log: list[Any] = []

    async def main() -> None:
        async for _ in numbers(log):
            await perform("stay")

    world = World(main)
    world.run()
    world.kernel.close()
    gc.collect()
    assert log == [("gen", "closing")]


def test_one_that_awaits_while_the_kernel_closes_is_unwound() -> None:
    """An await in its `finally` raises Dropped."""
    log: list[str] = []
    kept: list[Any] = []

    async def generates() -> Any:
        try:
            yield 1
        finally:
            try:
                await perform("refund")
            except Dropped:
                log.append("dropped")
                raise

    async def main() -> None:
        kept.append(generates())
        await anext(kept[0])
        await perform("stay")

    world = World(main)
    world.run()
    world.kernel.close()
    assert log == ["dropped"]


def test_ctrl_c_while_closing_one_is_not_lost() -> None:
    """It leaves the run, or `close` when everything else is done."""
    kept: list[Any] = []

    async def generates() -> Any:
        try:
            yield 1
        finally:
            raise KeyboardInterrupt

    async def main(then: str | None) -> None:
        kept.append(generates())
        await anext(kept[-1])
        if then is not None:
            await perform(then)

    ended = World(main, None)
    with pytest.raises(KeyboardInterrupt):
        ended.run()
    ended.kernel.close()
    waits = World(main, "stay")
    waits.run()
    with pytest.raises(KeyboardInterrupt):
        waits.kernel.close()
    assert waits.kernel.tasks == {}


def test_a_generator_that_is_closed_inside_its_nursery_ends_nothing_else() -> None:
    """The GeneratorExit that its nursery meets is an exception as any other, as in trio."""

    async def generator() -> AsyncGenerator[int, None]:
        async with open_nursery() as nursery:
            nursery.start_soon(ask, "inside")
            await checkpoint()
            await checkpoint()
            yield 1

    async def main() -> str:
        numbers = generator()
        await anext(numbers)
        with pytest.raises(BaseExceptionGroup) as caught:
            await numbers.aclose()
        return repr(caught.value.exceptions)

    world = World(main)
    assert world.run() == ["ask 0.1#1 inside", "cancel 0.1#1"]
    assert world.ended("0.1#1")
    world.run()
    assert world.value == "(GeneratorExit(),)"
