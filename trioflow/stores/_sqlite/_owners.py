"""What becomes of a dead worker's leases: they expire at once.

Laws: only whoever holds the dead worker's file does this, so it happens once; an attempt that died counts as an
attempt. What has died once may be taken again at once; what dies again and again waits longer each time, so that a
worker in a crash loop does not, within seconds, bring everything it happens to hold to the verdict of poison.

Who calls it: `_writer.py`, when it finds the file of a worker that can be locked.
"""

from __future__ import annotations

from trioflow.stores._rules import Work
from trioflow.stores._sqlite._tables import SqliteTables


def pause_after(deaths: int) -> float:
    """Seconds before work whose holders died so many times in a row may be taken again: 0, 1, 2, 4 ... 60."""
    return 0.0 if deaths <= 1 else min(2.0 ** (deaths - 2), 60.0)


def expire_leases(work: Work, owner: str) -> int:
    """Free what this owner held; how much that was."""
    tables = work.tables
    assert isinstance(tables, SqliteTables)
    instances = tables.held_instances(owner)
    for row in instances:
        row.unlock()
        pause = pause_after(row.attempts)
        row.not_before = max(row.not_before, work.now + pause) if pause else row.not_before
        work.touch(row, news=False)
    items = tables.held_activities(owner, work.now)
    for item in items:
        if item.cancelled:
            item.due_at = work.now  # whoever looks next posts it as lost
        else:
            item.start_by = None  # it was begun
            item.free(min(item.due_at, work.now + pause_after(item.fetches)))
    tables.update_activities(items)
    for session in tables.sessions_of(owner):
        tables.remove_session(session.session)
        work.hint_activities()
    if items:
        work.hint_activities()
        work.hint_turns()
    return len(instances) + len(items)
