"""What the model of a store keeps of a message, an instance, an activity and a session.

Law: nothing here repeats anything else; what follows from other things is worked out when it is asked for.

Must never know: `trioflow.stores`. Who calls it: `model.py`.
"""

from __future__ import annotations

import attrs

from trioflow.abc import (
    ActivityLock,
    Capabilities,
    EventRow,
    InstanceQuery,
    LockedActivity,
    MessageRow,
    NewActivity,
    OutMessage,
    StartInstance,
    State,
    TagFilter,
)


@attrs.define(eq=False)
class Message:
    """In an inbox."""

    number: int
    at: float
    meant: OutMessage


@attrs.define(eq=False)
class Instance:
    """One life of an id, over all its executions."""

    start: StartInstance
    execution: int
    first_execution: int  # since it was last started
    revision: int
    created_at: float
    changed_at: float  # its last commit
    version: str | None
    semantics: int
    wake_at: float | None
    state: State = State.PENDING
    ended_at: float | None = None
    last_commit: str | None = None
    unread: int = 0
    unread_bytes: int = 0
    status: bytes | None = None
    kv: dict[str, bytes] = attrs.field(factory=dict)
    inbox: list[Message] = attrs.field(factory=list)
    token: str | None = None
    until: float = 0.0  # of the lease
    pause_until: float = 0.0  # it was given back with a delay
    attempts: int = 0

    @property
    def name(self) -> str:
        return self.start.instance

    def eligible_at(self) -> float | None:
        """Since when, or from when on, it may be taken."""
        times = [message.at for message in self.inbox]
        if self.state.held or (self.state is State.PENDING and self.wake_at is not None):
            times = [message.at for message in self.controls]
        if self.wake_at is not None and not self.state.held:
            times.append(self.wake_at)
        if self.state.ended or not times:
            return None
        lease = [] if self.token is None else [self.until]
        return max(min(times), self.pause_until, self.changed_at, *lease)

    def suits(self, can: Capabilities | None) -> bool:
        """Whether a worker can run it."""
        if can is None:
            return True
        names = [name for name, version in can.orchestrations if self.version in (None, version)]
        return self.semantics in can.semantics and self.start.name in names

    @property
    def is_controlled(self) -> bool:
        """Whether a control message waits."""
        return bool(self.controls)

    @property
    def controls(self) -> list[Message]:
        """Messages that whoever comes first carries out."""
        begun = all(message.meant.draft.kind != "OrchestrationStarted" for message in self.inbox)
        ends = [] if begun else ["CancelRequested"]
        return [message for message in self.inbox if message.meant.control or message.meant.draft.kind in ends]

    @property
    def parent_id(self) -> str | None:
        """Who waits for it."""
        return None if self.start.parent is None else self.start.parent.instance

    def is_meant(self, query: InstanceQuery) -> bool:
        """Whether somebody who asks for instances wants to see it."""
        ranges = (
            (self.created_at, query.created_after, query.created_before),
            (self.changed_at, query.updated_after, query.updated_before),
            (self.ended_at, query.ended_after, query.ended_before),
        )
        return all(
            (
                self.state in (query.states or State),
                query.name in (None, self.start.name),
                query.version in (None, self.version),
                self.name[: len(query.prefix)] == query.prefix,
                query.parent in (None, self.parent_id),
                self.parent_id is None or not query.roots,
                query.attributes.items() <= self.start.attributes.items(),
                *(after is None or (at is not None and at >= after) for at, after, _ in ranges),
                *(before is None or (at is not None and at < before) for at, _, before in ranges),
            )
        )

    def listed(self) -> tuple[MessageRow, ...]:
        """The inbox as a worker sees it."""
        return tuple(MessageRow(message.number, message.at, message.meant.draft) for message in self.inbox)


@attrs.define(eq=False)
class Item:
    """An activity that has not ended."""

    instance: str
    execution: int
    new: NewActivity
    scheduled_at: float
    due: float  # free from then on; leased: until then
    data: bytes
    start_by: float | None = None  # somebody has to begin it until then, if nobody has
    token: str | None = None
    worker: str | None = None
    attempt: int = 0
    failures: int = 0
    fetches: int = 0
    cancelled: bool = False
    heartbeat: bytes | None = None

    @property
    def lock(self) -> ActivityLock:
        return ActivityLock(self.instance, self.execution, self.new.event_id, self.token or "")

    @property
    def place(self) -> tuple[float, int, str, int]:
        """Where it stands in line."""
        return (self.due, self.new.event_id, self.instance, self.execution)

    @property
    def late_at(self) -> float | None:
        """When it goes if nobody begins it."""
        return None if self.token is not None else self.start_by

    def lease(self, worker: str, token: str, until: float) -> None:
        if self.token is not None:
            self.start_by = None  # somebody had begun it
        self.worker, self.token, self.due = worker, token, until
        self.attempt += 1
        self.fetches += 1

    def suits(self, tags: TagFilter) -> bool:
        """Whether a worker takes it."""
        if self.new.tag is None:
            return tags.untagged
        return tags.tags is None or self.new.tag in tags.tags


@attrs.define(eq=False)
class Session:
    """Somebody has it, or had it last."""

    worker: str
    until: float
    used_at: float


def size_of(history: list[EventRow]) -> int:
    """Bytes of a history."""
    return sum(len(event.data) + len(event.payload or b"") for event in history)


def locked(item: Item) -> LockedActivity:
    """An attempt, as its worker sees it."""
    return LockedActivity(
        lock=item.lock,
        name=item.new.name,
        tag=item.new.tag,
        session=item.new.session,
        attempt=item.attempt,
        failures=item.failures,
        fetches=item.fetches,
        scheduled_at=item.scheduled_at,
        heartbeat=item.heartbeat,
        data=item.data,
        payload=item.new.payload,
    )
