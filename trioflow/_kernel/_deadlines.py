"""When scopes expire, and which of their deadlines the world has to know of.

Laws: only open scopes that are not cancelled and have a finite deadline are registered. Those whose time has come
expire together, in (deadline, entry) order. Between blocks a deadline is nobody's business; at a block, each registered
deadline that has no timer yet gets one, and each timer whose deadline is no longer registered is closed, unless it
fired: the cost is that of the changes, not of the scopes.
Must never know: where time comes from, what a timer is made of. Who calls it: `_scope.py` registers, `_scheduler.py`
expires and settles.
Read next: `_scheduler.py`.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING

import attrs

from trioflow._kernel._cancelled import CancelReason

if TYPE_CHECKING:
    from trioflow._kernel._scope import CancelScope

# Stale entries tolerated beyond twice the live ones before the heap is rebuilt.
PRUNE_SLACK = 1000

DEADLINE_REASON = CancelReason("deadline")


@attrs.frozen
class TimerOpened:
    """A deadline is open at a block: somebody must bring the time when it comes."""

    key: str
    deadline: float
    scope: CancelScope


@attrs.frozen
class TimerClosed:
    """A deadline that was open at a block will not be needed."""

    key: str


@attrs.define(eq=False, repr=False)
class Timer:
    """A deadline that the world was told of. `number` counts timers as they were opened."""

    key: str
    deadline: float
    number: int


@attrs.define(eq=False, repr=False)
class Deadlines:
    """The registered deadlines of one kernel."""

    # (deadline, entry number, scope). An entry is stale when the scope's registered deadline is another one: changing a
    # deadline only adds an entry. (The list stays the same object: the scheduler looks at its first entry before each
    # batch.)
    heap: list[tuple[float, int, CancelScope]] = attrs.field(factory=list)
    # How many entries are not stale.
    _live: int = 0
    # Scopes whose registration changed since the last block, each once.
    touched: list[CancelScope] = attrs.field(factory=list)
    _timers_opened: int = 0
    _entries: int = 0

    def next_entry(self) -> int:
        """A number for a scope that is entered: the order among equal deadlines."""
        self._entries += 1
        return self._entries

    def register(self, scope: CancelScope, old: float, new: float) -> None:
        """The deadline at which `scope` is to expire has changed; inf is none."""
        if old != inf:
            self._live -= 1
        if new != inf:
            self._live += 1
            heappush(self.heap, (new, scope._entry, scope))
        if not scope._touched:
            scope._touched = True
            self.touched.append(scope)

    def next(self) -> float:
        """The earliest registered deadline, inf if there is none."""
        heap = self.heap
        while heap:
            deadline, _, scope = heap[0]
            if deadline == scope._registered:
                return deadline
            heappop(heap)
        return inf

    def expire(self, now: float) -> None:
        """Cancel every scope whose deadline has come."""
        heap = self.heap
        while heap and heap[0][0] <= now:
            deadline, _, scope = heappop(heap)
            if deadline == scope._registered:
                if scope._timer is not None and scope._timer.deadline == deadline:
                    scope._timer = None  # it fired: not to be closed
                scope._cancel(DEADLINE_REASON)
        if len(heap) > 2 * self._live + PRUNE_SLACK:
            self._prune()

    def _prune(self) -> None:
        """Drop stale entries, and the doubles of a scope that went to and fro between two deadlines."""
        fresh: dict[int, tuple[float, int, CancelScope]] = {}
        for item in self.heap:
            if item[0] == item[2]._registered:
                fresh[item[1]] = item
        self.heap[:] = fresh.values()
        heapify(self.heap)

    def settle(self, now: float) -> list[TimerClosed | TimerOpened]:
        """At a block: what the world has to know. Closed timers in opening order, then opened ones in entry order."""
        touched, self.touched = self.touched, []
        closed: list[Timer] = []
        opened: list[CancelScope] = []
        for scope in touched:
            scope._touched = False
            timer, wanted = scope._timer, scope._registered
            if timer is not None and timer.deadline != wanted:
                if timer.deadline > now:  # else it fired, also where another scope that expired was the first to see it
                    closed.append(timer)
                scope._timer = timer = None
            if timer is None and now < wanted < inf:
                opened.append(scope)
        closed.sort(key=_timer_number)
        opened.sort(key=_entry)
        return [*(TimerClosed(timer.key) for timer in closed), *map(self._open, opened)]

    def _open(self, scope: CancelScope) -> TimerOpened:
        self._timers_opened += 1
        timer = scope._timer = Timer(scope._next_timer_key(), scope._registered, self._timers_opened)
        return TimerOpened(timer.key, timer.deadline, scope)

    def clear(self) -> None:
        """Forget everything: the kernel is closed."""
        self.heap.clear()
        self.touched.clear()
        self._live = 0


def _timer_number(timer: Timer) -> int:
    return timer.number


def _entry(scope: CancelScope) -> int:
    return scope._entry
