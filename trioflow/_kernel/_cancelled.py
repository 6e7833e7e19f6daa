"""What is raised in a task that must stop: `Cancelled` when its scope was cancelled, `Dropped` when nobody needs the
kernel any more.

Laws: both are BaseExceptions, so `except Exception` lets them pass. A `Cancelled` is caught by the scope that it
belongs to and says who asked and why, naming tasks by place. A `Dropped` is caught by nobody: whatever swallows it
meets it again at its next await. Who makes them: `_status.py` and `_drop.py`. Read next: `_status.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs

from trioflow._kernel._sealed import NoConstructor, sealed

CancelSource = Literal["deadline", "nursery", "explicit", "unknown"]


@attrs.frozen
class CancelReason:
    """Why a scope was cancelled: kept by the scope, copied into each `Cancelled` that it causes."""

    source: CancelSource
    source_task: str | None = None
    reason: str | None = None


UNKNOWN_REASON = CancelReason("unknown", reason="misnesting")


@sealed
class Cancelled(BaseException, metaclass=NoConstructor):
    """Raised at a checkpoint in a scope that was cancelled. Let it pass: the scope catches it.

    Attributes:
        source: "deadline", "nursery" (another branch failed), "explicit" (somebody called `cancel`) or "unknown".
        reason: what the canceller said, if anything.
        source_task: the repr of the task that cancelled, if it was one.
    """

    def __init__(self, source: CancelSource, source_task: str | None = None, reason: str | None = None) -> None:
        super().__init__()
        self.source = source
        self.source_task = source_task
        self.reason = reason

    def __str__(self) -> str:
        text = f"cancelled due to {self.source}"
        if self.reason is not None:
            text += f" with reason {self.reason!r}"
        if self.source_task is not None:
            text += f" from task {self.source_task}"
        return text

    def __repr__(self) -> str:
        return f"durable.Cancelled(source={self.source!r}, source_task={self.source_task!r}, reason={self.reason!r})"

    def __reduce__(self) -> tuple[Callable[[CancelReason], Cancelled], tuple[CancelReason]]:
        return Cancelled.of, (CancelReason(self.source, self.source_task, self.reason),)

    @classmethod
    def of(cls, reason: CancelReason) -> Cancelled:
        """A fresh one that says why; each task gets its own, since exceptions collect tracebacks."""
        return cls._create(reason.source, reason.source_task, reason.reason)


Cancelled.__module__ = "trioflow.durable"


class Dropped(BaseException):
    """The kernel is being closed: nothing may act any more, and what still runs is asked to end."""

    def __init__(self) -> None:
        super().__init__(
            "this instance was dropped from memory while it waited. Plain `finally` blocks run, durable steps do not: "
            "unless the instance has ended, its code goes on from the history later."
        )
