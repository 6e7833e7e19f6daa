"""The spans of an execution, out of what a runtime tells of it: its anchor, its turns, what was done to it, its end.

Laws: pure; a fact that is told once gives each span once. The anchor is drawn with the first event of the history,
whatever that is; what lasts is drawn when it is over, whole, beneath the anchor.

Who calls it: `_spans.py`. Read next: `_parts.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from trioflow.abc import Administered, TurnRan
from trioflow.history import (
    CancelRequested,
    Event,
    OrchestrationCancelled,
    OrchestrationCompleted,
    OrchestrationContinuedAsNew,
    OrchestrationFailed,
    OrchestrationTerminated,
    Parked,
    Resumed,
    Suspended,
)
from trioflow.telemetry._attributes import CACHED, COMMIT, EVENTS, OUTCOME, REASON, REPLAYED, TAKEN, WORKER
from trioflow.telemetry._context import link_of
from trioflow.telemetry._drawn import Drawn
from trioflow.telemetry._errors import Fault
from trioflow.telemetry._parts import span_of_part
from trioflow.telemetry._traced import Traced

ENDINGS: Final[dict[type[Event], str]] = {
    OrchestrationCompleted: "completed",
    OrchestrationFailed: "failed",
    OrchestrationCancelled: "cancelled",
    OrchestrationTerminated: "terminated",
    OrchestrationContinuedAsNew: "continued as new",
}
"""How an execution has ended, by the event that ends it."""

MOMENTS: Final[dict[type[Event], str]] = {
    CancelRequested: "cancel requested",
    Suspended: "suspended",
    Resumed: "resumed",
    Parked: "parked",
}
"""What is done to an execution, and is over at once."""


SHOWN: Final = (*ENDINGS, *MOMENTS)


def spans_of_turn(traced: Traced, fact: TurnRan, *, messages: bool, detail: bool) -> Iterator[Drawn]:
    """What a turn shows. It is shown itself if it changed anything, and has more to say than that, or `detail` asks."""
    yield from _anchor(traced, fact.events)
    for span in fact.spans:
        drawn = span_of_part(traced, span)
        if drawn is not None:
            yield drawn
    if fact.events and (detail or fact.replayed or fact.attempts > 1):
        yield Drawn(
            name="turn",
            span=traced.span("turn", fact.events[0].id),
            parent=traced.anchor,
            at=fact.began,
            until=fact.ended,
            attributes={
                **traced.what,
                WORKER: fact.worker,
                CACHED: fact.cached,
                REPLAYED: fact.replayed,
                TAKEN: fact.attempts,
                EVENTS: len(fact.events),
                COMMIT: max(fact.ended - fact.committing, 0.0),
            },
        )
    yield from _events(traced, fact.events, messages=messages)


def spans_of_administration(traced: Traced, fact: Administered, *, messages: bool) -> Iterator[Drawn]:
    """What was done without a turn."""
    yield from _anchor(traced, fact.events)
    yield from _events(traced, fact.events, messages=messages)


def _anchor(traced: Traced, events: Sequence[Event]) -> Iterator[Drawn]:
    """One that was ended, or held, before it began has an anchor, too."""
    if not events or events[0].id != 1:
        return
    link = link_of(traced.subject.headers)
    yield Drawn(
        name=traced.subject.name,
        span=traced.anchor,
        parent=None if traced.begins else traced.given,
        at=traced.subject.started_at,
        attributes=traced.what,
        links=() if link is None else (link,),
    )


def _events(traced: Traced, events: Sequence[Event], *, messages: bool) -> Iterator[Drawn]:
    for event in events:
        if type(event) not in SHOWN:  # most are not
            continue
        how = ENDINGS.get(type(event))
        fault = Fault.of(event.failure) if isinstance(event, OrchestrationFailed | Parked) else None
        reason = getattr(event, "reason", None) if messages else None
        why = {} if reason is None else {REASON: reason}
        if how is None:
            yield Drawn(
                name=MOMENTS[type(event)],
                span=traced.span("event", event.id),
                parent=traced.anchor,
                at=event.at,
                attributes={**traced.what, **why},
                fault=fault,
            )
        else:
            yield Drawn(
                name=f"{traced.subject.name}: {how}",
                span=traced.span("end"),
                parent=traced.anchor,
                at=traced.subject.started_at,
                until=event.at,
                attributes={**traced.what, OUTCOME: how, **why},
                fault=fault,
                cancelled=how == "cancelled",
            )
