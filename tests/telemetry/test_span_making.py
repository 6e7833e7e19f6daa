"""Spans that are made finished, and spans that nobody writes on: nobody can tell them from those of a tracer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from tests.telemetry.seeing import EPOCH, Seen, attempt, ended, start, started, turn
from trioflow.abc import StartAnswered
from trioflow.history import Failure, OrchestrationFailed
from trioflow.telemetry import OpenTelemetry


@attrs.define
class Noting(SpanProcessor):
    """A processor of a test, which writes on what begins."""

    mark: str | None = "yes"
    began: list[str] = attrs.field(factory=list)
    ended: list[str] = attrs.field(factory=list)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """A span is open."""
        self.began.append(span.name)
        if self.mark is not None:
            span.set_attribute("noted", self.mark)

    def on_end(self, span: ReadableSpan) -> None:
        """A span is over."""
        self.ended.append(span.name)


def everything(seen: Seen) -> None:
    """A client's start, a failed execution, two attempts with a body."""
    asked = start("client")
    seen.instrument.headers(asked)
    seen.instrument.saw(StartAnswered(start=asked, at=EPOCH, how="refused", error="trioflow.InstanceExists"))
    failure = Failure(type="builtins.ValueError", message="4111")
    for number, how in ((1, "retried"), (2, "cancelled")):
        one = attempt(attempt=number)
        with seen.instrument.inside(one):
            pass
        seen.instrument.saw(ended(one, how, failure=failure))
    seen.instrument.saw(turn(started(), OrchestrationFailed(id=2, at=EPOCH + 3, failure=failure)))


@attrs.define
class Ending(SpanProcessor):
    """A processor of a test, which looks at what is about to end."""

    ending: list[str] = attrs.field(factory=list)

    def _on_ending(self, span: Span) -> None:
        self.ending.append(span.name)


@pytest.mark.parametrize("messages", [True, False])
def test_what_is_made_finished_is_what_a_tracer_makes(*, messages: bool) -> None:
    """A processor that looks at spans that begin makes no other difference."""
    seen, watched = Seen(messages=messages), Seen(messages=messages)
    watched.tracers.add_span_processor(Noting(mark=None))
    everything(seen)
    everything(watched)
    assert [json.loads(span.to_json()) for span in seen.all] == [json.loads(span.to_json()) for span in watched.all]
    assert [type(span.context) for span in seen.all] == [type(span.context) for span in watched.all]
    assert len(seen.all) == 5


@pytest.mark.parametrize("kind", [BatchSpanProcessor, SimpleSpanProcessor])
def test_the_sdks_own_processors_look_at_nothing_that_begins(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With them alone no span is begun, whatever they do in a release when one begins or is about to end: nothing."""
    tracers, begun = TracerProvider(), list[Span]()
    exporter = InMemorySpanExporter()
    tracers.add_span_processor(kind(exporter))
    seen = Seen()
    seen.instrument = OpenTelemetry(tracers, seen.meters)
    monkeypatch.setattr(Span, "start", lambda self, *_: begun.append(self))
    everything(seen)
    tracers.shutdown()
    assert not begun
    assert len(exporter.get_finished_spans()) == 5


def test_whoever_looks_at_spans_that_begin_sees_all(seen: Seen) -> None:
    """Also one that comes while we run: each span once, with what it wrote on it."""
    noting = Noting()
    one = attempt(event_id=9)
    seen.tracers.add_span_processor(noting)
    with seen.instrument.inside(one):
        assert noting.began == ["charge"]
        assert not noting.ended
    everything(seen)
    seen.instrument.saw(ended(one))
    assert sorted(noting.began) == sorted(noting.ended) == sorted(span.name for span in seen.all)
    assert all((span.attributes or {})["noted"] == "yes" for span in seen.all)


def test_a_processor_of_unknown_make_sees_all(seen: Seen) -> None:
    """A provider may keep its processors in a way of its own."""
    noting = Noting()
    tracer = seen.tracers.get_tracer("trioflow")
    tracer.span_processor = noting  # type: ignore[attr-defined]
    instrument = type(seen.instrument)(Provider(tracer), seen.meters)  # type: ignore[arg-type]
    instrument.saw(turn(started()))
    assert noting.began == noting.ended == ["order"]


@attrs.frozen
class Provider:
    """Of one tracer."""

    tracer: Any

    def get_tracer(self, *about: Any) -> Any:
        """That."""
        return self.tracer


def test_every_span_tells_of_the_provider_and_of_us(seen: Seen) -> None:
    """Its resource and the scope, whoever made the span."""
    everything(seen)
    for span in seen.all:
        assert span.resource is seen.tracers.resource
        assert span.instrumentation_scope is not None
        assert span.instrumentation_scope.name == "trioflow"


@pytest.mark.parametrize("limits", [SpanLimits(max_span_attribute_length=3), SpanLimits(max_span_attributes=3)])
def test_the_limits_of_the_provider_hold(limits: SpanLimits) -> None:
    """For what we say and for what a body says."""
    seen = Seen(span_limits=limits)
    one = attempt(worker="worker")
    with seen.instrument.inside(one):
        trace.get_current_span().set_attribute("said", "too much")
    seen.instrument.saw(ended(one))
    seen.instrument.saw(turn(started()))
    for span in seen.all:
        told = dict(span.attributes or {})
        assert len(told) == 3 or max(len(value) for value in told.values() if isinstance(value, str)) == 3


WRITES: list[Callable[[Any], object]] = [
    lambda span: span.set_attribute("a", 1),
    lambda span: span.set_attributes({"a": 1}),
    lambda span: span.add_event("happened", {"a": 1}, 5),
    lambda span: span.add_link(span.get_span_context(), {"a": 1}),
    lambda span: span.update_name("renamed"),
    lambda span: span.set_status(StatusCode.ERROR, "wrong"),
    lambda span: span.record_exception(ValueError("no")),
    lambda span: span.name,
]


@pytest.mark.parametrize("write", WRITES)
def test_what_a_body_writes_is_written(write: Callable[[Any], object]) -> None:
    """As on a span that a tracer has made."""
    seen, watched = Seen(), Seen()
    watched.tracers.add_span_processor(Noting(mark=None))
    for one in (seen, watched):
        told = attempt()
        with one.instrument.inside(told):
            span = trace.get_current_span()
            assert span.is_recording()
            write(span)
            assert span.is_recording()
        one.instrument.saw(ended(told))
        assert not span.is_recording()
    (mine,), (theirs,) = seen.all, watched.all
    for field in ("name", "context", "parent", "start_time", "end_time", "attributes", "kind"):
        assert getattr(mine, field) == getattr(theirs, field), field
    assert [link.context for link in mine.links] == [link.context for link in theirs.links]
    assert [event.name for event in mine.events] == [event.name for event in theirs.events]
    assert (mine.status.status_code, mine.status.description) == (theirs.status.status_code, theirs.status.description)


def test_a_body_may_end_its_span(seen: Seen) -> None:
    """It is exported once, as it was then."""
    one = attempt()
    with seen.instrument.inside(one):
        trace.get_current_span().end()
        assert not trace.get_current_span().is_recording()
    assert len(seen.all) == 1


@pytest.mark.parametrize("how", ["completed", "given back"])
@pytest.mark.parametrize("write", WRITES[:-1])
def test_what_nobody_has_written_on_is_over_with_its_attempt(
    seen: Seen, write: Callable[[Any], object], how: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that was left behind writes on nothing, and begins nothing that nobody would end."""
    one, begun = attempt(), list[Span]()
    monkeypatch.setattr(Span, "start", lambda self, *_: begun.append(self))
    with seen.instrument.inside(one):
        span = trace.get_current_span()
        assert not hasattr(span, "__deepcopy__")
    seen.instrument.saw(ended(one, how))
    assert not span.is_recording()
    write(span)
    span.end()
    assert not span.is_recording()
    assert not hasattr(span, "attributes")
    assert not begun
    (told,) = seen.all
    assert not told.events
    assert set(told.attributes or {}).isdisjoint("a")


def test_what_was_written_on_once_takes_nothing_when_it_is_over(seen: Seen, caplog: pytest.LogCaptureFixture) -> None:
    """It is a span of the SDK, which says so itself."""
    one = attempt()
    with seen.instrument.inside(one):
        span = trace.get_current_span()
        span.set_attribute("in time", "yes")
    seen.instrument.saw(ended(one))
    span.set_attribute("late", "yes")
    assert len(caplog.records) == 1
    told = seen.only("charge").attributes or {}
    assert ("in time" in told, "late" in told) == (True, False)


def test_several_threads_write_on_one_span(seen: Seen) -> None:
    """Whoever comes first."""
    one, barrier = attempt(), threading.Barrier(8)
    with seen.instrument.inside(one):
        span = trace.get_current_span()

        def write(number: int) -> None:
            barrier.wait()
            span.set_attribute(f"of {number}", number)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    seen.instrument.saw(ended(one))
    told = seen.only("charge").attributes or {}
    assert all(told[f"of {number}"] == number for number in range(8))


def test_a_clients_start_beneath_a_span_that_is_not_recorded() -> None:
    """Nothing is exported, and the headers say so."""
    seen = Seen(ALWAYS_OFF)
    seen.tracers.add_span_processor(SimpleSpanProcessor(seen.exporter))
    everything(seen)
    assert "start order" not in [span.name for span in seen.all]


def test_whoever_looks_at_spans_that_are_about_to_end_sees_all(seen: Seen) -> None:
    """Also a processor that does nothing when they begin."""
    looking = Ending()
    seen.tracers.add_span_processor(looking)
    everything(seen)
    assert looking.ending == [span.name for span in seen.all]
    assert len(seen.all) == 5
