"""Spans as we want them, and the pen that draws them with a tracer of the SDK.

Laws: times are seconds on the store's clock, and go out in whole nanoseconds, the end never before the begin; a span is
drawn whole, or begun and finished later; one that is begun and never finished is not exported.

Must never know: facts. Who calls it: `_spans.py`, `_starts.py`, `_attempts.py`. Read next: `_sdk.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    get_current_span,
)
from opentelemetry.trace.status import Status

from trioflow.telemetry._attributes import CANCELLED, Attributes, Value
from trioflow.telemetry._context import beneath, first
from trioflow.telemetry._errors import Fault
from trioflow.telemetry._ids import root_id_of, trace_id_of

if TYPE_CHECKING:
    from trioflow.telemetry._sdk import Maker

FINE: Final = Status()


@attrs.frozen(kw_only=True)
class Drawn:
    """A span.

    Attributes:
        name: what is shown of it.
        span: its own place in the trace.
        parent: what it is beneath; None if the trace begins with it.
        at: when it began.
        until: when it ended; None for one that is a moment, or has not ended yet.
        kind: as OpenTelemetry has it.
        attributes: what it says.
        fault: what went wrong, if it did.
        cancelled: whether it ended by a cancellation, which is no error.
        links: spans that it comes from.
    """

    name: str
    span: SpanContext
    parent: SpanContext | None
    at: float
    until: float | None = None
    kind: SpanKind = SpanKind.INTERNAL
    attributes: Attributes = attrs.field(factory=dict)
    fault: Fault | None = None
    cancelled: bool = False
    links: tuple[SpanContext, ...] = ()


@attrs.frozen(kw_only=True)
class Ending:
    """How a span ends that has begun: `attributes` are those that it did not begin with."""

    at: float
    until: float
    attributes: Attributes
    fault: Fault | None = None
    cancelled: bool = False


@attrs.define(eq=False)
class Pen:
    """Draws spans. `tracer`: of the SDK; `maker`: makes them for it; `messages`: whether faults tell theirs."""

    tracer: Any
    maker: Maker
    messages: bool

    def draw(self, drawn: Drawn) -> None:
        """One that is over."""
        begin = nanoseconds(drawn.at)
        until = drawn.until
        self.maker.over(
            drawn.name,
            drawn.span,
            drawn.parent,
            kind=drawn.kind,
            attributes=_told(drawn),
            links=_links(drawn),
            status=self._status(drawn.fault),
            begin=begin,
            end=begin if until is None or until <= drawn.at else nanoseconds(until),
        )

    def begin(self, drawn: Drawn) -> Span:
        """One that lasts."""
        context = Context() if drawn.parent is None else beneath(drawn.parent)
        return self._begun(drawn, drawn.span, drawn.parent, _told(drawn), context)

    def begin_here(self, drawn: Drawn) -> Span:
        """One beneath the span that is current; where none is, it begins a trace. The sampler decides."""
        parent: SpanContext | None = get_current_span().get_span_context()
        if parent is not None and not parent.is_valid:
            parent = None
        trace_id = drawn.span.trace_id if parent is None else parent.trace_id
        attributes = dict(drawn.attributes)
        result = self.tracer.sampler.should_sample(None, trace_id, drawn.name, drawn.kind, attributes, ())
        flags = 0 if parent is None else parent.trace_flags & ~TraceFlags.SAMPLED
        if result.decision.is_sampled():
            flags |= TraceFlags.SAMPLED
        span = SpanContext(
            trace_id,
            drawn.span.span_id,
            is_remote=False,
            trace_flags=TraceFlags(flags),
            trace_state=result.trace_state,
        )
        if not result.decision.is_recording():
            return NonRecordingSpan(span)
        return self._begun(drawn, span, parent, result.attributes, None)

    def _begun(
        self, drawn: Drawn, span: SpanContext, parent: SpanContext | None, told: Attributes, context: Context | None
    ) -> Span:
        return self.maker.begin(
            drawn.name,
            span,
            parent,
            kind=drawn.kind,
            attributes=told,
            links=_links(drawn),
            begin=nanoseconds(drawn.at),
            context=context,
        )

    def finish(self, span: Span, ending: Ending) -> None:
        """One that was begun."""
        for name, value in _told(ending).items():  # few: as a mapping they are copied and checked once more
            span.set_attribute(name, value)
        if ending.fault is not None:
            span.set_status(self._status(ending.fault))
        span.end(nanoseconds(max(ending.until, ending.at)))

    def _status(self, fault: Fault | None) -> Status:
        return FINE if fault is None else Status(StatusCode.ERROR, fault.text(messages=self.messages))

    def new_trace(self, seed: str, name: str, attributes: Attributes) -> SpanContext:
        """The first span of a trace that an execution is to begin; the sampler decides, once."""
        trace_id = trace_id_of(seed)
        result = self.tracer.sampler.should_sample(Context(), trace_id, name, SpanKind.INTERNAL, dict(attributes), ())
        return first(trace_id, root_id_of(seed), sampled=result.decision.is_sampled(), state=result.trace_state)


def _links(drawn: Drawn) -> tuple[Link, ...]:
    return tuple([Link(link) for link in drawn.links]) if drawn.links else ()


def _told(what: Drawn | Ending) -> Attributes:
    """All its attributes."""
    if what.fault is None and not what.cancelled:
        return what.attributes
    told: dict[str, Value] = dict(what.attributes)
    if what.cancelled:
        told[CANCELLED] = True
    if what.fault is not None:
        told |= what.fault.attributes
    return told


def nanoseconds(seconds: float) -> int:
    """A time in whole nanoseconds, as exact as it was in seconds."""
    whole, rest = divmod(seconds, 1.0)
    return int(whole) * 1_000_000_000 + round(rest * 1_000_000_000)
