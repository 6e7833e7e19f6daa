"""The parts of the contract, and which part a check belongs to: said beside its code.

Laws: each check belongs to exactly one part: its own mark, or else the `PART` of its theme, or else the core; so
reading a theme tells all about its checks. Parts stand in the order in which a store is written, and a check needs
nothing but its own part and those before.

Another part is one line here, a section in `docs/writing-a-store.md`, and checks that belong to it. Who calls it: the
checks beside this file, `_registry.py`, and whoever runs checks. Read next: `_starting.py`.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from typing import Self

import attrs

from trioflow.abc import Store
from trioflow.testing._store_contract._subject import Check, StoreFactory


class Part(enum.StrEnum):
    """What a store may offer, step by step. A part is known by its name; `offers` says what it is."""

    CORE = "core", "what a chain of activities with events and timers needs, in one process"
    RELEASES = "releases", "leases that are given back before their time"
    DELAYS = "delays", "starts that are delayed"
    DETAILS = "details", "records that tell what kinds of messages wait"
    HEARTBEATS = "heartbeats", "heartbeats handed on to the next attempt"
    CANCELLING = "cancelling", "activities that are cancelled"
    CHILDREN = "children", "turns that start other instances and write to them"
    EXECUTIONS = "executions", "continue-as-new: executions that follow each other under one id"
    REPLACING = "replacing", "instances that are attached to or replaced"
    MAILBOXES = "mailboxes", "mailboxes that may be full"
    REFUSALS = "refusals", "refusals of what nobody could keep or carry out"
    FAIRNESS = "fairness", "lines in which nobody is starved, and hints that wake nobody else"
    CAPABILITIES = "capabilities", "workers told apart by what they can run"
    TAGS = "tags", "workers told apart by tags"
    EXPIRY = "expiry", "items that somebody has to begin in time"
    SESSIONS = "sessions", "sessions, which keep items together"
    MANAGEMENT = "management", "instances listed, deleted, pruned, counted"
    FUSED = "fused", "turns that settle, keep the lock, or bear leased items; starts that take the first turn"
    REPEATS = "repeats", "writes that are known when they are repeated"
    TWINS = "twins", "twins: other stores on the same data"
    PROCESSES = "processes", "twins in other processes"

    offers: str

    def __new__(cls, name: str, offers: str) -> Self:
        part = str.__new__(cls, name)
        part._value_, part.offers = name, offers
        return part


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

    def lacks(self, check: Check) -> Part | None:
        """The part that a check needs and whose means were not given; None: it can run."""
        part = part_of(check)
        if part in (Part.TWINS, Part.PROCESSES) and self.twins is None:
            return Part.TWINS
        return part if part is Part.PROCESSES and not self.processes else None


def belongs_to(part: Part) -> Callable[[Check], Check]:
    """Mark a check as one of a part other than its theme's."""

    def mark(check: Check) -> Check:
        vars(check)["part"] = part
        return check

    return mark


def part_of(check: Check) -> Part:
    """The part that a check belongs to."""
    theme = vars(sys.modules[check.__module__])
    part: Part = vars(check).get("part") or theme.get("PART", Part.CORE)
    return part
