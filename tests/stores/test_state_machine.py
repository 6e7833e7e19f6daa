"""All stores give the same answers as a model that was written from the contract alone, whatever they are asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stores.state_machine import StoresAgree, play
from trioflow.stores._rules import _activities, _administration, _rows, _sessions, _turns, _work
from trioflow.stores._sqlite import _tables

SHORT = settings(max_examples=10, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(SHORT, max_examples=150, stateful_step_count=30, derandomize=False)


def test_all_stores_do_as_the_model_does() -> None:
    """Every answer, every refusal, and everything that can be read is the same, for programs that Hypothesis makes up
    and cuts down.
    """
    run_state_machine_as_test(StoresAgree, settings=SHORT)


def test_all_stores_do_as_the_model_does_by_the_dice() -> None:
    """The same for longer programs that nobody cuts down: a few, always the same."""
    for seed in range(5):
        play(StoresAgree, seed, 120)


@pytest.mark.slow
def test_all_stores_do_as_the_model_does_at_length() -> None:
    """The same for many programs that Hypothesis makes up."""
    run_state_machine_as_test(StoresAgree, settings=LONG)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1_000, 1_080, 20))
def test_all_stores_do_as_the_model_does_by_many_dice(first: int) -> None:
    """The same for many long programs."""
    for seed in range(first, first + 20):
        play(StoresAgree, seed, 300)


# -- it has teeth: a broken rule is found -----------------------------------------------------------------------------


def whoever_has_the_id(deliver: Callable[..., None]) -> Callable[..., None]:
    """Messages to a child reach whoever has its id."""
    return lambda work, message: deliver(work, attrs.evolve(message, child_of=None))


def behind_the_others(put: Callable[..., None]) -> Callable[..., None]:
    """The start message of the next execution is put behind what is there."""
    return lambda work, row, message, *, first=False: put(work, row, message)


def in_spite_of_the_mark(settle: Callable[..., None]) -> Callable[..., None]:
    """A retry is queued although the cancellation was asked for."""

    def broken(work: Any, row: Any, request: Any) -> None:
        row.cancelled = False
        settle(work, row, request)

    return broken


def not_renewed(keep: Callable[..., bool]) -> Callable[..., bool]:
    """A lock that is kept runs out when it would have anyway."""

    def broken(work: Any, row: Any, request: Any) -> bool:
        until, kept = row.lock_until, keep(work, row, request)
        row.lock_until = until if kept else row.lock_until
        return kept

    return broken


def any_message(work_at: Callable[..., Any]) -> Callable[..., Any]:
    """A suspended instance is taken for a message that is no control message."""
    return lambda row, now: row.first_at if row.state.held else work_at(row, now)


def nothing(remember: Callable[..., None]) -> Callable[..., None]:
    """SQLite forgets which attempts were settled."""
    return lambda tables, tokens, at: None


def one_more(takes: Callable[..., bool]) -> Callable[..., bool]:
    """A worker claims a session more than it may have."""

    def broken(held: Any, session: str | None) -> bool:
        claim = held.claim
        held.claim = None if claim is None else attrs.evolve(claim, limit=claim.limit + 1)
        taken = takes(held, session)
        held.claim = claim
        return taken

    return broken


def unseen(note_use: Callable[..., None]) -> Callable[..., None]:
    """Whoever settles or renews an item does not use its session."""
    return lambda work, item: None


def still_waiting(lease: Callable[..., None]) -> Callable[..., None]:
    """An item whose holder died goes for want of somebody who begins it."""

    def broken(row: Any, worker: str, token: str, until: float) -> None:
        start_by = row.start_by
        lease(row, worker, token, until)
        row.start_by = start_by

    return broken


def those_named(family: Callable[..., Any]) -> Callable[..., Any]:
    """Descendants stay when an instance is deleted."""
    return lambda work, request: [row for row in family(work, request) if row.instance in request.instances]


class TwoStoresAgree(StoresAgree):
    """The two that share their rules."""

    kinds = StoresAgree.kinds[:2]


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (_work.Work, "deliver", whoever_has_the_id),
        (_work.Work, "put_message", behind_the_others),
        (_activities, "_settle", in_spite_of_the_mark),
        (_turns, "_keep_or_release", not_renewed),
        (_rows, "_work_at", any_message),
        (_tables.SqliteTables, "remember_settled", nothing),
        (_sessions.Held, "takes", one_more),
        (_activities, "note_use", unseen),
        (_rows.ActivityRow, "lease", still_waiting),
        (_administration, "_family", those_named),
    ],
)
def test_a_broken_rule_is_found(
    owner: Any, name: str, broken: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that breaks one promise gives itself away within a few programs."""
    monkeypatch.setattr(owner, name, broken(getattr(owner, name)))
    with pytest.raises(AssertionError, match="model: "):
        for seed in range(20):
            play(TwoStoresAgree, seed, 120)
