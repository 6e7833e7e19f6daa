"""The store contract: small async checks that any store has to pass, free of any test framework.

Each check gets a `Subject`, a fresh and empty store with a clock that only passes when told to. `CHECKS` lists them
all, by theme. Read first: `_subject.py`.
"""

from trioflow.testing._store_contract._registry import CHECKS as CHECKS
from trioflow.testing._store_contract._subject import (
    Check as Check,
    Clock as Clock,
    ContractBroken as ContractBroken,
    Subject as Subject,
)

__all__ = ("CHECKS", "Check", "Clock", "ContractBroken", "Subject")
