"""What an execution waits for beside answers: events by name, and time. Kept so that nothing given up stays.

Laws: waiters of a name are served in the order in which they began to wait; whatever has been served, given up or has
fired is forgotten, at once or soon, so a long execution does not grow.

Who calls it: `_execution.py`. Read next: `_ending.py`.
"""

from __future__ import annotations

import attrs

from trioflow._engine._host import EngineHost
from trioflow._kernel import Kernel, Operation


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
                kernel.resume(operation, host.take_event(name))
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
