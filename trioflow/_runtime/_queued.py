"""How many activities of which execution wait in the store for room here, as far as is known.

Laws: a guess, never needed for correctness, only for holding a lock no longer than it may be of use: others may have
taken what is counted. It is corrected by each turn, which knows how many are open at all, and forgotten once the store
has nothing left for us.

Who calls it: `_activities.py`. Read next: `_conductor.py`.
"""

from __future__ import annotations

import attrs

Execution = tuple[str, int]
"""An instance and the number of its execution."""


@attrs.define(eq=False)
class Queued:
    """Counts by execution; none is 0."""

    _counts: dict[Execution, int] = attrs.field(factory=dict)
    _news: dict[Execution, None] = attrs.field(factory=dict)  # executions that have got some since the last look

    def __contains__(self, execution: Execution) -> bool:
        return execution in self._counts

    def add(self, execution: Execution, more: int, most: int) -> None:
        """So many more wait, and no more than `most` in all."""
        count = min(self._counts.get(execution, 0) + more, most)
        if count > 0:
            self._counts[execution] = count
            if more:
                self._news[execution] = None
        else:
            self._counts.pop(execution, None)

    def took(self, execution: Execution) -> None:
        """One of them waits no more."""
        count = self._counts.get(execution)
        if count is not None:
            self.add(execution, 0, count - 1)

    def look(self) -> None:
        """The store is about to be asked for some."""
        self._news.clear()

    def forget(self) -> tuple[Execution, ...]:
        """The store had no more when it was asked; returns the executions of which none waits then."""
        gone = tuple(execution for execution in self._counts if execution not in self._news)
        for execution in gone:
            del self._counts[execution]
        return gone
