"""The doors: what a package shows is a tuple, every name of it is there, and each object has one public home."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from tests.house.source import PACKAGE, module_name, parse, python_files, relative

DOORS = tuple(path for path in python_files("trioflow") if path.name == "__init__.py")
PUBLIC = tuple(
    path
    for path in python_files("trioflow")
    if not any(part.startswith("_") for part in module_name(path).split(".")) and path.name != "__main__.py"
)

LAZY = tuple(PACKAGE / door / "__init__.py" for door in ("", "stores"))


def _makes_lazy(node: ast.stmt) -> bool:
    """Whether a statement of a door is there to load the rest on demand."""
    helpers = ("from importlib import import_module", "from typing import TYPE_CHECKING, Any")
    return isinstance(node, ast.If | ast.FunctionDef) or ast.unparse(node) in helpers


def _all(path: Path) -> ast.expr | None:
    """The expression assigned to `__all__` in a file, if any."""
    for node in parse(path).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return node.value
    return None


@pytest.mark.parametrize("path", dict.fromkeys((*DOORS, *PUBLIC)), ids=relative)
def test_all_is_a_tuple(path: Path) -> None:
    """`__all__` is a literal tuple that holds each name once; the linter sorts it."""
    value = _all(path)
    assert isinstance(value, ast.Tuple), f"{relative(path)} has no tuple __all__"
    names = ast.literal_eval(value)
    assert len(names) == len(dict.fromkeys(names))


@pytest.mark.parametrize("path", DOORS, ids=relative)
def test_a_door_only_shows(path: Path) -> None:
    """An `__init__` has a docstring, imports such as `from x import A as A`, and `__all__`, which lists them all.

    A few load what is heavy when somebody asks for it: what they show then is imported for type checkers alone.
    """
    shown: list[str] = []
    body = parse(path).body[1:]
    if path in LAZY:
        lazily = [one for node in body if isinstance(node, ast.If) for one in node.body]
        body = [*(node for node in body if not _makes_lazy(node)), *lazily]
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        if isinstance(node, ast.Assign):
            assert [ast.unparse(target) for target in node.targets] == ["__all__"]
            continue
        assert isinstance(node, ast.ImportFrom), f"{relative(path)}:{node.lineno}: an __init__ re-exports and no more"
        for alias in node.names:
            assert alias.asname == alias.name, f"{relative(path)}:{node.lineno}: write `{alias.name} as {alias.name}`"
            shown.append(alias.name)
    value = _all(path)
    assert value is not None
    assert sorted(shown) == sorted(ast.literal_eval(value))


@pytest.mark.parametrize("path", dict.fromkeys((*DOORS, *PUBLIC)), ids=relative)
def test_every_name_is_there(path: Path) -> None:
    """What `__all__` promises can be imported."""
    module = importlib.import_module(module_name(path))
    missing = [name for name in module.__all__ if not hasattr(module, name)]
    assert not missing


def test_each_object_has_one_public_home() -> None:
    """A class or function of ours is public in one module; only `trioflow`, the front door, may show it once more."""
    homes: dict[str, list[str]] = {}
    for path in PUBLIC:
        name = module_name(path)
        if name == PACKAGE.name:
            continue
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            thing = getattr(module, public, None)
            owner = getattr(thing, "__module__", None)
            if isinstance(owner, str) and owner.partition(".")[0] == PACKAGE.name:
                origin = f"{owner}.{getattr(thing, '__qualname__', public)}"
                homes.setdefault(origin, []).append(f"{name}.{public}")
    twice = {origin: places for origin, places in homes.items() if len(places) > 1}
    assert not twice
