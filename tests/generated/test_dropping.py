"""Generated programs, dropped after any turn: nothing is done, nothing is said, nothing is left."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, note, settings, strategies as st

from tests.generated.language import Case
from tests.generated.strategies import cases
from tests.generated.world import Mode, World

short = settings(max_examples=100, deadline=None, derandomize=True, database=None)
long = settings(max_examples=1_500, deadline=None, derandomize=False, database=None)


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    """What has no cycles is freed all the same; what is there already is not looked at, so that looking is quick."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def alive(world: World) -> list[weakref.ref[Any]]:
    """What must be gone once the executions of a world were dropped."""
    found: list[weakref.ref[Any]] = []
    for actor in world.actors.values():
        if actor.live is not None:
            kernel = actor.live.kernel
            found += [weakref.ref(actor.live), weakref.ref(kernel)]
            for task in kernel.tasks:
                found += [weakref.ref(task), weakref.ref(task.coro), weakref.ref(task._status.scope)]
    return found


def check(case: Case, turns: int) -> None:
    """Drop everything after some turns. (That nothing was done meanwhile is checked by the world.)"""
    note(f"{case!r}\n# dropped after {turns} turns")
    gc.collect()  # what Hypothesis and apps leave
    world = World(case, Mode(stop_after=turns))
    world.go_on()
    refs = alive(world)
    world.close()
    assert [ref() for ref in refs if ref() is not None] == []
    assert not world.stage.complaints
    assert gc.collect() == 0


@given(cases, st.integers(1, 12))
@short
def test_nothing_is_left(case: Case, turns: int) -> None:
    """No coroutine, task, scope or kernel is alive, and the collector has nothing to do."""
    check(case, turns)


@pytest.mark.slow
@given(cases, st.integers(1, 20))
@long
def test_nothing_is_left_of_thousands(case: Case, turns: int) -> None:
    """The same with many more programs."""
    check(case, turns)
