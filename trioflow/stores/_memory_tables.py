"""Rows in dictionaries: the tables of the memory store.

Laws: as `_memory_undo.py`; what is searched for is found by a key or stands in a line by time, but for lists and
numbers, which look at everything.

Who calls it: `_memory.py`. Read next: `_memory_activities.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

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
)
from trioflow.stores._due_queue import DueQueue
from trioflow.stores._memory_activities import MemoryActivities, anything, count
from trioflow.stores._rules import START, ActivityRow, Inbox, InstanceRow, Remembered, StoredMessage

Kind = tuple[str, "str | None", int, bool]  # name, version, semantics, whether a control message waits


def runs(can_run: Capabilities | None, *, others: bool) -> Callable[[Kind], bool]:
    """Whether a worker takes instances of a kind: those it can run or has to control, or the others."""
    if can_run is None:
        return lambda kind: not others
    pairs = dict.fromkeys(can_run.orchestrations)
    names = dict.fromkeys(name for name, _ in pairs)

    def accepts(kind: Kind) -> bool:
        name, version, semantics, control = kind
        known = semantics in can_run.semantics and (name in names if version is None else (name, version) in pairs)
        return not known if others else known or control

    return accepts


def means(query: InstanceQuery, row: InstanceRow, parent: Parent | None, attributes: Mapping[str, str]) -> bool:
    """Whether a query means an instance."""
    return (
        (not query.states or row.state in query.states)
        and query.name in (None, row.name)
        and query.version in (None, row.version)
        and row.instance.startswith(query.prefix)
        and (query.parent is None or (parent is not None and parent.instance == query.parent))
        and not (query.roots and parent is not None)
        and all(attributes.get(key) == value for key, value in query.attributes.items())
        and _within(row.created_at, query.created_after, query.created_before)
        and _within(row.updated_at, query.updated_after, query.updated_before)
        and _within(row.ended_at, query.ended_after, query.ended_before)
    )


def _within(at: float | None, after: float | None, before: float | None) -> bool:
    if at is None:
        return after is None and before is None
    return (after is None or at >= after) and (before is None or at < before)


@attrs.define(eq=False)
class MemoryTables(MemoryActivities):
    """See `Tables`."""

    _instances: dict[str, InstanceRow] = attrs.field(factory=dict)
    _tombstones: dict[str, int] = attrs.field(factory=dict)  # last execution numbers of those that were deleted
    _children: dict[str, dict[str, None]] = attrs.field(factory=dict)
    _details: dict[str, tuple[Parent | None, Mapping[str, str]]] = attrs.field(factory=dict)
    _events: dict[tuple[str, int], dict[int, EventRow]] = attrs.field(factory=dict)
    _inboxes: dict[str, dict[int, StoredMessage]] = attrs.field(factory=dict)
    _status: dict[str, bytes] = attrs.field(factory=dict)
    _values: dict[str, dict[str, bytes]] = attrs.field(factory=dict)
    _remembered: dict[str, tuple[float, Remembered]] = attrs.field(factory=dict)  # oldest first
    _settled: dict[str, float] = attrs.field(factory=dict)  # oldest first
    _due_instances: DueQueue[str, Kind] = attrs.field(factory=DueQueue)

    # -- instances

    def instance(self, instance: str) -> InstanceRow | None:
        """See `Tables`."""
        row = self._instances.get(instance)
        return None if row is None else row.copy()

    def put_new_instance(self, row: InstanceRow, parent: Parent | None, attributes: Mapping[str, str]) -> None:
        """See `Tables`."""
        self._forget_parent(row.instance)
        self._put(self._details, row.instance, (parent, dict(attributes)))
        if parent is not None:
            self._put(self._children.setdefault(parent.instance, {}), row.instance, None)
        self.update_instance(row)

    def _forget_parent(self, instance: str) -> None:
        parent, _ = self._details.get(instance, (None, {}))
        if parent is not None:
            siblings = self._children[parent.instance]
            self._drop(siblings, instance)
            if not siblings:
                self._drop(self._children, parent.instance)

    def update_instance(self, row: InstanceRow) -> None:
        """See `Tables`."""
        self._undo.append(partial(self._line_up_instance, row.instance))  # runs after the row itself is back
        self._put(self._instances, row.instance, row.copy())
        self._line_up_instance(row.instance)

    def _line_up_instance(self, instance: str) -> None:
        row = self._instances.get(instance)
        if row is None or row.due_at is None:
            self._due_instances.drop(instance)
        else:
            kind = (row.name, row.version, row.semantics, row.control_at is not None)
            self._due_instances.put(instance, kind, row.due_at, row.revision)

    def instance_details(self, instance: str) -> tuple[Parent | None, Mapping[str, str]]:
        """See `Tables`."""
        return self._details[instance]

    def last_execution(self, instance: str) -> int:
        """See `Tables`."""
        return self._tombstones.get(instance, 0)

    def due_instances(
        self, now: float, limit: int, can_run: Capabilities | None, *, others: bool = False
    ) -> list[InstanceRow]:
        """See `Tables`."""
        keys = self._due_instances.due(now, limit, runs(can_run, others=others))
        return [self._instances[key].copy() for key in keys]

    def next_due_instance(self, now: float) -> float | None:
        """See `Tables`."""
        return self._due_instances.next_after(now, anything)

    def children(self, instance: str) -> list[str]:
        """See `Tables`."""
        return sorted(self._children.get(instance, ()), key=lambda child: (self._instances[child].created_at, child))

    def remove_instance(self, row: InstanceRow) -> None:
        """See `Tables`."""
        instance = row.instance
        self._drop(self._inboxes, instance)
        self._drop(self._status, instance)
        self._drop(self._values, instance)
        self.remove_activities(self.all_activities(instance))
        for execution in range(1, row.execution + 1):
            self._drop(self._events, (instance, execution))
        self._forget_parent(instance)
        self._drop(self._details, instance)
        self._put(self._tombstones, instance, row.execution)
        self._undo.append(partial(self._line_up_instance, instance))
        self._drop(self._instances, instance)
        self._line_up_instance(instance)

    def all_activities(self, instance: str) -> list[ActivityRow]:
        """See `Tables`."""
        executions = range(1, self._instances[instance].execution + 1)
        return [row for execution in executions for row in self.activities_of(instance, execution)]

    def list_instances(self, query: InstanceQuery, limit: int, after: ListPlace | None) -> list[InstanceRow]:
        """See `Tables`."""
        found = [row for row in self._instances.values() if means(query, row, *self._details[row.instance])]
        found.sort(key=lambda row: (row.created_at, row.instance), reverse=True)
        if after is not None:
            place = (after.created_at, after.instance)
            found = [row for row in found if (row.created_at, row.instance) < place]
        return [row.copy() for row in found[:limit]]

    # -- histories

    def append_events(self, instance: str, execution: int, events: Sequence[EventRow]) -> None:
        """See `Tables`."""
        history = self._events.setdefault((instance, execution), {})
        for event in events:
            self._put(history, event.id, event)

    def events(self, instance: str, execution: int, after: int, limit: int | None) -> tuple[EventRow, ...]:
        """See `Tables`."""
        history = self._events.get((instance, execution), {})
        end = len(history) if limit is None else min(len(history), after + limit)
        return tuple(history[number] for number in range(after + 1, end + 1))  # ids are 1..n, without gaps

    def executions(self, instance: str, after: int, limit: int | None) -> list[ExecutionRecord]:
        """See `Tables`."""
        numbers = range(after + 1, self._instances[instance].execution + 1)
        found = [self._execution(instance, number) for number in numbers if self._events.get((instance, number))]
        return found if limit is None else found[:limit]

    def _execution(self, instance: str, execution: int) -> ExecutionRecord:
        events = list(self._events[instance, execution].values())
        return ExecutionRecord(
            execution=execution,
            history_length=len(events),
            history_bytes=sum(len(event.data) + len(event.payload or b"") for event in events),
            first=attrs.evolve(events[0], payload=None),
            last=attrs.evolve(events[-1], payload=None),
        )

    def old_executions(self, instance: str, below: int, ended_before: float | None) -> list[int]:
        """See `Tables`."""
        found = []
        for execution in range(1, below):
            events = self._events.get((instance, execution))
            if events and (ended_before is None or events[len(events)].at < ended_before):
                found.append(execution)
        return found

    def remove_execution(self, instance: str, execution: int) -> None:
        """See `Tables`."""
        self._drop(self._events, (instance, execution))

    # -- inboxes

    def put_message(self, instance: str, message: StoredMessage) -> None:
        """See `Tables`."""
        self._put(self._inboxes.setdefault(instance, {}), message.seq, message)

    def inboxes(self, instances: Sequence[str]) -> dict[str, list[StoredMessage]]:
        """See `Tables`."""
        return {instance: self.messages(instance) for instance in instances if self._inboxes.get(instance)}

    def messages(self, instance: str) -> list[StoredMessage]:
        """All of an inbox, by seq."""
        inbox = self._inboxes.get(instance, {})
        return [inbox[seq] for seq in sorted(inbox)]

    def has_message(self, instance: str, kind: str) -> bool:
        """See `Tables`."""
        return any(message.draft.kind == kind for message in self._inboxes.get(instance, {}).values())

    def remove_messages(self, instance: str, seqs: Sequence[int]) -> int:
        """See `Tables`."""
        inbox = self._inboxes.get(instance, {})
        return sum(self._drop(inbox, seq) for seq in seqs)

    def keep_messages(self, instance: str, *, for_execution: int | None) -> None:
        """See `Tables`."""
        inbox = self._inboxes.get(instance, {})
        for message in list(inbox.values()):
            if for_execution is None or message.execution not in (None, for_execution):
                self._drop(inbox, message.seq)

    def inbox(self, instance: str) -> Inbox:
        """See `Tables`."""
        messages = self.messages(instance)
        begun = all(message.draft.kind != START for message in messages)
        return Inbox(
            queued=len(messages),
            mail=sum(message.mailbox for message in messages),
            mail_bytes=sum(message.size for message in messages),
            first_at=min((message.at for message in messages), default=None),
            control_at=min((message.at for message in messages if message.controls(begun=begun)), default=None),
            first_seq=messages[0].seq if messages else None,
        )

    # -- status and values

    def status(self, instance: str) -> bytes | None:
        """See `Tables`."""
        return self._status.get(instance)

    def set_status(self, instance: str, status: bytes) -> None:
        """See `Tables`."""
        self._put(self._status, instance, status)

    def values(self, instance: str) -> dict[str, bytes]:
        """See `Tables`."""
        values = self._values.get(instance, {})
        return {key: values[key] for key in sorted(values)}

    def change_values(self, instance: str, changed: Mapping[str, bytes], cleared: Sequence[str]) -> None:
        """See `Tables`."""
        values = self._values.setdefault(instance, {})
        for key in cleared:
            self._drop(values, key)
        for key, value in changed.items():
            self._put(values, key, value)

    def forget_values(self, instance: str) -> None:
        """See `Tables`."""
        self._drop(self._status, instance)
        self.change_values(instance, {}, list(self._values.get(instance, ())))

    # -- numbers

    def depths(self, now: float) -> QueueDepths:
        """See `Tables`."""
        rows = [row for row in self._instances.values() if row.due_at is not None]
        items = [row for row in self._each_activity() if not row.cancelled]
        tags = dict.fromkeys(sorted(row.tag for row in items if row.tag is not None))
        return QueueDepths(
            turns=count(((row.due_at or 0.0, row.lock_token is not None) for row in rows), now),
            activities=count(((row.due_at, row.lock_token is not None) for row in items), now),
            tagged={
                tag: count(((row.due_at, row.lock_token is not None) for row in items if row.tag == tag), now)
                for tag in tags
            },
        )

    def metrics(self) -> StoreMetrics:
        """See `Tables`."""
        kinds = Counter((row.name, row.state) for row in self._instances.values())
        return StoreMetrics(
            instances={kind: kinds[kind] for kind in sorted(kinds)},
            executions=sum(bool(events) for events in self._events.values()),
            events=sum(map(len, self._events.values())),
            messages=sum(map(len, self._inboxes.values())),
            activities=len(self._each_activity()),
            sessions=len(self._sessions),
        )

    # -- what was answered before

    def remembered(self, request_id: str) -> Remembered | None:
        """See `Tables`."""
        kept = self._remembered.get(request_id)
        return None if kept is None else kept[1]

    def remember(self, request_id: str, at: float, answer: Remembered) -> None:
        """See `Tables`."""
        self._put(self._remembered, request_id, (at, answer))

    def is_settled(self, token: str) -> bool:
        """See `Tables`."""
        return token in self._settled

    def remember_settled(self, tokens: Iterable[str], at: float) -> None:
        """See `Tables`."""
        for token in tokens:
            self._put(self._settled, token, at)

    def forget_before(self, at: float) -> None:
        """See `Tables`."""
        for request_id, (kept_at, _) in list(self._remembered.items()):
            if kept_at >= at:
                break
            self._drop(self._remembered, request_id)
        for token, settled_at in list(self._settled.items()):
            if settled_at >= at:
                break
            self._drop(self._settled, token)
        for row in list(self._sessions.values()):
            if row.until < at:
                self._drop(self._sessions, row.session)
