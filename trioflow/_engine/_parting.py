"""What is still to be done when an execution has ended: tell the parent, end what it leaves behind, begin the next.

Pure functions. Who calls it: `_execution.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import attrs

from trioflow._ambient import AskActivity
from trioflow._engine._host import EngineHost
from trioflow._engine._results import (
    Action,
    CancelActivity,
    CancelChild,
    ContinueAsNewAction,
    Message,
    TellParent,
    TerminateChild,
)
from trioflow._kernel import Kernel, Operation
from trioflow.history import (
    CarriedCancel,
    CarriedEvent,
    ChildCancelled,
    ChildCompleted,
    ChildFailed,
    ChildScheduled,
    ChildTerminated,
    Event,
    EventReceived,
    OrchestrationCancelled,
    OrchestrationCompleted,
    OrchestrationContinuedAsNew,
    OrchestrationFailed,
    OrchestrationStarted,
    OrchestrationTerminated,
    derive,
)


@attrs.frozen
class Left:
    """What an execution leaves behind: what its branches asked for, and neither saw the end of nor gave up."""

    activities: tuple[int, ...]  # ids of the events that scheduled them
    children: tuple[ChildScheduled, ...]


def left_of(unanswered: Mapping[int, Operation], *, terminated: bool) -> Left:
    """What an execution that ends now leaves behind, out of its operations that are not answered. Termination ends
    everything; any other end lets those be that were asked to end already, and those that were abandoned.
    """
    left = [
        (event_id, one) for event_id, one in unanswered.items() if terminated or (one.waiting and not one.cancel_asked)
    ]
    return Left(
        activities=tuple(event_id for event_id, one in left if isinstance(one.request, AskActivity)),
        children=tuple(one.known_as for _, one in left if isinstance(one.known_as, ChildScheduled)),
    )


def parting_actions(
    events: tuple[Event, ...],
    actions: tuple[Action, ...],
    host: EngineHost,
    kernel: Kernel,
    left: Left,
    unheard: deque[Message],
) -> tuple[tuple[Event, ...], tuple[Action, ...]]:
    """The last turn's events and actions, completed. `unheard`: messages behind the one that ended it."""
    last = events[-1]
    assert host.started is not None
    if isinstance(last, OrchestrationContinuedAsNew):
        return events, (*actions, *_endings(last, left), _next_execution(last, host, kernel))
    late = tuple(
        CarriedEvent(name=message.event.name, payload=message.event.payload)
        for message in unheard
        if isinstance(message.event, EventReceived)
    )
    unread = (*host.unread_events(), *late)
    if unread:
        last = attrs.evolve(last, unread=unread)  # type: ignore[call-arg]  # every other ending lists what was not read
    parent = host.started.parent
    told = () if parent is None else (TellParent(parent, answer_to_parent(last, parent.event_id)),)
    return (*events[:-1], last), (*actions, *_endings(last, left), *told)


def closes(child: ChildScheduled) -> bool:
    """Whether a parent that has ended takes a child with it."""
    return child.on_parent_close == "cancel"


def _endings(last: Event, left: Left) -> tuple[Action, ...]:
    """Activities and children that nobody waits for any more: they are ended, the children by their `on_parent_close`.

    One that is to be waited for cannot be by who has ended: it is left alone, as an abandoned one. Termination needs no
    word about activities: its commit ends them all.
    """
    closed = [child for child in left.children if closes(child)]
    if isinstance(last, OrchestrationTerminated):
        return tuple(TerminateChild(child, last.reason) for child in closed)
    return (*map(CancelActivity, left.activities), *(CancelChild(child, "its parent has ended") for child in closed))


def _next_execution(last: OrchestrationContinuedAsNew, host: EngineHost, kernel: Kernel) -> ContinueAsNewAction:
    started = host.started
    assert started is not None
    carried = CarriedCancel(reason=kernel.cancel_reason) if kernel.cancel_called else None
    start = OrchestrationStarted(
        instance=started.instance,
        execution=started.execution + 1,
        name=started.name,
        version=last.version,
        payload=last.payload,
        seed=derive(started.seed, "continue", str(started.execution + 1)).hex(),
        parent=started.parent,
        headers=started.headers,
        carried_events=host.unread_events(),
        carried_kv=dict(host.kv),
        carried_kv_times=dict(host.kv_times),
        carried_status=host.status,
        carried_cancel=carried,
    )
    return ContinueAsNewAction(start, last.version)


def answer_to_parent(last: Event, event_id: int) -> Event:
    """What the parent is told of how its child ended."""
    match last:
        case OrchestrationCompleted():
            return ChildCompleted(answers=event_id, payload=last.payload)
        case OrchestrationFailed():
            return ChildFailed(answers=event_id, failure=last.failure)
        case OrchestrationCancelled():
            return ChildCancelled(answers=event_id, reason=last.reason)
        case _:
            assert isinstance(last, OrchestrationTerminated), last
            return ChildTerminated(answers=event_id, reason=last.reason)
