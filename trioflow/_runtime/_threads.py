"""A plain function in a worker thread, cancelled as trio does it and, if need be, left behind.

Laws: the function hears of cancellation through `trio.from_thread.check_cancelled()` and is waited for until it really
ends: what it returns or raises wins over the cancellation; only when `abandon` is cancelled too is the thread left to
itself. The limiter's token is given back when the thread has really ended.

Who calls it: `_body.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import attrs
import outcome
import trio

T = TypeVar("T")


@attrs.define(eq=False)
class _Slot:
    """Stands between `to_thread` and the real limiter, to know when the thread starts and when it has ended."""

    _limiter: trio.CapacityLimiter
    started: bool = False
    ended: trio.Event = attrs.field(factory=trio.Event)

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        await self._limiter.acquire_on_behalf_of(borrower)
        self.started = True

    def release_on_behalf_of(self, borrower: object) -> None:
        self._limiter.release_on_behalf_of(borrower)
        self.ended.set()


async def run_in_thread(fn: Callable[[], T], *, limiter: trio.CapacityLimiter, abandon: trio.CancelScope) -> T:
    """Run `fn` in a thread.

    Args:
        fn: what to run.
        limiter: how many threads there may be.
        abandon: a fresh scope; once it is cancelled, or its deadline has come, a thread that ignores cancellation is
            left to itself.
    """
    slot = _Slot(limiter)
    results: list[outcome.Outcome[Any]] = []

    def call() -> None:
        results.append(outcome.capture(fn))

    try:
        # To trio the thread is abandoned at the first cancellation; that is how it hears of it while we go on waiting.
        await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=cast(trio.CapacityLimiter, slot))
    except trio.Cancelled:
        if not slot.started:
            raise
        abandon.shield = True
        with abandon:
            await slot.ended.wait()
        if not slot.ended.is_set() or _was_cancelled(results[0]):
            raise
    return cast(T, results[0].unwrap())


def _was_cancelled(result: outcome.Outcome[Any]) -> bool:
    return isinstance(result, outcome.Error) and isinstance(result.error, trio.Cancelled)
