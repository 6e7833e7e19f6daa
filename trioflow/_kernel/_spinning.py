"""The text for a program that runs and runs and never waits.

Who calls it: `_scheduler.py`. Read next: `_scheduler.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioflow._kernel._task import Task

SHOWN = 5


def spinning(kernel: str, limit: int, tasks: Sequence[Task]) -> str:
    """The text of a SpinError."""
    names = ", ".join(f"{task.name} (branch {task.place})" for task in tasks[:SHOWN])
    more = f" and {len(tasks) - SHOWN} more" if len(tasks) > SHOWN else ""
    return (
        f"{kernel} took {limit:,} steps without waiting for anything. It spins in {names}{more}. A loop that only has "
        "checkpoints never lets time pass: wait for an event, a deadline or an activity in it."
    )
