"""Dictionaries whose changes can be taken back: what the memory store has in place of transactions.

Laws: a value in a dictionary is never changed, only replaced; every write notes how to take it back; `commit` forgets
the notes, `rollback` follows them backwards.

Who calls it: `_memory_activities.py`, `_memory_tables.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import attrs

K = TypeVar("K")
V = TypeVar("V")
MISSING: Any = object()


def restore(where: dict[K, V], key: K, old: V) -> None:
    """Put back what was there."""
    if old is MISSING:
        del where[key]
    else:
        where[key] = old


@attrs.define(eq=False)
class Undoable:
    """Writes that can be taken back until they are committed."""

    _undo: list[Callable[[], None]] = attrs.field(factory=list, init=False)

    # -- transactions

    def commit(self) -> None:
        """What was written stays."""
        self._undo.clear()

    def rollback(self) -> None:
        """What was written since the last commit is taken back."""
        while self._undo:
            self._undo.pop()()

    def _put(self, where: dict[K, V], key: K, value: V) -> None:
        self._undo.append(partial(restore, where, key, where.get(key, MISSING)))
        where[key] = value

    def _drop(self, where: dict[K, V], key: K) -> bool:
        old = where.pop(key, MISSING)
        if old is MISSING:
            return False
        self._undo.append(partial(restore, where, key, old))
        return True
