"""Trace contexts as texts in headers: W3C's `traceparent` and `tracestate`, and `trioflow-link` for the span that a new
trace comes from.

Laws: what cannot be read is no context; nothing of the process's current context gets in. Reading is the propagator's
business where it is not what we have written, and is done once for the same texts: every fact of an execution brings
its headers along. What a caller brings
along is stored with each activity, so of a `tracestate` no more is kept than W3C asks everybody to pass on.

Who calls it: everybody here. Read next: `_traced.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
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

PARENT: Final = "traceparent"
STATE: Final = "tracestate"
LINK: Final = "trioflow-link"

LONGEST_STATE: Final = 512
"""Characters of a `tracestate` that are passed on; of a longer one, nothing is."""

_OURS: Final = re.compile("00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
"""As we write them: nothing that needs the propagator's judgement."""

_W3C: Final = TraceContextTextMapPropagator()


def context_of(headers: Mapping[str, str]) -> SpanContext | None:
    """The span that headers name; None if they name none."""
    text = headers.get(PARENT)
    return _read(text, headers.get(STATE)) if text else None


@lru_cache(maxsize=4_096)
def _read(parent: str, state: str | None) -> SpanContext | None:
    plain = _OURS.fullmatch(parent) if state is None else None
    if plain is not None:
        flags = TraceFlags(int(plain[3], 16))
        return SpanContext(int(plain[1], 16), int(plain[2], 16), is_remote=True, trace_flags=flags)
    carrier = {PARENT: parent} if state is None else {PARENT: parent, STATE: state}
    found = get_current_span(_W3C.extract(carrier, Context())).get_span_context()
    return found if found.is_valid else None


def link_of(headers: Mapping[str, str]) -> SpanContext | None:
    """The span of another trace that this one comes from, if headers name one."""
    return context_of({PARENT: headers[LINK]}) if LINK in headers else None


def headers_of(span: SpanContext, link: SpanContext | None = None) -> dict[str, str]:
    """Headers that name a span, and the one that it comes from; none for one that is not valid."""
    if not span.is_valid:
        return {}
    headers = {PARENT: _text(span)}
    state = span.trace_state.to_header() if span.trace_state else ""
    if 0 < len(state) <= LONGEST_STATE:
        headers[STATE] = state
    if link is not None:
        headers[LINK] = _text(link)
    return headers


def beneath(span: SpanContext) -> Context:
    """A context of nothing else than a span: what is begun in it is its child."""
    return set_span_in_context(NonRecordingSpan(span), Context())


def beside(span: SpanContext, span_id: int, *, remote: bool = True) -> SpanContext:
    """Another span of the same trace, with the same decision on whether it is recorded."""
    return SpanContext(
        span.trace_id, span_id, is_remote=remote, trace_flags=span.trace_flags, trace_state=span.trace_state
    )


def first(trace_id: int, span_id: int, *, sampled: bool, state: TraceState | None = None) -> SpanContext:
    """The first span of a trace."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags, trace_state=state)


def _text(span: SpanContext) -> str:
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
