"""Ids are derived, and our spans alone have them; whoever processes spans of the SDK gets ours as any others."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import TraceFlags

from tests.telemetry.seeing import EPOCH, SAMPLED, Seen, attempt, ended, start, started, subject, turn
from trioflow._ambient import Part, PartOpened
from trioflow.history import OrchestrationCompleted
from trioflow.telemetry import _ids
from trioflow.telemetry._ids import root_id_of, span_id_of, trace_id_of


def test_ids_are_the_same_for_ever() -> None:
    """A worker of another release finds the same ids, so the derivation is pinned."""
    assert f"{trace_id_of('5eed'):032x}" == "ae3c861c6ed4d43817dc20ef22059df5"
    assert f"{root_id_of('5eed'):016x}" == "2bf269ff4708882c"
    assert f"{span_id_of('order-1', 1, 'part', '0.1'):016x}" == "3f91ca18fea23501"


def test_ids_of_different_things_differ() -> None:
    """Wherever the border between two parts of a key lies."""
    keys = [
        ("a", 1),
        ("a", 11),
        ("a1", 1),
        ("a", 1, "b"),
        ("a", 1, "b", "c"),
        ("a", 1, "bc"),
        ("a", 1, 1),
        ("a", 1, 11),
        ("a", 1, "1, 1"),
        ("a', 1", 1),
        ("é", 1),
        ("\\xe9", 1),
    ]
    assert len({span_id_of(*key) for key in keys}) == len(keys)


def test_no_id_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash of nothing but zeros would mean "no id"."""
    monkeypatch.setattr(_ids, "blake2b", lambda *parts, **options: SimpleNamespace(digest=lambda: bytes(8)))
    seed = "of nothing but zeros"
    assert trace_id_of(seed) == root_id_of(seed) == span_id_of(seed, 1) == 1


def test_the_provider_and_other_tracers_are_left_alone(seen: Seen) -> None:
    """Another library's spans have random ids, and traces of their own, also beside an attempt."""
    mine, other = (seen.tracers.get_tracer(name) for name in ("trioflow", "other"))
    for tracer in (mine, other):
        assert type(tracer.id_generator) is RandomIdGenerator
        assert type(tracer.sampler) is type(TracerProvider().sampler)
    one = attempt()
    with seen.instrument.inside(one):
        seen.instrument.saw(turn(started()))
        with other.start_as_current_span("own", context=Context()):
            pass
    own = seen.only("own").context
    assert own is not None
    assert own.trace_id != int(SAMPLED[3:35], 16)
    assert own.trace_flags & TraceFlags.RANDOM_TRACE_ID


def test_a_derived_trace_does_not_say_that_it_is_random() -> None:
    """The W3C flag for random ids is for those that were drawn."""
    seen = Seen()
    headers = seen.instrument.headers(start("client"))
    assert headers["traceparent"].startswith(f"00-{trace_id_of('5eed'):032x}-")
    assert headers["traceparent"].endswith("-01")


def test_two_processes_tell_of_one_thing_by_one_id() -> None:
    """What one process begins, another continues: it finds the ids that the first has used."""
    first, second = Seen(), Seen()
    headers = first.instrument.activity_headers(subject(), "")
    first.instrument.saw(turn(started()))
    second.instrument.saw(ended(attempt(headers=headers)))
    anchor, charge = first.only("order").context, second.only("charge").parent
    assert anchor is not None
    assert charge is not None
    assert (anchor.trace_id, anchor.span_id) == (charge.trace_id, charge.span_id)


def test_the_same_instance_in_two_stores_is_told_apart_within_one_trace(seen: Seen) -> None:
    """As where one service calls another, and both name what they do by the order: all spans have ids of their own."""
    for seed in ("5eed", "0dd5"):
        whose, first = subject(seed=seed), started(seed=seed)
        part = Part(key="0#1", within="", kind="scope", name="deadline", at=EPOCH, due=EPOCH + 1)
        one = attempt(headers=seen.instrument.activity_headers(whose, ""))
        end = OrchestrationCompleted(id=2, at=EPOCH + 3, payload=b"null")
        seen.instrument.saw(turn(first, end, attempts=2, whose=whose, spans=(PartOpened(part),)))
        seen.instrument.saw(ended(one))
    assert len(seen.spans) == 10
