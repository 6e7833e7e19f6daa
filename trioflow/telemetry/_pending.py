"""Spans of attempts that have begun and wait for the word that they are over, which may never come.

Law: bounded: where too many wait, the oldest is forgotten; if the word comes after all, it is drawn anew. Who calls it:
`_attempts.py`.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import attrs
from opentelemetry.trace import Span

K = TypeVar("K")

MOST: Final = 10_000


@attrs.define(eq=False)
class Pending(Generic[K]):
    """By a key."""

    _spans: dict[K, Span] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self._spans)

    def put(self, key: K, span: Span) -> None:
        """It waits."""
        self._spans[key] = span
        if len(self._spans) > MOST:
            del self._spans[next(iter(self._spans))]

    def take(self, key: K) -> Span | None:
        """It is over; None if it is not known."""
        return self._spans.pop(key, None)
