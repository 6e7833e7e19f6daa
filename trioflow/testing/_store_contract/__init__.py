"""The store contract: small async checks that any store has to pass, free of any test framework.

Each check gets a `Subject`, a fresh and empty store with a clock that only passes when told to. `CHECKS` lists them
all, by theme; `Part` names the parts that they belong to. Read first: `_subject.py`.
"""

from trioflow.testing._store_contract._marks import (
    Examined as Examined,
    Part as Part,
    Twins as Twins,
    part_of as part_of,
)
from trioflow.testing._store_contract._registry import CHECKS as CHECKS, chosen as chosen
from trioflow.testing._store_contract._subject import (
    Check as Check,
    Clock as Clock,
    ContractBroken as ContractBroken,
    StoreFactory as StoreFactory,
    Subject as Subject,
)

__all__ = (
    "CHECKS",
    "Check",
    "Clock",
    "ContractBroken",
    "Examined",
    "Part",
    "StoreFactory",
    "Subject",
    "Twins",
    "chosen",
    "part_of",
)
