"""`nursery.start`: a task that is waited for until it says that it is ready, and only then moves into its nursery.

Laws: until `started` the task lives in a nursery of the call's own, so its errors and its cancellation are the call's.
At `started` it moves with all its scopes, keeping its place; if the call is cancelled by then it stays, since it may
carry a `Cancelled` that only the call's scopes may catch. Exactly one of a value, an error, or "ended without starting"
comes out.
Who calls it: `Nursery.start`. Read next: `_scheduler.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

import attrs

from trioflow._kernel._current import current_kernel
from trioflow._kernel._raising import raise_as_it_was
from trioflow._util import TASK_STATUS_IGNORED as IGNORED, TrioInternalError

if TYPE_CHECKING:
    from trioflow._kernel._nursery import Nursery

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class TaskStatus(Protocol[T_contra]):
    """What a task that is being started gets as `task_status`."""

    def started(self, value: T_contra = ..., /) -> None:
        """Say that the task is ready; `value` is what `nursery.start` returns."""
        ...


# trio's object serves both worlds; its type there does not fit a `TaskStatus` of ours.
TASK_STATUS_IGNORED: TaskStatus[Any] = cast(Any, IGNORED)


@attrs.define(eq=False, repr=False)
class _StartStatus(Generic[T]):
    _old: Nursery  # of the call, holding just the task
    _new: Nursery  # kept open by the call until it returns
    is_started: bool = False
    value: T | None = None

    def __repr__(self) -> str:
        return f"<durable.TaskStatus, {'started' if self.is_started else 'starting'}>"

    def started(self, value: T | None = None) -> None:
        self._old._realm.require("task status")
        if self.is_started:
            raise RuntimeError("called 'started' twice on the same task status")
        self.is_started = True
        self.value = value
        if not self._old._status.effectively_cancelled:
            self._move()
            self._old._close_if_done()

    def _move(self) -> None:
        """Everything in the call's nursery goes to the other one: tasks, and the scopes that they have open."""
        old, new = self._old, self._new
        tasks, old._children = old._children, {}
        for task in tasks:
            task.parent_nursery = new
            task.eventual_parent_nursery = None
            new._children[task] = None
        statuses = list(old._status.children)
        directly = [task for task in old._status.tasks if task is not old._parent_task]
        # First all off, then all on: if the new nursery is cancelled, arriving there runs abort functions, which may do
        # anything.
        for status in statuses:
            status.move(None)
        for task in directly:
            task._activate(None)
        for status in statuses:
            status.move(new._status)
        for task in directly:
            task._activate(new._status)


async def start_in(
    nursery: Nursery,
    waiting_room: AbstractAsyncContextManager[Nursery],
    async_fn: Callable[..., Awaitable[object]],
    args: tuple[object, ...],
    name: object,
) -> Any:
    """Start a task in `nursery` and wait, in the block of a nursery of its own, until it is ready."""
    nursery._starting += 1
    status: _StartStatus[Any] | None = None
    failure: BaseException | None = None
    try:
        try:
            async with waiting_room as inner:
                status = _StartStatus(inner, nursery)
                task = current_kernel().spawn(partial(async_fn, task_status=status), args, inner, name)
                task.eventual_parent_nursery = nursery
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                text = "more than one task was started in the inner nursery of `nursery.start`"
                raise TrioInternalError(text) from group
            failure = group.exceptions[0]
        if failure is not None:
            raise_as_it_was(failure)
        assert status is not None
        if not status.is_started:
            raise RuntimeError("child exited without calling task_status.started()")
        return status.value
    finally:
        del failure  # no cycle through the traceback
        nursery._starting -= 1
        nursery._close_if_done()
