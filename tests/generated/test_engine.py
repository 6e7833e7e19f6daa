"""Generated programs on the engine alone: no crash, eviction or batching changes anything, and every history is sound.

The short run is the same every time, and part of the fast suite; the long one looks elsewhere at each run.
"""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, note, settings

from tests.generated import invariants
from tests.generated.corpus import CASES
from tests.generated.language import Case
from tests.generated.strategies import cases
from tests.generated.world import Mode, World, play_out
from trioflow.history import Event

short = settings(max_examples=100, deadline=None, derandomize=True, database=None)
long = settings(max_examples=1_500, deadline=None, derandomize=False, database=None)

SAME_TURNS = (Mode(evict=True), Mode(crash=True), Mode(crash=True, evict=True))
OTHER_TURNS = (Mode(one_by_one=True), Mode(one_by_one=True, evict=True))


def check_sound(world: World) -> None:
    """What holds of every history, and of how it came about."""
    assert not world.stage.complaints
    for history in world.histories.values():
        invariants.check(history)
    for instance in world.actors:
        invariants.check_mail([history for (owner, _), history in world.histories.items() if owner == instance])


def read_in_time(history: list[Event]) -> list[Event]:
    """Without what was still unread: whether that arrived in the last turn or after it depends on the turn's size."""
    return [attrs.evolve(event, unread=()) if hasattr(event, "unread") else event for event in history]  # type: ignore[call-arg]


def check(case: Case) -> None:
    """All modes give the same."""
    plain = play_out(case, Mode(cold=True, prefixes=True))
    check_sound(plain)
    for mode in SAME_TURNS:
        other = play_out(case, mode)
        assert other.histories == plain.histories, mode
        assert (other.kv, other.logs) == (plain.kv, plain.logs), mode
    for mode in OTHER_TURNS:
        other = play_out(case, mode)
        for key, history in plain.histories.items():
            assert read_in_time(other.histories[key]) == read_in_time(history), mode
        assert (other.kv, other.logs) == (plain.kv, plain.logs), mode


@pytest.mark.parametrize("case", CASES)
def test_programs_written_by_hand(case: Case) -> None:
    """The corpus, which uses everything there is."""
    check(case)


@given(cases)
@short
def test_no_crash_eviction_or_batching_changes_anything(case: Case) -> None:
    """Lost turns, dropped executions, cold replays, turns of one message: the same events, kv and logs."""
    note(repr(case))
    check(case)


@pytest.mark.slow
@given(cases)
@long
def test_thousands_of_programs(case: Case) -> None:
    """The same with many more programs."""
    note(repr(case))
    check(case)
