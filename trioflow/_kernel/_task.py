"""`Task`: one coroutine, where it is in the tree, and what it waits for.

Laws: a task is ready (in the kernel's queue), running, waiting (`_waiting` is what it yielded), or ended. Its place
never changes: the spawner's place and the spawner's own spawn number. Each task counts its spawns, operations and
scopes for itself.
Must never know: what operations mean, what comes of its coroutine. Who calls it: `_scheduler.py` steps it, `_status.py`
cancels it.
Read next: `_scheduler.py`.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs
from outcome import capture

from trioflow._kernel._cancelled import UNKNOWN_REASON, Cancelled
from trioflow._kernel._fatal import FATAL
from trioflow._kernel._frames import await_frames
from trioflow._kernel._sealed import NoConstructor, sealed
from trioflow._kernel._traps import Abort
from trioflow._util import TrioInternalError

if TYPE_CHECKING:
    from trioflow._kernel._nursery import Nursery
    from trioflow._kernel._operations import Operation
    from trioflow._kernel._scheduler import Kernel
    from trioflow._kernel._status import CancelStatus
    from trioflow._kernel._traps import Wait


NO_NURSERIES: Final[list[Nursery]] = []


@sealed
@attrs.define(eq=False, repr=False)
class Task(metaclass=NoConstructor):
    """A branch of an orchestration, for introspection and `durable.lowlevel`.

    Attributes:
        name: the function's name, or what was given to `start_soon`.
        place: its identity, the same in every replay: "0" for the main task, "0.1" for the first task that it spawned.
        coro: the coroutine.
        context: its contextvars.
        parent_nursery: the nursery it runs in; None for the main task.
        eventual_parent_nursery: the nursery it will be in once it calls `task_status.started()`, if it is being
            started.
        custom_sleep_data: yours while the task waits in `wait_task_rescheduled`.
    """

    coro: Coroutine[Any, Any, Any]
    name: str
    place: str
    context: contextvars.Context
    parent_nursery: Nursery | None
    _kernel: Kernel  # deleted when the task ends: a traceback that mentions the task must not keep the kernel

    # `context.run(_advance, _next)` takes the next step: `coro.send`, and what its wait returns, or an Outcome of that.
    _advance: Callable[[Any], object]
    _next: object = None

    # Innermost status. Changed by `_activate` only.
    _status: CancelStatus = attrs.field(default=None)
    # The task may not do anything durable any more: its kernel is closing, or it closes an abandoned async generator.
    _barred: bool = False

    # What it yielded and waits for; None while it is ready, running or ended. `_abortable` until its abort was asked
    # once.
    _waiting: Wait | Operation | None = None
    _abortable: bool = False

    # Numbers given so far.
    _spawns: int = 0
    _operations: int = 0
    _scopes: int = 0
    # For `assert_checkpoints`.
    _cancel_points: int = 0
    _schedule_points: int = 0

    # Open ones, outermost first. Such a list is never changed in place: most tasks have none, and share it.
    _child_nurseries: list[Nursery] = NO_NURSERIES
    eventual_parent_nursery: Nursery | None = None
    custom_sleep_data: Any = None
    # Called, in order, when the task has ended. Nearly all tasks have none, and there may be very many tasks.
    _exit_callbacks: list[Callable[[Task], object]] | tuple[()] = ()

    def __repr__(self) -> str:
        return f"<Task {self.name!r} at {self.place}>"

    def on_exit(self, callback: Callable[[Task], object]) -> None:
        """Have `callback` called with the task when it has ended; a lock breaks so if its owner never releases it."""
        callbacks = self._exit_callbacks = self._exit_callbacks or []
        callbacks.append(callback)

    def off_exit(self, callback: Callable[[Task], object]) -> None:
        """Undo one `on_exit` with the same callback."""
        callbacks = self._exit_callbacks or []
        callbacks.remove(callback)

    def _call_back(self) -> None:
        callbacks, self._exit_callbacks = self._exit_callbacks, ()
        for callback in callbacks:
            callback(self)

    @property
    def child_nurseries(self) -> list[Nursery]:
        """The nurseries that this task has open, outermost first."""
        return list(self._child_nurseries)

    def iter_await_frames(self) -> Iterator[tuple[FrameType, int]]:
        """The frames of what the task awaits, outermost first, each with its line number."""
        return await_frames(self.coro)

    def _throw(self, error: BaseException) -> None:
        """Make the next step raise `error`: a foreign awaitable knows nothing of outcomes, so it cannot be sent."""

        def throw_once(_: object) -> object:
            nonlocal error
            self._advance = self.coro.send
            try:
                return self.coro.throw(error)
            finally:
                del error  # this frame is in its traceback

        self._advance = throw_once

    # -- cancellation ---------------------------------------------------------------------------------------------

    def _activate(self, status: CancelStatus | None) -> None:
        """Make `status` the innermost one. None is for tasks that end or are about to be moved."""
        if self._status is not None:
            self._status.tasks.pop(self, None)
        self._status = status  # type: ignore[assignment]
        if status is not None:
            status.tasks[self] = None
            if status.effectively_cancelled:
                self._deliver_cancellation()

    def _deliver_cancellation(self) -> None:
        """Abort what the task waits for if it is cancelled: once for each wait, whatever the answer is."""
        waiting = self._waiting
        if waiting is None or not self._abortable or not self._status.effectively_cancelled:
            return
        reason = self._status.scope._cancel_reason or UNKNOWN_REASON

        def raise_cancel() -> NoReturn:
            raise Cancelled.of(reason)

        self._abortable = False
        try:
            answer: object = waiting.abort(raise_cancel)
        except BaseException as exc:
            self._broken(f"an abort function raised {type(exc).__name__}", exc)
            return
        if answer is Abort.SUCCEEDED:
            self._kernel.wake(self, capture(raise_cancel))
        elif answer is not Abort.FAILED:
            self._broken(f"an abort function must return Abort.SUCCEEDED or Abort.FAILED, not {answer!r}", None)

    def _broken(self, what: str, cause: BaseException | None) -> None:
        """The task can neither be woken nor be left waiting. Not raised here, in whoever cancelled it."""
        if isinstance(cause, FATAL):
            self._kernel.abort(cause)
            return
        error = TrioInternalError(f"{what}, in {self!r}")
        error.__cause__ = cause
        self._kernel.abort(error)


Task.__module__ = "trioflow.durable.lowlevel"
