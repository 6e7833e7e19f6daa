"""The store that docs/writing-a-store.md teaches with: a hundred lines that pass the core and run orchestrations."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples import toy_store
from examples.toy_store import ToyStore
from trioflow.testing import check_store
from trioflow.testing._store_contract import Part, chosen
from trioflow.testing.store_contract_plugin import StoreContract

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-store.md"
TOY = Path(toy_store.__file__)
MOST_LINES = 110


class TestToyStore(StoreContract):
    """One item for each check of the core, as the page shows it."""

    parts = ("core",)

    @pytest.fixture
    def store_factory(self) -> type[ToyStore]:
        return ToyStore


def lines_of(source: str) -> Iterator[int]:
    """The lines that count: of the store, which ends where the application begins, all but those that are blank, and
    those of imports and docstrings. A comment counts, and so does a bracket that stands alone.
    """
    tree = ast.parse(source)
    spared: list[ast.AST] = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node) is not None:
            spared.append(node.body[0])
    numbers = {line for node in spared for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    for number, line in enumerate(source.splitlines(), start=1):
        if line.startswith("app = "):
            return
        if line.strip() and number not in numbers:
            yield number


def test_the_toy_is_small() -> None:
    """The store has about a hundred lines, as the formatter lays them out, and does without telling it off."""
    source = TOY.read_text("utf-8")
    assert "fmt:" not in source
    assert "app = " in source
    assert len(list(lines_of(source))) <= MOST_LINES


def test_lines_are_counted_honestly() -> None:
    """Blank lines, imports and docstrings do not count, and everything else up to the application does."""
    source = '"""Doc."""\nimport a\n\n# why\nclass B:\n    """Doc\n\n    string."""\n\n    c = d(\n    )\n\n\napp = 1\n'
    assert list(lines_of(source)) == [4, 5, 10, 11]


def rows_of_the_page() -> dict[str, tuple[str, str]]:
    """By the name of a part: what it offers, and whether the toy passes it, as the table of the page has it."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {name: (offers, passes) for name, offers, passes in rows if name in list(Part)}


async def toy_passes(part: Part, autojump_clock: Any) -> str:
    """What the table has to say of the toy and a part."""
    if part in (Part.TWINS, Part.PROCESSES):
        return "no"
    try:
        left_out = await check_store(ToyStore, parts=[part])
    except ExceptionGroup:
        return "no"
    assert left_out == ()
    return "yes"


@pytest.mark.parametrize("part", list(Part))
async def test_the_page_tells_what_the_toy_passes(part: Part, autojump_clock: Any) -> None:
    """The table of the page has a row for each part, in its words, and says truly whether the toy passes it."""
    assert rows_of_the_page().get(part) == (part.offers, await toy_passes(part, autojump_clock))


def test_the_page_explains_each_part() -> None:
    """Each part but the core has a section in the page, in the order of the parts, and no other has one."""
    sections = re.findall(r"^### `(\w+)`", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sections == [part.value for part in Part if part is not Part.CORE]
    assert list(rows_of_the_page()) == [part.value for part in Part]


def test_the_page_shows_the_toys_code() -> None:
    """What the page quotes of the toy is in the toy, but for docstrings and indentation."""
    toy = [line.strip() for line in TOY.read_text("utf-8").splitlines()]
    blocks = [
        block.partition("```")[0] for block in PAGE.read_text("utf-8").split("```python\n# examples/toy_store.py\n")[1:]
    ]
    quoted = [line.strip() for block in blocks for line in block.splitlines() if line.strip()]
    assert len(blocks) >= 5
    assert [line for line in quoted if line not in toy] == []


def test_the_core_is_no_small_thing() -> None:
    """The toy passes more than a hundred checks."""
    assert len(chosen([Part.CORE])) > 100
