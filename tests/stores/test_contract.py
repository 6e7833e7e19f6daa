"""Every store passes every check of the contract."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.stores.postgres_helpers import empty_store
from trioflow.abc import Store
from trioflow.stores import MemoryStore, SqliteStore
from trioflow.testing._check_store import StoreFactory, check_store, run_check
from trioflow.testing._store_contract import CHECKS, Check


@pytest.fixture(params=["memory", "sqlite file", "sqlite in memory", "postgres"])
def factory(request: pytest.FixtureRequest, tmp_path: Path) -> StoreFactory:
    """Something that makes fresh stores of one kind."""
    numbers = itertools.count()

    def make(clock) -> Store:
        if request.param == "memory":
            return MemoryStore(clock)
        if request.param == "postgres":
            return empty_store(clock)
        path = ":memory:" if request.param == "sqlite in memory" else tmp_path / f"{next(numbers)}.db"
        return SqliteStore(path, clock=clock, durability="fast")

    return make


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_store_keeps_the_contract(check: Check, factory: StoreFactory) -> None:
    """The store does what this check examines."""
    await run_check(check, factory)


def test_the_contract_is_large_and_documented() -> None:
    """There are at least eighty checks, each with a name of its own and one sentence that says what it examines."""
    assert len(CHECKS) >= 80
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)
    assert all(check.__doc__ and check.__doc__.strip().endswith(".") for check in CHECKS)


async def test_check_store_accepts_the_reference() -> None:
    """The public entry runs all checks and says nothing if all is well."""
    await check_store(lambda clock: MemoryStore(clock))
