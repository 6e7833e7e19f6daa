"""Rows in a SQLite file: the tables that the rules work on inside the writer's transaction.

Laws: each method is one statement on the one connection; errors of the driver pass through and are translated at the
one door (`_errors.py`); nothing here begins or ends a transaction.

Who calls it: the rules. Read next: `_writer.py`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeVar

import attrs

from trioflow.abc import Capabilities, Draft, EventRow, Parent, State, TagFilter
from trioflow.stores._rules import (
    ACTIVITY_COLUMNS,
    INSTANCE_COLUMNS,
    ActivityRow,
    Inbox,
    InstanceRow,
    Remembered,
    StoredMessage,
)
from trioflow.stores._sqlite import _statements as sql
from trioflow.stores._sqlite._garbled import find_garbled

F = TypeVar("F", Capabilities, TagFilter)
Row = tuple[Any, ...]

STATE = INSTANCE_COLUMNS.index("state")
CANCELLED = ACTIVITY_COLUMNS.index("cancelled")
instance_values = attrgetter(*INSTANCE_COLUMNS)
instance_changes = attrgetter(*INSTANCE_COLUMNS[1:], "instance")
activity_values = attrgetter(*ACTIVITY_COLUMNS)
activity_changes = attrgetter(*sql.CHANGING, "instance", "execution", "event_id")
activity_key = attrgetter("instance", "execution", "event_id")


def to_instance(row: Row) -> InstanceRow:
    """A row of one's own."""
    instance = InstanceRow(*row)
    instance.state = State(row[STATE])
    return instance


def to_activity(row: Row) -> ActivityRow:
    """A row of one's own."""
    item = ActivityRow(*row)
    item.cancelled = bool(row[CANCELLED])
    return item


@attrs.define(eq=False)
class SqliteTables:
    """See `Tables`."""

    _db: sqlite3.Connection
    _texts: dict[object, tuple[str, tuple[Any, ...]]] = attrs.field(factory=dict)  # by what a worker can do

    def _one(self, text: str, *values: Any) -> Row | None:
        try:
            row: Row | None = self._db.execute(text, values).fetchone()
        except sqlite3.OperationalError as exc:
            find_garbled(exc, self._db, text, values)
            raise
        return row

    def _all(self, text: str, *values: Any) -> list[Row]:
        try:
            return self._db.execute(text, values).fetchall()
        except sqlite3.OperationalError as exc:
            find_garbled(exc, self._db, text, values)
            raise

    def _text(self, key: object, made: tuple[str, tuple[Any, ...]]) -> tuple[str, tuple[Any, ...]]:
        if len(self._texts) > 100:  # workers come and go; their texts are quickly made again
            self._texts.clear()
        self._texts[key] = made
        return made

    # -- instances

    def instance(self, instance: str) -> InstanceRow | None:
        """See `Tables`."""
        row = self._one(sql.READ_INSTANCE, instance)
        return None if row is None else to_instance(row)

    def put_new_instance(self, row: InstanceRow, parent: Parent | None, attributes: Mapping[str, str]) -> None:
        """See `Tables`."""
        link = None if parent is None else json.dumps([parent.instance, parent.execution, parent.event_id])
        self._db.execute(sql.PUT_INSTANCE, (*instance_values(row), link, json.dumps(dict(attributes))))

    def update_instance(self, row: InstanceRow) -> None:
        """See `Tables`."""
        self._db.execute(sql.UPDATE_INSTANCE, instance_changes(row))

    def instance_details(self, instance: str) -> tuple[Parent | None, Mapping[str, str]]:
        """See `Tables`."""
        row = self._one(sql.READ_DETAILS, instance)
        assert row is not None
        parent = None
        if row[0] is not None:
            name, execution, event_id = json.loads(row[0])
            parent = Parent(instance=name, execution=execution, event_id=event_id)
        return parent, json.loads(row[1])

    def last_execution(self, instance: str) -> int:
        """See `Tables`."""
        row = self._one(sql.READ_TOMBSTONE, instance)
        return 0 if row is None else row[0]

    def due_instances(self, now: float, limit: int, can_run: Capabilities | None) -> list[InstanceRow]:
        """See `Tables`."""
        text, values = self._texts.get(can_run) or self._text(can_run, sql.due_instances(can_run))
        return [to_instance(row) for row in self._all(text, now, *values, limit)]

    def next_due_instance(self, now: float) -> float | None:
        """See `Tables`."""
        row = self._one(sql.NEXT_DUE_INSTANCE, now)
        return None if row is None else row[0]

    # -- histories

    def append_events(self, instance: str, execution: int, events: Sequence[EventRow]) -> None:
        """See `Tables`."""
        rows = [(instance, execution, event.id, event.at, event.kind, event.data, event.payload) for event in events]
        self._db.executemany(sql.APPEND_EVENT, rows)

    def events(self, instance: str, execution: int, after: int, limit: int | None) -> tuple[EventRow, ...]:
        """See `Tables`."""
        rows = self._all(sql.READ_EVENTS, instance, execution, after, -1 if limit is None else limit)
        return tuple(EventRow(*row) for row in rows)

    # -- inboxes

    def put_message(self, instance: str, message: StoredMessage) -> None:
        """See `Tables`."""
        draft = message.draft
        self._db.execute(
            sql.PUT_MESSAGE,
            (
                instance,
                message.seq,
                message.at,
                message.execution,
                message.control,
                message.mailbox,
                draft.kind,
                draft.data,
                draft.payload,
            ),
        )

    def messages(self, instance: str) -> list[StoredMessage]:
        """See `Tables`."""
        return [
            StoredMessage(seq, at, execution, bool(control), bool(mailbox), Draft(kind, data, payload))
            for seq, at, execution, control, mailbox, kind, data, payload in self._all(sql.READ_MESSAGES, instance)
        ]

    def has_message(self, instance: str, kind: str) -> bool:
        """See `Tables`."""
        return self._one(sql.HAS_MESSAGE, instance, kind) is not None

    def remove_messages(self, instance: str, seqs: Sequence[int]) -> int:
        """See `Tables`."""
        return self._db.executemany(sql.REMOVE_MESSAGE, [(instance, seq) for seq in seqs]).rowcount

    def keep_messages(self, instance: str, *, for_execution: int | None) -> None:
        """See `Tables`."""
        if for_execution is None:
            self._db.execute(sql.REMOVE_MESSAGES, (instance,))
        else:
            self._db.execute(sql.REMOVE_MESSAGES_FOR_OTHERS, (instance, for_execution))

    def inbox(self, instance: str) -> Inbox:
        """See `Tables`."""
        row = self._one(sql.COUNT_MESSAGES, instance)
        assert row is not None
        return Inbox(*row)

    # -- status and values

    def status(self, instance: str) -> bytes | None:
        """See `Tables`."""
        row = self._one(sql.READ_STATUS, instance)
        return None if row is None else row[0]

    def set_status(self, instance: str, status: bytes) -> None:
        """See `Tables`."""
        self._db.execute(sql.PUT_STATUS, (instance, status))

    def values(self, instance: str) -> dict[str, bytes]:
        """See `Tables`."""
        return dict(self._all(sql.READ_VALUES, instance))

    def change_values(self, instance: str, changed: Mapping[str, bytes], cleared: Sequence[str]) -> None:
        """See `Tables`."""
        self._db.executemany(sql.REMOVE_VALUE, [(instance, key) for key in cleared])
        self._db.executemany(sql.PUT_VALUE, [(instance, key, value) for key, value in changed.items()])

    def forget_values(self, instance: str) -> None:
        """See `Tables`."""
        self._db.execute(sql.REMOVE_STATUS, (instance,))
        self._db.execute(sql.REMOVE_VALUES, (instance,))

    # -- activities

    def activity(self, instance: str, execution: int, event_id: int) -> ActivityRow | None:
        """See `Tables`."""
        row = self._one(sql.READ_ACTIVITY, instance, execution, event_id)
        return None if row is None else to_activity(row)

    def activities_of(self, instance: str, execution: int) -> list[ActivityRow]:
        """See `Tables`."""
        return [to_activity(row) for row in self._all(sql.READ_ACTIVITIES, instance, execution)]

    def insert_activities(self, rows: Sequence[ActivityRow]) -> None:
        """See `Tables`."""
        self._db.executemany(sql.INSERT_ACTIVITY, [activity_values(row) for row in rows])

    def update_activities(self, rows: Sequence[ActivityRow]) -> None:
        """See `Tables`."""
        if rows:
            self._db.executemany(sql.UPDATE_ACTIVITY, [activity_changes(row) for row in rows])

    def remove_activities(self, rows: Sequence[ActivityRow]) -> None:
        """See `Tables`."""
        if rows:
            self._db.executemany(sql.REMOVE_ACTIVITY, [activity_key(row) for row in rows])

    def due_activities(self, now: float, limit: int, tags: TagFilter) -> list[ActivityRow]:
        """See `Tables`."""
        text, values = self._texts.get(tags) or self._text(tags, sql.due_activities(tags))
        return [to_activity(row) for row in self._all(text, now, *values, limit)]

    def next_due_activity(self, now: float, tags: TagFilter) -> float | None:
        """See `Tables`."""
        key = ("next", tags)
        text, values = self._texts.get(key) or self._text(key, sql.next_due_activity(tags))
        row = self._one(text, now, *values)
        return None if row is None else row[0]

    def due_cancelled(self, now: float, limit: int) -> list[ActivityRow]:
        """See `Tables`."""
        return [to_activity(row) for row in self._all(sql.DUE_CANCELLED, now, limit)]

    def next_due_cancelled(self, now: float) -> float | None:
        """See `Tables`."""
        row = self._one(sql.NEXT_DUE_CANCELLED, now)
        return None if row is None else row[0]

    # -- who holds what

    def held_instances(self, worker: str) -> list[InstanceRow]:
        """Instances that a worker has not given back."""
        return [to_instance(row) for row in self._all(sql.HELD_INSTANCES, worker)]

    def held_activities(self, worker: str) -> list[ActivityRow]:
        """Items that a worker has neither settled nor given back."""
        return [to_activity(row) for row in self._all(sql.HELD_ACTIVITIES, worker)]

    # -- what was answered before

    def remembered(self, request_id: str) -> Remembered | None:
        """See `Tables`."""
        row = self._one(sql.READ_REQUEST, request_id)
        return None if row is None else Remembered(row[0], row[1], row[2], bool(row[3]))

    def remember(self, request_id: str, at: float, answer: Remembered) -> None:
        """See `Tables`."""
        values = (request_id, at, answer.verb, answer.instance, answer.execution, answer.created)
        self._db.execute(sql.PUT_REQUEST, values)

    def is_settled(self, token: str) -> bool:
        """See `Tables`."""
        return self._one(sql.READ_SETTLED, token) is not None

    def remember_settled(self, tokens: Iterable[str], at: float) -> None:
        """See `Tables`."""
        self._db.executemany(sql.PUT_SETTLED, [(token, at) for token in tokens])

    def forget_before(self, at: float) -> None:
        """See `Tables`."""
        self._db.execute(sql.FORGET_REQUESTS, (at,))
        self._db.execute(sql.FORGET_SETTLED, (at,))
