"""The sizes: files to 600 lines (500 for tests), classes to 250 lines of code, functions to 60; no exceptions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.source import parse, python_files, relative

LIMIT_FILE, LIMIT_TEST_FILE, LIMIT_CLASS, LIMIT_FUNCTION = 600, 500, 250, 60

CODE = python_files("trioflow", "examples", "noxfile.py", "docs")
TESTS = python_files("tests")

type_of_function = ast.FunctionDef | ast.AsyncFunctionDef


def _docstring_lines(node: ast.AST) -> range:
    """The lines of the docstring of a class or function, which do not count."""
    if isinstance(node, ast.ClassDef | type_of_function) and ast.get_docstring(node) is not None:
        first = node.body[0]
        return range(first.lineno, (first.end_lineno or first.lineno) + 1)
    return range(0)


def _code_lines(path: Path, node: ast.ClassDef) -> int:
    """The lines of a class that are neither blank nor comment nor docstring."""
    lines = path.read_text("utf-8").splitlines()
    prose = [number for inner in ast.walk(node) for number in _docstring_lines(inner)]
    return sum(
        1
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        if number not in prose and lines[number - 1].strip() and not lines[number - 1].lstrip().startswith("#")
    )


@pytest.mark.parametrize("path", (*CODE, *TESTS), ids=relative)
def test_a_file_is_short(path: Path) -> None:
    """A file can be read in one sitting."""
    limit = LIMIT_TEST_FILE if path in TESTS else LIMIT_FILE
    assert len(path.read_text("utf-8").splitlines()) <= limit


@pytest.mark.parametrize("path", CODE, ids=relative)
def test_a_class_fits_on_three_screens(path: Path) -> None:
    """A class is one thing."""
    sizes = {node.name: _code_lines(path, node) for node in ast.walk(parse(path)) if isinstance(node, ast.ClassDef)}
    assert not {name: size for name, size in sizes.items() if size > LIMIT_CLASS}


@pytest.mark.parametrize("path", CODE, ids=relative)
def test_a_function_fits_on_one_screen(path: Path) -> None:
    """A function is one thought; its docstring does not count."""
    sizes = {
        f"{node.name} (line {node.lineno})": (node.end_lineno or node.lineno)
        - node.lineno
        + 1
        - len(_docstring_lines(node))
        for node in ast.walk(parse(path))
        if isinstance(node, type_of_function)
    }
    assert not {name: size for name, size in sizes.items() if size > LIMIT_FUNCTION}
