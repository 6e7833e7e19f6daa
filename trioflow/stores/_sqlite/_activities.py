"""Activity items and sessions in a SQLite file.

Laws: as `_tables.py`.

Who calls it: `_tables.py`. Read next: `_statements.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeVar

import attrs

from trioflow.abc import TagFilter
from trioflow.stores._rules import ACTIVITY_COLUMNS, ActivityRow, SessionRow, Sessions
from trioflow.stores._sqlite import _statements as sql
from trioflow.stores._sqlite._garbled import find_garbled
from trioflow.stores._sqlite._pending import Pending, Pile, Row

V = TypeVar("V")

CANCELLED = ACTIVITY_COLUMNS.index("cancelled")
activity_values = attrgetter(*ACTIVITY_COLUMNS)
activity_key = attrgetter("instance", "execution", "event_id")


def to_activity(row: Row) -> ActivityRow:
    """A row of one's own."""
    item = ActivityRow(*row)
    item.cancelled = bool(row[CANCELLED])
    return item


@attrs.define(eq=False)
class SqliteActivities:
    """The part of `Tables` that knows of items and sessions."""

    _db: sqlite3.Connection
    pending: Pending = attrs.field(init=False)
    _texts: dict[object, tuple[str, Any]] = attrs.field(factory=dict)  # by what a worker can do

    def __attrs_post_init__(self) -> None:
        self.pending = Pending(self._db)

    def _one(self, text: str, *values: Any) -> Row | None:
        try:
            row: Row | None = self._db.execute(text, values).fetchone()
        except sqlite3.OperationalError as exc:
            find_garbled(exc, self._db, text, values)
            raise
        return row

    def _all(self, text: str, *values: Any) -> list[Row]:
        return self._rows(text, values)

    def _rows(self, text: str, values: tuple[Any, ...] | Mapping[str, Any]) -> list[Row]:
        try:
            return self._db.execute(text, values).fetchall()
        except sqlite3.OperationalError as exc:
            find_garbled(exc, self._db, text, values)
            raise

    def _text(self, key: object, made: tuple[str, V]) -> tuple[str, V]:
        if len(self._texts) > 100:  # workers come and go; their texts are quickly made again
            self._texts.clear()
        self._texts[key] = made
        return made

    # -- activities

    def activity(self, instance: str, execution: int, event_id: int) -> ActivityRow | None:
        """See `Tables`."""
        key = (instance, execution, event_id)
        known = self.pending.items
        row = known[key] if key in known else self._one(sql.READ_ACTIVITY, *key)
        return None if row is None else to_activity(row)

    def activities_of(self, instance: str, execution: int) -> list[ActivityRow]:
        """See `Tables`."""
        return self._items(sql.READ_ACTIVITIES, instance, execution)

    def insert_activities(self, rows: Sequence[ActivityRow]) -> None:
        """See `Tables`."""
        self._add_items(self.pending.new_items, rows)

    def update_activities(self, rows: Sequence[ActivityRow]) -> None:
        """See `Tables`."""
        self._add_items(self.pending.changed_items, rows)

    def _add_items(self, pile: Pile, rows: Sequence[ActivityRow]) -> None:
        if rows:
            found = list(map(activity_values, rows))
            self.pending.items.update({row[:3]: row for row in found})
            self.pending.add(pile, found)
            self.pending.firsts = None

    def remove_activities(self, rows: Sequence[ActivityRow]) -> None:
        """See `Tables`."""
        if rows:
            keys = list(map(activity_key, rows))
            self.pending.items.update(dict.fromkeys(keys))
            self.pending.add(self.pending.gone_items, keys)
            self.pending.firsts = None

    def all_activities(self, instance: str) -> list[ActivityRow]:
        """See `Tables`."""
        return self._items(sql.ALL_ACTIVITIES, instance)

    def _items(self, text: str, *values: Any) -> list[ActivityRow]:
        self.pending.flush_items()
        return [to_activity(row) for row in self._all(text, *values)]

    def due_activities(self, now: float, limit: int, tags: TagFilter, sessions: Sessions) -> list[ActivityRow]:
        """See `Tables`."""
        key = (tags, sessions)
        text, values = self._texts.get(key) or self._text(key, sql.due_activities(tags, sessions))
        self.pending.flush_items()
        rows = self._rows(text, {"now": now, "limit": limit, **values})
        return [to_activity(row) for row in rows]

    def next_due_activity(self, now: float, tags: TagFilter) -> float | None:
        """See `Tables`."""
        key = ("next", tags)
        text, values = self._texts.get(key) or self._text(key, sql.next_due_activity(tags))
        self.pending.flush_items()
        return self._time(text, now, *values)

    def due_cancelled(self, now: float, limit: int) -> list[ActivityRow]:
        """See `Tables`."""
        first, _ = self._firsts()
        return self._items(sql.DUE_CANCELLED, now, limit) if first is not None and first <= now else []

    def next_due_cancelled(self, now: float) -> float | None:
        """See `Tables`."""
        first, _ = self._firsts()
        return first if first is None or first > now else self._time(sql.NEXT_DUE_CANCELLED, now)

    def due_late(self, now: float, limit: int) -> list[ActivityRow]:
        """See `Tables`."""
        _, first = self._firsts()
        return self._items(sql.DUE_LATE, now, limit) if first is not None and first <= now else []

    def next_due_late(self, now: float) -> float | None:
        """See `Tables`."""
        _, first = self._firsts()
        return first if first is None or first > now else self._time(sql.NEXT_DUE_LATE, now)

    def _firsts(self) -> tuple[float | None, float | None]:
        """When the first item marked as cancelled is due, and when the first has to be begun: mostly there is none."""
        self.pending.flush_items()
        if self.pending.firsts is None:
            self.pending.firsts = self._one(sql.FIRST_TIMES)
            assert self.pending.firsts is not None
        first_cancelled, first_late = self.pending.firsts
        return first_cancelled, first_late

    def _time(self, text: str, *values: Any) -> float | None:
        row = self._one(text, *values)
        return None if row is None else row[0]

    def held_activities(self, worker: str, now: float) -> list[ActivityRow]:
        """Items that a worker has neither settled nor given back, and whose leases have not run out."""
        return self._items(sql.HELD_ACTIVITIES, now, worker, now, worker)

    # -- sessions

    def session(self, session: str) -> SessionRow | None:
        """See `Tables`."""
        row = self._one(sql.READ_SESSION, session)
        return None if row is None else SessionRow(*row)

    def sessions_of(self, worker: str) -> list[SessionRow]:
        """See `Tables`."""
        return [SessionRow(*row) for row in self._all(sql.READ_SESSIONS, worker)]

    def put_session(self, row: SessionRow) -> None:
        """See `Tables`."""
        self.pending.write(sql.PUT_SESSION, (row.session, row.worker, row.until, row.used_at))

    def remove_session(self, session: str) -> None:
        """See `Tables`."""
        self.pending.write(sql.REMOVE_SESSION, (session,))

    def next_session_end(self, now: float) -> float | None:
        """See `Tables`."""
        return self._time(sql.NEXT_SESSION_END, now)
