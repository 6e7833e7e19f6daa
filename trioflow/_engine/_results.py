"""What goes into a turn and what comes out of it: frozen records, no behaviour.

Laws: an action is imperative and names the event that records it; a result is complete, so whoever commits it needs
nothing else. Must never know: stores, clocks. Read next: `_segments.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from trioflow._ambient import LogEntry, Span
from trioflow.history import (
    ActivityScheduled,
    ChildScheduled,
    DetachedScheduled,
    Event,
    OrchestrationStarted,
    ParentLink,
)


@attrs.frozen
class Message:
    """An event that has not happened yet, as it waits in the inbox. `at` is when it entered."""

    seq: int
    at: float
    event: Event


@attrs.frozen
class ScheduleActivity:
    """Put an activity into the queue."""

    event: ActivityScheduled
    options: Mapping[str, Any]


@attrs.frozen
class CancelActivity:
    """Ask for the end of an activity, by the id of the event that scheduled it."""

    event_id: int


@attrs.frozen
class StartChild:
    """Start a child orchestration."""

    event: ChildScheduled


@attrs.frozen
class CancelChild:
    """Ask a child to unwind."""

    event: ChildScheduled
    reason: str | None = None


@attrs.frozen
class TerminateChild:
    """End a child without unwinding: its parent was ended so."""

    event: ChildScheduled
    reason: str | None = None


@attrs.frozen
class StartDetached:
    """Start a root instance."""

    event: DetachedScheduled


@attrs.frozen
class ContinueAsNewAction:
    """Begin the next execution with this message."""

    start: OrchestrationStarted
    version: str | None


@attrs.frozen
class TellParent:
    """Tell the waiting parent how its child ended."""

    parent: ParentLink
    answer: Event


Action = (
    ScheduleActivity
    | CancelActivity
    | StartChild
    | CancelChild
    | TerminateChild
    | StartDetached
    | ContinueAsNewAction
    | TellParent
)


@attrs.frozen(kw_only=True)
class TurnResult:
    """Everything a turn did."""

    events: tuple[Event, ...]  # new, in order, ids and times given
    consumed: tuple[int, ...]  # seqs of the messages delivered or filtered out
    actions: tuple[Action, ...]
    ended: bool  # then the last event says how
    wake_at: float | None  # earliest open deadline
    unread: int  # events received and not taken
    unread_bytes: int  # in their payloads
    status: bytes | None  # if it was set in this turn
    kv_set: Mapping[str, bytes]
    kv_cleared: tuple[str, ...]
    logs: tuple[LogEntry, ...]  # for after the commit
    spans: tuple[Span, ...] = ()  # what opened and closed, for traces; empty unless the execution is traced
    within: Mapping[int, str] = attrs.field(factory=dict)  # new activities by event id: the key of the part around each
