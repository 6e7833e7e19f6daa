"""The list of all checks, by theme.

Law: a check is any function of a theme whose name begins with `check_`; only themes listed here are examined.

Who calls it: `_check_store.py`, tests of stores. Read next: `_subject.py`.
"""

from __future__ import annotations

from types import ModuleType

from trioflow.testing._store_contract import (
    _activity_locks,
    _cancelling,
    _children,
    _continuing,
    _fencing,
    _fused,
    _loads,
    _messages,
    _reading,
    _starting,
    _turn_commits,
    _turn_locks,
)
from trioflow.testing._store_contract._subject import Check


def _checks_of(theme: ModuleType) -> tuple[Check, ...]:
    return tuple(check for name, check in vars(theme).items() if name.startswith("check_"))


CHECKS: tuple[Check, ...] = tuple(
    check
    for theme in (
        _starting,
        _messages,
        _turn_locks,
        _turn_commits,
        _fencing,
        _activity_locks,
        _cancelling,
        _continuing,
        _children,
        _fused,
        _reading,
        _loads,
    )
    for check in _checks_of(theme)
)
"""Every check, in the order in which a reader meets them."""
