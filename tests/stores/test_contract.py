"""Every store passes every check of the contract."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path

import pytest

from tests.stores import postgres_helpers, sqlite_helpers
from trioflow.stores import MemoryStore
from trioflow.testing._check_store import run_check
from trioflow.testing._store_contract import CHECKS, Check, Examined, Part, part_of


@pytest.fixture(params=["memory", "sqlite file", "sqlite in memory", "postgres"])
def examined(request: pytest.FixtureRequest, tmp_path: Path) -> Examined:
    """Something that makes fresh stores of one kind."""
    if request.param == "memory":
        return Examined(factory=MemoryStore)
    if request.param == "sqlite in memory":
        return Examined(factory=functools.partial(sqlite_helpers.open_fast, ":memory:"))
    if request.param == "postgres":
        return Examined(factory=postgres_helpers.empty_store, twins=postgres_helpers.other_store, processes=True)
    numbers = itertools.count()

    return Examined(
        factory=lambda clock: sqlite_helpers.open_fast(tmp_path / f"{next(numbers)}.db", clock),
        twins=sqlite_helpers.twins,
        processes=True,
    )


@pytest.mark.parametrize(
    "check",
    [pytest.param(check, marks=pytest.mark.slow) if part_of(check) is Part.PROCESSES else check for check in CHECKS],
    ids=lambda check: check.__name__,
)
async def test_the_store_keeps_the_contract(check: Check, examined: Examined) -> None:
    """The store does what this check examines."""
    missing = examined.lacks(check)
    if missing is not None:
        pytest.skip(f"the store offers no {missing.offers}")
    await run_check(check, examined)


def test_the_contract_is_large_and_documented() -> None:
    """There are at least three hundred checks, each with a name of its own and one sentence that says what it
    examines.
    """
    assert len(CHECKS) >= 300
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)
    assert all(check.__doc__ and check.__doc__.strip().endswith(".") for check in CHECKS)
