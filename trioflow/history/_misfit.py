"""What a hook raises when a value does not fit its declared type, and how it learns where that was.

Laws: a misfit names types, never values, since payloads must not reach messages or logs; the path is filled in on the
way out, so a value that fits pays nothing for it. Encoding uses `path`; decoding attaches cattrs' own notes, so that
`cattrs.transform_error` can tell where. Called by every hook of this package. Read next: `_leaves.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cattrs import IterableValidationError, IterableValidationNote

Encode = Callable[[Any], Any]
"""A value of the declared type, to plain JSON data."""
Decode = Callable[[Any, Any], Any]
"""Plain JSON data and the declared type, to a value."""


class Misfit(Exception):
    """A value that does not fit.

    Attributes:
        path: where it is, from the outside in.
        origin: what a registered function raised, if that was the reason.
    """

    def __init__(self, text: str, origin: Exception | None = None) -> None:
        super().__init__(text)
        self.path: list[str | int] = []
        self.origin = origin


def type_name(type_: Any) -> str:
    """A type as people write it."""
    if isinstance(type_, type) and not getattr(type_, "__args__", ()):
        return type_.__name__
    return str(type_).replace("typing.", "")


def misfit(expected: Any, value: Any) -> Misfit:
    """Say what was expected and which type was found."""
    text = expected if isinstance(expected, str) else type_name(expected)
    return Misfit(f"expected {text}, got {type(value).__name__}")


def pin_encoding(whole: Misfit, parts: Iterable[tuple[str | int, Any, Encode]]) -> Misfit:
    """Find the part (label, value, hook) that does not fit, and put its label in front of the path."""
    for label, value, encode in parts:
        try:
            encode(value)
        except Misfit as found:
            found.path.insert(0, label)
            return found
    return whole


def pin_decoding(exc: Exception, label: str | int, type_: Any, outer: Any) -> IterableValidationError:
    """Wrap what went wrong in one element in the way cattrs does, so that the path can be told."""
    exc.__notes__ = [*getattr(exc, "__notes__", ()), IterableValidationNote("", label, type_)]
    return IterableValidationError(f"while decoding {type_name(outer)}", [exc], outer)
