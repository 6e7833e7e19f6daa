"""Examine any store by the whole contract.

Law: free of test frameworks; every check runs, on a store of its own, and all failures are reported together.

Who calls it: authors of stores, from whatever runs their tests; `store_contract_plugin.py`, for pytest. Read next:
`_store_contract/_subject.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from trioflow.testing._store_contract import (
    Check,
    Clock,
    Examined,
    Part,
    StoreFactory,
    Subject,
    Twins,
    chosen,
    part_of,
)

PATIENCE = 60.0  # seconds for one check


async def run_check(check: Check, examined: Examined) -> None:
    """Run one check on a fresh store. One that is never told what it waits for fails after a while.

    What it finds has a note that names the check and its part.
    """
    clock = Clock()
    try:
        with trio.fail_after(PATIENCE):
            async with examined.factory(clock) as store:
                make_twin = None if examined.twins is None else examined.twins(store)
                await check(Subject(store, clock, make_twin))
    except Exception as exc:
        exc.add_note(f"found by {check.__name__}, of the part {part_of(check)}: {check.__doc__}")
        raise


async def check_store(
    factory: StoreFactory,
    *,
    twins: Twins | None = None,
    processes: bool = False,
    core_only: bool = False,
    parts: Iterable[str] | None = None,
) -> tuple[str, ...]:
    """Run every check of the store contract, or of some of its parts.

    Args:
        factory: makes a fresh, empty, unopened store that takes its time, in seconds, from the callable it is given.
        twins: takes such a store, which is open, and gives a factory of other stores on the same data. They are also
            used in other threads, each in a trio run of its own.
        processes: whether what `twins` gives can be pickled and works in other processes.
        core_only: short for `parts=("core",)`: what every store needs that runs orchestrations in one process.
        parts: names of parts, as docs/writing-a-store.md explains them; None is all of them.

    Returns:
        The names of the checks that were left out because `twins` or `processes` was not given.

    Raises:
        ExceptionGroup: what was found, one exception for each check that failed, with a note that names the check
            and its part.
        ValueError: a part has another name, or was asked for beside `core_only`.
    """
    examined = Examined(factory=factory, twins=twins, processes=processes)
    checks = chosen(parts, core_only=core_only)
    left_out = tuple(check.__name__ for check in checks if examined.lacks(check) is not None)
    found: list[Exception] = []
    broken: dict[Part, int] = {}
    for check in checks:
        if check.__name__ in left_out:
            continue
        try:
            await run_check(check, examined)
        except Exception as exc:
            found.append(exc)
            broken[part_of(check)] = broken.get(part_of(check), 0) + 1
    if found:
        summary = f"{len(found)} of {len(checks) - len(left_out)} checks failed"
        where = ", ".join(f"{part} {broken[part]}" for part in Part if part in broken)
        raise ExceptionGroup(f"the store breaks its contract: {summary} ({where})", found)
    return left_out
