"""From an ask to the event that records it, the action that carries it out, and the comparison with what was recorded.

Laws: one small function per kind of ask, found by table; an ask and an event that agree in kind, name and input are the
same step. Inputs are compared as bytes first; bytes that differ are decoded with today's type and encoded again, so a
new field with a default is harmless.

Must never know: the kernel's state. Who calls it: `_execution.py`. Read next: `_inbox.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from trioflow._ambient import Ask, AskActivity, AskChild, AskDetached, AskEvent
from trioflow._engine._results import Action, ScheduleActivity, StartChild, StartDetached
from trioflow._kernel import Operation
from trioflow.app import App
from trioflow.errors import TrioflowError
from trioflow.history import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    Answer,
    AskedAt,
    ChildCancelled,
    ChildCompleted,
    ChildFailed,
    ChildScheduled,
    ChildTerminated,
    DetachedRefused,
    DetachedScheduled,
    DetachedStarted,
    Event,
    EventWaited,
    OrchestrationStarted,
)


def _activity(
    ask: AskActivity, place: str, started: OrchestrationStarted, id: int, at: float
) -> tuple[AskedAt, Action]:
    event = ActivityScheduled(
        id=id,
        at=at,
        place=place,
        name=ask.name,
        payload=ask.payload,
        on_cancel=ask.on_cancel,
        tag=ask.tag,
        session=ask.session,
    )
    return event, ScheduleActivity(event, ask.options or {})


def _child(ask: AskChild, place: str, started: OrchestrationStarted, id: int, at: float) -> tuple[AskedAt, Action]:
    event = ChildScheduled(
        id=id,
        at=at,
        place=place,
        name=ask.name,
        version=ask.version,
        instance=instance_of(ask, place, started),
        payload=ask.payload,
        on_cancel=ask.on_cancel,
        on_parent_close=ask.on_parent_close,
    )
    return event, StartChild(event)


def _detached(
    ask: AskDetached, place: str, started: OrchestrationStarted, id: int, at: float
) -> tuple[AskedAt, Action]:
    event = DetachedScheduled(
        id=id,
        at=at,
        place=place,
        name=ask.name,
        version=ask.version,
        instance=instance_of(ask, place, started),
        payload=ask.payload,
    )
    return event, StartDetached(event)


def _event(ask: AskEvent, place: str, started: OrchestrationStarted, id: int, at: float) -> tuple[AskedAt, None]:
    return EventWaited(id=id, at=at, place=place, name=ask.name), None


_MAKERS: dict[type[Ask], Callable[..., tuple[AskedAt, Action | None]]] = {
    AskActivity: _activity,
    AskChild: _child,
    AskDetached: _detached,
    AskEvent: _event,
}


def record(ask: Ask, place: str, started: OrchestrationStarted, id: int, at: float) -> tuple[AskedAt, Action | None]:
    """The event that records an ask, with this id and time, and what is to be done about it."""
    return _MAKERS[type(ask)](ask, place, started, id, at)


def instance_of(ask: AskChild | AskDetached, place: str, started: OrchestrationStarted) -> str:
    """The id of a new instance: the one given, or one made of the place of the call, which no other call has."""
    if ask.instance is not None:
        return ask.instance
    made = f"{started.instance}:{started.execution}:{place}"
    if len(made) <= 512:
        return made
    return f"{made[:400]}:{hashlib.blake2b(made.encode(), digest_size=16).hexdigest()}"


def agrees(ask: Ask, place: str, started: OrchestrationStarted, recorded: Event, app: App) -> bool:
    """Whether an ask is the step that the history recorded at its place."""
    if type(ask) is AskActivity:
        return (
            type(recorded) is ActivityScheduled
            and ask.name == recorded.name
            and (
                ask.payload == recorded.payload or _same_input(ask.payload, recorded.payload, "activity", ask.name, app)
            )
        )
    if isinstance(ask, AskEvent):
        return isinstance(recorded, EventWaited) and ask.name == recorded.name
    return (
        isinstance(recorded, ChildScheduled if isinstance(ask, AskChild) else DetachedScheduled)
        and ask.name == recorded.name
        and instance_of(ask, place, started) == recorded.instance
        and (
            ask.payload == recorded.payload
            or _same_input(ask.payload, recorded.payload, "orchestration", ask.name, app)
        )
    )


_ANSWERED: dict[type[Answer], type[Ask]] = {
    ActivityCompleted: AskActivity,
    ActivityFailed: AskActivity,
    ActivityCancelled: AskActivity,
    ChildCompleted: AskChild,
    ChildFailed: AskChild,
    ChildCancelled: AskChild,
    ChildTerminated: AskChild,
    DetachedStarted: AskDetached,
    DetachedRefused: AskDetached,
}


def can_answer(operation: Operation, event: Answer) -> bool:
    """Whether an event is what an operation may be answered with. Nobody cancels an activity but its own branch."""
    kind = type(event)
    return _ANSWERED[kind] is type(operation.request) and (kind is not ActivityCancelled or operation.cancel_asked)


def _same_input(asked: bytes, recorded: bytes, noun: str, name: str, app: App) -> bool:
    """Whether other bytes are the same input, once read by today's types and written again."""
    what = f"the arguments of {noun} {name!r}"
    try:
        spec = (app.find_activity(name) if noun == "activity" else app.find_orchestration(name)).spec
        today, then = (
            app.codec.encode_arguments(spec, *app.codec.decode_arguments(spec, data, what=what), what=what)
            for data in (asked, recorded)
        )
        return today == then
    except (TrioflowError, TypeError):
        return False  # not readable as today's type: then it is not the same input
