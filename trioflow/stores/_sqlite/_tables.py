"""Rows in a SQLite file: the tables that the rules work on inside the writer's transaction.

Laws: what is written often is left to `_pending.py`, which writes it with the next bulk, and a statement that looks for
rows other than by their keys has those written first; errors of the driver pass through and are translated at the one
door (`_errors.py`); nothing here begins or ends a transaction.

Who calls it: the rules; `_database.py`, to read ahead. Read next: `_pending.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

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
    Needs,
    Remembered,
    StoredMessage,
)
from trioflow.stores._sqlite import _bulk, _statements as sql
from trioflow.stores._sqlite._activities import SqliteActivities
from trioflow.stores._sqlite._pending import Row

STATE = INSTANCE_COLUMNS.index("state")
instance_values = attrgetter(*INSTANCE_COLUMNS)


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

    def look_up(self, needs: Needs) -> None:
        """Read ahead what a batch is going to ask for by its key, where that is more than one row of a kind."""
        pending = self.pending
        if len(needs.instances) > 1:
            self._learn(_bulk.read_instances, needs.instances, pending.instances)
        if len(needs.items) > 1:
            pending.items.update(dict.fromkeys(needs.items))
            for items in _bulk.portions(list(needs.items)):
                rows = self._db.execute(_bulk.read_activities(len(items)), [part for key in items for part in key])
                pending.items.update({row[:3]: row for row in rows})
        if len(needs.requests) > 1:
            self._learn(_bulk.read_requests, needs.requests, pending.requests)
        if len(needs.new) > 1:
            self._learn(_bulk.read_tombstones, needs.new, pending.tombstones)

    def _learn(self, text: Callable[[int], str], keys: Iterable[str], known: dict[str, Row | None]) -> None:
        known.update(dict.fromkeys(keys))
        for some in _bulk.portions(list(keys)):
            known.update({row[0]: row for row in self._db.execute(text(len(some)), some)})

    # -- instances

    def instance(self, instance: str) -> InstanceRow | None:
        """See `Tables`."""
        known = self.pending.instances
        row = known[instance] if instance in known else self._one(sql.READ_INSTANCE, instance)
        return None if row is None else to_instance(row)

    def put_new_instance(self, row: InstanceRow, parent: Parent | None, attributes: Mapping[str, str]) -> None:
        """See `Tables`."""
        if self.pending.instances.get(row.instance) is not None:
            self.pending.flush_instances()  # changes of the one in whose place it comes
        link = (None, None, None) if parent is None else attrs.astuple(parent)
        self.pending.begun[row.instance] = (*link, json.dumps(dict(attributes)))
        self.update_instance(row)

    def update_instance(self, row: InstanceRow) -> None:
        """See `Tables`."""
        values = instance_values(row)
        self.pending.instances[row.instance] = values
        details = self.pending.begun.get(row.instance)
        if details is None:
            self.pending.add(self.pending.changed_instances, [values])
        else:
            self.pending.add(self.pending.new_instances, [values + details])

    def instance_details(self, instance: str) -> tuple[Parent | None, Mapping[str, str]]:
        """See `Tables`."""
        self.pending.flush_instances()
        row = self._one(sql.READ_DETAILS, instance)
        assert row is not None
        name, execution, event_id, attributes = row
        parent = None if name is None else Parent(instance=name, execution=execution, event_id=event_id)
        return parent, json.loads(attributes)

    def last_execution(self, instance: str) -> int:
        """See `Tables`."""
        known = self.pending.tombstones
        row = known[instance] if instance in known else self._one(sql.READ_TOMBSTONE, instance)
        return 0 if row is None else row[1]

    def due_instances(
        self, now: float, limit: int, can_run: Capabilities | None, *, others: bool = False
    ) -> list[InstanceRow]:
        """See `Tables`."""
        key = (can_run, others)
        text, values = self._texts.get(key) or self._text(key, sql.due_instances(can_run, others=others))
        return self._instances(text, now, *values, limit)

    def _instances(self, text: str, *values: Any) -> list[InstanceRow]:
        self.pending.flush_instances()
        return [to_instance(row) for row in self._all(text, *values)]

    def next_due_instance(self, now: float) -> float | None:
        """See `Tables`."""
        self.pending.flush_instances()
        return self._time(sql.NEXT_DUE_INSTANCE, now)

    def children(self, instance: str) -> list[str]:
        """See `Tables`."""
        self.pending.flush_instances()
        return [row[0] for row in self._all(sql.READ_CHILDREN, instance)]

    def remove_instance(self, row: InstanceRow) -> None:
        """See `Tables`."""
        self.pending.flush()
        for statement in sql.REMOVE_EVERYTHING:
            self.pending.write(statement, (row.instance,))
        self.pending.write(sql.PUT_TOMBSTONE, (row.instance, row.execution))
        self.pending.forget()

    def list_instances(self, query: InstanceQuery, limit: int, after: ListPlace | None) -> list[InstanceRow]:
        """See `Tables`."""
        text, values = sql.list_instances(query, after)
        return self._instances(text, *values, limit)

    # -- histories

    def append_events(self, instance: str, execution: int, events: Sequence[EventRow]) -> None:
        """See `Tables`."""
        rows = [(instance, execution, event.id, event.at, event.kind, event.data, event.payload) for event in events]
        self.pending.add(self.pending.events, rows)

    def events(self, instance: str, execution: int, after: int, limit: int | None) -> tuple[EventRow, ...]:
        """See `Tables`."""
        self.pending.flush_events()
        rows = self._all(sql.READ_EVENTS, instance, execution, after, -1 if limit is None else limit)
        return tuple(EventRow(*row) for row in rows)

    def executions(self, instance: str, after: int, limit: int | None) -> list[ExecutionRecord]:
        """See `Tables`."""
        self.pending.flush_events()
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
        self.pending.flush_events()
        return [row[0] for row in self._all(sql.OLD_EXECUTIONS, instance, below, ended_before, ended_before)]

    def remove_execution(self, instance: str, execution: int) -> None:
        """See `Tables`."""
        self.pending.flush_events()
        self.pending.write(sql.REMOVE_EXECUTION, (instance, execution))

    # -- inboxes

    def put_message(self, instance: str, message: StoredMessage) -> None:
        """See `Tables`."""
        draft = message.draft
        if (instance,) in self.pending.emptied.rows:
            self.pending.flush_messages()  # what was there goes, this stays
        stored = (message.seq, message.at, message.execution, message.control, message.mailbox)
        self.pending.add(self.pending.messages, [(instance, *stored, draft.kind, draft.data, draft.payload)])

    def inboxes(self, instances: Sequence[str]) -> dict[str, list[StoredMessage]]:
        """See `Tables`."""
        self.pending.flush_messages()
        found: dict[str, list[StoredMessage]] = {}
        for some in _bulk.portions(instances):
            rows = self._rows(_bulk.read_inboxes(len(some)), tuple(some))
            for instance, seq, at, execution, control, mailbox, *draft in rows:
                message = StoredMessage(seq, at, execution, bool(control), bool(mailbox), Draft(*draft))
                found.setdefault(instance, []).append(message)
        return found

    def has_message(self, instance: str, kind: str) -> bool:
        """See `Tables`."""
        self.pending.flush_messages()
        return self._one(sql.HAS_MESSAGE, instance, kind) is not None

    def remove_messages(self, instance: str, seqs: Sequence[int]) -> int:
        """See `Tables`."""
        return self.pending.remove_messages(instance, seqs)

    def keep_messages(self, instance: str, *, for_execution: int | None) -> None:
        """See `Tables`."""
        if for_execution is None:
            self.pending.add(self.pending.emptied, [(instance,)])
        else:
            self.pending.flush_messages()
            self.pending.write(sql.REMOVE_MESSAGES_FOR_OTHERS, (instance, for_execution))

    def inbox(self, instance: str) -> Inbox:
        """See `Tables`."""
        self.pending.flush_messages()
        row = self._one(sql.COUNT_MESSAGES, CANCEL, instance, START, instance)
        assert row is not None
        return Inbox(*row)

    # -- status and values

    def status(self, instance: str) -> bytes | None:
        """See `Tables`."""
        row = self._one(sql.READ_STATUS, instance)
        return None if row is None else row[0]

    def set_status(self, instance: str, status: bytes) -> None:
        """See `Tables`."""
        self.pending.write(sql.PUT_STATUS, (instance, status))

    def values(self, instance: str) -> dict[str, bytes]:
        """See `Tables`."""
        return dict(self._all(sql.READ_VALUES, instance))

    def change_values(self, instance: str, changed: Mapping[str, bytes], cleared: Sequence[str]) -> None:
        """See `Tables`."""
        for key in cleared:
            self.pending.write(sql.REMOVE_VALUE, (instance, key))
        for key, value in changed.items():
            self.pending.write(sql.PUT_VALUE, (instance, key, value))

    def forget_values(self, instance: str) -> None:
        """See `Tables`."""
        self.pending.write(sql.REMOVE_STATUS, (instance,))
        self.pending.write(sql.REMOVE_VALUES, (instance,))

    def held_instances(self, worker: str) -> list[InstanceRow]:
        """Instances that a worker has not given back."""
        return self._instances(sql.HELD_INSTANCES, worker)

    # -- numbers

    def depths(self, now: float) -> QueueDepths:
        """See `Tables`."""
        self.pending.flush()
        return QueueDepths(
            turns=to_depth(*self._rows(sql.COUNT_TURNS, {"now": now})),
            activities=to_depth(*self._rows(sql.COUNT_ACTIVITIES, {"now": now})),
            tagged={row[0]: to_depth(row[1:]) for row in self._rows(sql.COUNT_TAGGED, {"now": now})},
        )

    def metrics(self) -> StoreMetrics:
        """See `Tables`."""
        self.pending.flush()
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
        known = self.pending.requests
        row = known[request_id] if request_id in known else self._one(sql.READ_REQUEST, request_id)
        return None if row is None else Remembered(row[1], row[2], row[3], bool(row[4]))

    def remember(self, request_id: str, at: float, answer: Remembered) -> None:
        """See `Tables`."""
        said = (answer.verb, answer.instance, answer.execution, answer.created)
        self.pending.requests[request_id] = (request_id, *said)
        self.pending.add(self.pending.answers, [(request_id, at, *said)])

    def is_settled(self, token: str) -> bool:
        """See `Tables`."""
        self.pending.flush_answers()
        return self._one(sql.READ_SETTLED, token) is not None

    def remember_settled(self, tokens: Iterable[str], at: float) -> None:
        """See `Tables`."""
        self.pending.add(self.pending.settled, [(token, at) for token in tokens])

    def forget_before(self, at: float) -> None:
        """See `Tables`."""
        self.pending.flush_answers()
        self.pending.write(sql.FORGET_REQUESTS, (at,))
        self.pending.write(sql.FORGET_SETTLED, (at,))
        self.pending.write(sql.FORGET_SESSIONS, (at,))
