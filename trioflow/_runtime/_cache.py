"""Live orchestrations that wait, kept in memory so that a turn costs its new events and not its history.

Laws: only a speed-up: an execution is found by instance, execution number and revision, all of which a commit checks,
or it is not found; bounded by number and bytes, the one used least recently goes first; whatever leaves otherwise is
closed.

Who calls it: `_evaluating.py`, `_conductor.py`.
"""

from __future__ import annotations

from typing import Final

import attrs

from trioflow._engine import Execution
from trioflow._runtime._troubles import log
from trioflow._runtime._watchdog import Watchdog

OVERHEAD: Final = 8_192
"""Bytes that a live execution weighs beside its history, about."""


@attrs.frozen(eq=False)
class _Entry:
    execution_number: int
    revision: int
    live: Execution
    weight: int


@attrs.define(eq=False)
class LiveCache:
    """See the laws above."""

    _most: int
    _most_bytes: int
    _watchdog: Watchdog
    _entries: dict[str, _Entry] = attrs.field(factory=dict)  # instance -> entry; least recently used first
    _weight: int = 0
    hits: int = 0
    misses: int = 0

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, instance: str, execution: int, revision: int) -> Execution | None:
        """Take out the live execution that stands exactly there; any other of that instance is closed."""
        entry = self._remove(instance)
        if entry is not None and (entry.execution_number, entry.revision) == (execution, revision):
            self.hits += 1
            return entry.live
        if entry is not None:
            self.drop(entry.live)
        self.misses += 1
        return None

    def put(self, instance: str, execution: int, revision: int, live: Execution) -> None:
        """Keep a live execution that stands there; others may have to go."""
        old = self._remove(instance)
        if old is not None:
            self.drop(old.live)
        weight = live.size + OVERHEAD
        self._entries[instance] = _Entry(execution, revision, live, weight)
        self._weight += weight
        while self._entries and (len(self._entries) > self._most or self._weight > self._most_bytes):
            self._close(next(iter(self._entries)))

    def drop(self, live: Execution) -> None:
        """Close a live execution, wherever it was: `finally` blocks of user code run, under the watchdog's eyes.

        It may warn; where warnings are errors, it logs instead: it has been closed, and others are not to suffer.
        """
        with self._watchdog.over("the dropping", live):
            try:
                live.close()
            except Warning as warning:
                log.warning("%s", str(warning))  # a text of ours

    def close(self) -> None:
        """Close everything."""
        while self._entries:
            self._close(next(iter(self._entries)))

    def _close(self, instance: str) -> None:
        entry = self._remove(instance)
        if entry is not None:
            self.drop(entry.live)

    def _remove(self, instance: str) -> _Entry | None:
        entry = self._entries.pop(instance, None)
        if entry is not None:
            self._weight -= entry.weight
        return entry
