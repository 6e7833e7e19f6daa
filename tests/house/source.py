"""The project's own source, as the house tests read it: files, syntax trees, and what each file uses of other modules.

Laws: files come in sorted order; a tree is parsed once; nothing here imports trioflow, so a rule can speak of code that
does not even import. Called by the other files of this folder only. Next: `test_floors.py`.
"""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "trioflow"


@functools.cache
def project() -> dict[str, Any]:
    """The facts of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def pure_floors() -> tuple[str, ...]:
    """The packages that know no clock, randomness, logging handler, trio run-time or database."""
    return tuple(project()["tool"]["trioflow"]["pure"])


def python_files(*places: str) -> tuple[Path, ...]:
    """The Python files at or below these places (relative to the root); a place that does not exist holds none."""
    found: list[Path] = []
    for place in places:
        path = ROOT / place
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return tuple(path for path in found if "__pycache__" not in path.parts and "_build" not in path.parts)


def floor_files(*floors: str) -> tuple[Path, ...]:
    """The files of these floors of the package, be they packages or single modules."""
    return python_files(*(place for floor in floors for place in (f"trioflow/{floor}", f"trioflow/{floor}.py")))


def relative(path: Path) -> str:
    """How a file is called in a message."""
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    """The dotted name under which a file of the package is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text("utf-8"), filename=str(path))


def uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What a module takes from others: line and dotted name of each import and of each attribute reached through one.

    `import time as t` and `t.time()` give ``time`` and ``time.time``; `from datetime import datetime` and
    `datetime.now()` give ``datetime.datetime`` and ``datetime.datetime.now``. The linter bans relative imports.
    """
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield node.lineno, f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = _dotted(node, aliases)
            if name is not None:
                yield node.lineno, name


def imported(tree: ast.Module) -> Iterator[str]:
    """The dotted names a module imports when it runs; what stands under `if TYPE_CHECKING:` is not among them."""
    for_types = [
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and node not in for_types:
            source = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            yield from (f"{source}{alias.name}" for alias in node.names)


def called(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    """The calls in a module of one dotted name, such as ``random.Random``."""
    aliases = {
        alias.asname or alias.name: alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _dotted(node.func, aliases) == name:
            yield node


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str | None:
    """The dotted name an expression spells out, if it starts at an imported name."""
    match node:
        case ast.Name(id=name):
            return aliases.get(name)
        case ast.Attribute(value=value, attr=attr):
            owner = _dotted(value, aliases)
            return None if owner is None else f"{owner}.{attr}"
        case _:
            return None
