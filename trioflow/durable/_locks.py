"""`Lock`, `StrictFIFOLock` and `Condition`: one task at a time, in the order in which they asked.

Laws: a lock is held by one task and handed to the first waiter as it is released, so nobody overtakes; the owner of a
lock that ends without releasing it breaks the lock, and waiters hear of it. A condition waits in its own parking lot
and is moved to the end of its lock's lot by `notify`, so waking up is acquiring. All belong to the orchestration that
made them and are no part of its history.
Who calls it: user code. Read next: `_limits.py`.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

import attrs

from trioflow._kernel import (
    CancelScope,
    Realm,
    Task,
    cancel_shielded_checkpoint,
    checkpoint_if_cancelled,
    current_realm,
    current_task,
    sealed,
)
from trioflow._util import BrokenResourceError, WouldBlock
from trioflow.durable._parking import ParkingLot, add_parking_lot_breaker, remove_parking_lot_breaker


class _Holdable(Protocol):
    async def acquire(self) -> object: ...

    def release(self) -> object: ...


class Acquirable:
    """``async with`` for what can be held: it acquires at the start, which may wait, and releases at the end."""

    __slots__ = ()

    async def __aenter__(self: _Holdable) -> None:
        await self.acquire()

    async def __aexit__(
        self: _Holdable, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.release()


@attrs.frozen
class LockStatistics:
    """What is known of a lock.

    Attributes:
        locked: whether a task holds it.
        owner: the task that holds it.
        tasks_waiting: how many wait to acquire it.
    """

    locked: bool
    owner: Task | None
    tasks_waiting: int


@attrs.define(eq=False, repr=False)
class _OwnedLock(Acquirable):
    _realm: Realm = attrs.field(factory=current_realm, init=False)
    _lot: ParkingLot = attrs.field(factory=ParkingLot, init=False)  # who waits for it
    _owner: Task | None = attrs.field(default=None, init=False)  # None only if nobody waits either

    def __repr__(self) -> str:
        state = f"locked, {len(self._lot)} waiting" if self._owner is not None else "unlocked"
        return f"<durable.{type(self).__name__}, {state}>"

    def locked(self) -> bool:
        """Whether a task holds it."""
        return self._owner is not None

    def acquire_nowait(self) -> None:
        """Take it now. Not a checkpoint.

        Raises:
            WouldBlock: another task holds it.
            RuntimeError: the calling task holds it.
        """
        if not self._try():
            raise WouldBlock

    async def acquire(self) -> None:
        """Take it, waiting if another task holds it; a checkpoint.

        Raises:
            BrokenResourceError: the task that held it has ended without releasing it.
            RuntimeError: the calling task holds it.
        """
        await checkpoint_if_cancelled()
        if self._try():
            await cancel_shielded_checkpoint()
            return
        try:
            await self._lot.park()  # and no more than that: `Condition.wait` acquires so, too
        except BrokenResourceError:
            raise BrokenResourceError(f"Owner of this lock exited without releasing: {self._owner}") from None

    def release(self) -> None:
        """Hand it to the first waiter, if there is one. Raises RuntimeError if the calling task does not hold it."""
        owner = current_task()
        if owner is not self._owner:
            raise RuntimeError("can't release a Lock you don't own")
        remove_parking_lot_breaker(owner, self._lot)
        next_owner = self._lot.unpark()
        self._own(next_owner[0] if next_owner else None)

    def statistics(self) -> LockStatistics:
        """Return what is known of it."""
        return LockStatistics(locked=self.locked(), owner=self._owner, tasks_waiting=len(self._lot))

    def _try(self) -> bool:
        self._realm.require("lock")
        task = current_task()
        if self._owner is task:
            raise RuntimeError("attempt to re-acquire an already held Lock")
        if self._owner is not None:
            return False
        self._own(task)
        return True

    def _own(self, task: Task | None) -> None:
        self._owner = task
        if task is not None:
            add_parking_lot_breaker(task, self._lot)


@sealed
class Lock(_OwnedLock):
    """A mutex: one task holds it at a time, and only that one releases it. Use it with ``async with``."""

    __slots__ = ()


@sealed
class StrictFIFOLock(_OwnedLock):
    """A `Lock` that says that the order of those who acquire it matters. Here every lock is that strict."""

    __slots__ = ()


@attrs.frozen
class ConditionStatistics:
    """What is known of a condition.

    Attributes:
        tasks_waiting: how many tasks wait to be notified.
        lock_statistics: of its lock.
    """

    tasks_waiting: int
    lock_statistics: LockStatistics


def _lock_to_use(lock: Lock | None) -> Lock:
    if lock is not None and type(lock) is not Lock:
        raise TypeError(f"lock must be a durable.Lock, not {lock!r}")
    return Lock() if lock is None else lock


@sealed
@attrs.define(eq=False, repr=False)
class Condition(Acquirable):
    """A condition variable: wait, in a lock, until another task that holds the lock says that something has changed.

    ``async with`` acquires the lock.

    Args:
        lock: the lock to use; a new one by default.

    Raises:
        TypeError: `lock` is something else than a `Lock`.
    """

    _lock: Lock = attrs.field(default=None, converter=_lock_to_use, alias="lock")
    _lot: ParkingLot = attrs.field(factory=ParkingLot, init=False)  # who waits to be notified

    def __repr__(self) -> str:
        return f"<durable.Condition, {len(self._lot)} waiting, with {self._lock!r}>"

    def locked(self) -> bool:
        """Whether a task holds the lock."""
        return self._lock.locked()

    def acquire_nowait(self) -> None:
        """Take the lock now, as `Lock.acquire_nowait`."""
        self._lock.acquire_nowait()

    async def acquire(self) -> None:
        """Take the lock, as `Lock.acquire`; a checkpoint."""
        await self._lock.acquire()

    def release(self) -> None:
        """Release the lock, as `Lock.release`."""
        self._lock.release()

    async def wait(self) -> None:
        """Release the lock, wait to be notified, and take the lock again; a checkpoint.

        The lock is held again however this ends: one that is cancelled first waits for the lock.

        Raises:
            RuntimeError: the calling task does not hold the lock.
            BrokenResourceError: the lock could not be taken again, since its owner ended without releasing it.
        """
        self._require_lock("wait")
        self.release()
        try:
            await self._lot.park()
        except BaseException:
            with CancelScope(shield=True):
                await self.acquire()
            raise

    def notify(self, n: int = 1) -> None:
        """Wake up to `n` waiting tasks, first come first. Raises RuntimeError if the calling task has not the lock."""
        self._require_lock("notify")
        self._lot.repark(self._lock._lot, count=n)

    def notify_all(self) -> None:
        """Wake all waiting tasks. Raises RuntimeError if the calling task does not hold the lock."""
        self._require_lock("notify")
        self._lot.repark_all(self._lock._lot)

    def statistics(self) -> ConditionStatistics:
        """Return what is known of it."""
        return ConditionStatistics(tasks_waiting=len(self._lot), lock_statistics=self._lock.statistics())

    def _require_lock(self, verb: str) -> None:
        if current_task() is not self._lock._owner:
            raise RuntimeError(f"must hold the lock to {verb}")


Lock.__module__ = LockStatistics.__module__ = StrictFIFOLock.__module__ = "trioflow.durable"
Condition.__module__ = ConditionStatistics.__module__ = "trioflow.durable"
