"""The store contract as pytest items: what an author of a store writes, and what pytest makes of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trioflow.testing._store_contract import CHECKS, chosen

pytest_plugins = ["pytester"]

STORES = """
import pytest
from trioflow.stores import MemoryStore
from trioflow.testing.store_contract_plugin import StoreContract

class TestWhole(StoreContract):
    @pytest.fixture
    def store_factory(self):
        return MemoryStore

class Forgetful:
    def __init__(self, clock):
        self.inner = MemoryStore(clock)

    def __getattr__(self, name):
        return getattr(self.inner, name)

    async def __aenter__(self):
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc):
        await self.inner.__aexit__(*exc)

    async def post_message(self, request):
        pass

class TestCore(StoreContract):
    core_only = True

    @pytest.fixture
    def store_factory(self):
        return Forgetful

class TestParts(StoreContract):
    parts = ("children", "fused")

    @pytest.fixture
    def store_factory(self):
        return MemoryStore

class TestTwins(StoreContract):
    @pytest.fixture
    def store_factory(self):
        return MemoryStore

    @pytest.fixture
    def store_twins(self):
        return lambda store: lambda clock: store
"""


def test_each_check_is_an_item(pytester: pytest.Pytester) -> None:
    """A class of a user's becomes one item for each check, or for each of the core, or of the parts that it names."""
    pytester.makepyfile(test_stores=STORES)
    lines = pytester.runpytest_inprocess("--collect-only", "-q").outlines
    for name, checks in (
        ("TestWhole", CHECKS),
        ("TestCore", chosen(["core"])),
        ("TestParts", chosen(["children", "fused"])),
    ):
        found = [line for line in lines if line.startswith(f"test_stores.py::{name}::")]
        wanted = [f"test_stores.py::{name}::test_contract[{check.__name__.removeprefix('check_')}]" for check in checks]
        assert found == wanted


@pytest.mark.parametrize("options", [(), ("-p", "no:trio")], ids=["with pytest-trio", "without"])
def test_an_item_passes_or_fails(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    """Items of a good store pass; those of a bad one fail with what was promised; both with pytest-trio and without."""
    pytester.makepyfile(test_stores=STORES)
    only = ("-k", "a_message_makes_eligible or start_creates_execution_one")
    result = pytester.runpytest_inprocess("-v", *options, *only)
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*TestCore::test_contract?a_message_makes_eligible? FAILED*",
            "*ContractBroken: what is eligible*",
            "*found by check_a_message_makes_eligible, of the part core:*",
        ]
    )


def test_what_a_store_does_not_offer_is_skipped(pytester: pytest.Pytester) -> None:
    """Checks that need twins, or processes, are skipped where there are none, and say so."""
    pytester.makepyfile(test_stores=STORES)
    only = ("-k", "twins_see_the_same or processes_create_once")
    result = pytester.runpytest_inprocess("-rs", *only)
    result.assert_outcomes(passed=1, skipped=3)
    result.stdout.fnmatch_lines_random(["*no twins: other stores on the same data", "*no twins in other processes"])


def test_the_package_needs_no_pytest() -> None:
    """Who only uses `check_store` needs no test framework."""
    program = "import sys, trioflow.testing; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
