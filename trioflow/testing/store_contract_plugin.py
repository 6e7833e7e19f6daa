"""The store contract as pytest items: one test for each check.

Laws: the only module here that imports pytest, and nothing imports it; each check runs in a trio run of its own, so it
makes no difference whether pytest-trio is installed.

Who calls it: authors of stores:

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store_factory(self):
            return MyStore

Read next: `_check_store.py`.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
import trio

from trioflow.testing._check_store import run_check
from trioflow.testing._store_contract import Check, Examined, StoreFactory, Twins, chosen

__all__ = ("StoreContract",)


class StoreContract:
    """Derive a test class from it, and give it, or the module it is in, a fixture `store_factory`.

    The fixture is a plain one and returns what `check_store` takes: something that makes a fresh, empty, unopened store
    which takes its time from the callable it is given. The fixtures `store_twins` and `store_processes` may be
    overridden likewise; checks that need them are skipped where they are not.

    Attributes:
        core_only: short for `parts = ("core",)`: what every store needs that runs orchestrations in one process.
        parts: names of parts, as docs/writing-a-store.md explains them; None is all of them.
    """

    core_only: ClassVar[bool] = False
    parts: ClassVar[tuple[str, ...] | None] = None

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one item of each check."""
        if "check" in metafunc.fixturenames:
            checks = chosen(self.parts, core_only=self.core_only)
            metafunc.parametrize("check", checks, ids=[check.__name__.removeprefix("check_") for check in checks])

    @pytest.fixture
    def store_twins(self) -> Twins | None:
        """What makes other stores on the data of a store; None: there are none."""
        return None

    @pytest.fixture
    def store_processes(self) -> bool:
        """Whether what `store_twins` gives can be pickled and works in other processes."""
        return False

    def test_contract(
        self, check: Check, store_factory: StoreFactory, store_twins: Twins | None, store_processes: bool
    ) -> None:
        """The store keeps the promise that this check examines."""
        examined = Examined(factory=store_factory, twins=store_twins, processes=store_processes)
        missing = examined.lacks(check)
        if missing is not None:
            pytest.skip(f"the store offers no {missing.offers}")
        trio.run(run_check, check, examined)
