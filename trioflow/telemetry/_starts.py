"""The headers of what is started: which trace it belongs to.

Laws: a client's start, and its execution, are beneath the client's current span; a child is in its parent's trace.
What nobody waits for (a detached start, the next execution) begins a trace of its own, linked to where it comes from.
Whether a trace is recorded is decided once, where it begins, and for one that is linked by the one it comes from.

Who calls it: `_spans.py`. Read next: `_traced.py`.
"""

from __future__ import annotations

import attrs
from opentelemetry.trace import Span, SpanContext, SpanKind

from trioflow.abc import Start, StartAnswered
from trioflow.telemetry._attributes import INSTANCE, NAME, OUTCOME
from trioflow.telemetry._context import first, headers_of
from trioflow.telemetry._drawn import Drawn, Ending
from trioflow.telemetry._errors import Fault
from trioflow.telemetry._ids import root_id_of, span_id_of, trace_id_of
from trioflow.telemetry._pen import Pen
from trioflow.telemetry._traced import Traced


@attrs.define(eq=False)
class Starts:
    """Answers for the headers of starts, and draws those of clients."""

    _pen: Pen
    _begun: dict[str, Span | Drawn] = attrs.field(factory=dict)  # by seed; each is answered, so it is not bounded

    def headers(self, start: Start) -> dict[str, str]:
        """Headers of an execution that is about to be asked for, or to begin; none where the asker has no trace."""
        match start.by:
            case "client":
                return self._by_client(start)
            case "worker":
                return headers_of(self._pen.new_trace(start.seed, start.name, {INSTANCE: start.instance}))
        asker = None if start.asker is None else Traced.of(start.asker)
        if asker is None:
            return {}
        origin = asker.anchor if start.by == "continued" else asker.part(start.key)
        if start.by == "parent":
            return headers_of(origin)
        return headers_of(_linked(start.seed, origin), origin)

    def answered(self, fact: StartAnswered) -> None:
        """A client's start is over."""
        begun = self._begun.pop(fact.start.seed, None)
        if begun is not None:
            ending = Ending(
                at=fact.start.at, until=fact.at, attributes={OUTCOME: fact.how}, fault=Fault.named(fact.error)
            )
            self._pen.finish(begun, ending)

    def _by_client(self, start: Start) -> dict[str, str]:
        name, kind = f"start {start.name}", SpanKind.PRODUCER
        span_id = span_id_of(start.instance, 0, "start", start.seed)
        attributes = {INSTANCE: start.instance, NAME: start.name}
        span, parent, told = self._pen.place_here(start.seed, span_id, name, kind, attributes)
        if told is not None:
            drawn = Drawn(name=name, span=span, parent=parent, at=start.at, kind=kind, attributes=told)
            self._begun[start.seed] = self._pen.begin_here(drawn)
        return headers_of(span)


def _linked(seed: str, origin: SpanContext) -> SpanContext:
    """The first span of another trace, with the decision of the one that it comes from."""
    return first(trace_id_of(seed), root_id_of(seed), sampled=origin.trace_flags.sampled, state=origin.trace_state)
