"""The store that docs/writing-a-store.md teaches with: it passes the core of the contract and runs orchestrations."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.toy_store import ToyStore
from trioflow.testing import check_store
from trioflow.testing._store_contract import CORE, Feature
from trioflow.testing.store_contract_plugin import StoreContract

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-store.md"


class TestToyStore(StoreContract):
    """One item for each check of the core, as the page shows it."""

    core_only = True

    @pytest.fixture
    def store_factory(self) -> type[ToyStore]:
        return ToyStore


async def test_the_toy_is_no_whole_store() -> None:
    """The rest of the contract finds what the toy leaves out, and nothing else."""
    with pytest.raises(ExceptionGroup) as caught:
        await check_store(ToyStore)
    notes = [note for error in caught.value.exceptions for note in error.__notes__]
    assert [check.__name__ for check in CORE if any(f"{check.__name__}:" in note for note in notes)] == []


def test_the_page_names_what_may_be_left_out() -> None:
    """Each feature beyond the core is in the table of the page."""
    text = PAGE.read_text("utf-8")
    assert [feature for feature in Feature if f"| {feature} |" not in text] == []


def test_the_page_shows_the_toys_code() -> None:
    """What the page quotes of the toy is in the toy, but for docstrings and indentation."""
    toy = [line.strip() for line in (PAGE.parents[1] / "examples" / "toy_store.py").read_text("utf-8").splitlines()]
    blocks = PAGE.read_text("utf-8").split("```python\n")[1:3]
    quoted = [line.strip() for block in blocks for line in block.partition("```")[0].splitlines() if line.strip()]
    assert [line for line in quoted if line not in toy] == []
