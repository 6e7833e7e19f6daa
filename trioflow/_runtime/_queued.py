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

    def __contains__(self, execution: Execution) -> bool:
        return execution in self._counts

    def add(self, execution: Execution, more: int, most: int) -> None:
        """So many more wait, and no more than `most` in all."""
        count = min(self._counts.get(execution, 0) + more, most)
        if count > 0:
            self._counts[execution] = count
        else:
            self._counts.pop(execution, None)

    def took(self, execution: Execution) -> None:
        """One of them waits no more."""
        count = self._counts.get(execution)
        if count is not None:
            self.add(execution, -1, count)

    def forget(self) -> tuple[Execution, ...]:
        """None waits; returns the executions that had some."""
        counts, self._counts = self._counts, {}
        return tuple(counts)
