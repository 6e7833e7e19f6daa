"""`ParkingLot`: a fair queue of tasks that wait to be woken; what locks, limits and conditions are made of.

Laws: tasks leave in the order in which they came, moved ones behind those that were there; a cancelled one leaves at
once. A lot is broken by a task that it depended on and that has ended: then nobody waits in it any more, and it says
whose fault that is.
Must never know: what is waited for. Who calls it: `_locks.py`, `_limits.py`, authors of more through
`durable.lowlevel`. Read next: `_locks.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from math import isinf

import attrs
from outcome import Error

from trioflow._kernel import (
    Abort,
    Kernel,
    RaiseCancel,
    Realm,
    Task,
    current_kernel,
    current_realm,
    current_task,
    sealed,
    wait_task_rescheduled,
)
from trioflow._util import BrokenResourceError


@attrs.frozen
class ParkingLotStatistics:
    """What is known of a parking lot.

    Attributes:
        tasks_waiting: how many tasks are parked.
    """

    tasks_waiting: int


@sealed
@attrs.define(eq=False, repr=False)
class ParkingLot:
    """A fair queue of waiting tasks. ``len(lot)`` tells how many wait, ``bool(lot)`` whether any does.

    Attributes:
        broken_by: the tasks that broke it, in order; empty while it is in order.
    """

    broken_by: list[Task] = attrs.field(factory=list, init=False)
    _parked: OrderedDict[Task, None] = attrs.field(factory=OrderedDict, init=False)  # cheap to take from at its front
    _realm: Realm = attrs.field(factory=current_realm, init=False)

    def __len__(self) -> int:
        return len(self._parked)

    def __bool__(self) -> bool:
        return bool(self._parked)

    async def park(self) -> None:
        """Wait until unparked; a checkpoint.

        Raises BrokenResourceError if the lot is broken, or breaks meanwhile.
        """
        self._kernel()
        if self.broken_by:
            raise BrokenResourceError(f"Attempted to park in parking lot broken by {self.broken_by}")
        task = current_task()
        self._parked[task] = None
        task.custom_sleep_data = self  # where it waits now: `repark` changes that

        def abort(_: RaiseCancel) -> Abort:
            lot: ParkingLot = task.custom_sleep_data
            del lot._parked[task]
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    def unpark(self, *, count: float = 1) -> list[Task]:
        """Wake the first `count` tasks (`math.inf`: all), or as many as there are; returns them."""
        kernel = self._kernel()
        tasks = self._take(count)
        for task in tasks:
            kernel.wake(task)
        return tasks

    def unpark_all(self) -> list[Task]:
        """Wake all tasks; returns them."""
        return self.unpark(count=len(self))

    def repark(self, new_lot: ParkingLot, *, count: float = 1) -> None:
        """Move the first `count` tasks (`math.inf`: all), or as many as there are, to the end of another lot."""
        if not isinstance(new_lot, ParkingLot):
            raise TypeError(f"new_lot must be a ParkingLot, not {new_lot!r}")
        self._kernel()
        for task in self._take(count):
            new_lot._parked[task] = None
            task.custom_sleep_data = new_lot

    def repark_all(self, new_lot: ParkingLot) -> None:
        """Move all tasks to the end of another lot."""
        self.repark(new_lot, count=len(self))

    def break_lot(self, task: Task | None = None) -> None:
        """Make every task that is parked here, or tries to be, raise BrokenResourceError, from now on.

        Args:
            task: whose fault it is, the calling task by default; noted in `broken_by`.
        """
        kernel = self._kernel()
        task = current_task() if task is None else task
        self.broken_by.append(task)
        parked, self._parked = self._parked, OrderedDict()
        for waiting in parked:
            kernel.wake(waiting, Error(BrokenResourceError(f"Parking lot broken by {task}")))

    def statistics(self) -> ParkingLotStatistics:
        """Return what is known of it."""
        return ParkingLotStatistics(tasks_waiting=len(self._parked))

    def __repr__(self) -> str:
        broken = f", broken by {self.broken_by}" if self.broken_by else ""
        return f"<durable.lowlevel.ParkingLot, {len(self)} waiting{broken}>"

    def _kernel(self) -> Kernel:
        self._realm.require("parking lot")
        return current_kernel()

    def _take(self, count: float) -> list[Task]:
        if not isinstance(count, int) and not isinf(count):
            raise ValueError("Cannot pop a non-integer number of tasks.")
        return [self._parked.popitem(last=False)[0] for _ in range(int(min(count, len(self._parked))))]


ParkingLot.__module__ = ParkingLotStatistics.__module__ = "trioflow.durable.lowlevel"


def add_parking_lot_breaker(task: Task, lot: ParkingLot) -> None:
    """Have `lot` broken when `task` ends. May be said several times.

    Raises BrokenResourceError if it has ended.
    """
    if task not in lot._kernel().tasks:
        raise BrokenResourceError("Attempted to add already exited task as lot breaker.")
    task.on_exit(lot.break_lot)


def remove_parking_lot_breaker(task: Task, lot: ParkingLot) -> None:
    """Undo one `add_parking_lot_breaker`. Raises RuntimeError if there is none."""
    try:
        task.off_exit(lot.break_lot)
    except ValueError:
        raise RuntimeError("Attempted to remove task as breaker for a lot it is not registered for") from None
