"""What spans and metrics say of a failure: its class, who has to act, and its message only if that is wanted.

Laws: a group that holds one exception is that exception; messages may hold what a program computed with, so they are
told only where an option says so; a category that this release does not know is "other".

Who calls it: `_executions.py`, `_parts.py`, `_attempts.py`, `_metrics.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from trioflow.history import Category, Failure
from trioflow.telemetry._attributes import CATEGORY, ERROR, MEMBERS, Value

SHOWN: Final = 10
"""Classes in a group that are told."""

CATEGORIES: Final = tuple(Category)


@attrs.frozen
class Fault:
    """What went wrong."""

    type: str
    message: str | None = None
    category: str | None = None
    members: tuple[str, ...] = ()

    @classmethod
    def named(cls, name: str | None) -> Fault | None:
        """Of which only the class is known; None if nothing went wrong."""
        return None if name is None else cls(class_name(name))

    @classmethod
    def of(cls, failure: Failure) -> Fault:
        """Of which everything is known."""
        category = failure.category
        while len(failure.members) == 1:
            failure = failure.members[0]
        classes = dict.fromkeys(class_name(leaf.type) for leaf in _leaves(failure)) if failure.members else {}
        return cls(class_name(failure.type), failure.message, category, tuple(classes)[:SHOWN])

    def text(self, *, messages: bool) -> str:
        """What a span's status says."""
        return f"{self.type}: {self.message}" if messages and self.message else self.type

    @property
    def attributes(self) -> dict[str, Value]:
        """What a span's attributes say."""
        told: dict[str, Value] = {ERROR: self.type}
        if self.category is not None:
            told[CATEGORY] = bounded(self.category)
        if self.members:
            told[MEMBERS] = self.members
        return told


def class_name(qualified: str) -> str:
    """A class as OpenTelemetry names it: those that are built in without their module."""
    return qualified.removeprefix("builtins.")


def bounded(category: str) -> str:
    """A category, out of a closed list."""
    return str(category) if category in CATEGORIES else "other"


def _leaves(failure: Failure) -> Iterator[Failure]:
    """Those of a group that are no groups, in order."""
    stack = [failure]
    while stack:
        one = stack.pop()
        if one.members:
            stack += reversed(one.members)
        else:
            yield one
