"""Waiting until all other tasks are blocked: for tests of programs, inside the program.

Laws: time stands still while code runs, so a cushion is not waited for; it only orders those who wait, smallest first.
Who calls it: tests, through `trioflow.testing`; `_scheduler.py` wakes. Read next: `_scheduler.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioflow._kernel._current import current_task
from trioflow._kernel._traps import Abort, RaiseCancel, wait_task_rescheduled

if TYPE_CHECKING:
    from trioflow._kernel._scheduler import Kernel


def wake_idle(kernel: Kernel) -> None:
    """Nothing is ready: wake those with the smallest cushion."""
    smallest = min(kernel.idle.values())
    for task in [task for task, cushion in kernel.idle.items() if cushion == smallest]:
        del kernel.idle[task]
        kernel.wake(task)


async def wait_all_tasks_blocked(cushion: float = 0.0) -> None:
    """Wait until every other task of the orchestration waits for something."""
    task = current_task()
    idle = task._kernel.idle
    idle[task] = cushion

    def abort(_: RaiseCancel) -> Abort:
        del idle[task]
        return Abort.SUCCEEDED

    await wait_task_rescheduled(abort)
