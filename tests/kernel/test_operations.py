"""Operations: what a branch asks the world for, how it is named, answered and cancelled."""

from __future__ import annotations

from functools import partial
from typing import Literal

import pytest

from tests.kernel.helpers import World, ask, finish
from trioflow._kernel import (
    CancelScope,
    Cancelled,
    Kernel,
    Operation,
    OperationCancelAsked,
    current_kernel,
    open_nursery,
    perform,
    take_operation_key,
)
from trioflow.errors import NotInOrchestration


def test_a_branch_counts_its_own_operations_and_spawns() -> None:
    """Keys come from the branch's place and its own counts, whatever the other branches do."""

    async def child() -> None:
        await perform("c1")
        await perform("c2")

    async def main() -> None:
        await perform("m1")
        async with open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(child)
            await perform("m2")

    world = World(main)
    assert world.run() == ["ask 0#1 m1"]
    world.answer("0#1")
    assert world.run() == ["ask 0#2 m2", "ask 0.1#1 c1", "ask 0.2#1 c1"]
    world.answer("0.2#1")
    assert world.run() == ["ask 0.2#2 c2"]
    world.answer("0.1#1")
    assert world.run() == ["ask 0.1#2 c2"]
    for key in ("0#2", "0.1#2", "0.2#2"):
        world.answer(key)
    assert world.run() == []
    assert world.value is None


def test_a_child_belongs_to_the_task_that_called_start_soon() -> None:
    """The place is the spawner's, not the nursery owner's."""
    places: list[str] = []

    async def leaf() -> None:
        await perform("leaf")

    async def spawner(nursery: object) -> None:
        nursery.start_soon(leaf)  # type: ignore[attr-defined]

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(leaf)
            nursery.start_soon(spawner, nursery)

    world = World(main)
    places = world.run()
    assert places == ["ask 0.1#1 leaf", "ask 0.2.1#1 leaf"]


def test_the_answer_is_the_value_or_the_error() -> None:
    """`perform` returns what the driver answers with, or raises it."""

    async def main() -> object:
        try:
            await perform("a")
        except KeyError as error:
            return (error.args, await perform("b"))
        raise AssertionError

    world = World(main)
    world.run()
    assert world.fail("0#1", KeyError("no"))
    world.run()
    assert world.answer("0#2", 42)
    world.run()
    assert world.value == (("no",), 42)


def test_an_operation_is_answered_once() -> None:
    """A second answer is refused and changes nothing."""

    async def main() -> None:
        await perform("a")
        await perform("b")

    world = World(main)
    world.run()
    assert world.operations["0#1"].waiting
    assert world.answer("0#1")
    assert not world.operations["0#1"].waiting
    assert not world.answer("0#1")
    assert not world.ended("0#1")
    assert world.run() == ["ask 0#2 b"]


def test_a_cancelled_call_asks_for_nothing_and_takes_no_number() -> None:
    """Cancellation is looked at before numbering."""

    async def main() -> None:
        with CancelScope() as scope:
            scope.cancel()
            await perform("never")
        await perform("first")

    assert World(main).run() == ["ask 0#1 first"]


async def _in_scope(on_cancel: Literal["wait", "request", "abandon"], log: list[object]) -> None:
    with CancelScope() as scope:
        current_kernel().host.append(scope)  # type: ignore[attr-defined]
        try:
            log.append(await perform("op", on_cancel=on_cancel))
            await perform("next")
        except BaseException as error:
            log.append(type(error).__name__)
            raise


def _cancelled(on_cancel: Literal["wait", "request", "abandon"]) -> tuple[World, list[object], list[str]]:
    log: list[object] = []
    scopes: list[CancelScope] = []
    world = World(_in_scope, on_cancel, log, host=scopes)
    world.run()
    scopes[0].cancel("enough")
    return world, log, world.run()


def test_wait_stays_for_a_value_and_sees_the_cancellation_next() -> None:
    """With "wait" the result is never lost; the scope is seen at the next checkpoint."""
    world, log, asked = _cancelled("wait")
    assert asked == ["cancel 0#1"]
    assert log == []
    assert world.operations["0#1"].cancel_asked
    assert world.answer("0#1", "receipt")
    assert world.run() == []
    assert log == ["receipt", "Cancelled"]
    assert world.value is None


def test_wait_stays_for_an_error() -> None:
    """With "wait" an error that happened is raised, not Cancelled."""
    world, log, _ = _cancelled("wait")
    world.fail("0#1", ValueError("declined"))
    world.run()
    assert log == ["ValueError"]
    assert isinstance(world.error, ValueError)


def test_wait_ends_as_cancelled_when_the_world_says_so() -> None:
    """`resume_cancelled` raises the Cancelled of the scope, which catches it."""
    world, log, _ = _cancelled("wait")
    assert world.ended("0#1")
    world.run()
    assert log == ["Cancelled"]
    assert world.value is None


def test_request_asks_and_goes() -> None:
    """With "request" the branch goes at once; a later answer is dropped."""
    world, log, asked = _cancelled("request")
    assert asked == ["cancel 0#1"]
    assert log == ["Cancelled"]
    assert not world.answer("0#1")


def test_abandon_goes_without_asking() -> None:
    """With "abandon" nobody hears of it."""
    world, log, asked = _cancelled("abandon")
    assert asked == []
    assert log == ["Cancelled"]
    assert not world.answer("0#1")


def test_a_cancel_is_asked_once() -> None:
    """A second cancellation from further out asks for nothing more."""

    async def main() -> None:
        with CancelScope() as scope:
            current_kernel().host.append(scope)  # type: ignore[attr-defined]
            await perform("op")

    scopes: list[CancelScope] = []
    world = World(main, host=scopes)
    world.run()
    scopes[0].cancel()
    world.kernel.cancel("shutdown")
    assert world.run() == ["cancel 0#1"]
    assert world.run() == []


def test_an_end_that_nobody_asked_for_is_refused() -> None:
    """The driver cannot cancel an operation by itself."""

    async def main() -> None:
        await perform("a")

    world = World(main)
    world.run()
    with pytest.raises(RuntimeError, match=r"<Operation 0#1 'a'> was never asked for"):
        world.ended("0#1")


def test_perform_outside_of_a_kernel_names_the_ways_in() -> None:
    """The error says how to run an orchestration."""
    with pytest.raises(NotInOrchestration, match=r"client\.start.*run_durable"):
        perform("x")


def test_perform_is_for_tasks() -> None:
    """Abort functions and the like cannot perform."""

    async def main() -> None:
        kernel = current_kernel()
        task, kernel.running = kernel.running, None
        try:
            with pytest.raises(NotInOrchestration, match="not by one of its tasks"):
                perform("x")
        finally:
            kernel.running = task

    finish(main)


def test_a_host_takes_numbers_from_the_same_count() -> None:
    """`take_operation_key` and `perform` share the branch's count."""

    async def main() -> object:
        key = take_operation_key()
        await perform("a")
        return key

    world = World(main)
    assert world.run() == ["ask 0#2 a"]
    world.answer("0#2")
    world.run()
    assert world.value == "0#1"


def test_an_operation_knows_the_line_that_waits() -> None:
    """`where` is the innermost line of user code, and None once nobody waits."""

    async def inner() -> None:
        await perform("a")

    async def main() -> None:
        await inner()

    world = World(main)
    world.run()
    operation = world.operations["0#1"]
    where = operation.where()
    assert where is not None
    assert where.startswith(__file__)
    assert where.endswith("in test_an_operation_knows_the_line_that_waits.<locals>.inner")
    world.answer("0#1")
    assert operation.where() is None


def test_operations_are_exported_as_they_are_used() -> None:
    """The engine names these classes."""
    assert Operation.__slots__
    assert repr(Kernel(name="instance a")) == "<Kernel of instance a, new, 0 tasks>"
    assert issubclass(Cancelled, BaseException)


def test_an_operation_knows_why_its_end_is_asked_for() -> None:
    """Whether its branch stays for the answer or goes on; the text is the canceller's."""

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(ask, "m1")
            nursery.start_soon(partial(ask, "m2", on_cancel="request"))

    kernel = Kernel(name="reasons")
    kernel.start(main)
    one, two = kernel.run_until_blocked()
    kernel.cancel("the order was withdrawn")
    why = "the order was withdrawn"
    assert kernel.run_until_blocked() == [OperationCancelAsked(one, why), OperationCancelAsked(two, why)]
    kernel.close()
