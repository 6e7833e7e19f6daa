"""Spans of OpenTelemetry's SDK that we make ourselves, since their ids and the decision to record them are ours.

Laws: what is told when it is over is made finished, and given to the provider's processors as such, which costs a tenth
of a span that begins and ends. Where anybody could tell the difference, because a processor looks at spans that begin
or are about to end, or the provider cuts what spans say, each is begun and ended as any other. Nobody else's spans, and
nothing of the provider, are touched.

Must never know: facts. It is imported where an SDK is there, and not before. Who calls it: `_pen.py`.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace.status import Status

from trioflow.telemetry._attributes import ATTRIBUTES
from trioflow.telemetry._drawn import Drawn, status_of, told

HOOKS: Final = ("on_start", "_on_ending")
"""What the SDK calls when a span begins and when it is about to end; older ones do not know the second."""

DEAF: Final = tuple(
    getattr(kind, hook, None) for kind in (SpanProcessor, BatchSpanProcessor, SimpleSpanProcessor) for hook in HOOKS
)
"""The SDK's own of them, which do nothing."""

FINE: Final = Status()


class OwnSpan(Span):
    """The SDK lets nobody but a tracer make its own class."""


@attrs.define(eq=False)
class Maker:
    """Makes them for a tracer of the SDK. `messages`: whether faults tell theirs."""

    _tracer: Any
    _scope: InstrumentationScope
    _messages: bool
    _limits: SpanLimits = attrs.field(init=False)
    _cuts: bool = attrs.field(init=False)
    _asked: tuple[Any, bool] = attrs.field(default=((), False), init=False)  # which processors, and whether they watch

    def __attrs_post_init__(self) -> None:
        # The SDK keeps a provider's limits to itself; without them, those of the environment are what most have.
        self._limits = limits = getattr(self._tracer, "_span_limits", None) or SpanLimits()
        most = limits.max_span_attributes
        self._cuts = limits.max_span_attribute_length is not None or (most is not None and most < len(ATTRIBUTES))

    @property
    def watched(self) -> bool:
        """Whether anybody could tell a span that was made finished from one that began and ended."""
        processors = getattr(self._tracer.span_processor, "_span_processors", None)
        if processors is None:
            return True  # for all that is known
        if self._asked[0] is not processors:
            self._asked = processors, any(map(_watches, processors))
        return self._cuts or self._asked[1]

    def over(self, drawn: Drawn) -> None:
        """One that is over."""
        if self.watched:
            span = self.begin(drawn, Context())
            if drawn.fault is not None:
                span.set_status(status_of(drawn.fault, messages=self._messages))
            span.end(drawn.times[1])
            return
        tracer, (begin, end) = self._tracer, drawn.times
        tracer.span_processor.on_end(
            ReadableSpan(
                drawn.name,
                drawn.span,
                drawn.parent,
                tracer.resource,
                told(drawn),
                links=drawn.linked() if drawn.links else (),
                kind=drawn.kind,
                status=FINE if drawn.fault is None else status_of(drawn.fault, messages=self._messages),
                start_time=begin,
                end_time=end,
                instrumentation_scope=self._scope,
            )
        )

    def begin(self, drawn: Drawn, context: Context | None) -> Span:
        """One that is open. `context`: that it begins in, where that is not the current one."""
        tracer = self._tracer
        span = OwnSpan(
            drawn.name,
            drawn.span,
            drawn.parent,
            resource=tracer.resource,
            attributes=told(drawn),
            links=drawn.linked(),
            kind=drawn.kind,
            span_processor=tracer.span_processor,
            limits=self._limits,
            instrumentation_scope=self._scope,
        )
        span.start(drawn.times[0], context)
        return span


def _watches(processor: Any) -> bool:
    """Whether it does anything when a span begins, or is about to end."""
    return any(getattr(type(processor), hook, None) not in DEAF for hook in HOOKS)


def maker_for(tracer: Any, scope: str, release: str | None, *, messages: bool) -> Maker:
    """For a tracer that was asked for by that name."""
    return Maker(tracer, InstrumentationScope(scope, release), messages)
