"""Spans as we want them, and the pen that draws them with a tracer of the SDK.

Laws: times are seconds on the store's clock, and go out in whole nanoseconds, the end never before the begin; a span is
drawn whole, or begun and finished later; one that is begun and never finished is not exported.

Must never know: facts. Who calls it: `_spans.py`, `_starts.py`, `_attempts.py`. Read next: `_sdk.py`.
"""

from __future__ import annotations

from typing import Any

import attrs
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode

from trioflow.telemetry._attributes import CANCELLED, Attributes, Value
from trioflow.telemetry._context import beneath, first
from trioflow.telemetry._errors import Fault
from trioflow.telemetry._ids import root_id_of, trace_id_of
from trioflow.telemetry._sdk import Given


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
    """Draws spans. `tracer`: of the SDK, with `_sdk.install`; `messages`: whether faults tell theirs."""

    tracer: Any
    messages: bool
    _above: tuple[SpanContext, Context] | None = attrs.field(default=None, init=False)  # the last parent, as a context

    def draw(self, drawn: Drawn) -> None:
        """One that is over."""
        self._end(self.begin(drawn), drawn)

    def begin(self, drawn: Drawn) -> Span:
        """One that lasts."""
        given = Given(drawn.span.span_id)
        if drawn.parent is None:
            given.trace_id, given.parent = drawn.span.trace_id, beneath(drawn.span)
        return self._begun(drawn, given, Context() if drawn.parent is None else self._beneath(drawn.parent))

    def _beneath(self, parent: SpanContext) -> Context:
        """Spans are often drawn beneath the same as the one before."""
        above = self._above
        if above is None or above[0] is not parent:
            above = self._above = parent, beneath(parent)
        return above[1]

    def begin_here(self, drawn: Drawn) -> Span:
        """One beneath the span that is current; where none is, it begins a trace, and the sampler decides."""
        return self._begun(drawn, Given(drawn.span.span_id, drawn.span.trace_id), None)

    def _begun(self, drawn: Drawn, given: Given, context: Context | None) -> Span:
        with given:
            span: Span = self.tracer.start_span(
                drawn.name,
                context=context,
                kind=drawn.kind,
                attributes=_told(drawn),
                links=[Link(link) for link in drawn.links],
                start_time=nanoseconds(drawn.at),
            )
        return span

    def finish(self, span: Span, ending: Ending) -> None:
        """One that was begun."""
        for name, value in _told(ending).items():  # few: as a mapping they are copied and checked once more
            span.set_attribute(name, value)
        self._end(span, ending)

    def _end(self, span: Span, over: Drawn | Ending) -> None:
        if over.fault is not None:
            span.set_status(StatusCode.ERROR, over.fault.text(messages=self.messages))
        span.end(nanoseconds(over.at if over.until is None else max(over.until, over.at)))

    def new_trace(self, seed: str, name: str, attributes: Attributes) -> SpanContext:
        """The first span of a trace that an execution is to begin; the sampler decides, once."""
        trace_id = trace_id_of(seed)
        result = self.tracer.sampler.should_sample(Context(), trace_id, name, SpanKind.INTERNAL, dict(attributes), ())
        return first(trace_id, root_id_of(seed), sampled=result.decision.is_sampled(), state=result.trace_state)


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
