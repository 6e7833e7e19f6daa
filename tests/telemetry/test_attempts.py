"""The spans of attempts, and what is beneath them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from tests.telemetry.seeing import EPOCH, SAMPLED, UNSAMPLED, Seen, attempt, ended, nanoseconds
from trioflow.abc import Attempt, AttemptEnded
from trioflow.history import Failure
from trioflow.telemetry import _pending


def run(seen: Seen, one: Attempt, how: Any = "completed", **changes: Any) -> AttemptEnded:
    """An attempt with an empty body, and its end."""
    with seen.instrument.inside(one):
        pass
    fact = ended(one, how, **changes)
    seen.instrument.saw(fact)
    return fact


def test_an_attempt_is_one_span(seen: Seen) -> None:
    """From when its body was called to when it ended, however long its outcome took to be recorded."""
    run(seen, attempt(tag="gpu", session="s-1", attempt=3, failures=2))
    (span,) = seen.all
    assert (span.name, span.kind) == ("charge", SpanKind.CONSUMER)
    assert (span.start_time, span.end_time) == (nanoseconds(EPOCH + 2), nanoseconds(EPOCH + 5))
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == SAMPLED[36:52]
    assert dict(span.attributes or {}) == {
        "trioflow.instance": "order-1",
        "trioflow.execution": 1,
        "trioflow.activity": "charge",
        "trioflow.event_id": 2,
        "trioflow.attempt": 3,
        "trioflow.waited": 2.0,
        "trioflow.worker": "w1",
        "trioflow.tag": "gpu",
        "trioflow.session": "s-1",
        "trioflow.outcome": "completed",
    }


@pytest.mark.parametrize(
    ("how", "error", "category", "retry_in"),
    [
        ("completed", None, None, None),
        ("failed", "builtins.ValueError", "application", None),
        ("failed", "shop.Rejected", "new", None),
        ("cancelled", None, None, None),
        ("retried", "trioflow.ActivityTimedOut", "infrastructure", 5.0),
        ("given back", None, None, None),
        ("lost", None, None, None),
    ],
)
def test_how_an_attempt_ended_is_said(
    seen: Seen, how: str, error: str | None, category: Any, retry_in: float | None
) -> None:
    """A failure by its class alone, a cancellation as such and not as an error."""
    failure = None if error is None else Failure(type=error, message="4111", category=category)
    run(seen, attempt(), how, failure=failure, retry_in=retry_in)
    (span,) = seen.all
    told = dict(span.attributes or {})
    assert told["trioflow.outcome"] == how
    assert told.get("trioflow.cancelled") == (True if how == "cancelled" else None)
    assert told.get("error.type") == (None if error is None else error.removeprefix("builtins."))
    assert told.get("trioflow.retry_in") == retry_in
    assert told.get("trioflow.category") == ("other" if category == "new" else category)
    assert span.status.status_code is (StatusCode.UNSET if error is None else StatusCode.ERROR)
    assert span.status.description == told.get("error.type")
    assert "4111" not in span.to_json()


def test_a_message_is_told_where_it_is_wanted() -> None:
    """Behind the class."""
    seen = Seen(messages=True)
    run(seen, attempt(), "failed", failure=Failure(type="builtins.ValueError", message="no such card"))
    assert seen.only("charge").status.description == "ValueError: no such card"


@pytest.mark.parametrize(
    ("number", "error", "members"), [(1, "OSError", None), (2, "ExceptionGroup", ("OSError", "x.Y"))]
)
def test_a_group_is_told_by_what_it_holds(seen: Seen, number: int, error: str, members: tuple[str, ...] | None) -> None:
    """As from a nursery in the body: one exception as itself, several by their classes."""
    held = (Failure(type="builtins.OSError", message="4111"), Failure(type="x.Y", message="4111"))[:number]
    run(seen, attempt(), "retried", failure=Failure(type="builtins.ExceptionGroup", message="4111", members=held))
    span = seen.only("charge")
    assert (span.attributes or {})["error.type"] == span.status.description == error
    assert (span.attributes or {}).get("trioflow.errors") == members
    assert "4111" not in span.to_json()


async def test_spans_of_the_body_are_beneath_it(seen: Seen) -> None:
    """Its own, those of its tasks and those of its threads; afterwards what was current is current again."""

    def in_thread() -> None:
        with seen.user.start_as_current_span("thread"):
            trio.from_thread.run(in_task, "from thread")

    async def in_task(name: str) -> None:
        with seen.user.start_as_current_span(name):
            await trio.lowlevel.checkpoint()

    one = attempt()
    with seen.user.start_as_current_span("main") as main:
        with seen.instrument.inside(one):
            trace.get_current_span().set_attribute("order", 7)
            await in_task("body")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(in_task, "task")
            await trio.to_thread.run_sync(in_thread)
        assert trace.get_current_span() is main
    seen.instrument.saw(ended(one))
    own = seen.only("charge")
    assert own.context is not None
    assert (own.attributes or {})["order"] == 7
    for name in ("body", "task", "thread"):
        parent = seen.only(name).parent
        assert parent is not None
        assert parent.span_id == own.context.span_id
        assert not parent.is_remote
    inner, outer = seen.only("from thread").parent, seen.only("thread").context
    assert inner is not None
    assert outer is not None
    assert inner.span_id == outer.span_id


async def test_attempts_beside_each_other_do_not_mix(seen: Seen) -> None:
    """Each task has its own current span."""

    async def body(number: int) -> None:
        one = attempt(event_id=number)
        with seen.instrument.inside(one):
            await trio.lowlevel.checkpoint()
            with seen.user.start_as_current_span(f"own {number}"):
                await trio.lowlevel.checkpoint()
        seen.instrument.saw(ended(one))

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(body, number)
    by_id = {span.context.span_id: span for span in seen.all if span.context}
    for number in range(10):
        parent = seen.only(f"own {number}").parent
        assert parent is not None
        assert (by_id[parent.span_id].attributes or {})["trioflow.event_id"] == number


async def test_a_cancelled_body_leaves_nothing_current(seen: Seen) -> None:
    """Also where what cancels it goes through the block."""
    one = attempt()
    with trio.CancelScope() as scope, seen.instrument.inside(one):
        scope.cancel()
        await trio.lowlevel.checkpoint()
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_retry_is_linked_to_the_attempt_before(seen: Seen) -> None:
    """By an id that any process can find, also where that attempt ran elsewhere."""
    elsewhere = Seen()
    run(elsewhere, attempt(), "retried", error="builtins.OSError")
    run(seen, attempt(attempt=2, failures=1))
    before, now = elsewhere.only("charge").context, seen.only("charge")
    assert before is not None
    assert now.context is not None
    assert [link.context.span_id for link in now.links] == [before.span_id]
    assert now.context.span_id != before.span_id
    assert not elsewhere.only("charge").links


def test_an_attempt_that_was_given_back_has_no_claim_on_its_number(seen: Seen) -> None:
    """The next has the same number, and thus the id that spans of both bodies are beneath."""
    one = attempt()
    with seen.instrument.inside(one), seen.user.start_as_current_span("own"):
        pass
    seen.instrument.saw(ended(one, "given back"))
    run(seen, attempt(began=EPOCH + 9, worker="w2"))
    back, again = seen.only("charge: given back"), seen.only("charge")
    assert back.context is not None
    assert again.context is not None
    assert back.context.span_id != again.context.span_id
    own = seen.only("own").parent
    assert own is not None
    assert own.span_id == again.context.span_id
    assert (back.start_time, back.end_time) == (nanoseconds(EPOCH + 2), nanoseconds(EPOCH + 5))


def test_an_attempt_whose_body_was_never_called_is_drawn_at_its_end(seen: Seen) -> None:
    """It came too late, say."""
    seen.instrument.saw(ended(attempt(), "failed", error="trioflow.ActivityTimedOut"))
    span = seen.only("charge")
    assert (span.start_time, span.end_time) == (nanoseconds(EPOCH + 2), nanoseconds(EPOCH + 5))


def test_an_attempt_whose_end_is_never_told_is_not_exported(seen: Seen) -> None:
    """Its worker has died, or its lease was lost."""
    with seen.instrument.inside(attempt()):
        pass
    assert not seen.all


def test_attempts_that_nobody_ends_do_not_pile_up(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten; if its end is told after all, it is drawn anew."""
    monkeypatch.setattr(_pending, "MOST", 2)
    attempts = [attempt(event_id=number) for number in range(4)]
    for one in attempts:
        with seen.instrument.inside(one):
            pass
    assert len(seen.instrument._spans.attempts._pending) == 2  # type: ignore[union-attr]
    for one in attempts:
        seen.instrument.saw(ended(one))
    assert len(seen.all) == 4


def test_beneath_what_is_not_recorded_nothing_is() -> None:
    """The user's own spans follow the decision, whatever the sampler says of a trace that begins."""
    seen = Seen()
    one = attempt(headers={"traceparent": UNSAMPLED})
    with seen.instrument.inside(one), seen.user.start_as_current_span("own"):
        pass
    seen.instrument.saw(ended(one))
    assert not seen.all


def test_without_a_trace_the_surroundings_stay(seen: Seen) -> None:
    """An activity of an execution that has none runs as if nobody traced."""
    with seen.user.start_as_current_span("main") as main, seen.instrument.inside(attempt(headers={})):
        assert trace.get_current_span() is main
