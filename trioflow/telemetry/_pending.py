"""Attempts that have begun and wait for the word that they are over, which may never come.

Law: bounded: where too many wait, the oldest is forgotten; if the word comes after all, it is drawn anew. Who calls it:
`_attempts.py`.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import attrs

K = TypeVar("K")
V = TypeVar("V")

MOST: Final = 10_000


@attrs.define(eq=False)
class Pending(Generic[K, V]):
    """By a key."""

    _begun: dict[K, V] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self._begun)

    def put(self, key: K, begun: V) -> None:
        """It waits."""
        self._begun[key] = begun
        if len(self._begun) > MOST:
            del self._begun[next(iter(self._begun))]

    def take(self, key: K) -> V | None:
        """It is over; None if it is not known."""
        return self._begun.pop(key, None)
