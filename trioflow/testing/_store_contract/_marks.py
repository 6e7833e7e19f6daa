"""What is said about a check beside its code: whether the smallest stores need it, and what it cannot do without.

Laws: a mark is an attribute of the function, so reading a theme tells all about its checks; a check without a mark
belongs to the whole contract and needs nothing but a store.

Who calls it: the checks beside this file, `_registry.py`, and whoever runs checks. Read next: `_starting.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from trioflow.abc import Store
from trioflow.testing._store_contract._subject import Check, StoreFactory

Further = Callable[[Store], StoreFactory]
"""For a store, something that makes other handles on the same data."""

HANDLES = "other handles on the same data"
PROCESSES = "other handles in other processes"


@attrs.frozen(kw_only=True)
class Examined:
    """A store as its author offers it.

    `further`: for one store of `factory`, what makes other handles on its data; they are also used in trio runs of
    other threads. `processes`: what `further` gives can be pickled, and works in other processes.
    """

    factory: StoreFactory
    further: Further | None = None
    processes: bool = False

    def lacks(self, check: Check) -> str | None:
        """What a check needs and this store does not offer; None: nothing."""
        need = need_of(check)
        if need is not None and self.further is None:
            return HANDLES
        return PROCESSES if need == PROCESSES and not self.processes else None


def need_of(check: Check) -> str | None:
    """What a check needs beyond a store: `HANDLES`, `PROCESSES`, or nothing."""
    need: str | None = vars(check).get("needs")
    return need


def core(check: Check) -> Check:
    """Every store has to pass it that runs orchestrations unfused, in one process."""
    vars(check)["core"] = True
    return check


def is_core(check: Check) -> bool:
    """Whether the smallest stores have to pass it."""
    return "core" in vars(check)


def needs_handles(check: Check) -> Check:
    """It is left out where a store offers no other handles."""
    vars(check)["needs"] = HANDLES
    return check


def needs_processes(check: Check) -> Check:
    """It is left out where a store offers no handles in other processes."""
    vars(check)["needs"] = PROCESSES
    return check
