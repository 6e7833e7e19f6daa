"""Which kernel is running user code on this thread: the smallest possible context, so that nobody has to import the
scheduler.

Laws: `CURRENT.kernel` is set exactly while a kernel runs user code (see `_guard.py`) and restored afterwards, so
kernels may nest; it is the only state of the package that is not inside a kernel. A `Realm` is a kernel's identity
without the kernel: objects that belong to a kernel hold its realm, so that they keep neither it nor its outcome alive.
Must never know: tasks, scopes, the scheduler. Who calls it: everything in this package, and the verbs of `durable`.
Read next: `_traps.py`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import attrs

from trioflow.errors import NotInOrchestration

if TYPE_CHECKING:
    from trioflow._kernel._scheduler import Kernel
    from trioflow._kernel._task import Task


class _Current(threading.local):
    kernel: Kernel | None = None


CURRENT = _Current()


@attrs.define(eq=False, repr=False)
class Realm:
    """The identity of one kernel. Its name is for messages."""

    name: str

    def require(self, thing: str) -> None:
        """Raise RuntimeError unless the kernel of this realm is the one that runs now, closing or not."""
        kernel = CURRENT.kernel or running_kernel()  # which says that there is none
        if kernel.realm is not self:
            user = "another instance of the same name" if kernel.name == self.name else kernel.name
            raise RuntimeError(
                f"this {thing} belongs to {self.name} and was used from {user}. Kernel objects (scopes, "
                "nurseries, events, locks, channels) belong to the instance that made them; make one in each instance, "
                "and let instances talk through durable events."
            )


def in_kernel() -> bool:
    """Whether a kernel runs the calling code, be it closing or not. Never raises."""
    return CURRENT.kernel is not None


def running_kernel() -> Kernel:
    """The kernel that runs the calling code, closing or not. Raises NotInOrchestration where there is none."""
    kernel = CURRENT.kernel
    if kernel is None:
        raise NotInOrchestration(
            "a durable primitive was used where no orchestration runs. Inside an orchestration it works as it is; an "
            "activity uses trio's own. To run an orchestration, call `await client.start(orchestration, ...)`, or in "
            "a test `await trioflow.testing.run_durable(fn, ...)`."
        )
    return kernel


def current_kernel() -> Kernel:
    """The kernel that runs the calling code; the way in for every verb that does something.

    Raises:
        NotInOrchestration: no kernel runs the calling code, or it may do nothing of the kind just now.
        Dropped: it is being closed, or the task may not act any more.
    """
    kernel = CURRENT.kernel or running_kernel()
    task = kernel.running
    if kernel.forbidden is not None:
        raise NotInOrchestration(kernel.forbidden)
    if kernel.closing or (task is not None and task._barred):
        kernel.refuse()
    return kernel


def current_realm() -> Realm:
    """The identity of the kernel that runs the calling code, for what belongs to it. Raises as `current_kernel`."""
    return current_kernel().realm


def current_task() -> Task:
    """The task that is running now. Raises NotInOrchestration (a RuntimeError) outside of tasks."""
    task = (CURRENT.kernel or running_kernel()).running
    if task is None:
        raise NotInOrchestration("this was called by a kernel (in an abort function, say), not by one of its tasks")
    return task
