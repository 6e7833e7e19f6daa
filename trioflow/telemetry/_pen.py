"""The pen that draws spans.

Laws: a span is drawn whole, or begun and finished later; one that is begun and never finished is not exported. Whether
a trace is recorded is asked of the sampler where the trace begins, and kept by all that is beneath.

Must never know: facts. Who calls it: `_spans.py`, `_starts.py`, `_attempts.py`. Read next: `_sdk.py`, `_blank.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind, TraceFlags, get_current_span

from trioflow.telemetry._attributes import Attributes
from trioflow.telemetry._blank import BlankSpan
from trioflow.telemetry._context import beneath, first
from trioflow.telemetry._drawn import Drawn, Ending, nanoseconds, status_of, told
from trioflow.telemetry._ids import root_id_of, trace_id_of

if TYPE_CHECKING:
    from trioflow.telemetry._sdk import Maker


class Place(NamedTuple):
    """A place in a trace that a span is to have; `told`: the attributes that it is to begin with, None if it is not
    recorded.
    """

    span: SpanContext
    parent: SpanContext | None
    told: Attributes | None


@attrs.define(eq=False)
class Pen:
    """Draws spans. `tracer`: of the SDK; `maker`: makes them for it; `messages`: whether faults tell theirs."""

    tracer: Any
    maker: Maker
    messages: bool

    def draw(self, drawn: Drawn) -> None:
        """One that is over."""
        self.maker.over(drawn)

    def begin(self, span: SpanContext, draw: Callable[[], Drawn]) -> Span:
        """One that lasts, and may be current meanwhile: in that place, beneath its parent; `draw` says the rest."""
        begin = partial(self._begin, draw)
        return begin() if self.maker.watched else BlankSpan(span, begin)

    def _begin(self, draw: Callable[[], Drawn]) -> Span:
        drawn = draw()
        return self.maker.begin(drawn, Context() if drawn.parent is None else beneath(drawn.parent))

    def place_here(self, seed: str, span_id: int, name: str, kind: SpanKind, attributes: Attributes) -> Place:
        """For one beneath the span that is current; where none is, it begins a trace. The sampler decides."""
        here = get_current_span().get_span_context()
        parent = here if here.is_valid else None
        trace_id = trace_id_of(seed) if parent is None else parent.trace_id
        result = self.tracer.sampler.should_sample(None, trace_id, name, kind, attributes, ())
        flags = TraceFlags.DEFAULT if parent is None else parent.trace_flags & ~TraceFlags.SAMPLED
        if result.decision.is_sampled():
            flags |= TraceFlags.SAMPLED
        span = SpanContext(
            trace_id, span_id, is_remote=False, trace_flags=TraceFlags(flags), trace_state=result.trace_state
        )
        return Place(span, parent, result.attributes if result.decision.is_recording() else None)

    def begin_here(self, drawn: Drawn) -> Span | Drawn:
        """What is to be finished of one that has its place beneath the span that is current."""
        return self.maker.begin(drawn, None) if self.maker.watched else drawn

    def finish(self, begun: Span | Drawn, ending: Ending) -> None:
        """One that was begun."""
        if isinstance(begun, Drawn):
            self.maker.over(begun.over(ending))
            return
        for name, value in told(ending).items():  # few: as a mapping they are copied and checked once more
            begun.set_attribute(name, value)
        if ending.fault is not None:
            begun.set_status(status_of(ending.fault, messages=self.messages))
        begun.end(nanoseconds(max(ending.until, ending.at)))

    def new_trace(self, seed: str, name: str, attributes: Attributes) -> SpanContext:
        """The first span of a trace that an execution is to begin; the sampler decides, once."""
        trace_id = trace_id_of(seed)
        result = self.tracer.sampler.should_sample(Context(), trace_id, name, SpanKind.INTERNAL, dict(attributes), ())
        return first(trace_id, root_id_of(seed), sampled=result.decision.is_sampled(), state=result.trace_state)
