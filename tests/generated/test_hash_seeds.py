"""Hash seeds and JSON libraries are no part of a history."""

from __future__ import annotations

import os
import subprocess
import sys

import attrs
import pytest

from tests.generated import language
from tests.generated.corpus import CASES, histories
from tests.house.source import ROOT
from trioflow.history import (
    EVENTS,
    ChildTerminated,
    DetachedRefused,
    OrchestrationTerminated,
    Parked,
    PatchMarked,
    Resumed,
    Suspended,
)


def printed(*settings: tuple[str, str]) -> list[str]:
    """What the corpus prints under each (hash seed, arguments), in processes that run side by side."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.generated.corpus", *arguments.split()],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, arguments in settings
    ]
    found = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * len(runs)
    return found


@pytest.mark.slow
def test_histories_are_the_same_under_all_hash_seeds_and_json_libraries() -> None:
    """Byte for byte: two seeds, each with and without orjson."""
    first, *others = printed(("0", ""), ("4242", ""), ("0", "plain"), ("4242", "plain"))
    assert len(first.splitlines()) > len(CASES)
    assert others == [first] * 3


def test_another_seed_and_no_orjson_give_the_same_histories() -> None:
    """The two that differ most, in the fast suite."""
    one, other = printed(("0", ""), ("4242", "plain"))
    assert len(one.splitlines()) > len(CASES)
    assert one == other


def test_the_corpus_uses_everything() -> None:
    """Every kind of node, and every kind of event but what administration and collisions write."""
    used = {type(node) for case in CASES for node in language.walk(case.program)}
    nodes = [thing for thing in vars(language).values() if isinstance(thing, type) and attrs.has(thing)]
    assert [node.__name__ for node in nodes if node not in (*used, language.Case, language.Happening)] == []
    written = {type(event) for history in histories().values() for event in history}
    rare = (ChildTerminated, DetachedRefused, OrchestrationTerminated, Parked, PatchMarked, Resumed, Suspended)
    assert [kind.__name__ for kind in EVENTS if kind not in (*written, *rare)] == []
