"""The SQL of the SQLite store, by theme.

Laws: a statement finds its rows by a key or by one of the three indexes in time order, never by looking at all of them
(a test asks SQLite for its plan); values are always parameters; text that varies with a worker's abilities is made once
for each.

Who calls it: `_tables.py` and `_owners.py`. Read next: `_tables.py`.
"""

from __future__ import annotations

from typing import Final

from trioflow.abc import Capabilities, TagFilter
from trioflow.stores._rules import ACTIVITY_COLUMNS, INSTANCE_COLUMNS

SQL = str
Values = tuple["str | int | float | None", ...]


def _columns(names: tuple[str, ...]) -> SQL:
    return ", ".join(names)


def _marks(count: int) -> SQL:
    return ", ".join("?" * count)


def _assignments(names: tuple[str, ...]) -> SQL:
    return ", ".join(f"{name} = ?" for name in names)


# -- instances

INSTANCE: Final = _columns(INSTANCE_COLUMNS)
READ_INSTANCE: Final = f"SELECT {INSTANCE} FROM instance WHERE instance = ?"  # noqa: S608 - constants of this module
PUT_INSTANCE: Final = (
    f"INSERT OR REPLACE INTO instance ({INSTANCE}, parent, attributes) "  # noqa: S608 - as above
    f"VALUES ({_marks(len(INSTANCE_COLUMNS) + 2)})"
)
UPDATE_INSTANCE: Final = f"UPDATE instance SET {_assignments(INSTANCE_COLUMNS[1:])} WHERE instance = ?"  # noqa: S608 - as above
READ_DETAILS: Final = "SELECT parent, attributes FROM instance WHERE instance = ?"
READ_TOMBSTONE: Final = "SELECT execution FROM tombstone WHERE instance = ?"
NEXT_DUE_INSTANCE: Final = "SELECT due_at FROM instance WHERE due_at > ? ORDER BY due_at LIMIT 1"
HELD_INSTANCES: Final = f"SELECT {INSTANCE} FROM instance WHERE lock_worker = ?"  # noqa: S608 - as above


def _runnable(can_run: Capabilities | None) -> tuple[SQL, Values]:
    if can_run is None:
        return "", ()
    pairs = tuple(dict.fromkeys(can_run.orchestrations))
    if not pairs:
        return " AND FALSE", ()
    names = tuple(dict.fromkeys(name for name, _ in pairs))
    text = (
        f" AND semantics IN ({_marks(len(can_run.semantics))})"
        f" AND (version IS NULL AND name IN ({_marks(len(names))})"
        f" OR (name, version) IN (VALUES {', '.join(['(?, ?)'] * len(pairs))}))"
    )
    return text, (*can_run.semantics, *names, *(part for pair in pairs for part in pair))


def due_instances(can_run: Capabilities | None) -> tuple[SQL, Values]:
    """Instances in their order that a worker can run: parameters are now, those given here, and the limit."""
    text, values = _runnable(can_run)
    order = "ORDER BY due_at, revision, instance LIMIT ?"
    return f"SELECT {INSTANCE} FROM instance WHERE due_at <= ?{text} {order}", values  # noqa: S608 - marks only


# -- histories, inboxes, values

APPEND_EVENT: Final = (
    "INSERT INTO event (instance, execution, id, at, kind, data, payload) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
READ_EVENTS: Final = (
    "SELECT id, at, kind, data, payload FROM event WHERE instance = ? AND execution = ? AND id > ? ORDER BY id LIMIT ?"
)

PUT_MESSAGE: Final = (
    "INSERT INTO message (instance, seq, at, execution, control, mailbox, kind, data, payload) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
READ_MESSAGES: Final = (
    "SELECT seq, at, execution, control, mailbox, kind, data, payload FROM message WHERE instance = ? ORDER BY seq"
)
HAS_MESSAGE: Final = "SELECT 1 FROM message WHERE instance = ? AND kind = ? LIMIT 1"
REMOVE_MESSAGE: Final = "DELETE FROM message WHERE instance = ? AND seq = ?"
REMOVE_MESSAGES: Final = "DELETE FROM message WHERE instance = ?"
REMOVE_MESSAGES_FOR_OTHERS: Final = "DELETE FROM message WHERE instance = ? AND execution <> ?"
COUNT_MESSAGES: Final = (
    "SELECT count(*), ifnull(sum(mailbox), 0), min(at), min(CASE control WHEN 1 THEN at END), min(seq) "
    "FROM message WHERE instance = ?"
)

READ_STATUS: Final = "SELECT value FROM status WHERE instance = ?"
PUT_STATUS: Final = "INSERT OR REPLACE INTO status (instance, value) VALUES (?, ?)"
REMOVE_STATUS: Final = "DELETE FROM status WHERE instance = ?"
READ_VALUES: Final = "SELECT key, value FROM kv WHERE instance = ? ORDER BY key"
PUT_VALUE: Final = "INSERT OR REPLACE INTO kv (instance, key, value) VALUES (?, ?, ?)"
REMOVE_VALUE: Final = "DELETE FROM kv WHERE instance = ? AND key = ?"
REMOVE_VALUES: Final = "DELETE FROM kv WHERE instance = ?"

# -- activities

ACTIVITY: Final = _columns(ACTIVITY_COLUMNS)
KEY: Final = "instance = ? AND execution = ? AND event_id = ?"
READ_ACTIVITY: Final = f"SELECT {ACTIVITY} FROM activity WHERE {KEY}"  # noqa: S608 - constants of this module
READ_ACTIVITIES: Final = f"SELECT {ACTIVITY} FROM activity WHERE instance = ? AND execution = ? ORDER BY event_id"  # noqa: S608 - as above
INSERT_ACTIVITY: Final = f"INSERT INTO activity ({ACTIVITY}) VALUES ({_marks(len(ACTIVITY_COLUMNS))})"  # noqa: S608 - as above
# What never changes is left out; so is the payload, which may be large.
CHANGING: Final = tuple(name for name in ACTIVITY_COLUMNS[7:] if name != "payload")
UPDATE_ACTIVITY: Final = f"UPDATE activity SET {_assignments(CHANGING)} WHERE {KEY}"  # noqa: S608 - as above
REMOVE_ACTIVITY: Final = f"DELETE FROM activity WHERE {KEY}"  # noqa: S608 - as above
HELD_ACTIVITIES: Final = f"SELECT {ACTIVITY} FROM activity WHERE lock_worker = ?"  # noqa: S608 - as above
DUE_CANCELLED: Final = (
    f"SELECT {ACTIVITY} FROM activity WHERE cancelled = 1 AND due_at <= ? "  # noqa: S608 - as above
    "ORDER BY due_at, event_id, instance, execution LIMIT ?"
)
NEXT_DUE_CANCELLED: Final = "SELECT due_at FROM activity WHERE cancelled = 1 AND due_at > ? ORDER BY due_at LIMIT 1"


def _tagged(tags: TagFilter) -> tuple[SQL, Values]:
    if tags.tags is None:
        return ("" if tags.untagged else " AND tag IS NOT NULL"), ()
    untagged = "tag IS NULL OR " if tags.untagged else ""
    return f" AND ({untagged}tag IN ({_marks(len(tags.tags))}))", tags.tags


def due_activities(tags: TagFilter) -> tuple[SQL, Values]:
    """Items in their order that a worker takes: parameters are now, those given here, and the limit."""
    text, values = _tagged(tags)
    order = "ORDER BY due_at, event_id, instance, execution LIMIT ?"
    return f"SELECT {ACTIVITY} FROM activity WHERE cancelled = 0 AND due_at <= ?{text} {order}", values  # noqa: S608 - marks only


def next_due_activity(tags: TagFilter) -> tuple[SQL, Values]:
    """The next time: parameters are now and those given here."""
    text, values = _tagged(tags)
    rest = "ORDER BY due_at LIMIT 1"
    return f"SELECT due_at FROM activity WHERE cancelled = 0 AND due_at > ?{text} {rest}", values  # noqa: S608 - marks only


# -- what was answered before

READ_REQUEST: Final = "SELECT verb, instance, execution, created FROM request WHERE request_id = ?"
PUT_REQUEST: Final = (
    "INSERT INTO request (request_id, at, verb, instance, execution, created) VALUES (?, ?, ?, ?, ?, ?)"
)
READ_SETTLED: Final = "SELECT 1 FROM settled WHERE token = ?"
PUT_SETTLED: Final = "INSERT OR REPLACE INTO settled (token, at) VALUES (?, ?)"
FORGET_REQUESTS: Final = "DELETE FROM request WHERE at < ?"
FORGET_SETTLED: Final = "DELETE FROM settled WHERE at < ?"
