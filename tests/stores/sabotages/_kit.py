"""How a store is sabotaged: a rule or a table of the memory store with one mistake in it, or a verb with one.

Laws: a mistake is one that somebody could have made; it is there for one test only; a mistake whose text is no longer
in the code fails loudly, so the sabotages follow the rules that they break.

Who calls it: the sabotages beside this file, `test_contract_finds_faults.py`. Read next: `turns.py`.
"""

from __future__ import annotations
import __future__

import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from trioflow.abc import TagFilter
from trioflow.stores import MemoryStore, _memory_activities, _memory_tables
from trioflow.stores._memory_tables import MemoryTables
from trioflow.stores._rules import (
    _activities,
    _administration,
    _checks,
    _locks,
    _reads,
    _rows,
    _sessions,
    _starts,
    _turns,
    _work,
)
from trioflow.testing._store_contract import Examined

PLACES: dict[str, Any] = {
    "activities": _activities,
    "admin": _administration,
    "activity": _rows.ActivityRow,
    "checks": _checks,
    "held": _sessions.Held,
    "locks": _locks,
    "message": _rows.StoredMessage,
    "instance": _rows.InstanceRow,
    "reads": _reads,
    "rows": _rows,
    "sessions": _sessions,
    "starts": _starts,
    "store": MemoryStore,
    "items": _memory_activities.MemoryActivities,
    "items_module": _memory_activities,
    "tables": MemoryTables,
    "tables_module": _memory_tables,
    "turns": _turns,
    "work": _work.Work,
}


@attrs.frozen
class Sabotage:
    """A mistake, and the checks that have to find it."""

    name: str
    breaks: tuple[str, ...]
    apply: Callable[[pytest.MonkeyPatch, Path], Examined]  # the folder is for files


def mutated(function: Any, old: str, new: str) -> Any:
    """The same function, or property, with another piece of text in it."""
    if isinstance(function, property):
        function = function.fget
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{function.__qualname__} holds {old!r} {source.count(old)} times"
    source = source.replace(old, new)
    flags = __future__.annotations.compiler_flag
    code = compile(source, f"<{function.__qualname__}, sabotaged>", "exec", flags=flags)
    scope: dict[str, Any] = {}
    exec(code, {"attrs": attrs, "re": re, "TagFilter": TagFilter, **function.__globals__}, scope)
    (broken,) = scope.values()
    return broken


def mistake(name: str, where: str, old: str, new: str, *breaks: str) -> Sabotage:
    """A rule or a table in which one piece of text is another."""
    place_name, _, function_name = where.partition(".")

    def apply(patch: pytest.MonkeyPatch, folder: Path) -> Examined:
        place = PLACES[place_name]
        function = getattr(place, function_name)
        broken = mutated(function, old, new)
        if inspect.isclass(place):
            patch.setattr(place, function_name, broken)
        else:
            # Whoever imported it by name has to get the broken one, too.
            for module in list(sys.modules.values()):
                ours = getattr(module, "__name__", "").startswith("trioflow.stores")
                if ours and getattr(module, function_name, None) is function:
                    patch.setattr(module, function_name, broken)
        return Examined(factory=MemoryStore)

    return Sabotage(name, breaks, apply)


class Sabotaged:
    """A memory store in disguise; subclasses break a verb."""

    breaks: tuple[str, ...] = ()

    def __init__(self, clock: Any) -> None:
        self.inner = MemoryStore(clock)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def __aenter__(self) -> Any:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.inner.__aexit__(*exc)


def disguised(cls: type[Any]) -> Sabotage:
    """A store of a class that breaks a verb."""
    return Sabotage(cls.__name__, cls.breaks, lambda *_: Examined(factory=cls))
