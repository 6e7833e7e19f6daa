"""Which rows a verb is going to ask for, so that those of a whole batch can be read together.

Laws: a forecast and no more: what is missing is read when it is asked for, what is too much costs a look; it never
raises, whatever a request holds.

Who calls it: stores that read ahead. Read next: `_tables.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from trioflow.abc import (
    ActivityLock,
    CommitActivities,
    CommitTurn,
    OutMessage,
    PostMessage,
    ReleaseActivity,
    ReleaseTurn,
    RenewActivities,
    RenewTurns,
    SettleActivity,
    StartInstance,
)


@attrs.define(eq=False)
class Needs:
    """Keys of rows, each once, in the order in which they are asked for."""

    instances: dict[str, None] = attrs.field(factory=dict)
    new: dict[str, None] = attrs.field(factory=dict)  # ids of instances that are to be started
    items: dict[tuple[str, int, int], None] = attrs.field(factory=dict)
    requests: dict[str, None] = attrs.field(factory=dict)

    def add(self, request: Any) -> None:
        """What a verb with this request asks for."""
        note = FORECASTS.get(type(request))
        if note is not None:
            note(self, request)

    def settles(self, settles: Iterable[SettleActivity]) -> None:
        """Attempts that are settled: their items, and whom their outcomes go to."""
        for settle in settles:
            self.item(settle.lock)
            self.instances[settle.lock.instance] = None

    def item(self, lock: ActivityLock) -> None:
        """An item that a lock is for."""
        self.items[lock.instance, lock.execution, lock.event_id] = None

    def starts(self, request: StartInstance) -> None:
        """An instance that is started."""
        self.instances[request.instance] = self.new[request.instance] = None

    def message(self, message: OutMessage) -> None:
        """An instance that a message is for."""
        self.instances[message.instance] = None


def asks_for_several(request: Any) -> bool:
    """Whether a verb with this request asks for many rows by itself."""
    return len(getattr(request, "settle", ())) > 1 or len(getattr(request, "locks", ())) > 1


def _start(needs: Needs, request: StartInstance) -> None:
    needs.requests[request.request_id] = None
    needs.starts(request)


def _post(needs: Needs, request: PostMessage) -> None:
    needs.requests[request.request_id] = None
    needs.message(request.message)


def _commit_turn(needs: Needs, request: CommitTurn) -> None:
    needs.instances[request.lock.instance] = None
    needs.settles(request.settle)
    for event_id in request.cancel_activities:
        needs.items[request.lock.instance, request.lock.execution, event_id] = None
    for start in request.starts:
        needs.starts(start)
    for message in request.messages:
        needs.message(message)


def _commit_activities(needs: Needs, request: CommitActivities) -> None:
    needs.settles(request.settle)


def _renew_activities(needs: Needs, request: RenewActivities) -> None:
    for lock in request.locks:
        needs.item(lock)


def _renew_turns(needs: Needs, request: RenewTurns) -> None:
    for lock in request.locks:
        needs.instances[lock.instance] = None


def _release_turn(needs: Needs, request: ReleaseTurn) -> None:
    needs.instances[request.lock.instance] = None


def _release_activity(needs: Needs, request: ReleaseActivity) -> None:
    needs.item(request.lock)


FORECASTS: dict[type, Callable[[Needs, Any], None]] = {
    StartInstance: _start,
    PostMessage: _post,
    CommitTurn: _commit_turn,
    CommitActivities: _commit_activities,
    RenewActivities: _renew_activities,
    RenewTurns: _renew_turns,
    ReleaseTurn: _release_turn,
    ReleaseActivity: _release_activity,
}
