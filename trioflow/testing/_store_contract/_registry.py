"""The list of all checks, by theme, and the choice of some by part.

Law: a check is any function of a theme whose name begins with `check_`; only themes listed here are examined.

Who calls it: `_check_store.py`, `store_contract_plugin.py`, tests of stores. Read next: `_subject.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from trioflow.testing._store_contract import (
    _activity_locks,
    _attempts,
    _born,
    _cancelling,
    _capabilities,
    _children,
    _contents,
    _continuing,
    _counting,
    _deleting,
    _expiring,
    _fencing,
    _fused,
    _held,
    _hints,
    _incarnations,
    _lines,
    _listing,
    _loads,
    _messages,
    _races,
    _reading,
    _repeats,
    _session_claims,
    _session_leases,
    _starting,
    _turn_commits,
    _turn_locks,
    _twins,
)
from trioflow.testing._store_contract._marks import Part, part_of
from trioflow.testing._store_contract._subject import Check


def _checks_of(theme: ModuleType) -> tuple[Check, ...]:
    return tuple(check for name, check in vars(theme).items() if name.startswith("check_"))


CHECKS: tuple[Check, ...] = tuple(
    check
    for theme in (
        _starting,
        _messages,
        _contents,
        _turn_locks,
        _capabilities,
        _lines,
        _held,
        _turn_commits,
        _fencing,
        _repeats,
        _incarnations,
        _activity_locks,
        _attempts,
        _cancelling,
        _expiring,
        _session_claims,
        _session_leases,
        _listing,
        _deleting,
        _counting,
        _continuing,
        _children,
        _born,
        _fused,
        _reading,
        _loads,
        _hints,
        _races,
        _twins,
    )
    for check in _checks_of(theme)
)
"""Every check, in the order in which a reader meets them."""


def chosen(parts: Iterable[str] | None, *, core_only: bool = False) -> tuple[Check, ...]:
    """The checks of these parts, or of the core, or all of them.

    Raises:
        ValueError: a part has another name, or both were asked for.
    """
    if parts is None:
        return tuple(check for check in CHECKS if not core_only or part_of(check) is Part.CORE)
    names = tuple(parts)
    known = [part.value for part in Part]
    if core_only or any(name not in known for name in names):
        asked = f"parts={names!r}" + ", core_only=True" * core_only
        raise ValueError(f"{asked}: give parts by name, or core_only, not both. The parts are {', '.join(known)}.")
    return tuple(check for check in CHECKS if part_of(check) in names)
