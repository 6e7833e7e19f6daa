"""That trio's tests are run: all of them, but for those that are listed."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.trio_own.loading import Excluded, trio_tests

MODULES = {
    "test_cancelled": "trio._core._tests.test_cancelled",
    "test_channel": "trio._tests.test_channel",
    "test_parking_lot": "trio._core._tests.test_parking_lot",
    "test_run": "trio._core._tests.test_run",
    "test_sync": "trio._tests.test_sync",
    "test_timeouts": "trio._tests.test_timeouts",
}


def written(module: str) -> list[str]:
    """The names of the tests that stand in a module of trio's."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    tree = ast.parse(Path(str(spec.origin)).read_text("utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [function.name for function in functions if function.name.startswith("test_")]


def marks(test: Any) -> list[pytest.Mark]:
    """What pytest was told of a test."""
    return list(getattr(test, "pytestmark", ()))


@pytest.mark.parametrize("ours", MODULES)
def test_every_test_is_there_to_be_run(ours: str) -> None:
    """Each of trio's tests is a test of ours; none is skipped; those expected to fail are listed, or trio's own."""
    module = importlib.import_module(f"tests.trio_own.{ours}")
    excluded: tuple[Excluded, ...] = getattr(module, "EXCLUDED", ())
    names = written(MODULES[ours])
    assert names
    for name in names:
        test = getattr(module, name)
        assert not any(mark.name == "skip" or (mark.name == "skipif" and mark.args[0]) for mark in marks(test))
        reasons = [entry.reason for entry in excluded if name in entry.tests and entry.when is None]
        expected = [mark for mark in marks(test) if mark.name == "xfail" and mark.kwargs["reason"] in reasons]
        assert [mark.kwargs["strict"] for mark in expected] == [True] * len(reasons)


def test_the_lists_are_checked() -> None:
    """A name that trio does not have, or a text that it does not say, is an error, not a silence."""
    with pytest.raises(AssertionError, match="has no test_of_yesterday"):
        trio_tests("trio._tests.test_timeouts", excluded=[Excluded("", ("test_of_yesterday",))])
    with pytest.raises(AssertionError, match="has no test_of_yesterday"):
        trio_tests("trio._tests.test_timeouts", inside=["test_of_yesterday"])
    with pytest.raises(AssertionError, match="does not say 'nobody says this'"):
        trio_tests("trio._tests.test_timeouts", adapted={"nobody says this": ""})


def test_a_test_fails_if_what_it_tests_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bodies of trio's async tests are run, on our names."""
    tests = trio_tests("trio._tests.test_channel")
    tests["test_inf_capacity"]()
    monkeypatch.setattr("trioflow.durable.MemorySendChannel.send_nowait", lambda channel, value: None)
    with pytest.raises(AssertionError):
        tests["test_inf_capacity"]()
