"""A clock that never goes back while its store is open, whatever the wall clock does.

Laws: a reading is never below the one before, whichever thread asks; while the wall clock is behind what was handed
out, time goes on at the pace of the machine's own clock. Who calls it: stores, for each transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import attrs


@attrs.define(eq=False)
class SteadyClock:
    """`read`, made steady. `elapsed` is a clock that is never set; None: time stands still till `read` catches up."""

    _read: Callable[[], float]
    _elapsed: Callable[[], float] | None
    _last: float | None = None
    _at: float = 0.0  # on the clock that is never set, when `_last` was handed out
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def __call__(self) -> float:
        """The store's time."""
        with self._lock:
            now, at = self._read(), 0.0 if self._elapsed is None else self._elapsed()
            if self._last is not None and now < self._last:
                now = self._last + max(at - self._at, 0.0)
            self._last, self._at = now, at
            return now
