"""Which numbers make sense as a duration or a count, and how a value is shown in the error that says so.

Laws: a number that passes here can be kept by every store, added to any time and turned into any other kind of number;
nothing here raises, whatever it is asked about. Must never know: errors, what the number is for. Who calls it: whoever
takes a number from outside, and says in an error of its own what was wrong.
"""

from __future__ import annotations

from math import inf
from typing import Final, TypeGuard

FAR: Final = 1e11
"""Seconds: more than three thousand years. Milliseconds since the Unix epoch are beyond it, too."""

MANY: Final = 2**31 - 1
"""The most of anything that can be counted."""

_LONGEST: Final = 80


def is_seconds(value: object) -> TypeGuard[float]:
    """Whether it is a duration: a number from 0 to `FAR`."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= FAR


def is_time_limit(value: object) -> TypeGuard[float | None]:
    """Whether it is a time that something may take: a duration above 0, or None or infinity for one without an end."""
    return value is None or value == inf or (is_seconds(value) and value > 0)


def is_count(value: object, least: int = 1) -> TypeGuard[int]:
    """Whether it is a whole number from `least` to `MANY`."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MANY


def shown(value: object) -> str:
    """A value in a message, in one short piece. Python shows no whole number of thousands of digits."""
    try:
        text = repr(value)
    except ValueError:
        text = f"<{type(value).__name__} that is too long to show>"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"
