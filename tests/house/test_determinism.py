"""Structural determinism: nothing in the kernel or the engine has an order, or an identity, that a run can change."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source import floor_files, parse, python_files, relative

# A set of objects is ordered by address, which no seed controls; an address is an identity no other run has.
UNORDERED = ("set", "frozenset", "WeakSet")
ADDRESSES = ("id",)


def unordered(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every place a set or an address can come from: displays, comprehensions, builtins, arithmetic on dict views."""
    for node in ast.walk(tree):
        match node:
            case ast.Set() | ast.SetComp():
                yield node.lineno, ast.unparse(node)
            case ast.Name(id=name, ctx=ast.Load()) if name in UNORDERED:
                yield node.lineno, name
            case ast.Call(func=ast.Name(id=name)) if name in ADDRESSES:
                yield node.lineno, f"{name}()"
            case ast.BinOp(left=left, right=right, op=ast.BitAnd() | ast.BitOr() | ast.BitXor() | ast.Sub()):
                if _is_view(left) or _is_view(right):
                    yield node.lineno, ast.unparse(node)


def _is_view(node: ast.expr) -> bool:
    """Whether an expression is `something.keys()` or `something.items()`, whose arithmetic gives sets."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("keys", "items")


@pytest.mark.parametrize("path", floor_files("_kernel", "_engine"), ids=relative)
def test_no_sets_and_no_addresses(path: Path) -> None:
    """The kernel and the engine hold no set and ask for no address."""
    found = [f"{relative(path)}:{line}: {text}" for line, text in unordered(parse(path))]
    assert not found, "use a dict with None values, or a counter:\n" + "\n".join(found)


@pytest.mark.parametrize("path", python_files("trioflow"), ids=relative)
def test_no_rebinding_of_globals(path: Path) -> None:
    """No function of the package rebinds a module's name: what changes lives in an object somebody holds."""
    found = [f"{relative(path)}:{node.lineno}" for node in ast.walk(parse(path)) if isinstance(node, ast.Global)]
    assert not found


@pytest.mark.parametrize(
    "text", ["{1}", "{x for x in y}", "set()", "f(factory=frozenset)", "id(x)", "a.keys() - b", "a | b.items()"]
)
def test_the_rule_sees(text: str) -> None:
    """Each way to a set or an address is found."""
    assert list(unordered(ast.parse(text)))


@pytest.mark.parametrize(
    "text", ["{}", "{1: 2}", "{k: v for k in y}", "event.set()", "x.id", "a | b", "dict.fromkeys(a)"]
)
def test_the_rule_lets_pass(text: str) -> None:
    """Dicts, attributes and plain arithmetic are none of its business."""
    assert not list(unordered(ast.parse(text)))
