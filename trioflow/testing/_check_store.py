"""Examine any store by the whole contract.

Law: free of test frameworks; every check runs, on a store of its own, and all failures are reported together.

Who calls it: authors of stores, from whatever runs their tests. Read next: `_store_contract/_subject.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from trioflow.abc import Store
from trioflow.testing._store_contract import CHECKS, Check, Clock, Subject

StoreFactory = Callable[[Callable[[], float]], Store]
PATIENCE = 60.0  # seconds for one check


async def run_check(check: Check, factory: StoreFactory) -> None:
    """Run one check on a fresh store. One that is never told what it waits for fails after a while."""
    clock = Clock()
    with trio.fail_after(PATIENCE):
        async with factory(clock) as store:
            await check(Subject(store, clock))


async def check_store(factory: StoreFactory) -> None:
    """Run every check of the store contract.

    Args:
        factory: makes a fresh, empty, unopened store that takes its time from the callable it is given.

    Raises:
        ExceptionGroup: what was found, one exception for each check that failed, with a note that names the check.
    """
    found: list[Exception] = []
    for check in CHECKS:
        name = getattr(check, "__name__", repr(check))
        try:
            await run_check(check, factory)
        except Exception as exc:
            exc.add_note(f"found by {name}: {check.__doc__}")
            found.append(exc)
    if found:
        raise ExceptionGroup(f"the store breaks its contract: {len(found)} of {len(CHECKS)} checks failed", found)
