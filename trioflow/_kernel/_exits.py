"""What comes of a task that has ended, once the tree has had its say.

Laws: a task that ends inside a nursery or scope that it should have ended first fails, whatever its coroutine did; what
it leaves open is cancelled and abandoned. Who calls it: `_scheduler.py`. Read next: `_scheduler.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outcome import Error, Outcome

from trioflow._kernel._cancelled import CancelReason
from trioflow._kernel._scope import MISNESTING

if TYPE_CHECKING:
    from trioflow._kernel._task import Task


def result_of(task: Task, result: Outcome[Any]) -> Outcome[Any]:
    """The result of a task whose coroutine ended with `result`."""
    what = "Nursery" if task._child_nurseries else "Cancel scope"
    if not task._child_nurseries and not (task._status.abandoned and task._status.cut_off):
        return result
    for nursery in task._child_nurseries:
        text = "its parent task ended without ending the nursery's block"
        nursery._abandon(CancelReason("nursery", repr(task), text))
    text = f"{what} surrounding {task!r} was closed before the task exited"
    error = RuntimeError(f"{what} stack corrupted: {text}\n{MISNESTING}")
    error.__context__ = result.error if isinstance(result, Error) else None
    return Error(error)
