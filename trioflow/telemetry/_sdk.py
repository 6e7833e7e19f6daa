"""Spans of OpenTelemetry's SDK that we make ourselves, since their ids and the decision to record them are ours.

Laws: what is told when it is over is made finished, and given to the provider's processors as such: it was never open
in this process, and that costs a tenth. What is open while code runs is a span like any other, which its processors see
begin. Nobody else's spans, and nothing of the provider, are touched.

Must never know: facts. It is imported where an SDK is there, and not before. Who calls it: `_pen.py`.
"""

from __future__ import annotations

from typing import Any

import attrs
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind
from opentelemetry.trace.status import Status

from trioflow.telemetry._attributes import Attributes


class OwnSpan(Span):
    """The SDK lets nobody but a tracer make its own class."""


@attrs.define(eq=False)
class Maker:
    """Makes them for a tracer of the SDK. Times are in nanoseconds."""

    _tracer: Any
    _scope: InstrumentationScope
    _limits: SpanLimits = attrs.field(init=False)

    @_limits.default
    def _limits_of_the_provider(self) -> SpanLimits:
        """The SDK keeps them to itself; those of the environment are what most have."""
        return getattr(self._tracer, "_span_limits", None) or SpanLimits()

    def over(
        self,
        name: str,
        span: SpanContext,
        parent: SpanContext | None,
        *,
        kind: SpanKind,
        attributes: Attributes,
        links: tuple[Link, ...],
        status: Status,
        begin: int,
        end: int,
    ) -> None:
        """One that is over."""
        tracer = self._tracer
        tracer.span_processor.on_end(
            ReadableSpan(
                name,
                span,
                parent,
                tracer.resource,
                attributes,
                (),
                links,
                kind,
                None,
                status,
                begin,
                end,
                self._scope,
            )
        )

    def begin(
        self,
        name: str,
        span: SpanContext,
        parent: SpanContext | None,
        *,
        kind: SpanKind,
        attributes: Attributes,
        links: tuple[Link, ...],
        begin: int,
        context: Context | None,
    ) -> Span:
        """One that lasts. `context`: that it begins in, where that is not the current one."""
        tracer = self._tracer
        own = OwnSpan(
            name,
            span,
            parent,
            resource=tracer.resource,
            attributes=attributes,
            links=links,
            kind=kind,
            span_processor=tracer.span_processor,
            limits=self._limits,
            instrumentation_scope=self._scope,
        )
        own.start(begin, context)
        return own


def maker_for(tracer: Any, scope: str, release: str | None) -> Maker:
    """For a tracer that was asked for by that name."""
    return Maker(tracer, InstrumentationScope(scope, release))
