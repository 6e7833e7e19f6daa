"""What a kernel shows of its tasks: frozen descriptions for tree views and messages.

Laws: a description holds no kernel object but the request, and is true at the block where it was made.
Who calls it: `_scheduler.py`. Read next: `_scheduler.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trioflow._kernel._operations import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioflow._kernel._task import Task

SHOWN = 5


@attrs.frozen(kw_only=True)
class Branch:
    """A task that has not ended."""

    place: str
    name: str
    parent: str | None  # the place of the task whose nursery it is in
    operation: str | None  # the key of the operation it waits for
    request: object  # what that operation asked for
    deadline: float  # when it will be cancelled, as far as is known: -inf if it is cancelled now
    cancelled: bool  # whether its checkpoints raise Cancelled now
    cancel_asked: bool  # whether it was cancelled and waits for its operation to end


def branch_of(task: Task) -> Branch:
    """Describe a task."""
    operation = task._waiting if isinstance(task._waiting, Operation) else None
    nursery = task.parent_nursery
    return Branch(
        place=task.place,
        name=task.name,
        parent=None if nursery is None else nursery.parent_task.place,
        operation=None if operation is None else operation.key,
        request=None if operation is None else operation.request,
        deadline=task._status.effective_deadline(),
        cancelled=task._status.effectively_cancelled,
        cancel_asked=operation is not None and operation.cancel_asked,
    )


def spinning(kernel: str, limit: int, tasks: Sequence[Task]) -> str:
    """The text of a SpinError."""
    names = ", ".join(f"{task.name} (branch {task.place})" for task in tasks[:SHOWN])
    more = f" and {len(tasks) - SHOWN} more" if len(tasks) > SHOWN else ""
    return (
        f"{kernel} took {limit:,} steps without waiting for anything. It spins in {names}{more}. A loop that only has "
        "checkpoints never lets time pass: wait for an event, a deadline or an activity in it."
    )
