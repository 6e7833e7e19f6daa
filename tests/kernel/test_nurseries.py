"""Nurseries: nothing is lost, everything is awaited, and what is raised leaves as one group."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
from trio import TrioInternalError

from tests.kernel.helpers import World, finish
from trioflow._kernel import (
    CancelScope,
    Cancelled,
    Kernel,
    Nursery,
    Task,
    TaskStatus,
    cancel_shielded_checkpoint,
    checkpoint,
    current_kernel,
    current_task,
    open_nursery,
    perform,
    sleep,
    sleep_forever,
)


async def crash(error: BaseException) -> None:
    raise error


def test_the_block_ends_when_all_tasks_have() -> None:
    """Tasks run to their end, in first-in-first-out order."""
    log: list[int] = []

    async def child(number: int) -> None:
        log.append(number)
        await checkpoint()
        log.append(-number)

    async def main() -> None:
        async with open_nursery() as nursery:
            for number in (1, 2, 3):
                nursery.start_soon(child, number)
            assert log == []
            assert [task.place for task in nursery.child_tasks] == ["0.1", "0.2", "0.3"]
            assert nursery.parent_task is current_task()
            assert repr(nursery).endswith("main' at 0>, 3 tasks>")
        assert repr(nursery).endswith("closed>")

    finish(main)
    assert log == [1, 2, 3, -1, -2, -3]


def test_the_first_failure_cancels_the_rest_and_leaves_as_a_group() -> None:
    """Even a single error is in a group; the others get Cancelled with a nursery's reason."""
    seen: list[Cancelled] = []

    async def waits() -> None:
        try:
            await sleep_forever()
        except Cancelled as error:
            seen.append(error)
            raise

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(waits)
            nursery.start_soon(crash, KeyError("x"))

    with pytest.raises(ExceptionGroup) as caught:
        finish(main)
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert seen[0].source == "nursery"
    assert seen[0].reason == "child task raised exception KeyError('x')"
    assert seen[0].source_task is not None
    assert seen[0].source_task.endswith("crash' at 0.2>")


def test_an_error_of_the_body_cancels_the_tasks() -> None:
    """The body is a member like the others; its error keeps its context."""
    log: list[str] = []

    async def waits() -> None:
        try:
            await sleep_forever()
        finally:
            log.append("ended")

    async def main() -> None:
        try:
            async with open_nursery() as nursery:
                nursery.start_soon(waits)
                await checkpoint()
                raise KeyError
        except* KeyError as group:
            (error,) = group.exceptions
            assert error.__context__ is None

    finish(main)
    assert log == ["ended"]


def test_leaving_is_a_checkpoint_but_no_cancellation_point() -> None:
    """An empty nursery lets others run and never raises Cancelled."""

    async def main() -> None:
        with CancelScope() as scope:
            scope.cancel()
            async with open_nursery():
                pass
            reached = True
        assert reached
        assert not scope.cancelled_caught

    finish(main)


def test_a_cancelled_nursery_waits_for_its_tasks() -> None:
    """A task that shields itself is waited for."""
    log: list[str] = []

    async def stubborn() -> None:
        with CancelScope(shield=True):
            await sleep(3)
        log.append("done")

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(stubborn)
            nursery.cancel_scope.cancel()

    finish(main)
    assert log == ["done"]


def test_a_nursery_takes_tasks_from_its_tasks_until_it_ends() -> None:
    """Then it is closed to new arrivals, also through `start`."""

    async def spawner(nursery: Nursery) -> None:
        nursery.start_soon(checkpoint)

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(spawner, nursery)
        with pytest.raises(RuntimeError, match="Nursery is closed to new arrivals"):
            nursery.start_soon(checkpoint)
        with pytest.raises(RuntimeError, match="Nursery is closed to new arrivals"):
            await nursery.start(checkpoint)

    finish(main)


def test_a_nursery_of_another_kernel_is_refused() -> None:
    """Tasks cannot be started across instances."""
    nurseries: list[Nursery] = []

    async def owner() -> None:
        async with open_nursery() as nursery:
            nurseries.append(nursery)
            await perform("stay")

    async def stranger() -> None:
        with pytest.raises(RuntimeError, match="this nursery belongs to instance test"):
            nurseries[0].start_soon(checkpoint)

    World(owner).run()
    other = Kernel(name="instance b")
    other.start(stranger)
    other.run_until_blocked()
    assert other.outcome is not None
    other.outcome.unwrap()
    other.close()


def test_with_instead_of_async_with_is_explained() -> None:
    """The error shows the right spelling."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"use 'async with open_nursery"):
            with open_nursery():  # type: ignore[attr-defined]
                raise AssertionError
        assert open_nursery().__exit__(None, None, None) is None  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="always strict"):
            open_nursery(strict_exception_groups=False)

    finish(main)


def test_nurseries_and_tasks_are_made_by_the_kernel_only() -> None:
    """No public constructor, no subclasses, public names."""
    with pytest.raises(TypeError, match=r"trioflow\.durable\.Nursery has no public constructor"):
        Nursery()
    with pytest.raises(TypeError, match=r"trioflow\.durable\.lowlevel\.Task has no public constructor"):
        Task()
    with pytest.raises(TypeError, match="cannot be subclassed"):
        type("Mine", (Nursery,), {})


def test_introspection_shows_the_tree() -> None:
    """Tasks know their nursery and the nurseries they have open."""

    async def child(parent: Task) -> None:
        task = current_task()
        assert task.parent_nursery is parent.child_nurseries[0]
        assert task.child_nurseries == []
        assert repr(task).endswith("child' at 0.1>")

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(child, current_task())
            assert current_task().child_nurseries == [nursery]
            assert current_task().parent_nursery is None

    finish(main)


# -- start -------------------------------------------------------------------------------------------------------------


async def ready_then(
    log: list[Any], value: object, *, task_status: TaskStatus[object], fail: BaseException | None = None
) -> None:
    await sleep(1)
    assert repr(task_status) == "<durable.TaskStatus, starting>"
    task_status.started(value)
    assert repr(task_status) == "<durable.TaskStatus, started>"
    log.append(current_task().place)
    await sleep(5)
    log.append("ended")
    if fail is not None:
        raise fail


def test_start_waits_until_the_task_is_ready() -> None:
    """The value given to `started` comes back; the task moves into the nursery, keeping its place."""
    log: list[Any] = []

    async def main() -> None:
        async with open_nursery() as nursery:
            assert await nursery.start(ready_then, log, "up", name="server") == "up"
            (task,) = nursery.child_tasks
            assert task.parent_nursery is nursery
            assert task.eventual_parent_nursery is None
            log.append("started")
        log.append("left")

    finish(main)
    assert log == ["0.1", "started", "ended", "left"]


def test_errors_before_started_are_raised_by_start() -> None:
    """They do not touch the nursery, and come out as they are."""

    async def fails(*, task_status: TaskStatus[None]) -> None:
        task = current_task()
        assert task.eventual_parent_nursery is not None
        raise KeyError("early")

    async def main() -> None:
        async with open_nursery() as nursery:
            with pytest.raises(KeyError, match="early"):
                await nursery.start(fails)
            assert nursery.child_tasks == frozenset()

    finish(main)


def test_errors_after_started_are_the_nursery_s() -> None:
    """A moved task fails where it is."""

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_nursery() as nursery:
                await nursery.start(partial(ready_then, fail=KeyError("late")), [], None)
                await sleep_forever()
        assert [str(error) for error in caught.value.exceptions] == ["'late'"]

    finish(main)


def test_a_task_that_ends_without_started_is_an_error() -> None:
    """So is calling it twice."""

    async def forgets(*, task_status: TaskStatus[None]) -> None:
        await checkpoint()

    async def twice(*, task_status: TaskStatus[None]) -> None:
        task_status.started()
        with pytest.raises(RuntimeError, match="twice"):
            task_status.started()

    async def main() -> None:
        async with open_nursery() as nursery:
            with pytest.raises(RuntimeError, match="without calling"):
                await nursery.start(forgets)
            assert await nursery.start(twice) is None

    finish(main)


def test_cancelling_start_cancels_the_task() -> None:
    """And a task that says it is ready too late stays where it is, to be caught there."""
    log: list[str] = []

    async def late(*, task_status: TaskStatus[None]) -> None:
        try:
            await sleep_forever()
        finally:
            task_status.started()
            log.append("late")

    async def main() -> None:
        async with open_nursery() as nursery:
            with CancelScope(deadline=3) as scope:
                await nursery.start(late)
            assert scope.cancelled_caught
            assert nursery.child_tasks == frozenset()

    finish(main)
    assert log == ["late"]


def test_a_starting_task_moves_with_its_scopes_and_waits() -> None:
    """What a moved task has open, and what it waits for, is then cancelled with the new nursery."""

    async def server(*, task_status: TaskStatus[None]) -> None:
        async with open_nursery() as inner:
            with CancelScope():
                inner.start_soon(sleep_forever)
                await checkpoint()
                task_status.started()
                await sleep_forever()

    async def main() -> None:
        async with open_nursery() as nursery:
            await nursery.start(server)
            nursery.cancel_scope.cancel()

    finish(main)


def test_starting_into_a_cancelled_nursery_cancels_on_arrival() -> None:
    """The task gets its Cancelled there, once it has moved."""
    log: list[str] = []

    async def task(*, task_status: TaskStatus[None]) -> None:
        task_status.started()
        try:
            await sleep_forever()
        except Cancelled:
            log.append("cancelled")
            raise

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.cancel_scope.cancel()
            with CancelScope(shield=True):
                await nursery.start(task)

    finish(main)
    assert log == ["cancelled"]


def test_the_nursery_stays_open_while_start_is_under_way() -> None:
    """A pending start keeps the block, even when everything else has ended."""
    log: list[Any] = []

    async def starter(nursery: Nursery) -> None:
        await nursery.start(ready_then, log, None)
        log.append("started")

    async def main() -> None:
        async with open_nursery() as other:
            async with open_nursery() as nursery:
                other.start_soon(starter, nursery)
                await checkpoint()
            log.append("left")

    finish(main)
    assert log == ["0.1.1", "started", "ended", "left"]


def test_a_task_smuggled_into_the_starting_nursery_is_refused() -> None:
    """The inner nursery of `start` is for one task."""

    async def smuggler(*, task_status: Any) -> None:
        task_status._old.start_soon(crash, KeyError())
        raise ValueError

    async def main() -> None:
        async with open_nursery() as nursery:
            with pytest.raises(TrioInternalError, match="more than one task"):
                await nursery.start(smuggler)

    finish(main)


def test_a_task_status_of_another_kernel_is_refused() -> None:
    """Readiness cannot be told across instances."""
    statuses: list[Any] = []

    async def server(*, task_status: Any) -> None:
        statuses.append(task_status)
        await perform("stay")

    async def owner() -> None:
        async with open_nursery() as nursery:
            await nursery.start(server)

    async def stranger() -> None:
        with pytest.raises(RuntimeError, match="this task status belongs to"):
            statuses[0].started()

    World(owner).run()
    other = World(stranger)
    other.run()
    assert other.value is None


# -- misuse ------------------------------------------------------------------------------------------------------------


def test_a_task_that_ends_with_its_nursery_open_fails() -> None:
    """What was in the nursery is cancelled, and its results are lost."""
    log: list[str] = []

    async def waits() -> None:
        try:
            await sleep_forever()
        except Cancelled as error:
            log.append(str(error.reason))
            raise KeyError from error

    async def leaves() -> None:
        nursery = await open_nursery().__aenter__()
        nursery.start_soon(waits)
        await checkpoint()
        raise ValueError

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(leaves)

    with pytest.raises(ExceptionGroup) as caught:
        finish(main)
    (error,) = caught.value.exceptions
    assert "Nursery stack corrupted" in str(error)
    assert type(error.__context__) is ValueError
    assert log == ["its parent task ended without ending the nursery's block"]


def test_nurseries_closed_in_the_wrong_order_are_reported() -> None:
    """The outer block raises instead of waiting for ever."""

    async def main() -> None:
        async with open_nursery():
            await open_nursery().__aenter__()

    with pytest.raises(RuntimeError, match="Nursery stack corrupted") as caught:
        finish(main)
    assert isinstance(caught.value.__context__, AssertionError)
    assert str(caught.value.__context__) == "Nursery misnesting detected!"


def test_a_scope_closed_inside_a_task_of_its_nursery_is_reported() -> None:
    """A task whose surrounding scope was closed under it ends with an error."""

    async def child(scope: CancelScope) -> None:
        scope.__exit__(None, None, None)
        await cancel_shielded_checkpoint()

    async def main() -> None:
        async with AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(open_nursery())
            nursery.start_soon(child, nursery.cancel_scope)

    with pytest.raises((RuntimeError, ExceptionGroup)) as caught:
        finish(main)
    assert "stack corrupted" in repr(caught.value)


def test_spawning_needs_a_task() -> None:
    """The kernel itself, in an abort function say, has no place to count from."""

    async def main() -> None:
        kernel = current_kernel()
        async with open_nursery() as nursery:
            task, kernel.running = kernel.running, None
            with pytest.raises(RuntimeError, match="not by one of its tasks"):
                nursery.start_soon(checkpoint)
            kernel.running = task

    finish(main)
