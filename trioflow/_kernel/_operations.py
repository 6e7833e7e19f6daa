"""Asking the world: an operation is what a branch waits for and the kernel cannot give.

Laws: an operation is identified by its branch and the branch's own count, so what other branches do never renumbers it.
A call that is cancelled before it could ask takes no number. An operation is answered at most once. When its scope is
cancelled, `on_cancel` decides: "wait" asks for an end and stays for what happened, "request" asks and goes, "abandon"
goes, "stay" stays for what happens without asking.
Must never know: what requests are. Who calls it: verbs and definitions call `perform`; the engine reads what was asked
and answers through `Kernel.resume`. Read next: `_scheduler.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Literal, final

import attrs

from trioflow._kernel._current import CURRENT, current_kernel, current_task
from trioflow._kernel._frames import standing
from trioflow._kernel._traps import Abort, RaiseCancel, give_up, trap

if TYPE_CHECKING:
    from trioflow._kernel._cancelled import CancelReason
    from trioflow._kernel._task import Task

OnCancel = Literal["wait", "request", "abandon", "stay"]

LONGEST_REASON = 1_000


@final
class Operation:
    """Something a branch asked for and waits for.

    Attributes:
        key: its name within the execution, such as ``0.1#2``: the branch, and the branch's own count of operations.
        request: what was asked for; opaque here.
        on_cancel: what cancellation of the branch does to it.
        task: who waits for it; None once it is answered or given up.
        known_as: what the driver knows it as; opaque here, and None until then.
        noted: what a watcher has noted of it.
    """

    # By hand, not attrs: one is made for each step of every replay, and this is the fastest way.
    __slots__ = ("_raise_cancel", "key", "known_as", "noted", "on_cancel", "request", "task")

    def __init__(self, task: Task, key: str, request: object, on_cancel: OnCancel) -> None:
        self.key = key
        self.request = request
        self.on_cancel = on_cancel
        self.task: Task | None = task
        self.known_as: object = None
        self.noted: Any = None
        self._raise_cancel: RaiseCancel | None = None  # set when its end was asked for and the branch stays

    @property
    def waiting(self) -> bool:
        """Whether a branch still waits for it."""
        return self.task is not None

    @property
    def cancel_asked(self) -> bool:
        """Whether its branch was cancelled and stays for the answer."""
        return self._raise_cancel is not None

    def where(self) -> str | None:
        """The line of user code that waits for it, as ``file:line in function``; None if nobody waits any more."""
        return None if self.task is None else standing(self.task.coro)[0]

    def abort(self, raise_cancel: RaiseCancel) -> Abort:
        """The branch was cancelled while it waits (the abort function of the wait)."""
        task = self.task
        assert task is not None  # only a waiting task is aborted
        if self.on_cancel == "stay":
            return Abort.FAILED
        if self.on_cancel != "abandon":
            task._kernel.asked.append(OperationCancelAsked(self, _told(task._status.scope._cancel_reason)))
        if self.on_cancel == "wait":
            self._raise_cancel = raise_cancel
            return Abort.FAILED
        self.task = None
        return Abort.SUCCEEDED

    def __repr__(self) -> str:
        return f"<Operation {self.key} {self.request!r}>"


def _told(cause: CancelReason | None) -> str | None:
    """What the world hears of a cancellation: text that can be stored, no longer than anybody reads.

    What a nursery says shows an exception, and that may show anything.
    """
    if cause is None or cause.reason is None:
        return None
    if cause.source == "nursery":
        return "another branch of its parent failed"
    return str(cause.reason)[:LONGEST_REASON].encode(errors="backslashreplace").decode()


@attrs.frozen
class OperationCancelAsked:
    """A branch that waited for this operation was cancelled: it should end. `reason`: what the canceller said."""

    operation: Operation
    reason: str | None = None


Asked = Operation | OperationCancelAsked
"""What a kernel asks for. An operation itself: a branch waits for it from now on."""


def perform(request: object, *, on_cancel: OnCancel = "wait") -> Awaitable[Any]:
    """Ask the world for something, and wait for the answer by awaiting what this returns, at once; a checkpoint.

    It asks when it is called: a coroutine function would put one more frame around each wait there is.

    Args:
        request: what to ask for; handed to the driver as it is.
        on_cancel: what to do if the calling task is cancelled while it waits: "wait" for what happens to the operation
            after asking for its end, "request" its end and go, "abandon" it, or "stay" for it without asking.

    Returns:
        The value of the answer.

    Raises:
        Cancelled: the task was cancelled before asking, or the operation ended because it was.
        BaseException: whatever error the answer is.
    """
    kernel = CURRENT.kernel
    task = current_task() if kernel is None or kernel.running is None else kernel.running
    if task._status.effectively_cancelled or task._barred:
        return give_up()
    task._operations = number = task._operations + 1
    operation = Operation(task, f"{task.place}#{number}", request, on_cancel)
    task._kernel.asked.append(operation)
    return trap(operation)


def next_operation_key() -> str:
    """The key that the calling branch's next operation will have, if it is not cancelled before."""
    task = current_task()
    return f"{task.place}#{task._operations + 1}"


def take_operation_key() -> str:
    """Take the calling branch's next number for an operation that the host answers at once; its key, like ``0.1#2``."""
    current_kernel()  # refuses if nothing may act any more
    task = current_task()
    task._operations += 1
    return f"{task.place}#{task._operations}"
