"""What a client asks of a store, repeated until an answer is known or patience ends: a write with the same request id.

Law: only `OutcomeUnknown` and `StoreUnavailable` are met by repeating, always with the unchanged request; whatever else
the store says is the answer. Who calls it: `_client.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

import trio

from trioflow.errors import OutcomeUnknown, StoreUnavailable

P = ParamSpec("P")
A = TypeVar("A")

PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 4.0, 5.0, 5.0, 5.0, 5.0)
"""Seconds before each repetition: half a minute in all, as long as a server may take to be replaced by another."""


async def until_answered(ask: Callable[P, Awaitable[A]], *args: P.args, **kwargs: P.kwargs) -> A:
    """The answer of `ask`, which is repeated while the store is away or nobody can say whether it happened."""
    for pause in PAUSES:
        try:
            return await ask(*args, **kwargs)
        except (OutcomeUnknown, StoreUnavailable):
            await trio.sleep(pause)
    return await ask(*args, **kwargs)
