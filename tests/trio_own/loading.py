"""Loads a module of tests out of the installed trio, so that its tests test trioflow.

Laws: nothing of trio's text is kept here: the source is read where trio is installed and runs unchanged but for the
adaptations, which are listed; what it imports of trio comes from the facade. Every test becomes a test of ours. One
that does not apply is listed with the reason, is run all the same where it can be, and must fail, so that the list is
never longer than it has to be.
Who calls it: the test modules of this folder. Read next: `facade.py`, then `test_run.py`.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.trio_own.facade import FACADE, TIME, Clock, EarlyEnv, run

# Modules of trio's that hold helpers of its tests, not trio: these are taken as they are.
HELPERS = ("trio._core._tests.tutil", "trio._core._tests.test_ki")


@attrs.frozen
class Excluded:
    """Why some tests do not apply.

    Attributes:
        reason: what trioflow does not offer, by design.
        tests: their names.
        when: only with these values of a parameter.
        runs: whether they are run, to notice if they pass one day; not those that would take the process down.
    """

    reason: str
    tests: tuple[str, ...]
    when: tuple[str, object] | None = None
    runs: bool = True


def trio_tests(
    module: str,
    *,
    excluded: Iterable[Excluded] = (),
    adapted: Mapping[str, str] | None = None,
    inside: Iterable[str] = (),
) -> dict[str, Callable[..., None]]:
    """The tests of a module of trio's, by name, ready to be collected.

    Args:
        module: its full name.
        excluded: what does not apply.
        adapted: pieces of text that name trio where trioflow names itself, and what they become.
        inside: tests that are not async and need an orchestration around them nevertheless.
    """
    functions = {
        name: value
        for name, value in _load(module, adapted or {}).items()
        if name.startswith("test_") and callable(value)
    }
    tests = {name: _runner(function, name in inside) for name, function in functions.items()}
    for name in inside:
        assert name in tests, f"{module} has no {name} (any more)"
    for exclusion in excluded:
        for name in exclusion.tests:
            assert name in tests, f"{module} has no {name} (any more)"
            _mark(tests[name], exclusion)
    return tests


def _load(module: str, adapted: Mapping[str, str]) -> dict[str, Any]:
    """Run a module of trio's with imports of our own."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text("utf-8")
    for text, ours in adapted.items():
        assert text in source, f"{module} does not say {text!r} (any more)"
        source = source.replace(text, ours)
    space = {"__name__": module, "__package__": spec.parent, "__builtins__": {**vars(builtins), "__import__": _import}}
    exec(compile(source, spec.origin, "exec"), space)
    return space


def _import(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: tuple[str, ...] = (),
    level: int = 0,
) -> Any:
    if level:
        assert globals is not None
        name = importlib.util.resolve_name("." * level + name, globals["__package__"])
    if name == "time":
        return TIME
    if name in HELPERS:
        return importlib.import_module(name)
    if name == "trio" or name.startswith("trio."):
        return FACADE
    return builtins.__import__(name, globals, locals, fromlist)


def _runner(function: Callable[..., Any], inside: bool) -> Callable[..., None]:
    """A test that runs one of trio's as an orchestration, or plainly if it is not async."""

    @functools.wraps(function)
    def runner(**arguments: Any) -> None:
        if not inside and not inspect.iscoroutinefunction(function):
            function(**arguments)
            return

        async def test() -> None:
            result = function(**arguments)
            if not inside:
                await result

        env = EarlyEnv() if any(isinstance(argument, Clock) for argument in arguments.values()) else None
        run(function if not (inside or arguments) else test, env=env)

    return runner


def _mark(test: Callable[..., None], exclusion: Excluded) -> None:
    """Expect a test, or some of its cases, to fail."""
    expected = pytest.mark.xfail(reason=exclusion.reason, run=exclusion.runs, strict=True)
    if exclusion.when is None:
        expected(test)
        return
    name, unwanted = exclusion.when
    marks = test.pytestmark  # type: ignore[attr-defined]
    at = next(i for i, mark in enumerate(marks) if mark.name == "parametrize" and mark.args[0] == name)
    cases = [pytest.param(value, marks=expected) if value is unwanted else value for value in marks[at].args[1]]
    assert cases != marks[at].args[1]
    marks[at] = pytest.mark.parametrize(name, cases).mark
