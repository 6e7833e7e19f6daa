"""Names of activities that were taken here and are not known here: they are left to others for a while.

Law: a name is left alone a little longer than its item rests, so whoever knows it comes first; then it is looked at
again, since it may be that nobody does.

Who calls it: `_activities.py`.
"""

from __future__ import annotations

from typing import Final

import attrs

HEAD_START: Final = 1.0
"""Seconds that others have to take what falls due, before whoever does not know it takes it again."""

AT_MOST: Final = 100
"""Names that are left to others at once."""


@attrs.define(eq=False)
class Strangers:
    """Names, and until when they are left alone. Times are `Env.monotonic`'s."""

    _until: dict[str, float] = attrs.field(factory=dict)

    def met(self, name: str, rests_until: float) -> None:
        """An item of that name was given back, to rest until then."""
        self._until.pop(name, None)
        self._until[name] = rests_until + HEAD_START
        if len(self._until) > AT_MOST:
            del self._until[next(iter(self._until))]

    def now(self, now: float) -> tuple[str, ...]:
        """The names that are left to others now."""
        self._until = {name: until for name, until in self._until.items() if until > now}
        return tuple(sorted(self._until))

    def ends_in(self, now: float) -> list[float]:
        """In how many seconds each of them is looked at again."""
        return [until - now for until in self._until.values()]
