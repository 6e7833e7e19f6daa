"""The tables of docs/coming-from-duroxide.md are true: each row names the tests that show it, and they exist."""

from __future__ import annotations

import ast
import re

import attrs
import pytest

from tests.house.source import ROOT, parse
from trioflow import RuntimeOptions

PAGE = (ROOT / "docs" / "coming-from-duroxide.md").read_text("utf-8")
ROWS = tuple(
    line
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.endswith("| shown by |") and not line.startswith("|---")
)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
UNDECIDED = ("open", "to do", "missing", "not yet", "planned", "?")


def cells(row: str) -> list[str]:
    """The cells of a row."""
    return [cell.strip() for cell in row.strip("|").split(" |")]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_names_tests_that_exist(row: str) -> None:
    """The last cell of every row holds tests and nothing else, and each of them is in its file."""
    last = cells(row)[-1]
    named = TEST.findall(last)
    assert named, "no test is named"
    assert not TEST.sub("", last).replace(",", "").strip(), "there is something beside the tests"
    for file, name in named:
        path = ROOT / file
        assert path.is_file(), file
        functions = [
            node.name for node in ast.walk(parse(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        assert name in functions, f"{file} has no {name}"


@pytest.mark.parametrize("row", ROWS)
def test_no_row_is_undecided(row: str) -> None:
    """A row is there because the thing is there: no cell is empty but the one for differences, none says otherwise."""
    *says, _ = cells(row)
    assert all(says[:2]), "what it is called there or here is not said"
    assert not [cell for cell in says if cell.lower() in UNDECIDED]


def test_the_defaults_are_those_of_the_code() -> None:
    """What the table of options says of ours is what `RuntimeOptions` has."""
    table = PAGE.split("## Options of a runtime")[1].split("\n## ")[0]
    told = 0
    for row in table.splitlines():
        if not row.startswith("| ") or row.endswith("| shown by |"):
            continue
        _, _, names, defaults, _ = cells(row)
        fields = [name for name in re.findall(r"`(\w+)`", names) if name in attrs.fields_dict(RuntimeOptions)]
        for name, default in zip(fields, defaults.split(":")[0].split(", "), strict=bool(fields)):
            assert ast.literal_eval(default.strip("`")) == getattr(RuntimeOptions(), name), name
            told += 1
    assert told >= 15


def test_the_tables_are_whole() -> None:
    """Every table has its head, and no line of one was lost to a slip in its form."""
    assert len(ROWS) > 200
    width = 0
    for line in PAGE.splitlines():
        if line.startswith("|---"):
            width = line.count("|")
        elif line.startswith("| ") and not line.endswith("| shown by |"):
            assert line.count(" |") + 1 == width, line
    assert PAGE.count("| shown by |") == PAGE.count("\n|---")
