"""Building blocks for new kinds of waiting: what trio has in `trio.lowlevel`, for orchestrations.

Laws: everything means what it means in trio. A wait made of these belongs to one orchestration and is never recorded:
what wakes it must come out of the history, too, as everything in an orchestration does.
Who calls it: the synchronization classes next door, and authors of more. Read next: `_sync.py` and
`_parking.py`, which are made of it.
"""

from __future__ import annotations

from typing import Any

from outcome import Outcome

from trioflow._kernel import (
    Abort as Abort,
    RaiseCancel as RaiseCancel,
    Task as Task,
    cancel_shielded_checkpoint as cancel_shielded_checkpoint,
    checkpoint as checkpoint,
    checkpoint_if_cancelled as checkpoint_if_cancelled,
    current_kernel,
    current_task as current_task,
    wait_task_rescheduled as wait_task_rescheduled,
)
from trioflow.durable._parking import (
    ParkingLot as ParkingLot,
    ParkingLotStatistics as ParkingLotStatistics,
    add_parking_lot_breaker as add_parking_lot_breaker,
    remove_parking_lot_breaker as remove_parking_lot_breaker,
)


def reschedule(task: Task, next_send: Outcome[Any] | None = None) -> None:
    """End a task's `wait_task_rescheduled`.

    Args:
        task: a task that waits, of the calling orchestration.
        next_send: what the wait returns or raises; `None` returns None.

    Raises:
        RuntimeError: the task does not wait, or belongs to another orchestration.
    """
    kernel = current_kernel()
    if task not in kernel.tasks:
        raise RuntimeError(f"{task!r} has ended, or belongs to another orchestration than {kernel.name}")
    kernel.wake(task, next_send)


__all__ = (
    "Abort",
    "ParkingLot",
    "ParkingLotStatistics",
    "RaiseCancel",
    "Task",
    "add_parking_lot_breaker",
    "cancel_shielded_checkpoint",
    "checkpoint",
    "checkpoint_if_cancelled",
    "current_task",
    "remove_parking_lot_breaker",
    "reschedule",
    "wait_task_rescheduled",
)
