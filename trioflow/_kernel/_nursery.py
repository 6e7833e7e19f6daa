"""Nurseries: the only way to have tasks, and the reason that none is ever lost.

Laws: a nursery's block ends only when its body and all its tasks have ended. The first failure cancels the rest; what
was raised leaves as one exception group, always a group. Its tasks start in its cancel status. It takes new tasks until
everything in it has ended. A nursery is never where a `Cancelled` comes from: it only passes on those of its tasks and
body.
Must never know: deadlines, operations. Who calls it: user code. Read next: `_start.py`, for tasks that are waited for
until they are ready.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVarTuple

import attrs
from outcome import Error, Outcome

from trioflow._kernel._cancelled import CancelReason
from trioflow._kernel._current import current_kernel, current_task, running_kernel
from trioflow._kernel._raising import raise_as_it_was
from trioflow._kernel._scope import CancelScope
from trioflow._kernel._sealed import NoConstructor, sealed
from trioflow._kernel._start import start_in
from trioflow._kernel._traps import Abort, RaiseCancel, Wait, cancel_shielded_checkpoint, give_up, trap

if TYPE_CHECKING:
    from trioflow._kernel._current import Realm
    from trioflow._kernel._status import CancelStatus
    from trioflow._kernel._task import Task

Args = TypeVarTuple("Args")


@sealed
@attrs.define(eq=False, repr=False)
class Nursery(metaclass=NoConstructor):
    """A place for tasks to run in, made by `open_nursery`.

    Attributes:
        cancel_scope: cancelling it cancels everything in the nursery, its body included.
    """

    _parent_task: Task
    cancel_scope: CancelScope
    _realm: Realm
    # What tasks start in: a snapshot, since the parent may open scopes in the body.
    _status: CancelStatus
    # Those that have not ended, in the order they came.
    _children: dict[Task, None] = attrs.field(factory=dict, init=False)
    _errors: list[BaseException] = attrs.field(factory=list, init=False)
    _body_running: bool = True
    _parent_waiting: bool = False  # at the end of the block, for the last task
    _starting: int = 0  # `start` calls under way, which may still bring a task
    _closed: bool = False  # nothing left in it; never opens again

    @property
    def child_tasks(self) -> AbstractSet[Task]:
        """The tasks in it that have not ended: a set, which gives them in the order they came."""
        return dict(self._children).keys()

    @property
    def parent_task(self) -> Task:
        """The task that opened it."""
        return self._parent_task

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._children)} tasks"
        return f"<durable.Nursery of {self._parent_task!r}, {state}>"

    # -- taking tasks in ------------------------------------------------------------------------------------------

    def start_soon(self, async_fn: Callable[[*Args], Awaitable[object]], *args: *Args, name: object = None) -> None:
        """Start a task that runs ``async_fn(*args)``. Returns at once, before the task takes its first step.

        Args:
            async_fn: an async function, or a definition of an activity or orchestration.
            args: its positional arguments; `functools.partial` brings keyword arguments.
            name: what to call the task in messages; the function's name by default.

        Raises:
            RuntimeError: the nursery has ended.
            TypeError: `async_fn` is something else; the message says what to write.
        """
        self._require_open()
        current_kernel().spawn(async_fn, args, self, name)

    async def start(self, async_fn: Callable[..., Awaitable[object]], *args: object, name: object = None) -> Any:
        """Start a task and wait until it says that it is ready; a checkpoint.

        The function is called with a keyword argument `task_status` and must call ``task_status.started(value)``. Until
        then the task runs inside this call: its errors are raised here, and cancelling this call cancels it. Then it
        moves into the nursery.

        Returns:
            What the task gave to `started`.

        Raises:
            RuntimeError: the nursery has ended, or the task ended without calling `started`.
        """
        self._require_open()
        return await start_in(self, _NurseryBlock(), async_fn, args, name)

    def _require_open(self) -> None:
        self._realm.require("nursery")
        if self._closed:
            raise RuntimeError("Nursery is closed to new arrivals: its block has ended, and all its tasks with it")

    # -- ends -----------------------------------------------------------------------------------------------------

    def _fail(self, exc: BaseException, who: Task, what: str) -> None:
        """Something in the nursery raised: keep it for the end and cancel the rest."""
        self._errors.append(exc)
        self.cancel_scope._cancel(CancelReason("nursery", repr(who), f"{what} raised exception {_said_of(exc)}"))

    def _child_ended(self, task: Task, result: Outcome[Any]) -> None:
        del self._children[task]
        if self._closed:
            return  # abandoned: nobody will look at what comes of its tasks
        if type(result) is Error:
            self._fail(result.error, task, "child task")
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._body_running or self._children or self._starting:
            return
        self._closed = True
        if self._parent_waiting:
            self._parent_waiting = False
            self._parent_task._kernel.wake(self._parent_task)

    def _abandon(self, reason: CancelReason) -> None:
        """The parent ended without ending the block: what is inside is cancelled, and its results are lost."""
        self.cancel_scope._cancel(reason)
        self._closed = True

    def _dropped(self) -> None:
        """The kernel is being closed, and what ran in here was dropped before: the block ends for what is around it.

        Nobody will see the errors, and their tracebacks may show this nursery.
        """
        self._children.clear()
        self._errors.clear()
        nurseries = self._parent_task._child_nurseries
        if nurseries and nurseries[-1] is self:
            self._parent_task._child_nurseries = nurseries[:-1]
        self.cancel_scope._close(None)

    async def _body_ended(self, exc: BaseException | None) -> BaseException | None:
        """Wait for the tasks; returns everything that was raised, as a group."""
        if exc is not None:
            self._fail(exc, self._parent_task, "Code block inside nursery contextmanager")
        self._body_running = False
        self._close_if_done()
        try:
            if self._closed:
                await cancel_shielded_checkpoint()
            else:
                self._parent_waiting = True
                await trap(THE_LAST_TASK)
        except BaseException:
            self._dropped()
            raise
        nurseries = self._parent_task._child_nurseries
        self._parent_task._child_nurseries = nurseries[:-1]
        if not nurseries or nurseries[-1] is not self:
            # What this does to the task is said when the task ends.
            raise AssertionError("Nursery misnesting detected!")
        if not self._errors:
            return None
        # Taken out, or a traceback that shows this nursery would hold itself.
        errors, self._errors = self._errors, []
        try:
            return BaseExceptionGroup("exceptions from a durable nursery", errors)
        finally:
            del errors, exc


Nursery.__module__ = "trioflow.durable"


def _said_of(exc: BaseException) -> str:
    try:
        return repr(exc)
    except Exception:  # its own mistake, or it is nested too deep
        return type(exc).__qualname__


def _keep_waiting(_: RaiseCancel) -> Abort:
    """The end of a block waits for its tasks even when cancelled: they are cancelled too, and will come."""
    return Abort.FAILED


THE_LAST_TASK = Wait(_keep_waiting)


class _NurseryBlock:
    """The `async with` of a nursery: a cancel scope with the nursery directly inside."""

    __slots__ = ("_nursery",)

    async def __aenter__(self) -> Nursery:
        task = current_task()
        if task._barred and task._kernel.closing:
            await give_up()
        scope = CancelScope()
        scope.__enter__()
        self._nursery = Nursery._create(task, scope, task._kernel.realm, task._status)
        task._child_nurseries = [*task._child_nurseries, self._nursery]
        return self._nursery

    async def __aexit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        nursery = self._nursery
        del self._nursery
        if running_kernel().closing:
            # What unwinds goes on unwinding; what swallowed it is asked again.
            nursery._dropped()
            if exc is None:
                await give_up()
            return False
        remaining = nursery.cancel_scope._close(await nursery._body_ended(exc))
        if remaining is None:
            return True
        try:
            raise_as_it_was(remaining)
        finally:
            del remaining, exc, traceback, nursery  # no cycle through the traceback

    def __enter__(self) -> NoReturn:
        raise RuntimeError("use 'async with open_nursery(...)', not 'with open_nursery(...)'")

    def __exit__(self, *_: object) -> None:
        """Never reached: `__enter__` raises. It is here so that `with` gets as far as that."""


def open_nursery(strict_exception_groups: bool | None = None) -> AbstractAsyncContextManager[Nursery]:
    """Open a place for tasks to run in, with ``async with``.

    The block ends when everything in it has ended. Whatever was raised in it leaves as one exception group.
    Entering is no checkpoint; leaving always lets others run, and is no cancellation point.

    Args:
        strict_exception_groups: what trio calls this, and the only way there is.

    Raises:
        ValueError: `strict_exception_groups` is False.
    """
    current_task()
    if strict_exception_groups is not None and not strict_exception_groups:
        raise ValueError("exception groups are always strict here: a nursery raises a group even for one exception")
    return _NurseryBlock()
