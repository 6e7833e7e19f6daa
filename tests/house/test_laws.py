"""The manners: every file opens with what it is, every test says what it proves, nothing in the tree is unfinished."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.source import ROOT, parse, python_files, relative

CODE = python_files("trioflow", "examples", "noxfile.py", "docs/conf.py")
TESTS = python_files("tests")
PROSE = tuple(
    sorted((*ROOT.glob("*.md"), *(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)))
)

# Spelled backwards, so that this file keeps its own law.
UNFINISHED = tuple(word[::-1] for word in ("ODOT", "EMXIF", "XXX ", "rorrEdetnemelpmItoN", "revoc on :amgarp"))


@pytest.mark.parametrize("path", (*CODE, *TESTS), ids=relative)
def test_a_file_says_what_it_is(path: Path) -> None:
    """A module has a docstring, and its first line is a sentence or a heading of one."""
    docstring = ast.get_docstring(parse(path))
    assert docstring, f"{relative(path)} has no docstring"
    assert len(docstring.split()) >= 3


@pytest.mark.parametrize("path", [path for path in (*CODE, *TESTS) if "examples" not in path.parts], ids=relative)
def test_annotations_are_lazy(path: Path) -> None:
    """A file that defines something starts with `from __future__ import annotations`: they cost nothing at import.

    Examples show what a newcomer would write.
    """
    tree = parse(path)
    if any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in tree.body):
        assert any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)


@pytest.mark.parametrize("path", [path for path in TESTS if path.name.startswith("test_")], ids=relative)
def test_a_test_says_what_it_proves(path: Path) -> None:
    """Every test function has a docstring that is a sentence."""
    silent = [
        f"{relative(path)}:{node.lineno}: {node.name}"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and node in _collected(parse(path))
        and not (ast.get_docstring(node) or "").rstrip().endswith((".", "?", "!"))
    ]
    assert not silent, "\n".join(silent)


def _collected(tree: ast.Module) -> list[ast.stmt]:
    """The functions pytest collects: those at the top of a module and in its classes."""
    inner = [child for node in tree.body if isinstance(node, ast.ClassDef) for child in node.body]
    return [*tree.body, *inner]


@pytest.mark.parametrize("path", (*CODE, *TESTS, *PROSE), ids=relative)
def test_nothing_is_left_undone(path: Path) -> None:
    """No note to self, no stub, no line excused from coverage: what is undone is not in the tree."""
    lines = path.read_text("utf-8").splitlines()
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for number, line in enumerate(lines, 1)
        if any(word in line for word in UNFINISHED) and not line.endswith("# as trio does")
    ]
    assert not found, "\n".join(found)
