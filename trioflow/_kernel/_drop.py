"""Dropping a kernel that waits: its coroutines are unwound here and now, and none is left to the garbage collector.

Laws: children before parents. `Dropped` is raised in each task, at every await, until it ends; no durable step acts
(verbs find the kernel closing), plain `finally` blocks run. A task that does not end after `LIMIT` throws is undead: it
is kept, for the collector would run its code outside of the kernel. Afterwards nothing refers to anything, so nothing
is left for the cyclic collector.
Must never know: who drops, or why. Who calls it: `Kernel.close`. Read next: nothing; this is the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trioflow._kernel._asyncgens import Generator
from trioflow._kernel._cancelled import Dropped
from trioflow._kernel._fatal import FATAL
from trioflow._kernel._guard import interruptible
from trioflow._kernel._operations import Operation
from trioflow._kernel._task import NO_NURSERIES

if TYPE_CHECKING:
    from trioflow._kernel._scheduler import Kernel
    from trioflow._kernel._status import CancelStatus
    from trioflow._kernel._task import Task

LIMIT = 100


def drop(kernel: Kernel) -> None:
    """Unwind every task and generator of a closing kernel, then take the kernel apart.

    Raises:
        KeyboardInterrupt, SystemExit, MemoryError: what came up meanwhile, when everything else is done.
    """
    fatal: list[BaseException] = []
    try:
        # In spawn order: whoever has a nursery is older than all that run in it.
        for task in reversed(list(kernel.tasks)):
            _unwind(kernel, task, fatal)
        while kernel.generators.abandon_all():
            for generator in kernel.generators.take_abandoned():
                _close(kernel, generator, fatal)
    finally:
        for task in kernel.tasks:
            _sever(task)
        for left in (kernel.tasks, kernel._ready, kernel.asked, kernel.idle, kernel.deadlines):
            left.clear()
    try:
        if fatal:
            raise fatal[0]
    finally:
        fatal.clear()  # the traceback shows this frame


@interruptible
def _unwind(kernel: Kernel, task: Task, fatal: list[BaseException]) -> None:
    if isinstance(task._waiting, Operation):
        task._waiting.task = None  # late answers are refused
    task._waiting = None
    if task._schedule_points:
        _press(kernel, task, fatal)
    else:
        task.coro.close()  # it never took a step: there is nothing to unwind


@interruptible
def _close(kernel: Kernel, generator: Generator, fatal: list[BaseException]) -> None:
    task = kernel.task_for([generator])
    kernel.running = task
    if not _ends(task, fatal, task.coro.send, None):
        _press(kernel, task, fatal)


@interruptible
def _press(kernel: Kernel, task: Task, fatal: list[BaseException]) -> None:
    """Raise `Dropped` in a task until it ends, or is given up."""
    task._barred = True
    kernel.running = task
    for _ in range(LIMIT):
        kernel.refusals = 0
        if _ends(task, fatal, task.coro.throw, Dropped()):
            return
    kernel.undead += (task,)


@interruptible
def _ends(task: Task, fatal: list[BaseException], advance: Callable[[Any], object], value: object) -> bool:
    """Step a task; whether that ended it. If it ends with what nobody may swallow, keep that."""
    try:
        task.context.run(advance, value)
    except FATAL as exc:
        fatal.append(exc)
    except BaseException as exc:
        # Also StopIteration: it swallowed `Dropped` and returned.
        _part(exc)
        return True
    else:
        return False
    finally:
        del value  # this frame is in its traceback: holding it here would make a cycle
    return True


def _part(error: BaseException | None) -> None:
    """Take apart what was raised on the way. From Python 3.12 on, an `__aexit__` that was given one error and raises
    another makes a cycle: its frame holds the first, whose traceback leads back to that frame.
    """
    while isinstance(error, Dropped):
        error.__traceback__ = None
        error.__context__, error = None, error.__context__


def _sever(task: Task) -> None:
    """Take a dropped task out of everything, and its scopes and nurseries apart."""
    for nursery in task._child_nurseries:
        nursery._children.clear()
        nursery._errors.clear()
    task.parent_nursery = task.eventual_parent_nursery = task.custom_sleep_data = None
    task._child_nurseries = NO_NURSERIES
    task._exit_callbacks = ()
    status: CancelStatus | None = task._status
    while status is not None:
        status.tasks.clear()
        status.children.clear()
        status.scope._status = status.scope._task = status.scope._deadlines = None
        parent, status.parent = status.parent, None
        status = parent
    del task._kernel
