"""Spans as we want them: all that is to be said of one, and how one ends that was open meanwhile.

Laws: pure; times are seconds on the store's clock, and go out in whole nanoseconds, the end never before the begin.

Must never know: facts, the SDK. Who makes them: `_executions.py`, `_parts.py`, `_starts.py`, `_attempts.py`. Read next:
`_pen.py`.
"""

from __future__ import annotations

import attrs
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.status import Status

from trioflow.telemetry._attributes import CANCELLED, Attributes, Value
from trioflow.telemetry._errors import Fault


@attrs.frozen(kw_only=True)
class Ending:
    """How a span ends that has begun: `attributes` are those that it did not begin with."""

    at: float
    until: float
    attributes: Attributes
    fault: Fault | None = None
    cancelled: bool = False


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

    def over(self, ending: Ending) -> Drawn:
        """It, ended so."""
        return Drawn(
            name=self.name,
            span=self.span,
            parent=self.parent,
            at=self.at,
            until=ending.until,
            kind=self.kind,
            attributes={**self.attributes, **ending.attributes},
            fault=ending.fault,
            cancelled=ending.cancelled,
            links=self.links,
        )

    @property
    def times(self) -> tuple[int, int]:
        """When it began and when it ended, in nanoseconds."""
        begin, until = nanoseconds(self.at), self.until
        return begin, begin if until is None or until <= self.at else nanoseconds(until)

    def linked(self) -> tuple[Link, ...]:
        """Its links, each for one span alone."""
        return tuple([Link(link, {}) for link in self.links])


def told(what: Drawn | Ending) -> Attributes:
    """All its attributes."""
    if what.fault is None and not what.cancelled:
        return what.attributes
    whole: dict[str, Value] = dict(what.attributes)
    if what.cancelled:
        whole[CANCELLED] = True
    if what.fault is not None:
        whole |= what.fault.attributes
    return whole


def status_of(fault: Fault, *, messages: bool) -> Status:
    """What a span's status says of what went wrong."""
    return Status(StatusCode.ERROR, fault.text(messages=messages))


def nanoseconds(seconds: float) -> int:
    """A time in whole nanoseconds, as exact as it was in seconds."""
    whole = int(seconds)
    return whole * 1_000_000_000 + round((seconds - whole) * 1_000_000_000)
