"""Trace contexts as texts in headers: W3C's `traceparent` and `tracestate`, and `trioflow-link` for the span that a new
trace comes from.

Laws: what cannot be read is no context; nothing of the process's current context gets in; what a caller brings along is
stored with each activity, so of a `tracestate` no more is kept than W3C asks everybody to pass on.

Who calls it: everybody here. Read next: `_traced.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

LINK: Final = "trioflow-link"

STATE: Final = 512
"""Characters of a `tracestate` that are passed on; of a longer one, nothing is."""

_W3C: Final = TraceContextTextMapPropagator()


def context_of(headers: Mapping[str, str]) -> SpanContext | None:
    """The span that headers name; None if they name none."""
    found = get_current_span(_W3C.extract(headers, Context())).get_span_context()
    return found if found.is_valid else None


def link_of(headers: Mapping[str, str]) -> SpanContext | None:
    """The span of another trace that this one comes from, if headers name one."""
    return context_of({"traceparent": headers[LINK]}) if LINK in headers else None


def headers_of(span: SpanContext, link: SpanContext | None = None) -> dict[str, str]:
    """Headers that name a span, and the one that it comes from."""
    headers: dict[str, str] = {}
    _W3C.inject(headers, beneath(span))
    if len(headers.get("tracestate", "")) > STATE:
        del headers["tracestate"]
    if link is not None:
        headers[LINK] = _text(link)
    return headers


def beneath(span: SpanContext) -> Context:
    """A context of nothing else than a span: what is begun in it is its child."""
    return set_span_in_context(NonRecordingSpan(span), Context())


def beside(span: SpanContext, span_id: int) -> SpanContext:
    """Another span of the same trace, with the same decision on whether it is recorded."""
    return SpanContext(
        span.trace_id, span_id, is_remote=True, trace_flags=span.trace_flags, trace_state=span.trace_state
    )


def first(trace_id: int, span_id: int, *, sampled: bool, state: TraceState | None = None) -> SpanContext:
    """The first span of a trace."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags, trace_state=state)


def _text(span: SpanContext) -> str:
    headers: dict[str, str] = {}
    _W3C.inject(headers, beneath(span))
    return headers["traceparent"]
