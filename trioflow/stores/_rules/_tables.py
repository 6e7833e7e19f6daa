"""What the rules need of a place that keeps rows: a prose contract, fulfilled in memory and in SQLite.

Laws: a call reads or writes at once, inside the transaction that is open around the rule; a transaction that fails
leaves nothing behind; rows that come out are copies; lists come out in the order that is named, never in one that
depends on luck.

Must never know: the rules. Who calls it: the rules only. Read next: `_work.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import attrs

from trioflow.abc import (
    Capabilities,
    EventRow,
    ExecutionRecord,
    InstanceQuery,
    ListPlace,
    Parent,
    QueueDepths,
    StoreMetrics,
    TagFilter,
)
from trioflow.stores._rules._rows import ActivityRow, Inbox, InstanceRow, Remembered, SessionRow, StoredMessage


@attrs.frozen
class Sessions:
    """Items of which sessions: those of none, those of the worker's own, and, with `more`, those that nobody has."""

    worker: str | None = None  # None: only items without a session
    more: bool = False


class Tables(Protocol):
    """Rows by key, and three lists by time."""

    # -- instances

    def instance(self, instance: str) -> InstanceRow | None:
        """The row of an instance."""
        ...

    def put_new_instance(self, row: InstanceRow, parent: Parent | None, attributes: Mapping[str, str]) -> None:
        """Insert an instance, in place of one of the same id."""
        ...

    def update_instance(self, row: InstanceRow) -> None:
        """Write all columns of an instance that is there."""
        ...

    def instance_details(self, instance: str) -> tuple[Parent | None, Mapping[str, str]]:
        """What was said at its start."""
        ...

    def last_execution(self, instance: str) -> int:
        """The highest execution number of an id that was deleted; 0 if it never was."""
        ...

    def due_instances(
        self, now: float, limit: int, can_run: Capabilities | None, *, others: bool = False
    ) -> list[InstanceRow]:
        """Those with `due_at` up to `now` that `can_run` allows or that hold a control message, by (due_at, revision,
        instance). `others`: all those that it does not allow.
        """
        ...

    def next_due_instance(self, now: float) -> float | None:
        """The smallest `due_at` above `now`."""
        ...

    def children(self, instance: str) -> list[str]:
        """Ids of those whose parent it is, by (created_at, instance)."""
        ...

    def remove_instance(self, row: InstanceRow) -> None:
        """Remove an instance with its histories, inbox, status, values and items; its last execution is kept."""
        ...

    def list_instances(self, query: InstanceQuery, limit: int, after: ListPlace | None) -> list[InstanceRow]:
        """Those that a query means, by (created_at, instance) backwards, from a place on."""
        ...

    # -- histories

    def append_events(self, instance: str, execution: int, events: Sequence[EventRow]) -> None:
        """Add events; their ids are new."""
        ...

    def events(self, instance: str, execution: int, after: int, limit: int | None) -> tuple[EventRow, ...]:
        """Events with ids above `after`, by id."""
        ...

    def executions(self, instance: str, after: int, limit: int | None) -> list[ExecutionRecord]:
        """Executions with numbers above `after` that have events, by number."""
        ...

    def old_executions(self, instance: str, below: int, ended_before: float | None) -> list[int]:
        """Executions with numbers below one that have events, the last of them before a time."""
        ...

    def remove_execution(self, instance: str, execution: int) -> None:
        """Remove a history."""
        ...

    # -- inboxes

    def put_message(self, instance: str, message: StoredMessage) -> None:
        """Add a message; its seq is new."""
        ...

    def inboxes(self, instances: Sequence[str]) -> dict[str, list[StoredMessage]]:
        """All messages of each of these that has any, by seq."""
        ...

    def has_message(self, instance: str, kind: str) -> bool:
        """Whether an inbox holds a message of a kind."""
        ...

    def remove_messages(self, instance: str, seqs: Sequence[int]) -> int:
        """Remove messages; how many of them were there. A store may believe that all are, and have the rule run again
        if it finds that they were not.
        """
        ...

    def keep_messages(self, instance: str, *, for_execution: int | None) -> None:
        """Remove all messages but those that are for that execution or for any; None removes all."""
        ...

    def inbox(self, instance: str) -> Inbox:
        """An inbox in numbers."""
        ...

    # -- status and values

    def status(self, instance: str) -> bytes | None:
        """The status."""
        ...

    def set_status(self, instance: str, status: bytes) -> None:
        """Set the status."""
        ...

    def values(self, instance: str) -> dict[str, bytes]:
        """All values, by key."""
        ...

    def change_values(self, instance: str, changed: Mapping[str, bytes], cleared: Sequence[str]) -> None:
        """Clear some values, then set some."""
        ...

    def forget_values(self, instance: str) -> None:
        """Clear all values and the status."""
        ...

    # -- activities

    def activity(self, instance: str, execution: int, event_id: int) -> ActivityRow | None:
        """One item."""
        ...

    def activities_of(self, instance: str, execution: int) -> list[ActivityRow]:
        """All items of an execution, by event id."""
        ...

    def insert_activities(self, rows: Sequence[ActivityRow]) -> None:
        """Add items; their keys are new."""
        ...

    def update_activities(self, rows: Sequence[ActivityRow]) -> None:
        """Write all columns of items that are there."""
        ...

    def remove_activities(self, rows: Sequence[ActivityRow]) -> None:
        """Remove items."""
        ...

    def all_activities(self, instance: str) -> list[ActivityRow]:
        """All items of all executions, by (execution, event id)."""
        ...

    def due_activities(self, now: float, limit: int, tags: TagFilter, sessions: Sessions) -> list[ActivityRow]:
        """Items not marked as cancelled, with `due_at` up to `now`, by (due_at, event_id, instance, execution)."""
        ...

    def next_due_activity(self, now: float, tags: TagFilter) -> float | None:
        """The smallest `due_at` above `now` of an item not marked as cancelled."""
        ...

    def due_cancelled(self, now: float, limit: int) -> list[ActivityRow]:
        """Items marked as cancelled whose lease has run out, by (due_at, event_id, instance, execution)."""
        ...

    def next_due_cancelled(self, now: float) -> float | None:
        """The smallest `due_at` above `now` of an item marked as cancelled."""
        ...

    def due_late(self, now: float, limit: int) -> list[ActivityRow]:
        """Items with `waits_until` up to `now`, by (start_by, event_id, instance, execution)."""
        ...

    def next_due_late(self, now: float) -> float | None:
        """The smallest `waits_until` above `now`."""
        ...

    # -- sessions

    def session(self, session: str) -> SessionRow | None:
        """A session."""
        ...

    def sessions_of(self, worker: str) -> list[SessionRow]:
        """All that a worker has or has had last, by session."""
        ...

    def put_session(self, row: SessionRow) -> None:
        """Write a session."""
        ...

    def remove_session(self, session: str) -> None:
        """Forget a session: nobody has it."""
        ...

    def next_session_end(self, now: float) -> float | None:
        """The smallest `until` above `now`."""
        ...

    # -- numbers

    def depths(self, now: float) -> QueueDepths:
        """What waits."""
        ...

    def metrics(self) -> StoreMetrics:
        """What is there."""
        ...

    # -- what was answered before

    def remembered(self, request_id: str) -> Remembered | None:
        """The answer to a client's request."""
        ...

    def remember(self, request_id: str, at: float, answer: Remembered) -> None:
        """Keep the answer to a client's request."""
        ...

    def is_settled(self, token: str) -> bool:
        """Whether the holder of this token settled its item."""
        ...

    def remember_settled(self, tokens: Iterable[str], at: float) -> None:
        """Keep tokens that settled their items."""
        ...

    def forget_before(self, at: float) -> None:
        """Forget answers and tokens that were kept before `at`, and sessions that ended before it."""
        ...
