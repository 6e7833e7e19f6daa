"""The store contract: small async checks that any store has to pass, free of any test framework.

Each check gets a `Subject`, a fresh and empty store with a clock that only passes when told to. `CHECKS` lists them
all, by theme; `CORE` those that every store needs. Read first: `_subject.py`.
"""

from trioflow.testing._store_contract._marks import (
    Examined as Examined,
    Feature as Feature,
    Twins as Twins,
    need_of as need_of,
)
from trioflow.testing._store_contract._registry import CHECKS as CHECKS, CORE as CORE
from trioflow.testing._store_contract._subject import (
    Check as Check,
    Clock as Clock,
    ContractBroken as ContractBroken,
    StoreFactory as StoreFactory,
    Subject as Subject,
)

__all__ = (
    "CHECKS",
    "CORE",
    "Check",
    "Clock",
    "ContractBroken",
    "Examined",
    "Feature",
    "StoreFactory",
    "Subject",
    "Twins",
    "need_of",
)
