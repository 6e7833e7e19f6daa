"""The examples run: each program in examples/ ends with exit code 0 and prints the lines its docstring ends with.

The docstring of an example ends with a block that starts with the line ``Prints:``; ``...`` in it stands for any text.
What an example imports is in the test dependencies: a missing one fails here.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.house.source import ROOT, parse, python_files, relative

EXAMPLES = tuple(path for path in python_files("examples") if not path.name.startswith("_"))


def _docstring(path: Path) -> str:
    """What an example says about itself."""
    return ast.get_docstring(parse(path)) or ""


def _expected(docstring: str) -> list[str]:
    """The lines after ``Prints:``."""
    _, found, block = docstring.partition("\nPrints:\n")
    assert found, "the docstring of an example ends with a block `Prints:`"
    return textwrap.dedent(block.strip("\n")).rstrip().splitlines()


def _fits(pattern: str, line: str) -> bool:
    """Whether a printed line is the expected one, where ``...`` stands for any text."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("..."))), line) is not None


@pytest.mark.parametrize("path", EXAMPLES, ids=relative)
def test_an_example_prints_what_it_says(path: Path, tmp_path: Path) -> None:
    """An example runs without a warning to the lines of its docstring, and again in the directory it left."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRIOFLOW_")}
    for _ in range(2):
        _run(path, tmp_path, environment)


def _run(path: Path, folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed, expected = done.stdout.splitlines(), _expected(_docstring(path))
    assert len(printed) == len(expected), printed
    assert all(map(_fits, expected, printed)), printed


def test_hello_world_is_there_as_soon_as_anybody_is_told_to_run_it() -> None:
    """Every example that the README or a page of the docs names exists."""
    pages = (*ROOT.glob("*.md"), *(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts))
    named = [name for page in pages for name in re.findall(r"\bexamples/\w+\.py\b", page.read_text("utf-8"))]
    assert [name for name in dict.fromkeys(named) if not (ROOT / name).is_file()] == []
