"""The rules of sessions: which worker has which, for how long, and whose items it gets.

Laws: a session belongs to one worker at a time, and whoever claims it while its lease runs is refused; a claim is part
of the transaction that takes the first item; a session's lease and an item's are apart: an attempt that began goes on
to its end whatever becomes of the session.

Who calls it: stores; `_activities.py`, for what may be taken. Read next: `_activities.py`.
"""

from __future__ import annotations

import attrs

from trioflow.abc import RenewSessions, SessionClaim, SessionsRenewed
from trioflow.stores._rules._rows import ActivityRow, SessionRow
from trioflow.stores._rules._tables import Sessions
from trioflow.stores._rules._work import Work


@attrs.define(eq=False)
class Held:
    """The sessions of a worker that looks for items; they are only read when an item of one is there."""

    work: Work
    worker: str
    claim: SessionClaim | None
    refused: bool = attrs.field(default=False, init=False)  # an item came that would have been one session too many
    _rows: dict[str, SessionRow] | None = attrs.field(default=None, init=False)

    @property
    def wanted(self) -> Sessions:
        """Items of which sessions to look for."""
        return Sessions() if self.claim is None else Sessions(self.worker, more=not self.refused)

    def takes(self, session: str | None) -> bool:
        """Whether an item is for this worker; claims its session if that is needed, and notes that it is used."""
        if session is None:
            return True
        assert self.claim is not None
        now = self.work.now
        if self._rows is None:
            rows = self.work.tables.sessions_of(self.worker)
            self._rows = {row.session: row for row in rows if row.until > now}
        row = self._rows.get(session)
        if row is None:
            if len(self._rows) >= self.claim.limit:
                self.refused = True
                return False
            row = SessionRow(session, self.worker, now + self.claim.lease, now)
            self._rows[session] = row
        row.used_at = now
        self.work.tables.put_session(row)
        return True


def note_use(work: Work, item: ActivityRow) -> None:
    """The holder of an item has used the item's session, if it still has that."""
    if item.session is None:
        return
    row = work.tables.session(item.session)
    if row is not None and row.worker == item.lock_worker:
        row.used_at = work.now
        work.tables.put_session(row)


def leave_session(work: Work, item: ActivityRow) -> None:
    """The holder of an item leaves the item's session to others, if it has that."""
    if item.session is None:
        return
    row = work.tables.session(item.session)
    if row is not None and row.worker == item.lock_worker:
        work.tables.remove_session(item.session)
        work.hint_activities()


def renew_sessions(work: Work, request: RenewSessions) -> SessionsRenewed:
    """Hold sessions for longer; give idle ones back."""
    held = []
    for row in work.tables.sessions_of(request.worker):
        if work.now - row.used_at >= request.idle:
            work.tables.remove_session(row.session)
            work.hint_activities()
        else:
            row.until = work.now + request.lease
            work.tables.put_session(row)
            held.append(row.session)
    return SessionsRenewed(held=tuple(held))


def release_sessions(work: Work, worker: str) -> None:
    """Give all sessions of a worker back."""
    for row in work.tables.sessions_of(worker):
        work.tables.remove_session(row.session)
        work.hint_activities()
