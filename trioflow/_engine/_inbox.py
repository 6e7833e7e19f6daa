"""Which message becomes an event, in which order, and what time it is then.

Laws: messages are taken in the order in which they entered the inbox, merged with due deadlines by store time, a
message first on a tie. An event's time is the turn's own ("now") unless that would make a deadline pass that comes
after it in this order; then it is the message's. So code that was delayed by a busy or dead worker gets the whole of a
timeout it opens now, and no race is decided by how messages were batched. A message nobody waits for any more is
dropped without an event.

Pure functions. Who calls it: `_execution.py`.
"""

from __future__ import annotations

import enum


class Next(enum.Enum):
    """What happens next in a turn."""

    MESSAGE = enum.auto()
    DUE = enum.auto()
    NOTHING = enum.auto()


def what_is_next(arrived: float | None, due: float, now: float) -> Next:
    """Choose between the first message (when it arrived, if there is one) and the first deadline."""
    if arrived is not None and arrived <= due:
        return Next.MESSAGE
    if due <= now:
        return Next.DUE
    return Next.NOTHING if arrived is None else Next.MESSAGE


def time_of(own: float, *, later_due: bool, now: float, last: float) -> float:
    """An event's timestamp. `own`: when it arrived or fell due; `later_due`: a deadline up to `now` must stay behind
    it.
    """
    return max(own if later_due else now, last)
