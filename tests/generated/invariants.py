"""What holds of every history, whatever wrote it.

Laws: each check reads events alone and says what it found, so it serves the simulated world and the real runtime alike.
Who calls it: the tests of this folder. Read next: `strategies.py`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from math import inf

from trioflow.history import (
    ActivityCancelRequested,
    ActivityCancelled,
    ActivityScheduled,
    Answer,
    AskedAt,
    Asking,
    CancelRequested,
    ChildCancelRequested,
    ChildScheduled,
    DetachedScheduled,
    Event,
    EventReceived,
    EventWaited,
    OrchestrationStarted,
    OrchestrationTerminated,
    StatusSet,
    TimerCancelled,
    TimerCreated,
    TimerFired,
)

Asked = ActivityScheduled | ChildScheduled | DetachedScheduled


def check(history: Sequence[Event]) -> None:
    """All of them."""
    for invariant in (order, answers, requests, timers, blocks, patience):
        found = list(invariant(history))
        assert not found, "\n".join([*found, *map(line, history)])


def line(event: Event) -> str:
    """An event, to read."""
    shown = {name: getattr(event, name, None) for name in ("place", "name", "answers", "about", "deadline", "payload")}
    rest = " ".join(f"{name}={value!r}" for name, value in shown.items() if value is not None)
    return f"  {event.id:3} {event.at:g} {type(event).__name__} {rest}"


def order(history: Sequence[Event]) -> Iterable[str]:
    """Ids count from 1 without gaps; time never decreases; it begins with the start, and nothing follows its end."""
    if [event.id for event in history] != list(range(1, len(history) + 1)):
        yield "ids have gaps"
    yield from (f"time decreases at {two.id}" for one, two in itertools.pairwise(history) if two.at < one.at)
    if not history or not isinstance(history[0], OrchestrationStarted):
        yield "it does not begin with the start"
    yield from (f"it goes on after its end at {event.id}" for event in history[:-1] if event.ends)
    if sum(isinstance(event, CancelRequested) for event in history) > 1:
        yield "its cancellation was delivered twice"


def answers(history: Sequence[Event]) -> Iterable[str]:
    """What was answered was asked before, at a place that nothing else had, and is answered once."""
    asked = {event.id: event for event in history if isinstance(event, AskedAt)}
    if len({event.place for event in asked.values()}) != len(asked):
        yield "two things were asked for at one place"
    answered: dict[int, int] = {}
    for event in history:
        if isinstance(event, Answer):
            if event.answers in answered:
                yield f"{event.id} answers {event.answers}, as did {answered[event.answers]}"
            answered[event.answers] = event.id
            if not isinstance(asked.get(event.answers), Asked) or event.answers > event.id:
                yield f"{event.id} answers what was not asked"


def requests(history: Sequence[Event]) -> Iterable[str]:
    """The end of an operation is asked for at most once, while it is open, and nothing ends as cancelled unasked."""
    scheduled = {event.id: event for event in history if isinstance(event, ActivityScheduled | ChildScheduled)}
    asked: dict[int, int] = {}
    over: dict[int, int] = {}
    for event in history:
        match event:
            case ActivityCancelRequested() | ChildCancelRequested():
                if event.about in asked or event.about in over or event.about not in scheduled:
                    yield f"{event.id} asks for the end of {event.about}, which is over or was asked before"
                elif scheduled[event.about].on_cancel == "abandon":
                    yield f"{event.id} asks for the end of {event.about}, which is to be abandoned"
                asked[event.about] = event.id
            case ActivityCancelled() if event.answers not in asked:
                yield f"{event.id} ends an activity as cancelled that nobody cancelled"
        if isinstance(event, Answer):
            over[event.answers] = event.id
            request = asked.get(event.answers)
            if request is not None and scheduled[event.answers].on_cancel == "request":
                yield f"{event.id} answers an operation that was given up"


def timers(history: Sequence[Event]) -> Iterable[str]:
    """Every timer is fired, cancelled once, or open at the end; whatever is delivered finds no deadline passed."""
    open_: dict[int, TimerCreated] = {}
    ended = bool(history) and history[-1].ends
    for number, event in enumerate(history):
        if event.delivered:
            fired = [timer for timer in open_.values() if timer.deadline <= event.at]
            if isinstance(event, TimerFired) and not fired:
                yield f"{event.id} fires no timer"
            for timer in fired:
                del open_[timer.id]
        match event:
            case TimerCreated():
                if event.deadline <= event.at or event.deadline == inf:
                    yield f"{event.id} is a timer for what needs none"
                open_[event.id] = event
            case TimerCancelled() if open_.pop(event.about, None) is None:
                yield f"{event.id} cancels a timer that is not open"
        if number + 1 < len(history) and history[number + 1].delivered:
            late = [timer for timer in open_.values() if timer.deadline < event.at]
            yield from (f"{timer.id} is overdue at {event.id}" for timer in late)
    if not ended:
        yield "it has not ended"


def next_deadline(history: Sequence[Event]) -> float | None:
    """The earliest timer that is open at the end of a history."""
    now = history[-1].at
    closed = {event.about for event in history if isinstance(event, TimerCancelled)}
    deadlines = [
        event.deadline
        for event in history
        if isinstance(event, TimerCreated) and event.id not in closed and event.deadline > now
    ]
    return min(deadlines, default=None)


def blocks(history: Sequence[Event]) -> Iterable[str]:
    """When the block of a nursery has ended, nothing that its branches wait for is open, nor does any ask later."""
    answered = {event.answers: event.id for event in history if isinstance(event, Answer)}
    for end in history:
        over = json.loads(end.payload).get("over") if isinstance(end, StatusSet) else None
        for event in history if over else ():
            if not isinstance(event, AskedAt) or event.place.partition("#")[0] not in over:
                continue
            if not isinstance(event, Asked) or getattr(event, "on_cancel", "wait") != "wait":
                continue
            if answered.get(event.id, inf) > end.id:
                yield f"{event.id} was open when its nursery ended, at {end.id}"


def patience(history: Sequence[Event]) -> Iterable[str]:
    """An execution that was not terminated has seen the end of all that it waited for, in a world that answers."""
    answered = {event.answers for event in history if isinstance(event, Answer)}
    for event in history:
        waited = isinstance(event, Asked) and getattr(event, "on_cancel", "wait") == "wait"
        if waited and event.id not in answered and not isinstance(history[-1], OrchestrationTerminated):
            yield f"{event.id} is open at the end"
        if isinstance(event, ActivityScheduled) and waited and event.id not in answered:
            yield f"the answer to {event.id} was lost"


def check_mail(executions: Sequence[Sequence[Event]]) -> None:
    """Events are not lost: from one execution to the next, what nobody waited for is carried or listed as unread."""
    for number, history in enumerate(executions):
        started, ended = history[0], history[-1]
        assert isinstance(started, OrchestrationStarted)
        if number + 1 < len(executions):
            following = executions[number + 1][0]
            assert isinstance(following, OrchestrationStarted)
            left = following.carried_events
        else:
            left = ended.unread  # type: ignore[attr-defined]
        received = [event for event in history if isinstance(event, EventReceived)]
        for name in "ab":
            came = [event.payload for event in (*started.carried_events, *received) if event.name == name]
            kept = [event.payload for event in left if event.name == name]
            waits = sum(isinstance(event, EventWaited) and event.name == name for event in history)
            # Taken from the front, by at most as many as waited; behind what is left may stand what came too late.
            assert any(kept[: len(came) - taken] == came[taken:] for taken in range(waits + 1))


__all__ = ("Asking", "check", "check_mail", "line", "next_deadline")
