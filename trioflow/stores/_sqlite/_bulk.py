"""Statements for many rows at once: one step of SQLite for all, during which other threads of the process run.

Laws: of each statement there are a few sizes, powers of two, so that the connection has them all prepared before long;
each finds its rows by the primary key (a test asks SQLite for its plan).

Who calls it: `_pending.py`, for what is written, and `_tables.py`, for what is read. Read next: `_statements.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, TypeVar

from trioflow.stores._rules import ACTIVITY_COLUMNS, INSTANCE_COLUMNS
from trioflow.stores._sqlite import _statements as sql

R = TypeVar("R")
SIZES: Final = (64, 32, 16, 8, 4, 2, 1)
EMPTY_TEXT: Final = "''"
EMPTY_BLOB: Final = "x''"
ITEM_CHANGE_WIDTH: Final = len(ACTIVITY_COLUMNS) - 1  # without the payload, the last: it never changes and may be large
INSTANCE_WIDTH: Final = len(INSTANCE_COLUMNS)


def portions(rows: Sequence[R]) -> Iterator[Sequence[R]]:
    """Rows in portions for each of which there is a statement."""
    start, rest = 0, len(rows)
    for size in SIZES:
        while rest >= size:
            yield rows[start : start + size]
            start, rest = start + size, rest - size


def _values(columns: int, count: int, *constants: str) -> str:
    """So many rows of so many parameters each, and of constants."""
    row = f"({', '.join(('?',) * columns + constants)})"
    return f"VALUES {', '.join([row] * count)}"


def _set(names: Sequence[str]) -> str:
    return ", ".join(f"{name} = ?" for name in names)


def _changes(names: Sequence[str]) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in names)


# -- writes

Row = tuple[Any, ...]


def _parameters(columns: Sequence[str], names: Sequence[str]) -> Callable[[Row], Row]:
    return itemgetter(*map(columns.index, names))


INSTANCE_CHANGE: Final = _parameters(INSTANCE_COLUMNS, (*sql.INSTANCE_CHANGING, "instance"))
"""The parameters of `change_instances(1)`, from a row."""

ITEM_CHANGE: Final = _parameters(ACTIVITY_COLUMNS, (*sql.CHANGING, "instance", "execution", "event_id"))
"""Those of `change_activities(1)`."""


@functools.cache
def put_instances(count: int) -> str:
    """Insert instances, in place of those of the same ids."""
    return (
        f"INSERT OR REPLACE INTO instance ({sql.INSTANCE}, parent, parent_execution, parent_event_id, attributes) "
        f"{_values(INSTANCE_WIDTH + 4, count)}"
    )


@functools.cache
def change_instances(count: int) -> str:
    """Write what changes about instances that are there."""
    if count == 1:
        return f"UPDATE instance SET {_set(sql.INSTANCE_CHANGING)} WHERE instance = ?"  # noqa: S608 - constants
    # An insertion that always finds its row there: SQLite has no shorter way to change many.
    return (
        f"INSERT INTO instance ({sql.INSTANCE}, attributes) {_values(INSTANCE_WIDTH, count, EMPTY_TEXT)} "
        f"ON CONFLICT (instance) DO UPDATE SET {_changes(sql.INSTANCE_CHANGING)}"
    )


@functools.cache
def append_events(count: int) -> str:
    """Add events."""
    return f"INSERT INTO event (instance, execution, id, at, kind, data, payload) {_values(7, count)}"


@functools.cache
def put_messages(count: int) -> str:
    """Add messages."""
    columns = "instance, seq, at, execution, control, mailbox, kind, data, payload"
    return f"INSERT INTO message ({columns}) {_values(9, count)}"


@functools.cache
def insert_activities(count: int) -> str:
    """Add items."""
    return f"INSERT INTO activity ({sql.ACTIVITY}) {_values(len(ACTIVITY_COLUMNS), count)}"


@functools.cache
def change_activities(count: int) -> str:
    """Write what changes about items that are there; parameters are all columns but the payload."""
    if count == 1:
        return f"UPDATE activity SET {_set(sql.CHANGING)} WHERE {sql.KEY}"  # noqa: S608 - as above
    return (
        f"INSERT INTO activity ({sql.ACTIVITY}) {_values(ITEM_CHANGE_WIDTH, count, EMPTY_BLOB)} "
        f"ON CONFLICT (instance, execution, event_id) DO UPDATE SET {_changes(sql.CHANGING)}"
    )


@functools.cache
def remove_activities(count: int) -> str:
    """Remove items."""
    return f"DELETE FROM activity WHERE {' OR '.join([sql.KEY] * count)}"  # noqa: S608 - constants


@functools.cache
def remove_messages(count: int) -> str:
    """Remove messages."""
    return f"DELETE FROM message WHERE {' OR '.join(['instance = ? AND seq = ?'] * count)}"  # noqa: S608 - as above


@functools.cache
def empty_inboxes(count: int) -> str:
    """Remove all messages of instances."""
    return f"DELETE FROM message WHERE instance IN ({', '.join('?' * count)})"  # noqa: S608 - as above


@functools.cache
def put_requests(count: int) -> str:
    """Keep answers to clients."""
    return f"INSERT INTO request (request_id, at, verb, instance, execution, created) {_values(6, count)}"


@functools.cache
def put_settled(count: int) -> str:
    """Keep tokens that settled their items."""
    return f"INSERT OR REPLACE INTO settled (token, at) {_values(2, count)}"


# -- reads


@functools.cache
def read_instances(count: int) -> str:
    """Instances by their ids."""
    return f"SELECT {sql.INSTANCE} FROM instance WHERE instance IN ({', '.join('?' * count)})"  # noqa: S608 - as above


@functools.cache
def read_activities(count: int) -> str:
    """Items by their keys."""
    columns = ", ".join(f"a.{name}" for name in ACTIVITY_COLUMNS)
    key = "a.instance = k.column1 AND a.execution = k.column2 AND a.event_id = k.column3"
    return f"SELECT {columns} FROM ({_values(3, count)}) AS k CROSS JOIN activity AS a ON {key}"  # noqa: S608 - as above


@functools.cache
def read_requests(count: int) -> str:
    """Answers by the ids of the requests, which come first."""
    columns = "request_id, verb, instance, execution, created"
    return f"SELECT {columns} FROM request WHERE request_id IN ({', '.join('?' * count)})"  # noqa: S608 - as above


@functools.cache
def read_tombstones(count: int) -> str:
    """Last execution numbers of ids that were deleted."""
    return f"SELECT instance, execution FROM tombstone WHERE instance IN ({', '.join('?' * count)})"  # noqa: S608 - as above


@functools.cache
def read_inboxes(count: int) -> str:
    """Messages of instances, in the order of each."""
    columns = "instance, seq, at, execution, control, mailbox, kind, data, payload"
    return f"SELECT {columns} FROM message WHERE instance IN ({', '.join('?' * count)}) ORDER BY instance, seq"  # noqa: S608 - as above
