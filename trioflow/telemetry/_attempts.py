"""The spans of attempts of activities: begun around the body, where they are current, and finished when their end is
recorded.

Laws: the body's own spans, those of its tasks and of its threads, are beneath its attempt's. An attempt whose end is
never told is not exported. One that is given back is as if it had not begun: the next has its number, and thus its id;
what is drawn of it has another.

A span is of the kind CONSUMER: somebody took from a queue what another had put there long ago, perhaps in another
process, and back ends show it as work that enters a service.

Who calls it: `_spans.py`. Read next: `_pen.py`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

import attrs
from opentelemetry import context as current
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, set_span_in_context

from trioflow.abc import Attempt, AttemptEnded
from trioflow.telemetry._attributes import (
    ACTIVITY,
    ATTEMPT,
    EVENT_ID,
    EXECUTION,
    INSTANCE,
    OUTCOME,
    RETRY_IN,
    SESSION,
    TAG,
    WAITED,
    WORKER,
    Attributes,
    Value,
)
from trioflow.telemetry._blank import BlankSpan
from trioflow.telemetry._context import beside, context_of
from trioflow.telemetry._drawn import Drawn, Ending
from trioflow.telemetry._errors import Fault
from trioflow.telemetry._ids import span_id_of
from trioflow.telemetry._pen import Pen
from trioflow.telemetry._pending import Pending

Key = tuple[str, int, int, int]


class Current:
    """Inside, a span is current."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._token = current.attach(set_span_in_context(self._span))

    def __exit__(self, *raised: object) -> None:
        current.detach(self._token)


class Begun(NamedTuple):
    """An attempt that is recorded: where it hangs, its own place, and what is current in its body, if that is here."""

    parent: SpanContext
    here: SpanContext
    span: Span | None


@attrs.define(eq=False)
class Attempts:
    """Draws them."""

    _pen: Pen
    _pending: Pending[Key, Begun] = attrs.field(factory=Pending)

    def inside(self, attempt: Attempt) -> AbstractContextManager[object]:
        """Inside, its span is the current one; one that is not recorded keeps what is beneath it unrecorded."""
        parent = context_of(attempt.headers)
        if parent is None:
            return nullcontext()
        if not parent.trace_flags.sampled:
            return Current(NonRecordingSpan(parent))
        here = _span(attempt, parent, attempt.attempt)
        span = self._pen.begin(here, partial(_drawn, attempt, parent, here))
        self._pending.put(_key(attempt), Begun(parent, here, span))
        return Current(span)

    def ended(self, fact: AttemptEnded) -> None:
        """Its end is recorded. One that nobody has written on is drawn now, like one whose body was never called."""
        attempt = fact.attempt
        begun = self._pending.take(_key(attempt)) or _unseen(attempt)
        if begun is None:
            return
        parent, here, span = begun
        written = span.close() if isinstance(span, BlankSpan) else span
        if fact.how == "given back":
            here = _span(attempt, parent, attempt.attempt, "given back", attempt.worker, str(attempt.began))
            self._pen.draw(_drawn(attempt, parent, here, f"{attempt.name}: given back", fact))
        elif written is None:
            self._pen.draw(_drawn(attempt, parent, here, attempt.name, fact))
        else:
            self._pen.finish(written, _ending(fact))


def _unseen(attempt: Attempt) -> Begun | None:
    """One whose begin is not known here; None if it is not recorded."""
    parent = context_of(attempt.headers)
    if parent is None or not parent.trace_flags.sampled:
        return None
    return Begun(parent, _span(attempt, parent, attempt.attempt), None)


def _key(attempt: Attempt) -> Key:
    return attempt.instance, attempt.execution, attempt.event_id, attempt.attempt


def _span(attempt: Attempt, parent: SpanContext, number: int, *more: str) -> SpanContext:
    """Its parent's id stands for the seed of the execution, which an attempt does not know."""
    whose = (attempt.instance, attempt.execution, f"{parent.span_id:x}")
    span_id = span_id_of(*whose, "attempt", attempt.event_id, number, *more)
    return beside(parent, span_id, remote=number != attempt.attempt)


def _drawn(
    attempt: Attempt, parent: SpanContext, here: SpanContext, name: str | None = None, over: AttemptEnded | None = None
) -> Drawn:
    """As it begins, or once it is `over`; a retry is linked to the attempt before it."""
    before = attempt.attempt - 1
    return Drawn(
        name=attempt.name if name is None else name,
        span=here,
        parent=parent,
        at=attempt.began,
        until=None if over is None else over.at,
        kind=SpanKind.CONSUMER,
        attributes=_attributes(attempt, over),
        fault=None if over is None else _fault(over),
        cancelled=over is not None and over.how == "cancelled",
        links=(_span(attempt, parent, before),) if before else (),
    )


def _ending(fact: AttemptEnded) -> Ending:
    return Ending(
        at=fact.attempt.began,
        until=fact.at,
        attributes=_outcome(fact),
        fault=_fault(fact),
        cancelled=fact.how == "cancelled",
    )


def _fault(fact: AttemptEnded) -> Fault | None:
    return None if fact.failure is None else Fault.of(fact.failure)


def _outcome(fact: AttemptEnded) -> dict[str, Value]:
    return {OUTCOME: fact.how} if fact.retry_in is None else {OUTCOME: fact.how, RETRY_IN: fact.retry_in}


def _attributes(attempt: Attempt, over: AttemptEnded | None) -> Attributes:
    told: dict[str, Value] = {
        INSTANCE: attempt.instance,
        EXECUTION: attempt.execution,
        ACTIVITY: attempt.name,
        EVENT_ID: attempt.event_id,
        ATTEMPT: attempt.attempt,
        WAITED: attempt.waited,
        WORKER: attempt.worker,
    }
    if attempt.tag is not None:
        told[TAG] = attempt.tag
    if attempt.session is not None:
        told[SESSION] = attempt.session
    return told if over is None else told | _outcome(over)
