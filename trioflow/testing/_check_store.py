"""Examine any store by the whole contract.

Law: free of test frameworks; every check runs, on a store of its own, and all failures are reported together.

Who calls it: authors of stores, from whatever runs their tests; `store_contract_plugin.py`, for pytest. Read next:
`_store_contract/_subject.py`.
"""

from __future__ import annotations

import trio

from trioflow.testing._store_contract import CHECKS, CORE, Check, Clock, Examined, StoreFactory, Subject, Twins

PATIENCE = 60.0  # seconds for one check


async def run_check(check: Check, examined: Examined) -> None:
    """Run one check on a fresh store. One that is never told what it waits for fails after a while."""
    clock = Clock()
    with trio.fail_after(PATIENCE):
        async with examined.factory(clock) as store:
            make_twin = None if examined.twins is None else examined.twins(store)
            await check(Subject(store, clock, make_twin))


async def check_store(
    factory: StoreFactory, *, twins: Twins | None = None, processes: bool = False, core_only: bool = False
) -> tuple[str, ...]:
    """Run every check of the store contract, or of its core.

    Args:
        factory: makes a fresh, empty, unopened store that takes its time, in seconds, from the callable it is given.
        twins: takes such a store, which is open, and gives a factory of other stores on the same data. They are also
            used in other threads, each in a trio run of its own.
        processes: whether what `twins` gives can be pickled and works in other processes.
        core_only: leave out what a store may do without that only runs orchestrations unfused, in one process.

    Returns:
        The names of the checks that were left out because `twins` or `processes` was not given.

    Raises:
        ExceptionGroup: what was found, one exception for each check that failed, with a note that names the check.
    """
    examined = Examined(factory=factory, twins=twins, processes=processes)
    checks = CORE if core_only else CHECKS
    left_out = tuple(check.__name__ for check in checks if examined.lacks(check) is not None)
    found: list[Exception] = []
    for check in checks:
        if check.__name__ in left_out:
            continue
        try:
            await run_check(check, examined)
        except Exception as exc:
            exc.add_note(f"found by {check.__name__}: {check.__doc__}")
            found.append(exc)
    if found:
        examined_number = len(checks) - len(left_out)
        raise ExceptionGroup(f"the store breaks its contract: {len(found)} of {examined_number} checks failed", found)
    return left_out
