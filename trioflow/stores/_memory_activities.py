"""Activity items and sessions in dictionaries.

Laws: as `_memory_undo.py`; an item stands in one line by time as long as it may be taken, in another while its end is
asked for, and in a third while somebody has to begin it in time.

Who calls it: `_memory_tables.py`. Read next: `_due_queue.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import attrs

from trioflow.abc import QueueDepth, TagFilter
from trioflow.stores._due_queue import DueQueue
from trioflow.stores._memory_undo import Undoable
from trioflow.stores._rules import ActivityRow, SessionRow, Sessions

ActivityKey = tuple[str, int, int]
Claim = tuple["str | None", "str | None", str]  # tag, session, name


def anything(bucket: object) -> bool:
    """Accept every bucket."""
    return True


def takes(tags: TagFilter) -> Callable[[Claim], bool]:
    """Whether a worker takes items with a tag and a name."""

    def accepts(claim: Claim) -> bool:
        tag, _, name = claim
        fits = tags.untagged if tag is None else tags.tags is None or tag in tags.tags
        return fits and name not in tags.but

    return accepts


def count(times: Iterable[tuple[float, bool]], now: float) -> QueueDepth:
    """How deep a queue is, by when its entries are due and whether somebody has them."""
    ready, leased, later, oldest = 0, 0, 0, now
    for due_at, held in times:
        if due_at <= now:
            ready, oldest = ready + 1, min(oldest, due_at)
        elif held:
            leased += 1
        else:
            later += 1
    return QueueDepth(ready=ready, leased=leased, later=later, oldest=now - oldest if ready else None)


@attrs.define(eq=False)
class MemoryActivities(Undoable):
    """The part of `Tables` that knows of items and sessions."""

    _activities: dict[tuple[str, int], dict[int, ActivityRow]] = attrs.field(factory=dict, init=False)
    _sessions: dict[str, SessionRow] = attrs.field(factory=dict, init=False)
    _due_activities: DueQueue[ActivityKey, Claim] = attrs.field(factory=DueQueue, init=False)
    _due_cancelled: DueQueue[ActivityKey, None] = attrs.field(factory=DueQueue, init=False)
    _due_late: DueQueue[ActivityKey, None] = attrs.field(factory=DueQueue, init=False)

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
            items = self._activities.get(row.key[:2], {})
            self._drop(items, row.event_id)
            if not items:
                self._drop(self._activities, row.key[:2])
            self._line_up_activity(row.key)

    def _line_up_activity(self, key: ActivityKey) -> None:
        row = self._activities.get(key[:2], {}).get(key[2])
        self._due_cancelled.drop(key)
        self._due_late.drop(key)
        if row is None or row.cancelled:
            self._due_activities.drop(key)
        else:
            self._due_activities.put(key, (row.tag, row.session, row.name), row.due_at, row.event_id)
        if row is not None and row.cancelled:
            self._due_cancelled.put(key, None, row.due_at, row.event_id)
        if row is not None and row.waits_until is not None:
            self._due_late.put(key, None, row.waits_until, row.event_id)

    def due_activities(self, now: float, limit: int, tags: TagFilter, sessions: Sessions) -> list[ActivityRow]:
        """See `Tables`."""
        fits, allows = takes(tags), self._allows(sessions, now)
        return self._by_keys(self._due_activities.due(now, limit, lambda claim: fits(claim) and allows(claim[1])))

    def _allows(self, sessions: Sessions, now: float) -> Callable[[str | None], bool]:
        """Whether items of a session are wanted."""

        def accepts(session: str | None) -> bool:
            if session is None:
                return True
            row = self._sessions.get(session)
            if row is None or row.until <= now:
                return sessions.more
            return row.worker == sessions.worker

        return accepts

    def next_due_activity(self, now: float, tags: TagFilter) -> float | None:
        """See `Tables`."""
        return self._due_activities.next_after(now, takes(tags))

    def due_cancelled(self, now: float, limit: int) -> list[ActivityRow]:
        """See `Tables`."""
        return self._by_keys(self._due_cancelled.due(now, limit, anything))

    def next_due_cancelled(self, now: float) -> float | None:
        """See `Tables`."""
        return self._due_cancelled.next_after(now, anything)

    def due_late(self, now: float, limit: int) -> list[ActivityRow]:
        """See `Tables`."""
        return self._by_keys(self._due_late.due(now, limit, anything))

    def next_due_late(self, now: float) -> float | None:
        """See `Tables`."""
        return self._due_late.next_after(now, anything)

    def _by_keys(self, keys: Iterable[ActivityKey]) -> list[ActivityRow]:
        return [self._activities[key[:2]][key[2]].copy() for key in keys]

    def _each_activity(self) -> list[ActivityRow]:
        return [row for rows in self._activities.values() for row in rows.values()]

    # -- sessions

    def session(self, session: str) -> SessionRow | None:
        """See `Tables`."""
        row = self._sessions.get(session)
        return None if row is None else attrs.evolve(row)

    def sessions_of(self, worker: str) -> list[SessionRow]:
        """See `Tables`."""
        own = sorted(name for name, row in self._sessions.items() if row.worker == worker)
        return [attrs.evolve(self._sessions[name]) for name in own]

    def put_session(self, row: SessionRow) -> None:
        """See `Tables`."""
        self._put(self._sessions, row.session, attrs.evolve(row))

    def remove_session(self, session: str) -> None:
        """See `Tables`."""
        self._drop(self._sessions, session)

    def next_session_end(self, now: float) -> float | None:
        """See `Tables`."""
        return min((row.until for row in self._sessions.values() if row.until > now), default=None)
