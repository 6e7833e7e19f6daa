"""The SQL of the SQLite store, by theme.

Laws: a statement finds its rows by a key or by one of the three indexes in time order, never by looking at all of them
(a test asks SQLite for its plan); values are always parameters; text that varies with a worker's abilities is made once
for each. What is written or read many rows at once is in `_bulk.py`.

Who calls it: `_tables.py` and `_activities.py`. Read next: `_bulk.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from trioflow.abc import Capabilities, InstanceQuery, ListPlace, TagFilter
from trioflow.stores._rules import ACTIVITY_COLUMNS, INSTANCE_COLUMNS, Sessions

SQL = str
Values = tuple["str | int | float | None", ...]


def _columns(names: tuple[str, ...]) -> SQL:
    return ", ".join(names)


def _marks(count: int) -> SQL:
    return ", ".join("?" * count)


# -- instances

INSTANCE: Final = _columns(INSTANCE_COLUMNS)
READ_INSTANCE: Final = f"SELECT {INSTANCE} FROM instance WHERE instance = ?"  # noqa: S608 - constants of this module
# What never changes is left out: indexes are spared, too.
FIXED: Final = ("instance", "first_execution", "name", "created_at")
INSTANCE_CHANGING: Final = tuple(name for name in INSTANCE_COLUMNS if name not in FIXED)
READ_DETAILS: Final = "SELECT parent, parent_execution, parent_event_id, attributes FROM instance WHERE instance = ?"
READ_TOMBSTONE: Final = "SELECT instance, execution FROM tombstone WHERE instance = ?"
PUT_TOMBSTONE: Final = "INSERT OR REPLACE INTO tombstone (instance, execution) VALUES (?, ?)"
READ_CHILDREN: Final = "SELECT instance FROM instance WHERE parent = ? ORDER BY created_at, instance"
# All that belongs to an instance, which comes last.
REMOVE_EVERYTHING: Final = tuple(
    f"DELETE FROM {table} WHERE instance = ?"  # noqa: S608 - as above
    for table in ("event", "message", "status", "kv", "activity", "instance")
)
NEXT_DUE_INSTANCE: Final = "SELECT due_at FROM instance WHERE due_at > ? ORDER BY due_at LIMIT 1"
HELD_INSTANCES: Final = f"SELECT {INSTANCE} FROM instance WHERE lock_worker = ?"  # noqa: S608 - as above


def _known(can_run: Capabilities) -> tuple[SQL, Values]:
    pairs = tuple(dict.fromkeys(can_run.orchestrations))
    if not pairs:
        return "FALSE", ()
    names = tuple(dict.fromkeys(name for name, _ in pairs))
    text = (
        f"semantics IN ({_marks(len(can_run.semantics))})"
        f" AND (version IS NULL AND name IN ({_marks(len(names))})"
        f" OR (name, version) IN (VALUES {', '.join(['(?, ?)'] * len(pairs))}))"
    )
    return text, (*can_run.semantics, *names, *(part for pair in pairs for part in pair))


def _taken(can_run: Capabilities | None, *, others: bool) -> tuple[SQL, Values]:
    if can_run is None:
        return " AND FALSE" if others else "", ()
    text, values = _known(can_run)
    # `(name, version) IN` says NULL, not false, of a version that is not pinned.
    return (f" AND ifnull({text}, FALSE) = FALSE" if others else f" AND (({text}) OR control_at IS NOT NULL)"), values


def due_instances(can_run: Capabilities | None, *, others: bool) -> tuple[SQL, Values]:
    """Instances in their order that a worker takes: parameters are now, those given here, and the limit."""
    text, values = _taken(can_run, others=others)
    order = "ORDER BY due_at, revision, instance LIMIT ?"
    return f"SELECT {INSTANCE} FROM instance WHERE due_at <= ?{text} {order}", values  # noqa: S608 - marks only


_WANTED: Final[tuple[tuple[str, SQL], ...]] = (
    ("name", "name = ?"),
    ("version", "version = ?"),
    ("parent", "parent = ?"),
    ("created_after", "created_at >= ?"),
    ("created_before", "created_at < ?"),
    ("updated_after", "updated_at >= ?"),
    ("updated_before", "updated_at < ?"),
    ("ended_after", "ended_at >= ?"),
    ("ended_before", "ended_at < ?"),
)


def list_instances(query: InstanceQuery, after: ListPlace | None) -> tuple[SQL, Values]:
    """Instances that a query means, newest first: parameters are those given here, and the limit."""
    found: list[tuple[SQL, Values]] = (
        [(f"state IN ({_marks(len(query.states))})", query.states)] if query.states else []
    )
    found += [(text, (getattr(query, name),)) for name, text in _WANTED if getattr(query, name) is not None]
    found += [("parent IS NULL", ())] if query.roots else []
    found += [(f"substr(instance, 1, {len(query.prefix)}) = ?", (query.prefix,))] if query.prefix else []
    for pair in query.attributes.items():
        found.append(("EXISTS (SELECT 1 FROM json_each(attributes) AS a WHERE a.key = ? AND a.value = ?)", pair))
    found += [] if after is None else [("(created_at, instance) < (?, ?)", (after.created_at, after.instance))]
    where = " AND ".join(text for text, _ in found) or "TRUE"
    order = "ORDER BY created_at DESC, instance DESC LIMIT ?"
    text = f"SELECT {INSTANCE} FROM instance WHERE {where} {order}"  # noqa: S608 - marks only
    return text, tuple(value for _, values in found for value in values)


# -- histories, inboxes, values

READ_EVENTS: Final = (
    "SELECT id, at, kind, data, payload FROM event WHERE instance = ? AND execution = ? AND id > ? ORDER BY id LIMIT ?"
)
SHORT_EXECUTIONS: Final = (
    "SELECT execution, count(*), sum(length(data) + ifnull(length(payload), 0)), min(id), max(id) FROM event "
    "WHERE instance = ? AND execution > ? GROUP BY execution ORDER BY execution LIMIT ?"
)
READ_BARE_EVENT: Final = "SELECT id, at, kind, data, NULL FROM event WHERE instance = ? AND execution = ? AND id = ?"
OLD_EXECUTIONS: Final = (
    "SELECT execution FROM event WHERE instance = ? AND execution < ? GROUP BY execution "
    "HAVING ? IS NULL OR max(at) < ? ORDER BY execution"
)
REMOVE_EXECUTION: Final = "DELETE FROM event WHERE instance = ? AND execution = ?"

HAS_MESSAGE: Final = "SELECT 1 FROM message WHERE instance = ? AND kind = ? LIMIT 1"
REMOVE_MESSAGES_FOR_OTHERS: Final = "DELETE FROM message WHERE instance = ? AND execution <> ?"
COUNT_MESSAGES: Final = (
    "SELECT count(*), ifnull(sum(mailbox), 0), ifnull(sum(length(payload)) FILTER (WHERE mailbox = 1), 0), min(at), "
    "min(CASE WHEN control = 1 OR kind = ? AND EXISTS (SELECT 1 FROM message WHERE instance = ? AND kind = ?) "
    "THEN at END), min(seq) "
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
# What never changes is left out; so is the payload, which may be large.
CHANGING: Final = tuple(name for name in ACTIVITY_COLUMNS[7:] if name != "payload")
ALL_ACTIVITIES: Final = f"SELECT {ACTIVITY} FROM activity WHERE instance = ? ORDER BY execution, event_id"  # noqa: S608 - as above
# By the ends of their leases: an index of holders would be written twice for each item, and read after a death only.
HELD_ACTIVITIES: Final = " UNION ALL ".join(
    f"SELECT {ACTIVITY} FROM activity WHERE cancelled = {cancelled} AND due_at > ? AND lock_worker = ?"  # noqa: S608 - as above
    for cancelled in (0, 1)
)
DUE_CANCELLED: Final = (
    f"SELECT {ACTIVITY} FROM activity WHERE cancelled = 1 AND due_at <= ? "  # noqa: S608 - as above
    "ORDER BY due_at, event_id, instance, execution LIMIT ?"
)
NEXT_DUE_CANCELLED: Final = "SELECT due_at FROM activity WHERE cancelled = 1 AND due_at > ? ORDER BY due_at LIMIT 1"
_WAITING: Final = "start_by IS NOT NULL AND lock_token IS NULL AND cancelled = 0"
DUE_LATE: Final = (
    f"SELECT {ACTIVITY} FROM activity WHERE {_WAITING} AND start_by <= ? "  # noqa: S608 - as above
    "ORDER BY start_by, event_id, instance, execution LIMIT ?"
)
NEXT_DUE_LATE: Final = f"SELECT start_by FROM activity WHERE {_WAITING} AND start_by > ? ORDER BY start_by LIMIT 1"  # noqa: S608 - as above
EVER: Final = "-9e999"  # a bound that all times keep: with one, SQLite searches an index
FIRST_TIMES: Final = (
    f"SELECT (SELECT due_at FROM activity WHERE cancelled = 1 AND due_at >= {EVER} ORDER BY due_at LIMIT 1), "  # noqa: S608 - as above
    f"(SELECT start_by FROM activity WHERE {_WAITING} AND start_by >= {EVER} ORDER BY start_by LIMIT 1)"
)


def _tagged(tags: TagFilter) -> tuple[SQL, tuple[str, ...]]:
    but = f" AND name NOT IN ({_marks(len(tags.but))})" if tags.but else ""
    if tags.tags is None:
        return ("" if tags.untagged else " AND tag IS NOT NULL") + but, tags.but
    untagged = "tag IS NULL OR " if tags.untagged else ""
    return f" AND ({untagged}tag IN ({_marks(len(tags.tags))})){but}", (*tags.tags, *tags.but)


def _of_sessions(sessions: Sessions) -> SQL:
    if sessions.worker is None:
        return " AND session IS NULL"
    has = "SELECT 1 FROM session AS s WHERE s.session = activity.session AND s.until > :now"
    if sessions.more:
        return f" AND (session IS NULL OR NOT EXISTS ({has} AND s.worker <> :worker))"
    return f" AND (session IS NULL OR EXISTS ({has} AND s.worker = :worker))"


def due_activities(tags: TagFilter, sessions: Sessions) -> tuple[SQL, Mapping[str, str | None]]:
    """Items in their order that a worker takes: parameters are `now`, `limit`, and those given here."""
    text, values = _tagged(tags)
    names = [f"tag{place}" for place, _ in enumerate(values)]
    for name in names:
        text = text.replace("?", f":{name}", 1)
    order = "ORDER BY due_at, event_id, instance, execution LIMIT :limit"
    text = (
        f"SELECT {ACTIVITY} FROM activity WHERE cancelled = 0 AND due_at <= :now{text}{_of_sessions(sessions)} {order}"  # noqa: S608 - marks only
    )
    return text, {"worker": sessions.worker, **dict(zip(names, values, strict=True))}


def next_due_activity(tags: TagFilter) -> tuple[SQL, Values]:
    """The next time: parameters are now and those given here."""
    text, values = _tagged(tags)
    rest = "ORDER BY due_at LIMIT 1"
    return f"SELECT due_at FROM activity WHERE cancelled = 0 AND due_at > ?{text} {rest}", values  # noqa: S608 - marks only


# -- sessions

READ_SESSION: Final = "SELECT session, worker, until, used_at FROM session WHERE session = ?"
READ_SESSIONS: Final = "SELECT session, worker, until, used_at FROM session WHERE worker = ? ORDER BY session"
PUT_SESSION: Final = "INSERT OR REPLACE INTO session (session, worker, until, used_at) VALUES (?, ?, ?, ?)"
REMOVE_SESSION: Final = "DELETE FROM session WHERE session = ?"
NEXT_SESSION_END: Final = "SELECT until FROM session WHERE until > ? ORDER BY until LIMIT 1"
FORGET_SESSIONS: Final = "DELETE FROM session WHERE until < ?"

# -- numbers: these look at all rows of an index or a table

_DEPTH: Final = (
    "count(*) FILTER (WHERE due_at <= :now), count(*) FILTER (WHERE due_at > :now AND lock_token IS NOT NULL), "
    "count(*) FILTER (WHERE due_at > :now AND lock_token IS NULL), :now - min(due_at) FILTER (WHERE due_at <= :now)"
)
COUNT_TURNS: Final = f"SELECT {_DEPTH} FROM instance WHERE due_at IS NOT NULL"  # noqa: S608 - constants of this module
COUNT_ACTIVITIES: Final = f"SELECT {_DEPTH} FROM activity WHERE cancelled = 0"  # noqa: S608 - as above
COUNT_TAGGED: Final = (
    f"SELECT tag, {_DEPTH} FROM activity WHERE cancelled = 0 AND tag IS NOT NULL GROUP BY tag ORDER BY tag"  # noqa: S608 - as above
)
COUNT_INSTANCES: Final = "SELECT name, state, count(*) FROM instance GROUP BY name, state ORDER BY name, state"
COUNT_REST: Final = (
    "SELECT (SELECT count(*) FROM (SELECT DISTINCT instance, execution FROM event)), (SELECT count(*) FROM event), "
    "(SELECT count(*) FROM message), (SELECT count(*) FROM activity), (SELECT count(*) FROM session)"
)

# -- what was answered before

READ_REQUEST: Final = "SELECT request_id, verb, instance, execution, created FROM request WHERE request_id = ?"
READ_SETTLED: Final = "SELECT 1 FROM settled WHERE token = ?"
FORGET_REQUESTS: Final = "DELETE FROM request WHERE at < ?"
FORGET_SETTLED: Final = "DELETE FROM settled WHERE at < ?"
