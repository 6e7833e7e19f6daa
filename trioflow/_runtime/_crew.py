"""The tasks that bodies of activities run in: a task runs one after another, as long as they leave it as they found it.

Laws: one body at a time, in a context of its own, which is that of whoever began it, and within a cancel scope that
nobody has cancelled before. A body that is cancelled, raises, has a deadline, or leaves anything behind that trio ties
to a task (a scope, a nursery, a lock) is the last of its task: nothing of a body is met by the next. (Only trio knows
who holds a token of a `CapacityLimiter`: one that was never given back is lost, as ever, and the next body in that task
cannot take another; its error ends the task.) A new task and a new scope for each body would cost each activity a
quarter of its time.

Must never know: activities, leases. Who calls it: `_activities.py`, and `_body.py` with the scope. Read next:
`_leftovers.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from types import TracebackType
from typing import Final, Generic, TypeVar

import attrs
import outcome
import trio
from trio._core._parking_lot import GLOBAL_PARKING_LOT_BREAKER

from trioflow._runtime._leftovers import end_nurseries

T = TypeVar("T")

SPARE: Final = 256
"""Tasks that are kept for the next body."""

WAITING: Final = "activities: waits for the next"
"""The name of such a task."""


@attrs.define(eq=False)
class Within:
    """The cancel scope around the bodies that the current task runs: entered around each, until it is worn."""

    worn: bool = False  # fit for no other body
    _open: bool = False
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _task: trio.lowlevel.Task = attrs.field(factory=trio.lowlevel.current_task)
    _nurseries: int = attrs.field(init=False)  # of whoever runs the bodies

    def __attrs_post_init__(self) -> None:
        self._nurseries = len(self._task.child_nurseries)

    def __enter__(self) -> None:
        if not self._open:
            self._scope.__enter__()
            self._open = True

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> bool:
        if exc is None and not self.worn and self._holds_nothing():
            return False
        self.worn, self._open = True, False
        return self._scope.__exit__(kind, exc, tb)

    def _holds_nothing(self) -> bool:
        """Whether the body has left no scope open, and so no nursery, and no lock that the end of its task breaks."""
        task, scope = self._task, self._scope
        # trio does not tell it otherwise.
        return task._cancel_status is scope._cancel_status and task not in GLOBAL_PARKING_LOT_BREAKER  # noqa: SLF001

    def cancel(self, reason: str) -> None:
        """Cancel the body."""
        self.worn = True
        self._scope.cancel(reason)

    def end_at(self, deadline: float) -> None:
        """Cancel the body at that time, on trio's clock."""
        self.worn = True
        self._scope.deadline = deadline

    async def tidy(self) -> None:
        """End the nurseries that the body has left open."""
        if len(self._task.child_nurseries) > self._nurseries:
            await end_nurseries(self._task, self._nurseries)

    def close(self) -> None:
        """There is no next body."""
        if self._open:
            self._open = False
            self._scope.__exit__(None, None, None)


@attrs.define(eq=False)
class Crew(Generic[T]):
    """Tasks in a nursery that each do one piece of work after another."""

    _nursery: trio.Nursery
    _do: Callable[[T, Within], Awaitable[None]]
    _waiting: dict[trio.lowlevel.Task, None] = attrs.field(factory=dict)
    _dismissed: bool = False
    _nobody: Context = attrs.field(factory=Context)  # of those that wait: they keep nothing alive

    def begin(self, work: T, name: str) -> None:
        """Have it done, in the context of the caller."""
        if not self._waiting:
            self._nursery.start_soon(self._serve, work, name=name)
            return
        task, _ = self._waiting.popitem()
        task.context, task.name = copy_context(), name
        trio.lowlevel.reschedule(task, outcome.Value(work))

    def dismiss(self) -> None:
        """Nobody waits for more."""
        self._dismissed = True
        while self._waiting:
            trio.lowlevel.reschedule(self._waiting.popitem()[0], outcome.Value(None))

    async def _serve(self, work: T | None) -> None:
        within = Within()
        try:
            while work is not None:
                await self._do(work, within)
                work = None  # it is not kept alive
                if not within.worn and not self._dismissed and len(self._waiting) < SPARE:
                    work = await self._wait()
        finally:
            within.close()

    async def _wait(self) -> T | None:
        """The next piece of work; None if there is none."""
        task = trio.lowlevel.current_task()
        task.context, task.name = self._nobody, WAITING  # from its next step on
        self._waiting[task] = None

        def give_up(_: object) -> trio.lowlevel.Abort:
            del self._waiting[task]
            return trio.lowlevel.Abort.SUCCEEDED

        work: T | None = await trio.lowlevel.wait_task_rescheduled(give_up)
        return work
