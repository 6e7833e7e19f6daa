"""Which trace a new execution belongs to, and who decides whether that is recorded."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanKind, StatusCode

from tests.telemetry.seeing import (
    EPOCH,
    SAMPLED,
    UNSAMPLED,
    Frozen,
    Seen,
    attempt,
    ended,
    nanoseconds,
    start,
    started,
    subject,
    turn,
)
from trioflow._ambient import Part, PartOpened
from trioflow.abc import StartAnswered, Subject
from trioflow.history import OrchestrationCompleted
from trioflow.telemetry._context import LINK


def whose(headers: dict[str, str], **changes: object) -> Subject:
    """The execution that was started with these headers."""
    return subject(headers=headers, **changes)


def test_a_clients_start_is_beneath_its_current_span(seen: Seen) -> None:
    """The caller's trace holds the start, and the execution beneath it."""
    asked = start("client")
    with seen.user.start_as_current_span("request"):
        headers = dict(seen.instrument.headers(asked))
    seen.instrument.saw(StartAnswered(start=asked, at=EPOCH + 0.5, how="created"))
    seen.instrument.saw(turn(started(), whose=whose(headers)))
    assert seen.tree() == ["request", "  start order", "    order"]
    begun = seen.only("start order")
    assert begun.kind is SpanKind.PRODUCER
    assert (begun.start_time, begun.end_time) == (nanoseconds(EPOCH), nanoseconds(EPOCH + 0.5))
    assert dict(begun.attributes or {}) == {
        "trioflow.instance": "order-1",
        "trioflow.name": "order",
        "trioflow.outcome": "created",
    }


def test_a_clients_start_may_begin_the_trace(seen: Seen) -> None:
    """Where no span is current."""
    asked = start("client")
    headers = dict(seen.instrument.headers(asked))
    seen.instrument.saw(StartAnswered(start=asked, at=EPOCH, how="created"))
    seen.instrument.saw(turn(started(), whose=whose(headers)))
    assert seen.tree() == ["start order", "  order"]


def test_a_start_that_is_refused_is_an_error(seen: Seen) -> None:
    """With the class of what was raised."""
    asked = start("client")
    seen.instrument.headers(asked)
    seen.instrument.saw(StartAnswered(start=asked, at=EPOCH, how="refused", error="InstanceExists"))
    begun = seen.only("start order")
    assert begun.status.status_code is StatusCode.ERROR
    assert begun.status.description == "InstanceExists"
    assert (begun.attributes or {})["error.type"] == "InstanceExists"


def test_answers_find_their_starts(seen: Seen) -> None:
    """Two starts of one instance at once are told apart; an answer to nothing that is known shows nothing."""
    one, two = start("client", seed="01"), start("client", seed="02", at=EPOCH + 1)
    seen.instrument.headers(one)
    seen.instrument.headers(two)
    seen.instrument.saw(StartAnswered(start=two, at=EPOCH + 2, how="created"))
    seen.instrument.saw(StartAnswered(start=one, at=EPOCH + 3, how="attached"))
    seen.instrument.saw(StartAnswered(start=one, at=EPOCH + 3, how="attached"))
    assert [(span.start_time, (span.attributes or {})["trioflow.outcome"]) for span in seen.spans] == [
        (nanoseconds(EPOCH + 1), "created"),
        (nanoseconds(EPOCH), "attached"),
    ]


def test_no_start_is_forgotten_however_many_there_are_at_once(seen: Seen) -> None:
    """Else what was started would be an orphan; and none is kept once it is answered."""
    asked = [start("client", seed=f"{number:08x}") for number in range(10_001)]
    for one in asked:
        seen.instrument.headers(one)
    for one in asked:
        seen.instrument.saw(StartAnswered(start=one, at=EPOCH, how="created"))
    assert len(seen.all) == len(asked)
    assert not seen.instrument._spans.starts._begun  # type: ignore[union-attr]


def test_a_child_is_in_its_parents_trace(seen: Seen) -> None:
    """Beneath the moment at which it was started."""
    headers = dict(seen.instrument.headers(start("parent", instance="child-1", seed="0c", asker=subject(), key="0#1")))
    part = Part(key="0#1", within="", kind="child", name="ship", at=EPOCH + 1, instance="child-1")
    seen.instrument.saw(turn(started(), spans=(PartOpened(part),)))
    child = whose(headers, instance="child-1", name="ship", seed="0c", started_at=EPOCH + 2)
    seen.instrument.saw(turn(started(at=EPOCH + 2), whose=child))
    spans = {span.name: span for span in seen.all}
    parent, own = spans["ship"].parent, spans["start ship"].context
    assert parent is not None
    assert own is not None
    assert parent.span_id == own.span_id
    assert {span.context.trace_id for span in seen.all if span.context} == {int(SAMPLED[3:35], 16)}
    assert spans["start ship"].kind is SpanKind.PRODUCER
    assert (spans["start ship"].attributes or {})["trioflow.target"] == "child-1"


@pytest.mark.parametrize(("by", "origin"), [("detached", "start order"), ("continued", "order")])
def test_what_nobody_waits_for_begins_a_trace_with_a_link(seen: Seen, by: str, origin: str) -> None:
    """To the moment of its start, or to the execution before; and it is the root of its trace."""
    asker = subject(instance="asker")
    headers = dict(seen.instrument.headers(start(by, seed="0d", asker=asker, key="0#1")))
    part = Part(key="0#1", within="", kind="detached", name="order", at=EPOCH + 1, instance="order-1")
    seen.instrument.saw(turn(started(), whose=asker, spans=(PartOpened(part),)))
    (source,) = [span for span in seen.all if span.name == origin]
    seen.exporter.clear()
    seen.instrument.saw(turn(started(), whose=whose(headers, seed="0d")))
    anchor = seen.only("order")
    assert anchor.parent is None
    assert source.context is not None
    assert [(link.context.trace_id, link.context.span_id) for link in anchor.links] == [
        (source.context.trace_id, source.context.span_id)
    ]
    assert anchor.context is not None
    assert anchor.context.trace_id != source.context.trace_id
    assert seen.spans


def test_an_execution_that_nobody_gave_headers_begins_a_trace(seen: Seen) -> None:
    """Its headers name its own anchor, and everything is beneath that."""
    headers = dict(seen.instrument.headers(start("worker")))
    within = seen.instrument.activity_headers(whose(headers), "")
    seen.instrument.saw(turn(started(), OrchestrationCompleted(id=2, at=EPOCH, payload=b""), whose=whose(headers)))
    seen.instrument.saw(ended(attempt(headers=dict(within))))
    assert seen.tree() == ["order", "  order: completed", "  charge"]
    anchor = seen.only("order").context
    assert anchor is not None
    assert headers == {"traceparent": f"00-{anchor.trace_id:032x}-{anchor.span_id:016x}-01"}


def test_headers_of_another_execution_are_a_parent(seen: Seen) -> None:
    """A worker without instruments continues an execution with the same headers: the next hangs beneath the first."""
    headers = dict(seen.instrument.headers(start("worker")))
    seen.instrument.saw(turn(started(), whose=whose(headers)))
    seen.instrument.saw(turn(started(at=EPOCH + 1), whose=whose(headers, execution=2, seed="0e", started_at=EPOCH + 1)))
    assert seen.tree() == ["order", "  order"]


@pytest.mark.parametrize("by", ["parent", "detached", "continued"])
def test_without_a_trace_there_is_nothing_to_pass_on(seen: Seen, by: str) -> None:
    """What an untraced execution starts begins a trace of its own, when it begins."""
    assert seen.instrument.headers(start(by, asker=subject(headers={}))) == {}
    assert seen.instrument.activity_headers(subject(headers={}), "0.1") == {}
    seen.instrument.saw(turn(started(), whose=subject(headers={})))
    seen.instrument.saw(ended(attempt(headers={})))
    assert not seen.all


def test_the_worker_asks_the_sampler_once() -> None:
    """Its answer is stored: the anchor is drawn whatever the sampler would say later."""
    yes, no = SamplingResult(Decision.RECORD_AND_SAMPLE), SamplingResult(Decision.DROP)
    sampler = Frozen([no, yes])
    seen = Seen(ParentBased(sampler))  # type: ignore[arg-type]
    assert seen.instrument.headers(start("worker"))["traceparent"].endswith("-00")
    headers = dict(seen.instrument.headers(start("worker", seed="02")))
    assert headers["traceparent"].endswith("-01")
    seen.instrument.saw(turn(started(), whose=whose(headers, seed="02")))
    assert sampler.asked == 2
    assert seen.tree() == ["order"]


def test_the_worker_decides_apart_from_what_is_current(seen: Seen) -> None:
    """A span around the whole runtime is nobody's parent, and its decision nobody's."""
    quiet = Seen(ParentBased(ALWAYS_OFF))
    with seen.user.start_as_current_span("main"):
        assert quiet.instrument.headers(start("worker"))["traceparent"].endswith("-00")
        headers = dict(seen.instrument.headers(start("worker")))
        seen.instrument.saw(turn(started(), whose=whose(headers)))
    assert seen.only("order").parent is None


@pytest.mark.parametrize("by", ["parent", "detached", "continued"])
@pytest.mark.parametrize("text", [SAMPLED, UNSAMPLED])
def test_what_is_started_keeps_the_decision(by: str, text: str) -> None:
    """A trace that comes from another is recorded if that is, even where the sampler drops every new one."""
    seen = Seen(ParentBased(ALWAYS_OFF))
    asker = subject(instance="asker", headers={"traceparent": text})
    headers = dict(seen.instrument.headers(start(by, seed="0d", asker=asker, key="0#1")))
    assert headers["traceparent"][-2:] == text[-2:]
    assert (LINK in headers) == (by != "parent")
    seen.instrument.saw(turn(started(), whose=whose(headers, seed="0d")))
    assert len(seen.all) == (1 if text == SAMPLED else 0)


def test_a_ratio_of_traces_is_recorded_whole_or_not_at_all() -> None:
    """Of many executions some are recorded, each with all its spans; the others leave no span anywhere."""
    one, two = Seen(ParentBased(TraceIdRatioBased(0.5))), Seen(ParentBased(TraceIdRatioBased(0.5)))
    for number in range(40):
        seed = f"{number:04x}"
        headers = dict(one.instrument.headers(start("worker", instance=f"i-{number}", seed=seed)))
        of = whose(headers, instance=f"i-{number}", seed=seed)
        one.instrument.saw(turn(started(), whose=of))
        within = dict(two.instrument.activity_headers(of, ""))
        told = attempt(instance=f"i-{number}", headers=within)
        with two.instrument.inside(told), two.user.start_as_current_span("own"):
            pass
        two.instrument.saw(ended(told))
    counts = {name: sum(span.name == name for span in (*one.all, *two.all)) for name in ("order", "charge", "own")}
    assert len(set(counts.values())) == 1
    assert 0 < counts["order"] < 40


def test_a_clients_start_that_is_not_recorded_leaves_nothing() -> None:
    """The decision of the client's process holds wherever the execution runs."""
    client, worker = Seen(ALWAYS_OFF), Seen(ALWAYS_ON)
    asked = start("client")
    headers = dict(client.instrument.headers(asked))
    client.instrument.saw(StartAnswered(start=asked, at=EPOCH, how="created"))
    assert headers["traceparent"].endswith("-00")
    worker.instrument.saw(turn(started(), whose=whose(headers)))
    assert not client.all
    assert not worker.all
    assert not trace.get_current_span().get_span_context().is_valid
