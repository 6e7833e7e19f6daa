"""The rows that the rules read and change: what a store keeps of an instance, a message and an activity.

Laws: a row is a private copy; changing it changes nothing until it is written through `Tables`; every time is on the
store's clock; what a store searches by is a column here, and `due_at` is the only column that lists are ordered by.

Must never know: where rows are kept. Who calls it: the rules, and both kinds of tables. Read next: `_tables.py`.
"""

from __future__ import annotations

from typing import Final

import attrs

from trioflow.abc import ActivityLock, Draft, MessageRow, State, TurnLock
from trioflow.history import CancelRequested, OrchestrationStarted

START: Final = OrchestrationStarted.__name__
"""The kind of message that waits in an inbox until the execution begins."""

CANCEL: Final = CancelRequested.__name__
"""The kind of message that ends what has not begun."""


@attrs.define(eq=False)
class InstanceRow:
    """All that changes about an instance. The order of the fields is the order of the columns."""

    instance: str
    execution: int  # from 1, never starts again for this id
    first_execution: int  # of this life: the one that was started, or that replaced another
    name: str
    version: str | None  # None until the first turn pins it
    semantics: int
    state: State
    revision: int  # counts commits, over all executions
    last_commit: str | None  # request id of the last commit
    unread: int  # events delivered and not yet taken
    unread_bytes: int  # in their payloads
    history_length: int  # of the current execution
    history_bytes: int
    wake_at: float | None  # its earliest open deadline; pending: when the delay of its start is over
    not_before: float  # end of a delay or back-off that was asked for; 0 without one
    due_at: float | None  # when it is eligible, None: only after another write. Kept by `due_at_of`, never set by hand
    next_seq: int  # of its next message
    queued: int  # messages in the inbox
    mail: int  # how many of them count against the mailbox limit
    mail_bytes: int  # in the payloads of those
    first_at: float | None  # when the oldest message arrived; None means the inbox is empty
    control_at: float | None  # when the oldest arrived that `controls`; None means there is none
    lock_token: str | None  # of the last holder that has not given it back; its lease may have run out
    lock_worker: str | None
    lock_until: float  # end of the lease; means nothing without a token
    attempts: int  # times it was taken since the last commit, without those that were released clean
    created_at: float
    updated_at: float
    ended_at: float | None

    def copy(self) -> InstanceRow:
        """A row of one's own."""
        return InstanceRow(*(getattr(self, name) for name in INSTANCE_COLUMNS))

    @property
    def lock(self) -> TurnLock:
        """The lock as its holder knows it."""
        assert self.lock_token is not None
        return TurnLock(self.instance, self.execution, self.lock_token)

    def unlock(self) -> None:
        """Nobody holds it any more."""
        self.lock_token = self.lock_worker = None
        self.lock_until = 0.0

    def empty_inbox(self) -> None:
        """No message is left."""
        self.queued = self.mail = self.mail_bytes = 0
        self.first_at = self.control_at = None


INSTANCE_COLUMNS = tuple(field.name for field in attrs.fields(InstanceRow))


def due_at_of(row: InstanceRow, now: float) -> float | None:
    """When the instance is eligible to be locked, by what is known now; None: never.

    What is there already orders the line and delays nobody, even if the clock was set back since: it is never later
    than now. After a commit an instance is behind everybody who waits already, so it starves nobody.
    """
    if row.state.ended:
        return None
    work = _work_at(row, now)
    if work is None:
        return None
    due = max(work, row.not_before, min(row.updated_at, now))
    return due if row.lock_token is None else max(due, row.lock_until)


def _work_at(row: InstanceRow, now: float) -> float | None:
    """Since when, or from when on, it has something to do; None: nothing, as far as is known."""
    control_at = None if row.control_at is None else min(row.control_at, now)
    if row.state.held:
        return control_at
    if row.state is State.PENDING and row.wake_at is not None:
        # Its start is delayed: messages wait for that too, except those that need no turn.
        return row.wake_at if control_at is None else min(row.wake_at, control_at)
    if row.first_at is None:
        return row.wake_at
    first_at = min(row.first_at, now)
    return first_at if row.wake_at is None else min(first_at, row.wake_at)


@attrs.define(eq=False)
class ActivityRow:
    """An item of the activity queue. The order of the fields is the order of the columns."""

    instance: str
    execution: int
    event_id: int
    name: str
    tag: str | None
    session: str | None
    scheduled_at: float
    start_by: float | None  # until when somebody has to begin it; None: any time, or it was begun
    late_kind: str | None  # what tells the orchestration that nobody did
    late_data: bytes | None
    due_at: float  # free: when it may be taken; leased: when the lease runs out
    lock_token: str | None
    lock_worker: str | None
    attempt: int  # times it was taken
    failures: int  # attempts that asked for a retry
    fetches: int  # times it was taken since it last settled or was released clean
    cancelled: bool  # its end was asked for; implies that it is leased (a free one is removed at once)
    heartbeat: bytes | None
    data: bytes
    payload: bytes

    def copy(self) -> ActivityRow:
        """A row of one's own."""
        return ActivityRow(*(getattr(self, name) for name in ACTIVITY_COLUMNS))

    @property
    def key(self) -> tuple[str, int, int]:
        """What it is found by."""
        return (self.instance, self.execution, self.event_id)

    @property
    def lock(self) -> ActivityLock:
        """The lock as its holder knows it."""
        assert self.lock_token is not None
        return ActivityLock(self.instance, self.execution, self.event_id, self.lock_token)

    def lease(self, worker: str, token: str, until: float) -> None:
        """Count an attempt and give it to a holder."""
        if self.lock_token is not None:
            self.start_by = None  # its last holder has begun it and died
        self.lock_worker, self.lock_token, self.due_at = worker, token, until
        self.attempt += 1
        self.fetches += 1

    def free(self, at: float) -> None:
        """Nobody holds it; it may be taken from `at` on."""
        self.lock_worker = self.lock_token = None
        self.due_at = at

    @property
    def waits_until(self) -> float | None:
        """When it goes for want of somebody who begins it; None: never, or not while somebody has it."""
        return self.start_by if self.lock_token is None and not self.cancelled else None


ACTIVITY_COLUMNS = tuple(field.name for field in attrs.fields(ActivityRow))


@attrs.define(eq=False)
class SessionRow:
    """A session that a worker has, or has had."""

    session: str
    worker: str
    until: float  # end of the lease
    used_at: float  # when an item of it was last taken, renewed or settled


@attrs.frozen
class StoredMessage:
    """A message in an inbox, with what decides about it."""

    seq: int
    at: float
    execution: int | None  # only for that one; None: for whichever is current
    control: bool
    mailbox: bool
    draft: Draft

    @property
    def size(self) -> int:
        """Bytes that count against the mailbox limit."""
        return len(self.draft.payload or b"") if self.mailbox else 0

    def controls(self, *, begun: bool) -> bool:
        """Whether whoever comes first carries it out: a cancellation, too, while there is no code to hear of it."""
        return self.control or (self.draft.kind == CANCEL and not begun)

    @property
    def row(self) -> MessageRow:
        """What a worker gets to see."""
        return MessageRow(self.seq, self.at, self.draft)


@attrs.frozen
class Inbox:
    """An inbox in numbers, as the instance's row repeats them."""

    queued: int
    mail: int
    mail_bytes: int
    first_at: float | None
    control_at: float | None
    first_seq: int | None


@attrs.frozen
class Remembered:
    """A client's request that was carried out, and what it was answered."""

    verb: str
    instance: str
    execution: int
    created: bool
