"""Which executions have activities here: how many run, and how many wait in the store for room here.

Laws: what runs is counted exactly. What waits is a guess, never needed for correctness, only for holding a lock no
longer than it may be of use: others may have taken what is counted. It is corrected by each turn, which knows how many
are open at all, and forgotten once the store, asked after they came, has nothing left for us.

Who calls it: `_activities.py` counts, `_runner.py` and `_conductor.py` ask. Read next: `_conductor.py`.
"""

from __future__ import annotations

import attrs

Execution = tuple[str, int]
"""An instance and the number of its execution."""


@attrs.define(eq=False)
class Presence:
    """Counts by execution; none is 0."""

    _running: dict[Execution, int] = attrs.field(factory=dict)
    _queued: dict[Execution, int] = attrs.field(factory=dict)
    _news: dict[Execution, None] = attrs.field(factory=dict)  # of which some have come since the last look

    def __contains__(self, execution: Execution) -> bool:
        """Whether activities of it run here, or are to as soon as there is room."""
        return execution in self._running or execution in self._queued

    def runs(self, execution: Execution) -> bool:
        """Whether activities of it run here."""
        return execution in self._running

    def began(self, execution: Execution) -> None:
        """One of them runs."""
        self._running[execution] = self._running.get(execution, 0) + 1

    def ended(self, execution: Execution) -> None:
        """One of them runs no more."""
        self._running[execution] -= 1
        if not self._running[execution]:
            del self._running[execution]

    def expect(self, execution: Execution, more: int, in_flight: int) -> None:
        """So many are about to be scheduled that will be taken from the store as soon as there is room here.
        `in_flight`: how many it waits for at all.
        """
        if more:
            self._news[execution] = None
        if more or execution in self._queued:
            most = in_flight - self._running.get(execution, 0)
            self._count(execution, min(self._queued.get(execution, 0) + more, most))

    def took(self, execution: Execution) -> None:
        """One of them was taken from the store."""
        if execution in self._queued:
            self._count(execution, self._queued[execution] - 1)

    def look(self) -> None:
        """The store is about to be asked for more."""
        self._news.clear()

    def forget(self) -> tuple[Execution, ...]:
        """The store had no more when it was asked; returns the executions of which none waits then."""
        gone = tuple(execution for execution in self._queued if execution not in self._news)
        for execution in gone:
            del self._queued[execution]
        return gone

    def _count(self, execution: Execution, queued: int) -> None:
        if queued > 0:
            self._queued[execution] = queued
        else:
            self._queued.pop(execution, None)
