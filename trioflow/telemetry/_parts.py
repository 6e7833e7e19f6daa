"""The spans of the parts of an execution: branches and scopes as its nursery tree has them, starts, sleeps, waits.

Laws: pure. What others may be within is a moment, drawn when it opens, so that nothing beneath it is ever an orphan;
how long it lasted is drawn beneath it when it closes. Of an activity the attempts are drawn, by whoever runs them: here
only one that nobody ran; of a child its own execution is drawn: here only a start that was refused.

Who calls it: `_executions.py`. Read next: `_attempts.py`.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import SpanContext, SpanKind

from trioflow._ambient import Part, PartClosed, PartOpened, Span, SpanKind as PartKind
from trioflow.history import (
    ActivityCancelled,
    ActivityFailed,
    Category,
    ChildFailed,
    DetachedRefused,
)
from trioflow.telemetry._attributes import ACTIVITY, DEADLINE, FUNCTION, OUTCOME, PLACE, TARGET, Attributes, Value
from trioflow.telemetry._drawn import Drawn
from trioflow.telemetry._errors import Fault
from trioflow.telemetry._traced import Traced

PREFIX: Final[dict[PartKind, str]] = {"branch": "branch ", "event": "wait ", "child": "start ", "detached": "start "}

NOT_TAKEN: Final = ("trioflow.UnregisteredError",)
"""Failures of activities that nobody could begin."""

EXISTS: Final = "trioflow.InstanceExists"


def span_of_part(traced: Traced, span: Span) -> Drawn | None:
    """What is drawn of a part that has opened or closed, if anything."""
    part = span.part
    if isinstance(span, PartOpened):
        return _opened(traced, part)
    match part.kind:
        case "branch" | "scope":
            parent = traced.part(part.key)
            return _closed(traced, span, f"{_short(part)}: {span.how}", "closed", parent=parent)
        case "sleep" | "event":
            return _closed(traced, span, _name(part), "part")
        case "activity":
            return _closed(traced, span, part.name, "part") if _nobody_ran(span) else None
        case _:
            parent = traced.part(part.key)
            return _closed(traced, span, f"{_name(part)}: refused", "closed", parent=parent) if _refused(span) else None


def _opened(traced: Traced, part: Part) -> Drawn:
    starts = part.kind in ("child", "detached")
    return Drawn(
        name=_name(part),
        span=traced.part(part.key),
        parent=traced.part(part.within),
        at=part.at,
        kind=SpanKind.PRODUCER if starts else SpanKind.INTERNAL,
        attributes=_attributes(traced, part),
    )


def _closed(traced: Traced, closed: PartClosed, name: str, what: str, *, parent: SpanContext | None = None) -> Drawn:
    part, answer = closed.part, closed.answer
    failure = answer.failure if isinstance(answer, ActivityFailed | ChildFailed | DetachedRefused) else None
    lost = isinstance(answer, ActivityCancelled) and answer.how == "lost"
    return Drawn(
        name=name,
        span=traced.span(what, part.key),
        parent=traced.part(part.within) if parent is None else parent,
        at=part.at,
        until=closed.at,
        attributes={**_attributes(traced, part), OUTCOME: "lost" if lost else closed.how},
        fault=Fault.named(closed.error) if failure is None else Fault.of(failure),
        cancelled=closed.how == "cancelled",
    )


def _name(part: Part) -> str:
    return PREFIX.get(part.kind, "") + _short(part)


def _short(part: Part) -> str:
    """A branch is known by its function, without where that is written."""
    return part.name.rpartition(".")[2] if part.kind == "branch" else part.name


def _attributes(traced: Traced, part: Part) -> Attributes:
    told: dict[str, Value] = {**traced.whose, PLACE: part.key}
    if part.due is not None:
        told[DEADLINE] = part.due
    if part.instance is not None:
        told[TARGET] = part.instance
    if part.kind == "activity":
        told[ACTIVITY] = part.name
    if part.kind == "branch":
        told[FUNCTION] = part.name
    return told


def _nobody_ran(closed: PartClosed) -> bool:
    """Whether no attempt tells how an activity ended: none began, or those who ran it are gone."""
    match closed.answer:
        case ActivityCancelled(how="never_started" | "lost"):
            return True
        case ActivityFailed(failure=failure):
            return failure.attempts == 0 or failure.category == Category.POISON or failure.type in NOT_TAKEN
    return False


def _refused(closed: PartClosed) -> bool:
    """Whether nothing was started."""
    match closed.answer:
        case DetachedRefused():
            return True
        case ChildFailed(failure=failure):
            return failure.type == EXISTS
    return False
