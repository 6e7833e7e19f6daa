"""Writes of a client that may be repeated: the same request id until an answer is known, or patience ends.

Law: only `OutcomeUnknown` and `StoreUnavailable` are met by repeating, always with the unchanged request; whatever else
the store says is the answer. Who calls it: `_client.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from trioflow.errors import OutcomeUnknown, StoreUnavailable

A = TypeVar("A")

PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0)
"""Seconds before each repetition."""


async def until_answered(write: Callable[[], Awaitable[A]]) -> A:
    """The answer of `write`, which is repeated while nobody can say whether it happened."""
    for pause in PAUSES:
        try:
            return await write()
        except (OutcomeUnknown, StoreUnavailable):
            await trio.sleep(pause)
    return await write()
