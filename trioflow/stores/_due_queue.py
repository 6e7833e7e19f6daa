"""Keys in the order of their times: what the memory store has in place of an index.

Laws: a key has one time, or none; putting, dropping and taking cost a logarithm, whatever else is queued; a bucket that
nobody asks for costs nobody anything. Entries that were superseded stay in a heap until they surface or outnumber the
others.

Who calls it: `_memory_tables.py`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import attrs

K = TypeVar("K", bound=Hashable)
B = TypeVar("B", bound=Hashable)


@attrs.define(eq=False)
class DueQueue(Generic[K, B]):
    """Keys in buckets, by time. An entry is (time, tie breaker, key), and true while it is the very one in
    `_current`.
    """

    _current: dict[K, tuple[tuple[float, Any, K], B]] = attrs.field(factory=dict)  # the one true entry of each key
    _future: list[tuple[float, Any, K]] = attrs.field(factory=list)  # heap: time not come when last looked
    _ready: dict[B, list[tuple[float, Any, K]]] = attrs.field(factory=dict)  # heaps: time had come when last looked
    _looked: float = 0.0

    def put(self, key: K, bucket: B, at: float, tie: Any) -> None:
        """Set the time of a key. `tie` orders keys of equal times and is followed by the key itself."""
        entry = (at, tie, key)
        if self._current.get(key) != (entry, bucket):
            self._current[key] = (entry, bucket)
            heapq.heappush(self._future, entry)
            if len(self._future) > 2 * len(self._current) + 64:
                self._future = [entry for entry in self._future if self._is_true(entry)]
                heapq.heapify(self._future)

    def drop(self, key: K) -> None:
        """The key has no time."""
        self._current.pop(key, None)

    def due(self, now: float, limit: int, accepts: Callable[[B], bool]) -> list[K]:
        """The first `limit` keys with a time up to `now` in buckets that are accepted; they stay in the queue."""
        self._advance(now)
        heads: list[tuple[tuple[float, Any, K], B]] = []
        for bucket in [bucket for bucket in self._ready if accepts(bucket)]:
            self._push_head(heads, bucket)
        taken: list[tuple[tuple[float, Any, K], B]] = []
        while heads and len(taken) < limit:
            head = min(heads, key=lambda item: item[0])
            heads.remove(head)
            heapq.heappop(self._ready[head[1]])
            taken.append(head)
            self._push_head(heads, head[1])
        for entry, bucket in taken:
            heapq.heappush(self._ready.setdefault(bucket, []), entry)
        return [entry[2] for entry, _ in taken]

    def next_after(self, now: float, accepts: Callable[[B], bool]) -> float | None:
        """The smallest time above `now` in buckets that are accepted."""
        self._advance(now)
        passed: list[tuple[float, Any, K]] = []
        found = None
        while self._future and found is None:
            entry = self._future[0]
            if not self._is_true(entry):
                heapq.heappop(self._future)
            elif accepts(self._current[entry[2]][1]):
                found = entry[0]
            else:
                passed.append(heapq.heappop(self._future))
        for entry in passed:
            heapq.heappush(self._future, entry)
        return found

    def _is_true(self, entry: tuple[float, Any, K]) -> bool:
        current = self._current.get(entry[2])
        return current is not None and current[0] is entry

    def _advance(self, now: float) -> None:
        if now < self._looked:  # a wall clock may be set back: what was ready has to wait again
            self._future += [entry for heap in self._ready.values() for entry in heap]
            heapq.heapify(self._future)
            self._ready.clear()
        self._looked = now
        while self._future and self._future[0][0] <= now:
            entry = heapq.heappop(self._future)
            if self._is_true(entry):
                self._make_ready(self._current[entry[2]][1], entry)

    def _make_ready(self, bucket: B, entry: tuple[float, Any, K]) -> None:
        heap = self._ready.setdefault(bucket, [])
        heapq.heappush(heap, entry)
        if len(heap) > 2 * len(self._current) + 64:  # nobody accepts this bucket, so nothing of it surfaces
            heap[:] = [entry for entry in heap if self._is_true(entry)]
            heapq.heapify(heap)

    def _push_head(self, heads: list[tuple[tuple[float, Any, K], B]], bucket: B) -> None:
        heap = self._ready[bucket]
        while heap and not self._is_true(heap[0]):
            heapq.heappop(heap)
        if heap:
            heads.append((heap[0], bucket))
        else:
            del self._ready[bucket]
