"""The one door to the world: time, randomness and threads come through an `Env`, so that tests and simulation own them.

Law: nothing in trioflow reads a clock, draws a random number, or reaches a named moment except through the `Env` it was
given. `reached` costs one empty call: a failpoint that is off.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

T = TypeVar("T")


TOKENS = 1_024
"""Tokens drawn at once: each trip to the system's source lets other threads take the interpreter."""


@attrs.define(eq=False)
class Env:
    """The real world."""

    _tokens: list[str] = attrs.field(factory=list, init=False, repr=False)  # drawn, and given to nobody yet
    _drawn_by: int = attrs.field(default=0, init=False, repr=False)  # a process; what it forks draws its own

    def now(self) -> float:
        """Wall time, seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on the clock that trio's deadlines use."""
        return trio.current_time()

    def ticks(self) -> float:
        """Seconds on a clock that is never set, readable in any thread, where trio's cannot be asked."""
        return time.monotonic()

    def token(self) -> str:
        """128 random bits as 32 hex digits: unique for ever."""
        if getattr(self, "_drawn_by", 0) != os.getpid():  # also where a class of tests has an `__init__` of its own
            self._tokens, self._drawn_by = [], os.getpid()
        if not self._tokens:
            drawn = os.urandom(16 * TOKENS).hex()
            self._tokens += [drawn[start : start + 32] for start in range(0, len(drawn), 32)]
        return self._tokens.pop()

    def ordered_token(self) -> str:
        """80 random bits behind the time in milliseconds, as 32 hex digits: unique for ever, and those of one time lie
        side by side where a store keeps them in order.
        """
        return f"{int(self.now() * 1000):012x}{self.token()[12:]}"

    def random(self) -> float:
        """A float in [0, 1), for jitter."""
        return random.random()

    def reached(self, moment: str) -> None:
        """A named moment was reached. Tests override this to crash, to fail or to look."""

    async def run_sync(self, fn: Callable[[], T], *, limiter: trio.CapacityLimiter | None = None) -> T:
        """Run `fn` in a worker thread. A checkpoint."""
        return await trio.to_thread.run_sync(fn, limiter=limiter)
