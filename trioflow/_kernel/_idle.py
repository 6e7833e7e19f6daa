"""Waiting until all other tasks are blocked: for tests of programs, inside the program.

Laws: time stands still while code runs, so a cushion is not waited for; it only orders those who wait, smallest first.
Who calls it: tests, through `trioflow.testing`; `_scheduler.py` wakes. Read next: `_scheduler.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trioflow._kernel._current import current_task
from trioflow._kernel._traps import Abort, RaiseCancel, wait_task_rescheduled

if TYPE_CHECKING:
    from trioflow._kernel._scheduler import Kernel
    from trioflow._kernel._task import Task


@attrs.define(eq=False, repr=False)
class IdleWaiters:
    """The tasks of one kernel that wait until nothing else is ready."""

    waiting: dict[Task, float] = attrs.field(factory=dict)  # with their cushions

    def wake(self, kernel: Kernel) -> None:
        """Nothing is ready: wake those with the smallest cushion."""
        smallest = min(self.waiting.values())
        for task in [task for task, cushion in self.waiting.items() if cushion == smallest]:
            del self.waiting[task]
            kernel.wake(task)

    async def wait(self, cushion: float) -> None:
        """Wait in the calling task."""
        task = current_task()
        self.waiting[task] = cushion

        def abort(_: RaiseCancel) -> Abort:
            del self.waiting[task]
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    def clear(self) -> None:
        """Forget everybody: the kernel is closed."""
        self.waiting.clear()


async def wait_all_tasks_blocked(cushion: float = 0.0) -> None:
    """Wait until every other task of the orchestration waits for something."""
    await current_task()._kernel.idle.wait(cushion)
