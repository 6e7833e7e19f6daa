"""The one module that yields to the scheduler.

Laws: what is yielded is a `Checkpoint`, a `Wait` or an `Operation`, nothing else; what comes back is a value, or an
`Outcome`, which is unwrapped here, in the frame that waited (`.throw` into coroutines is kept for foreign yields). A
wait is given up by cancellation only if its `abort` says that it can be, and is asked at most once. Nobody waits while
handling what ends the whole run.
Must never know: who schedules. Who calls it: whatever waits. Read next: `_scheduler.py`, the other side of the yield.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Generator
from sys import exception
from typing import Any, NoReturn, TypeAlias

import attrs
from outcome import Error, Value

from trioflow._kernel._cancelled import Dropped
from trioflow._kernel._current import current_task, running_kernel
from trioflow._kernel._fatal import notice

RaiseCancel: TypeAlias = Callable[[], NoReturn]


class Abort(enum.Enum):
    """What an abort function answers: whether the wait was given up."""

    SUCCEEDED = 1
    FAILED = 2


class Checkpoint:
    """Yielded by a task that only wants the others to have their turn."""

    __slots__ = ()


@attrs.define(eq=False)
class Wait:
    """Yielded by a task that waits until somebody reschedules it, or cancellation aborts it."""

    abort: Callable[[RaiseCancel], Abort]


CHECKPOINT = Checkpoint()


@types.coroutine
def trap(message: object) -> Generator[object, Any, Any]:
    """Hand a message to the scheduler, and get the value that it sends back; an error is raised."""
    if (handled := exception()) is not None:
        notice(handled, running_kernel())
        handled = None  # this frame may be in its traceback
    result = yield message
    if type(result) is not Error:
        return result.value if type(result) is Value else result
    try:
        return result.unwrap()
    finally:
        del result  # this frame is in the traceback of the error: holding it here would make a cycle


def abort_succeeds(_: RaiseCancel) -> Abort:
    """The abort function of a wait that leaves nothing behind."""
    return Abort.SUCCEEDED


async def wait_task_rescheduled(abort_func: Callable[[RaiseCancel], Abort]) -> Any:
    """Wait until `reschedule` is called for this task; the way every kind of waiting is made.

    Args:
        abort_func: called (once at most) with `raise_cancel` if the task is cancelled meanwhile. `Abort.SUCCEEDED`
            means that nobody will reschedule the task any more: it gets its `Cancelled`. `Abort.FAILED` means that
            somebody still will, with whatever came of it, or with `outcome.capture(raise_cancel)`.

    Returns:
        The value that it was rescheduled with; an error is raised.
    """
    current_task()  # outside of orchestrations this says so, where trio would be puzzled by our yield
    return await trap(Wait(abort_func))


async def cancel_shielded_checkpoint() -> None:
    """Let the other tasks have their turn; not a cancellation point."""
    current_task()  # as above
    await trap(CHECKPOINT)


async def checkpoint() -> None:
    """Let the other tasks have their turn, then notice cancellation: a pure checkpoint."""
    await cancel_shielded_checkpoint()
    await checkpoint_if_cancelled()


async def checkpoint_if_cancelled() -> None:
    """Raise `Cancelled` if the calling task is cancelled; otherwise return at once, without giving up its turn."""
    task = current_task()
    if task._status.effectively_cancelled or task._barred:
        await give_up()
    task._cancel_points += 1


def checkpoint_counts() -> tuple[int, int]:
    """How often the calling task was where cancellation is noticed, and how often it let others run."""
    task = current_task()
    return task._cancel_points, task._schedule_points


async def give_up() -> NoReturn:
    """Wait in a task that may not go on, so that what stops it is raised here.

    It always passes through a yield: that is what lets the kernel count, and give up on, a task that swallows `Dropped`
    for ever.
    """
    if current_task()._status.effectively_cancelled:
        await wait_task_rescheduled(abort_succeeds)
        raise RuntimeError("a task that is cancelled was rescheduled by somebody else")
    await cancel_shielded_checkpoint()
    raise Dropped
