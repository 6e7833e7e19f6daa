"""What went wrong, as data: a failure survives the process that met it.

Laws: a failure is complete in itself (type, message, chain, group members); it never holds an exception object; what
it becomes again in code is decided by the reader, who knows which classes are registered.
Read next: `_events.py`.
"""

from __future__ import annotations

import enum
from typing import Any, Final

import attrs

SHOWN: Final = 3
"""Members of a group that its text shows."""


class Category(enum.StrEnum):
    """Who has to act on a failure."""

    APPLICATION = "application"  # the user's code raised it
    CONFIGURATION = "configuration"  # a name, version or type that does not fit: deploy something
    INFRASTRUCTURE = "infrastructure"  # a store, a limit, a timeout
    POISON = "poison"  # started many times, never ended


@attrs.frozen(kw_only=True)
class Failure:
    """An exception, recorded."""

    type: str  # qualified name: "builtins.ValueError"; or the name it was registered under
    message: str  # str(exception), cut to a limit
    category: Category = Category.APPLICATION
    retryable: bool = True  # whether another attempt may help
    attempts: int = 1  # how many attempts were made
    details: bytes | None = None  # a registered exception's state, as a payload; None if it cannot be rebuilt
    traceback: str | None = None  # as text; kept only where an option says so
    members: tuple[Failure, ...] = ()  # of an exception group, in order
    cause: Failure | None = None  # __cause__, or __context__ if not suppressed
    extra: dict[str, Any] = attrs.field(factory=dict, repr=False)  # what newer releases say

    def __str__(self) -> str:
        """Type and message; of a group, those of its first members, too."""
        text = f"{self.type}: {self.message}"
        if not self.members:
            return text
        shown = [str(member) for member in self.members[:SHOWN]]
        if len(self.members) > SHOWN:
            shown.append(f"{len(self.members) - SHOWN} more")
        return f"{text} ({'; '.join(shown)})"
