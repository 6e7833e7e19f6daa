"""What an execution waits for: answers, events by name, and time. Kept so that nothing given up stays.

Laws: an operation is open from the event that recorded it to its answer, also while nobody waits for that any more;
waiters of a name are served in the order in which they began to wait; whatever has been served, given up or has
fired is forgotten, at once or soon, so a long execution does not grow.

Who calls it: `_execution.py`. Read next: `_ending.py`.
"""

from __future__ import annotations

import attrs
import outcome

from trioflow._ambient import AskActivity
from trioflow._engine._host import EngineHost
from trioflow._engine._parting import Left
from trioflow._kernel import Kernel, Operation
from trioflow.history import ChildScheduled, Event


@attrs.define(eq=False)
class OpenOperations:
    """Which event recorded which operation, until it is answered."""

    children: dict[int, ChildScheduled] = attrs.field(factory=dict)  # the events of those that are children, by id
    by_id: dict[int, Operation] = attrs.field(factory=dict)  # those that are open, by the id of the event
    _asked_to_end: dict[int, None] = attrs.field(factory=dict)

    def begin(self, event: Event, operation: Operation) -> None:
        """An event has recorded an operation."""
        self.by_id[event.id] = operation
        operation.known_as = event.id
        if isinstance(event, ChildScheduled):
            self.children[event.id] = event

    def end(self, event_id: int) -> Operation | None:
        """It is answered; returns it, None if there is none."""
        if self.children:
            self.children.pop(event_id, None)
        if self._asked_to_end:
            self._asked_to_end.pop(event_id, None)
        return self.by_id.pop(event_id, None)

    def unheard(self, event_id: int) -> None:
        """It is answered, and nobody waits for that: there will be no event. So termination, which ends every child,
        goes on counting this one, as a replay does.
        """
        if event_id not in self.children:
            self.end(event_id)

    def ask_to_end(self, operation: Operation) -> int | None:
        """Its end is asked for; returns the id of the event that recorded it, None if none did."""
        event_id = operation.known_as
        if event_id is not None:
            self._asked_to_end[event_id] = None
        return event_id

    def left(self, *, terminated: bool) -> Left:
        """What an execution that ends now leaves behind. Termination ends everything; any other end lets those be that
        were asked to end already, and those that were abandoned.
        """
        ids = [
            event_id
            for event_id, operation in self.by_id.items()
            if terminated or (operation.waiting and event_id not in self._asked_to_end)
        ]
        return Left(
            activities=tuple(one for one in ids if isinstance(self.by_id[one].request, AskActivity)),
            children=tuple(self.children[one] for one in ids if one in self.children),
        )


@attrs.define(eq=False)
class EventWaits:
    """Who waits for which event."""

    by_name: dict[str, dict[Operation, None]] = attrs.field(factory=dict)  # in order of waiting; never an empty one

    def begin(self, operation: Operation, name: str) -> None:
        """Somebody waits from now on."""
        self.by_name.setdefault(name, {})[operation] = None

    def end(self, operation: Operation, name: str) -> None:
        """Somebody was served, or has given up; perhaps both."""
        waits = self.by_name.get(name, {})
        waits.pop(operation, None)
        if not waits:
            self.by_name.pop(name, None)

    def serve(self, name: str, host: EngineHost, kernel: Kernel) -> list[Operation]:
        """Give unread events of a name to those who wait for it. Returns who got one."""
        served: list[Operation] = []
        while name in self.by_name and name in host.mailboxes:
            operation = next(iter(self.by_name[name]))
            self.end(operation, name)
            if operation.waiting:  # it may have given up in the very step in which it began
                kernel.resume(operation, outcome.Value(host.take_event(name)))
                served.append(operation)
        return served


@attrs.define(eq=False)
class OpenTimers:
    """Which event opened a timer. The kernel does not say when one has fired, so those are swept out now and then."""

    by_key: dict[str, tuple[int, float]] = attrs.field(factory=dict)  # id of the event, deadline
    _kept: int = 0  # by the last sweep

    def open(self, key: str, event_id: int, deadline: float, now: float) -> None:
        """A timer is open from now on."""
        self.by_key[key] = event_id, deadline
        if len(self.by_key) > 2 * self._kept + 100:
            self.by_key = {key: opened for key, opened in self.by_key.items() if opened[1] > now}
            self._kept = len(self.by_key)

    def close(self, key: str) -> int:
        """A timer that has not fired is closed; returns the id of the event that opened it."""
        return self.by_key.pop(key)[0]
