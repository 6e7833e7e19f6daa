"""`Semaphore` and `CapacityLimiter`: some tasks at a time, first come first served.

Laws: what is given back goes to the first waiter as it is given back, so nobody overtakes; a semaphore counts and does
not care who gives back, a limiter knows who holds its tokens. Both belong to the orchestration that made them and are
no part of its history.
Who calls it: user code. Read next: `_channels.py`.
"""

from __future__ import annotations

from math import inf

import attrs

from trioflow._kernel import (
    Realm,
    Task,
    cancel_shielded_checkpoint,
    checkpoint_if_cancelled,
    current_realm,
    current_task,
    sealed,
)
from trioflow._util import WouldBlock
from trioflow.durable._locks import Acquirable
from trioflow.durable._parking import ParkingLot, ParkingLotStatistics


@sealed
@attrs.define(eq=False, repr=False)
class Semaphore(Acquirable):
    """A number that is never below zero: acquiring takes one and waits for it if there is none. For ``async with``.

    Args:
        initial_value: what it starts with.
        max_value: releasing beyond this is an error; None for no limit.

    Raises:
        TypeError: a value is no whole number.
        ValueError: the initial value is below zero, or above `max_value`.
    """

    _value: int = attrs.field(alias="initial_value")  # above zero only if nobody waits
    _max_value: int | None = attrs.field(default=None, kw_only=True, alias="max_value")
    _realm: Realm = attrs.field(factory=current_realm, init=False)
    _lot: ParkingLot = attrs.field(factory=ParkingLot, init=False)  # who waits for it

    def __attrs_post_init__(self) -> None:
        if not isinstance(self._value, int):
            raise TypeError("initial_value must be an int")
        if self._value < 0:
            raise ValueError("initial value must be >= 0")
        if self._max_value is not None:
            if not isinstance(self._max_value, int):
                raise TypeError("max_value must be None or an int")
            if self._max_value < self._value:
                raise ValueError("max_values must be >= initial_value")

    def __repr__(self) -> str:
        limit = "" if self._max_value is None else f" of {self._max_value}"
        return f"<durable.Semaphore, {self._value}{limit}, {len(self._lot)} waiting>"

    @property
    def value(self) -> int:
        """How often it can be acquired now."""
        return self._value

    @property
    def max_value(self) -> int | None:
        """What it may grow to; None for no limit."""
        return self._max_value

    def acquire_nowait(self) -> None:
        """Take one, now. Not a checkpoint. Raises WouldBlock if there is none."""
        if not self._try():
            raise WouldBlock

    async def acquire(self) -> None:
        """Take one, waiting if there is none; a checkpoint."""
        await checkpoint_if_cancelled()
        if self._try():
            await cancel_shielded_checkpoint()
        else:
            await self._lot.park()

    def release(self) -> None:
        """Give one to the first waiter, or keep it. Any task may. Raises ValueError above `max_value`."""
        self._realm.require("semaphore")
        if self._lot:
            self._lot.unpark()
        elif self._value == self._max_value:
            raise ValueError("semaphore released too many times")
        else:
            self._value += 1

    def statistics(self) -> ParkingLotStatistics:
        """Return how many tasks wait."""
        return self._lot.statistics()

    def _try(self) -> bool:
        self._realm.require("semaphore")
        if self._value == 0:
            return False
        self._value -= 1
        return True


@attrs.frozen
class CapacityLimiterStatistics:
    """What is known of a limiter.

    Attributes:
        borrowed_tokens: how many are held.
        total_tokens: how many there are; fewer than are held if that was lowered meanwhile.
        borrowers: who holds one, in the order in which they got it.
        tasks_waiting: how many tasks wait for one.
    """

    borrowed_tokens: int
    total_tokens: float
    borrowers: list[Task | object]
    tasks_waiting: int


@sealed
@attrs.define(eq=False, repr=False)
class CapacityLimiter(Acquirable):
    """A sack of tokens: each borrower holds one at most, and whoever finds it empty waits. For ``async with``.

    Args:
        total_tokens: how many there are, `math.inf` for no limit.

    Raises:
        TypeError: that is no whole number, nor `math.inf`.
        ValueError: it is below zero.
    """

    _total_tokens: float = attrs.field(alias="total_tokens")
    _realm: Realm = attrs.field(factory=current_realm, init=False)
    _lot: ParkingLot = attrs.field(factory=ParkingLot, init=False)  # who waits for it
    _borrowers: dict[Task | object, None] = attrs.field(factory=dict, init=False)  # a dict for its order
    _pending_borrowers: dict[Task, Task | object] = attrs.field(factory=dict, init=False)  # who waits on whose behalf

    def __attrs_post_init__(self) -> None:
        self.total_tokens = self._total_tokens

    def __repr__(self) -> str:
        held = f"{len(self._borrowers)}/{self._total_tokens}"
        return f"<durable.CapacityLimiter, {held} borrowed, {len(self._lot)} waiting>"

    @property
    def total_tokens(self) -> float:
        """How many tokens there are. Raising it lets waiters go on; lowering it takes no token away from anybody."""
        return self._total_tokens

    @total_tokens.setter
    def total_tokens(self, value: float) -> None:
        if not isinstance(value, int) and value != inf:
            raise TypeError("total_tokens must be an int or math.inf")
        if value < 0:
            raise ValueError("total_tokens must be >= 0")
        self._realm.require("capacity limiter")
        self._total_tokens = value
        self._wake_waiters()

    @property
    def borrowed_tokens(self) -> int:
        """How many tokens are held."""
        return len(self._borrowers)

    @property
    def available_tokens(self) -> float:
        """How many tokens can be had now; below zero if `total_tokens` was lowered below what is held."""
        return self._total_tokens - len(self._borrowers)

    def acquire_nowait(self) -> None:
        """Borrow a token for the calling task, now. As `acquire_on_behalf_of_nowait`."""
        self.acquire_on_behalf_of_nowait(current_task())

    def acquire_on_behalf_of_nowait(self, borrower: Task | object) -> None:
        """Borrow a token in somebody's name, now. Not a checkpoint.

        Args:
            borrower: a task, or anything hashable.

        Raises:
            WouldBlock: there is none, or others wait already.
            RuntimeError: the borrower holds one.
        """
        if not self._try(borrower):
            raise WouldBlock

    async def acquire(self) -> None:
        """Borrow a token for the calling task, waiting if there is none; a checkpoint.

        Raises RuntimeError if the calling task holds one.
        """
        await self.acquire_on_behalf_of(current_task())

    async def acquire_on_behalf_of(self, borrower: Task | object) -> None:
        """Borrow a token in somebody's name, waiting if there is none; a checkpoint.

        Args:
            borrower: a task, or anything hashable.

        Raises:
            RuntimeError: the borrower holds one.
        """
        await checkpoint_if_cancelled()
        if self._try(borrower):
            await cancel_shielded_checkpoint()
            return
        task = current_task()
        self._pending_borrowers[task] = borrower
        try:
            await self._lot.park()
        except BaseException:
            del self._pending_borrowers[task]
            raise

    def release(self) -> None:
        """Put the calling task's token back. Raises RuntimeError if it holds none."""
        self.release_on_behalf_of(current_task())

    def release_on_behalf_of(self, borrower: Task | object) -> None:
        """Put a token back in somebody's name. Raises RuntimeError if they hold none."""
        self._realm.require("capacity limiter")
        if borrower not in self._borrowers:
            raise RuntimeError("this borrower isn't holding any of this CapacityLimiter's tokens")
        del self._borrowers[borrower]
        self._wake_waiters()

    def statistics(self) -> CapacityLimiterStatistics:
        """Return what is known of it."""
        return CapacityLimiterStatistics(
            borrowed_tokens=len(self._borrowers),
            total_tokens=self._total_tokens,
            borrowers=list(self._borrowers),
            tasks_waiting=len(self._lot),
        )

    def _try(self, borrower: Task | object) -> bool:
        self._realm.require("capacity limiter")
        if borrower in self._borrowers:
            raise RuntimeError("this borrower is already holding one of this CapacityLimiter's tokens")
        if self._lot or self.available_tokens <= 0:
            return False
        self._borrowers[borrower] = None
        return True

    def _wake_waiters(self) -> None:
        for woken in self._lot.unpark(count=self.available_tokens):
            self._borrowers[self._pending_borrowers.pop(woken)] = None


CapacityLimiter.__module__ = CapacityLimiterStatistics.__module__ = Semaphore.__module__ = "trioflow.durable"
