"""Tools for the tests of telemetry: an SDK that keeps spans and metrics in memory, a tree to check, facts to tell.

Who uses it: all tests beside it. Whatever a test reads through `Seen.spans`, it proves that no span is an orphan and no
id is there twice.
"""

from __future__ import annotations

from typing import Any

import attrs
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trioflow.abc import Attempt, AttemptEnded, Start, Subject, TurnRan
from trioflow.history import Event, Failure, OrchestrationStarted
from trioflow.telemetry import OpenTelemetry

EPOCH = 1_700_000_000.0
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = SAMPLED[:-1] + "0"
CALLER = int(SAMPLED[36:52], 16)
"""The span of a caller outside, whom facts made here have for a parent."""


class Seen:
    """A provider of each kind, the instrument that is tested, and what came of it."""

    def __init__(self, sampler: Any = None, span_limits: SpanLimits | None = None, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(sampler=sampler, span_limits=span_limits)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.instrument = OpenTelemetry(self.tracers, self.meters, **options)
        self.user = self.tracers.get_tracer("user")

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        """Every span, whole trees or not, in the order of their ends."""
        return self.exporter.get_finished_spans()

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Every span, once checked: each id is there once, each parent is there."""
        spans = self.all
        ids = [span.context.span_id for span in spans if span.context]
        assert len(ids) == len(set(ids)), names(spans)
        orphans = [span.name for span in spans if span.parent and span.parent.span_id not in (*ids, CALLER)]
        assert not orphans, orphans
        for span in spans:
            assert span.start_time is not None
            assert span.end_time is not None
            assert span.start_time <= span.end_time
        return spans

    def only(self, name: str) -> ReadableSpan:
        """The one span of that name."""
        (span,) = [span for span in self.all if span.name == name]
        return span

    def tree(self) -> list[str]:
        """The names, indented as they hang, in order of time; turns left out."""
        spans = [span for span in self.spans if span.name != "turn"]
        lines: list[str] = []

        def hang(parent: int | None, depth: int) -> None:
            for span in sorted(spans, key=lambda span: (span.start_time or 0, span.name)):
                above = span.parent.span_id if span.parent else CALLER
                if (None if above == CALLER else above) == parent:
                    lines.append("  " * depth + span.name)
                    hang(span.context.span_id if span.context else None, depth + 1)

        hang(None, 0)
        return lines

    def metrics(self) -> dict[str, dict[tuple[tuple[str, Any], ...], Any]]:
        """Values by metric and labels; of a histogram, count and sum."""
        found: dict[str, dict[tuple[tuple[str, Any], ...], Any]] = {}
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        value = getattr(point, "value", None)
                        labels = tuple(sorted((point.attributes or {}).items()))
                        told = (point.count, point.sum) if value is None else value
                        found.setdefault(metric.name, {})[labels] = told
        return found


def names(spans: Any) -> list[str]:
    """Of spans."""
    return [span.name for span in spans]


def nanoseconds(at: float) -> int:
    """A time that is a whole number of microseconds."""
    return round(at * 1_000_000) * 1_000


def subject(**changes: Any) -> Subject:
    """An execution with a trace."""
    fields: dict[str, Any] = {
        "instance": "order-1",
        "execution": 1,
        "name": "order",
        "version": "1.0.0",
        "started_at": EPOCH,
        "headers": {"traceparent": SAMPLED},
        "seed": "5eed",
    }
    return Subject(**{**fields, **changes})


def started(**changes: Any) -> OrchestrationStarted:
    """Its first event."""
    fields: dict[str, Any] = {"id": 1, "at": EPOCH, "instance": "order-1", "name": "order", "payload": b"{}"}
    return OrchestrationStarted(**{**fields, "seed": "5eed", **changes})


def turn(*events: Event, whose: Subject | None = None, **changes: Any) -> TurnRan:
    """A turn that added these events."""
    fields: dict[str, Any] = {
        "worker": "w1",
        "began": EPOCH + 1,
        "committing": EPOCH + 1.25,
        "ended": EPOCH + 1.75,
        "spans": (),
        "cached": True,
        "replayed": 0,
        "attempts": 1,
        "unread": 0,
        "length": len(events),
    }
    return TurnRan(subject=whose or subject(), events=events, **{**fields, **changes})


def start(by: Any, **changes: Any) -> Start:
    """A start that is about to be asked for."""
    fields: dict[str, Any] = {"instance": "order-1", "name": "order", "seed": "5eed", "at": EPOCH}
    return Start(by=by, **{**fields, **changes})


def attempt(**changes: Any) -> Attempt:
    """An attempt of an activity that has a trace."""
    fields: dict[str, Any] = {
        "instance": "order-1",
        "execution": 1,
        "event_id": 2,
        "name": "charge",
        "attempt": 1,
        "failures": 0,
        "tag": None,
        "session": None,
        "worker": "w1",
        "scheduled_at": EPOCH,
        "began": EPOCH + 2,
        "headers": {"traceparent": SAMPLED},
    }
    return Attempt(**{**fields, **changes})


def ended(one: Attempt, how: Any = "completed", error: str | None = None, **changes: Any) -> AttemptEnded:
    """Its end, three seconds later; `error`: the class of what it raised, where no more is said of that."""
    failure = {} if error is None else {"failure": Failure(type=error, message="")}
    return AttemptEnded(attempt=one, at=one.began + 3, how=how, **{**failure, **changes})


@attrs.define
class Frozen:
    """A sampler of a test: says what it is told to, and counts how often it was asked."""

    answers: list[Any]
    asked: int = 0

    def should_sample(self, *about: Any, **more: Any) -> Any:
        """The next answer."""
        self.asked += 1
        return self.answers.pop(0)

    def get_description(self) -> str:
        """As the SDK wants it."""
        return "Frozen"
