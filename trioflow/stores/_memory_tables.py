"""Rows in dictionaries, with an undo log: the tables of the memory store.

Laws: a row in a dictionary is never changed, only replaced, so readers and the undo log may share it; every write notes
how to take it back; `commit` forgets the notes, `rollback` follows them backwards.

Who calls it: `_memory.py`. Read next: `_due_queue.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import attrs

from trioflow.abc import Capabilities, EventRow, Parent, TagFilter
from trioflow.stores._due_queue import DueQueue
from trioflow.stores._rules import ActivityRow, Inbox, InstanceRow, Remembered, StoredMessage

K = TypeVar("K")
V = TypeVar("V")
Kind = tuple[str, "str | None", int]  # name, version, semantics
ActivityKey = tuple[str, int, int]
MISSING: Any = object()


def anything(bucket: object) -> bool:
    """Accept every bucket."""
    return True


def runs(can_run: Capabilities | None) -> Callable[[Kind], bool]:
    """Whether a worker can run instances of a kind."""
    if can_run is None:
        return anything
    pairs = dict.fromkeys(can_run.orchestrations)
    names = dict.fromkeys(name for name, _ in pairs)

    def accepts(kind: Kind) -> bool:
        name, version, semantics = kind
        return semantics in can_run.semantics and (name in names if version is None else (name, version) in pairs)

    return accepts


def takes(tags: TagFilter) -> Callable[[str | None], bool]:
    """Whether a worker takes items with a tag."""

    def accepts(tag: str | None) -> bool:
        return tags.untagged if tag is None else tags.tags is None or tag in tags.tags

    return accepts


def restore(where: dict[K, V], key: K, old: V) -> None:
    """Put back what was there."""
    if old is MISSING:
        del where[key]
    else:
        where[key] = old


@attrs.define(eq=False)
class MemoryTables:
    """See `Tables`."""

    _instances: dict[str, InstanceRow] = attrs.field(factory=dict)
    _details: dict[str, tuple[Parent | None, Mapping[str, str]]] = attrs.field(factory=dict)
    _events: dict[tuple[str, int], dict[int, EventRow]] = attrs.field(factory=dict)
    _inboxes: dict[str, dict[int, StoredMessage]] = attrs.field(factory=dict)
    _status: dict[str, bytes] = attrs.field(factory=dict)
    _values: dict[str, dict[str, bytes]] = attrs.field(factory=dict)
    _activities: dict[tuple[str, int], dict[int, ActivityRow]] = attrs.field(factory=dict)
    _remembered: dict[str, tuple[float, Remembered]] = attrs.field(factory=dict)  # oldest first
    _settled: dict[str, float] = attrs.field(factory=dict)  # oldest first
    _due_instances: DueQueue[str, Kind] = attrs.field(factory=DueQueue)
    _due_activities: DueQueue[ActivityKey, str | None] = attrs.field(factory=DueQueue)
    _due_cancelled: DueQueue[ActivityKey, None] = attrs.field(factory=DueQueue)
    _undo: list[Callable[[], None]] = attrs.field(factory=list)

    # -- transactions

    def commit(self) -> None:
        """What was written stays."""
        self._undo.clear()

    def rollback(self) -> None:
        """What was written since the last commit is taken back."""
        while self._undo:
            self._undo.pop()()

    def _put(self, where: dict[K, V], key: K, value: V) -> None:
        self._undo.append(partial(restore, where, key, where.get(key, MISSING)))
        where[key] = value

    def _drop(self, where: dict[K, V], key: K) -> bool:
        old = where.pop(key, MISSING)
        if old is MISSING:
            return False
        self._undo.append(partial(restore, where, key, old))
        return True

    # -- instances

    def instance(self, instance: str) -> InstanceRow | None:
        """See `Tables`."""
        row = self._instances.get(instance)
        return None if row is None else row.copy()

    def put_new_instance(self, row: InstanceRow, parent: Parent | None, attributes: Mapping[str, str]) -> None:
        """See `Tables`."""
        self._put(self._details, row.instance, (parent, dict(attributes)))
        self.update_instance(row)

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
            self._due_instances.put(instance, (row.name, row.version, row.semantics), row.due_at, row.revision)

    def instance_details(self, instance: str) -> tuple[Parent | None, Mapping[str, str]]:
        """See `Tables`."""
        return self._details[instance]

    def last_execution(self, instance: str) -> int:
        """See `Tables`."""
        return 0

    def due_instances(self, now: float, limit: int, can_run: Capabilities | None) -> list[InstanceRow]:
        """See `Tables`."""
        return [self._instances[key].copy() for key in self._due_instances.due(now, limit, runs(can_run))]

    def next_due_instance(self, now: float) -> float | None:
        """See `Tables`."""
        return self._due_instances.next_after(now, anything)

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

    # -- inboxes

    def put_message(self, instance: str, message: StoredMessage) -> None:
        """See `Tables`."""
        self._put(self._inboxes.setdefault(instance, {}), message.seq, message)

    def messages(self, instance: str) -> list[StoredMessage]:
        """See `Tables`."""
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
        return Inbox(
            queued=len(messages),
            mail=sum(message.mailbox for message in messages),
            first_at=min((message.at for message in messages), default=None),
            control_at=min((message.at for message in messages if message.control), default=None),
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

    # -- activities

    def activity(self, instance: str, execution: int, event_id: int) -> ActivityRow | None:
        """See `Tables`."""
        row = self._activities.get((instance, execution), {}).get(event_id)
        return None if row is None else row.copy()

    def activities_of(self, instance: str, execution: int) -> list[ActivityRow]:
        """See `Tables`."""
        items = self._activities.get((instance, execution), {})
        return [items[event_id].copy() for event_id in sorted(items)]

    def insert_activities(self, rows: Sequence[ActivityRow]) -> None:
        """See `Tables`."""
        self.update_activities(rows)

    def update_activities(self, rows: Sequence[ActivityRow]) -> None:
        """See `Tables`."""
        for row in rows:
            self._undo.append(partial(self._line_up_activity, row.key))
            self._put(self._activities.setdefault(row.key[:2], {}), row.event_id, row.copy())
            self._line_up_activity(row.key)

    def remove_activities(self, rows: Sequence[ActivityRow]) -> None:
        """See `Tables`."""
        for row in rows:
            self._undo.append(partial(self._line_up_activity, row.key))
            self._drop(self._activities.get(row.key[:2], {}), row.event_id)
            self._line_up_activity(row.key)

    def _line_up_activity(self, key: ActivityKey) -> None:
        row = self._activities.get(key[:2], {}).get(key[2])
        self._due_cancelled.drop(key)
        if row is None or row.cancelled:
            self._due_activities.drop(key)
        else:
            self._due_activities.put(key, row.tag, row.due_at, row.event_id)
        if row is not None and row.cancelled:
            self._due_cancelled.put(key, None, row.due_at, row.event_id)

    def due_activities(self, now: float, limit: int, tags: TagFilter) -> list[ActivityRow]:
        """See `Tables`."""
        return self._by_keys(self._due_activities.due(now, limit, takes(tags)))

    def next_due_activity(self, now: float, tags: TagFilter) -> float | None:
        """See `Tables`."""
        return self._due_activities.next_after(now, takes(tags))

    def due_cancelled(self, now: float, limit: int) -> list[ActivityRow]:
        """See `Tables`."""
        return self._by_keys(self._due_cancelled.due(now, limit, anything))

    def next_due_cancelled(self, now: float) -> float | None:
        """See `Tables`."""
        return self._due_cancelled.next_after(now, anything)

    def _by_keys(self, keys: Iterable[ActivityKey]) -> list[ActivityRow]:
        return [self._activities[key[:2]][key[2]].copy() for key in keys]

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
