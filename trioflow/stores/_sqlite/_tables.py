"""Rows in a SQLite file: the tables that the rules work on inside the writer's transaction.

Laws: each method is one statement on the one connection; errors of the driver pass through and are translated at the
one door (`_errors.py`); nothing here begins or ends a transaction.

Who calls it: the rules. Read next: `_writer.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

import attrs

from trioflow.abc import (
    Capabilities,
    Draft,
    EventRow,
    ExecutionRecord,
    InstanceQuery,
    ListPlace,
    Parent,
    QueueDepth,
    QueueDepths,
    State,
    StoreMetrics,
)
from trioflow.stores._rules import (
    CANCEL,
    INSTANCE_COLUMNS,
    START,
    Inbox,
    InstanceRow,
    Remembered,
    StoredMessage,
)
from trioflow.stores._sqlite import _statements as sql
from trioflow.stores._sqlite._activities import Row, SqliteActivities

STATE = INSTANCE_COLUMNS.index("state")
instance_values = attrgetter(*INSTANCE_COLUMNS)
instance_changes = attrgetter(*sql.INSTANCE_CHANGING, "instance")


def to_instance(row: Row) -> InstanceRow:
    """A row of one's own."""
    instance = InstanceRow(*row)
    instance.state = State(row[STATE])
    return instance


def to_depth(row: Row) -> QueueDepth:
    """A queue in numbers."""
    ready, leased, later, oldest = row
    return QueueDepth(ready=ready, leased=leased, later=later, oldest=oldest)


@attrs.define(eq=False)
class SqliteTables(SqliteActivities):
    """See `Tables`."""

    # -- instances

    def instance(self, instance: str) -> InstanceRow | None:
        """See `Tables`."""
        row = self._one(sql.READ_INSTANCE, instance)
        return None if row is None else to_instance(row)

    def put_new_instance(self, row: InstanceRow, parent: Parent | None, attributes: Mapping[str, str]) -> None:
        """See `Tables`."""
        link = (None, None, None) if parent is None else attrs.astuple(parent)
        self._db.execute(sql.PUT_INSTANCE, (*instance_values(row), *link, json.dumps(dict(attributes))))

    def update_instance(self, row: InstanceRow) -> None:
        """See `Tables`."""
        self._db.execute(sql.UPDATE_INSTANCE, instance_changes(row))

    def instance_details(self, instance: str) -> tuple[Parent | None, Mapping[str, str]]:
        """See `Tables`."""
        row = self._one(sql.READ_DETAILS, instance)
        assert row is not None
        name, execution, event_id, attributes = row
        parent = None if name is None else Parent(instance=name, execution=execution, event_id=event_id)
        return parent, json.loads(attributes)

    def last_execution(self, instance: str) -> int:
        """See `Tables`."""
        row = self._one(sql.READ_TOMBSTONE, instance)
        return 0 if row is None else row[0]

    def due_instances(
        self, now: float, limit: int, can_run: Capabilities | None, *, others: bool = False
    ) -> list[InstanceRow]:
        """See `Tables`."""
        key = (can_run, others)
        text, values = self._texts.get(key) or self._text(key, sql.due_instances(can_run, others=others))
        return [to_instance(row) for row in self._all(text, now, *values, limit)]

    def next_due_instance(self, now: float) -> float | None:
        """See `Tables`."""
        row = self._one(sql.NEXT_DUE_INSTANCE, now)
        return None if row is None else row[0]

    def children(self, instance: str) -> list[str]:
        """See `Tables`."""
        return [row[0] for row in self._all(sql.READ_CHILDREN, instance)]

    def remove_instance(self, row: InstanceRow) -> None:
        """See `Tables`."""
        for statement in sql.REMOVE_EVERYTHING:
            self._db.execute(statement, (row.instance,))
        self._db.execute(sql.PUT_TOMBSTONE, (row.instance, row.execution))

    def list_instances(self, query: InstanceQuery, limit: int, after: ListPlace | None) -> list[InstanceRow]:
        """See `Tables`."""
        text, values = sql.list_instances(query, after)
        return [to_instance(row) for row in self._all(text, *values, limit)]

    # -- histories

    def append_events(self, instance: str, execution: int, events: Sequence[EventRow]) -> None:
        """See `Tables`."""
        rows = [(instance, execution, event.id, event.at, event.kind, event.data, event.payload) for event in events]
        self._db.executemany(sql.APPEND_EVENT, rows)

    def events(self, instance: str, execution: int, after: int, limit: int | None) -> tuple[EventRow, ...]:
        """See `Tables`."""
        rows = self._all(sql.READ_EVENTS, instance, execution, after, -1 if limit is None else limit)
        return tuple(EventRow(*row) for row in rows)

    def executions(self, instance: str, after: int, limit: int | None) -> list[ExecutionRecord]:
        """See `Tables`."""
        rows = self._all(sql.SHORT_EXECUTIONS, instance, after, -1 if limit is None else limit)
        return [
            ExecutionRecord(
                execution=execution,
                history_length=length,
                history_bytes=size,
                first=self._bare_event(instance, execution, first),
                last=self._bare_event(instance, execution, last),
            )
            for execution, length, size, first, last in rows
        ]

    def _bare_event(self, instance: str, execution: int, id: int) -> EventRow:
        row = self._one(sql.READ_BARE_EVENT, instance, execution, id)
        assert row is not None
        return EventRow(*row)

    def old_executions(self, instance: str, below: int, ended_before: float | None) -> list[int]:
        """See `Tables`."""
        return [row[0] for row in self._all(sql.OLD_EXECUTIONS, instance, below, ended_before)]

    def remove_execution(self, instance: str, execution: int) -> None:
        """See `Tables`."""
        self._db.execute(sql.REMOVE_EXECUTION, (instance, execution))

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
        row = self._one(sql.COUNT_MESSAGES, instance, CANCEL, START)
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

    def held_instances(self, worker: str) -> list[InstanceRow]:
        """Instances that a worker has not given back."""
        return [to_instance(row) for row in self._all(sql.HELD_INSTANCES, worker)]

    # -- numbers

    def depths(self, now: float) -> QueueDepths:
        """See `Tables`."""
        return QueueDepths(
            turns=to_depth(*self._all(sql.COUNT_TURNS, now)),
            activities=to_depth(*self._all(sql.COUNT_ACTIVITIES, now)),
            tagged={row[0]: to_depth(row[1:]) for row in self._all(sql.COUNT_TAGGED, now)},
        )

    def metrics(self) -> StoreMetrics:
        """See `Tables`."""
        ((executions, events, messages, activities, sessions),) = self._all(sql.COUNT_REST)
        return StoreMetrics(
            instances={(name, State(state)): count for name, state, count in self._all(sql.COUNT_INSTANCES)},
            executions=executions,
            events=events,
            messages=messages,
            activities=activities,
            sessions=sessions,
        )

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
        self._db.execute(sql.FORGET_SESSIONS, (at,))
