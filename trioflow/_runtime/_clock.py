"""The store's time, known here: its last answer plus what has passed since on our own clock.

Law: an estimate, used where asking would cost a trip: for the time at which a fused step happened, and for when to look
again. It never runs backwards. Who calls it: `_conductor.py`, `_activities.py`, `_dispatcher.py`.
"""

from __future__ import annotations

import attrs

from trioflow.abc import Env


@attrs.define(eq=False)
class StoreClock:
    """What the store's clock says, about."""

    _env: Env
    _theirs: float = 0.0  # the store's time, and
    _ours: float = 0.0  # our monotonic time when it said so

    def heard(self, now: float) -> None:
        """The store has just said what time it is."""
        ours = self._env.monotonic()
        self._theirs = max(now, self._theirs)
        self._ours = ours

    def now(self) -> float:
        """The store's time."""
        return self._theirs + (self._env.monotonic() - self._ours)
