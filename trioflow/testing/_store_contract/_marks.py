"""What a check needs of a store beyond the core: said beside its code.

Laws: a mark is an attribute of the function, so reading a theme tells all about its checks; a check without a mark
belongs to the core, which every store has to pass that runs orchestrations unfused, in one process.

Who calls it: the checks beside this file, `_registry.py`, and whoever runs checks. Read next: `_starting.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from trioflow.abc import Store
from trioflow.testing._store_contract._subject import Check, StoreFactory


class Feature(enum.StrEnum):
    """What the smallest stores may do without."""

    REPEATS = "writes that are known when they are repeated"
    REPLACING = "instances that are attached to or replaced"
    MAILBOXES = "mailboxes that may be full"
    LIMITS = "refusals of what nobody could keep"
    FAIRNESS = "lines in which nobody is starved"
    CAPABILITIES = "workers told apart by what they can run"
    TAGS = "workers told apart by tags"
    HEARTBEATS = "heartbeats handed on"
    EXPIRY = "items that somebody has to begin in time"
    SESSIONS = "sessions, which keep items together"
    MANAGEMENT = "instances listed, deleted, pruned, counted"
    FUSED = "turns that settle, keep the lock, or bear leased items"
    TWINS = "twins: other stores on the same data"
    PROCESSES = "twins in other processes"


Twins = Callable[[Store], StoreFactory]
"""For a store, something that makes other stores on the same data: its twins."""


@attrs.frozen(kw_only=True)
class Examined:
    """A store as its author offers it.

    `twins`: for one store of `factory`, what makes its twins: other stores on the same data; they are also used in
    trio runs of other threads. `processes`: what `twins` gives can be pickled, and works in other processes.
    """

    factory: StoreFactory
    twins: Twins | None = None
    processes: bool = False

    def lacks(self, check: Check) -> Feature | None:
        """What a check needs and this store does not offer; None: nothing."""
        need = need_of(check)
        if need in (Feature.TWINS, Feature.PROCESSES) and self.twins is None:
            return Feature.TWINS
        return need if need is Feature.PROCESSES and not self.processes else None


def needs(feature: Feature) -> Callable[[Check], Check]:
    """Mark a check as one for stores with this feature."""

    def mark(check: Check) -> Check:
        vars(check)["needs"] = feature
        return check

    return mark


def need_of(check: Check) -> Feature | None:
    """What a check needs beyond the core."""
    need: Feature | None = vars(check).get("needs")
    return need
