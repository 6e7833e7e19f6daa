"""The rules of activities: schedule, lock, settle, release, renew, cancel.

Laws: an item and its outcome are one row, so exactly one outcome is ever posted; an item marked as cancelled is never
handed out again: it ends with its holder, or is found when the lease has run out and posted as lost; an outcome whose
execution is not current goes with its item.

Who calls it: stores; `_turns.py` for what a turn schedules, settles and cancels. Read next: `_reads.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from trioflow.abc import (
    ActivitiesCommitted,
    ActivitiesRenewed,
    ActivityLock,
    CommitActivities,
    CommitTurn,
    Draft,
    LockActivities,
    LockedActivities,
    LockedActivity,
    NewActivity,
    OutMessage,
    ReleaseActivity,
    RenewActivities,
    SettleActivity,
)
from trioflow.stores import _refusals as refusals
from trioflow.stores._rules._rows import ActivityRow
from trioflow.stores._rules._sessions import Held, leave_session, note_use
from trioflow.stores._rules._work import Work

SWEEP = 1000  # items of a kind that one call takes away at most


def lock_activities(work: Work, request: LockActivities) -> LockedActivities:
    """Lease items whose time has come."""
    sweep(work)
    held = Held(work, request.worker, request.sessions)
    rows = _take(work, request, held, request.limit)
    if held.refused:  # they hid what is behind them
        rows += _take(work, request, held, request.limit - len(rows))
    times = [work.tables.next_due_activity(work.now, request.tags), work.tables.next_due_late(work.now)]
    if request.sessions is not None:
        times.append(work.tables.next_session_end(work.now))
    return LockedActivities(
        now=work.now,
        activities=tuple(_locked(row) for row in rows),
        next_due=min((at for at in times if at is not None), default=None),
    )


def _take(work: Work, request: LockActivities, held: Held, limit: int) -> list[ActivityRow]:
    """Lease up to `limit` of the items whose sessions are ours or become so."""
    due = work.tables.due_activities(work.now, limit, request.tags, held.wanted)
    rows = [row for row in due if held.takes(row.session)]
    for row in rows:
        row.lease(request.worker, work.new_token(), work.now + request.lease)
    work.tables.update_activities(rows)
    return rows


def _locked(row: ActivityRow) -> LockedActivity:
    return LockedActivity(
        lock=row.lock,
        name=row.name,
        tag=row.tag,
        session=row.session,
        attempt=row.attempt,
        failures=row.failures,
        fetches=row.fetches,
        scheduled_at=row.scheduled_at,
        heartbeat=row.heartbeat,
        data=row.data,
        payload=row.payload,
    )


def sweep(work: Work) -> int:
    """Take away cancelled items whose holders let their leases run out, and items that nobody began in time."""
    lost, late = work.tables.due_cancelled(work.now, SWEEP), work.tables.due_late(work.now, SWEEP)
    work.tables.remove_activities(lost + late)
    for row in lost:
        work.report_cancelled(row, "lost")
    for row in late:
        assert row.late_kind is not None
        assert row.late_data is not None
        draft = Draft(row.late_kind, row.late_data)
        work.deliver(OutMessage(instance=row.instance, execution=row.execution, draft=draft))
    return len(lost) + len(late)


def _held_by(work: Work, lock: ActivityLock) -> ActivityRow | None:
    row = work.tables.activity(lock.instance, lock.execution, lock.event_id)
    return row if row is not None and row.lock_token == lock.token else None


# -- settling ---------------------------------------------------------------------------------------------------------


def commit_activities(work: Work, request: CommitActivities) -> ActivitiesCommitted:
    """Settle attempts, each for itself."""
    lost, settled = [], []
    for settle in request.settle:
        row = _held_by(work, settle.lock)
        if row is not None:
            note_use(work, row)
            _settle(work, row, settle)
            settled.append(settle.lock.token)
        elif not work.tables.is_settled(settle.lock.token):
            lost.append(settle.lock)
    work.tables.remember_settled(settled, work.now)
    return ActivitiesCommitted(now=work.now, lost=tuple(lost))


def settle_in_turn(work: Work, request: CommitTurn) -> None:
    """Settle attempts as part of a turn: all of them, or LockLost."""
    for settle in request.settle:
        row = _held_by(work, settle.lock)
        if row is None:
            raise refusals.settled_by_others(settle.lock)
        note_use(work, row)
        _settle(work, row, settle)


def _settle(work: Work, row: ActivityRow, settle: SettleActivity) -> None:
    if settle.retry_in is not None and not row.cancelled:
        row.failures += 1
        row.fetches = 0
        row.start_by = None
        row.free(work.now + settle.retry_in)
        if settle.data is not None:
            row.data = settle.data
        work.tables.update_activities([row])
        work.hint_activities()
        return
    work.tables.remove_activities([row])
    if settle.retry_in is not None:
        work.report_cancelled(row, "ended")  # no retry starts after the mark
    elif settle.message is not None:
        work.deliver(OutMessage(instance=row.instance, execution=row.execution, draft=settle.message))


def release_activity(work: Work, request: ReleaseActivity) -> None:
    """Give an attempt back unrun."""
    row = _held_by(work, request.lock)
    if row is None:
        return
    if row.cancelled:
        work.tables.remove_activities([row])
        work.report_cancelled(row, "never_started")
        return
    if request.leave:
        leave_session(work, row)
    row.free(work.now + request.delay)
    if request.clean:
        row.attempt -= 1
        row.fetches = 0
    work.tables.update_activities([row])
    work.hint_activities()


def renew_activities(work: Work, request: RenewActivities) -> ActivitiesRenewed:
    """Hold locks for longer, keep heartbeats, hear of cancellations."""
    lost, cancelled, rows = [], [], []
    for lock in request.locks:
        row = _held_by(work, lock)
        if row is None:
            lost.append(lock)
            continue
        note_use(work, row)
        row.due_at = work.now + request.lease
        row.heartbeat = request.heartbeats.get(lock.token, row.heartbeat)
        rows.append(row)
        if row.cancelled:
            cancelled.append(lock)
    work.tables.update_activities(rows)
    return ActivitiesRenewed(lost=tuple(lost), cancelled=tuple(cancelled))


# -- out of a turn ----------------------------------------------------------------------------------------------------


def schedule_items(work: Work, instance: str, execution: int, activities: Iterable[NewActivity]) -> None:
    """Put a turn's activities into the queue, free or leased."""
    rows = [_new_row(work, instance, execution, new) for new in activities]
    if rows:
        work.tables.insert_activities(rows)
        if any(row.lock_token is None for row in rows):
            work.hint_activities()
        else:
            work.hint_leased()


def _new_row(work: Work, instance: str, execution: int, new: NewActivity) -> ActivityRow:
    row = ActivityRow(
        instance=instance,
        execution=execution,
        event_id=new.event_id,
        name=new.name,
        tag=new.tag,
        session=new.session,
        scheduled_at=work.now,
        start_by=None if new.start_within is None else work.now + new.start_within,
        late_kind=None if new.late is None else new.late.kind,
        late_data=None if new.late is None else new.late.data,
        due_at=work.now,
        lock_token=None,
        lock_worker=None,
        attempt=0,
        failures=0,
        fetches=0,
        cancelled=False,
        heartbeat=None,
        data=new.data,
        payload=new.payload,
    )
    if new.born is not None:
        row.lease(new.born.worker, new.born.token, work.now + new.born.lease)
    return row


def _named(work: Work, request: CommitTurn) -> list[ActivityRow]:
    """The items that this commit cancels, where they are still there."""
    instance, execution = request.lock.instance, request.lock.execution
    if request.cancel_all_activities:
        return work.tables.activities_of(instance, execution)
    found = (work.tables.activity(instance, execution, event_id) for event_id in request.cancel_activities)
    return [row for row in found if row is not None]


def cancel_items(work: Work, request: CommitTurn) -> tuple[ActivityLock, ...]:
    """Remove items that nobody holds, mark those that somebody does; the locks of the latter."""
    if not (request.cancel_activities or request.cancel_all_activities):
        return ()
    gone, marked = [], []
    for row in _named(work, request):
        if row.lock_token is None or row.due_at <= work.now:
            gone.append(row)
        else:
            row.cancelled = True
            marked.append(row)
            work.hint_holder(row.lock.token)
    work.tables.update_activities(marked)
    work.tables.remove_activities(gone)
    for row in gone:
        work.report_cancelled(row, "never_started" if row.lock_token is None else "lost")
    return tuple(row.lock for row in marked)


def hurt_by(work: Work, request: CommitTurn) -> tuple[ActivityLock, ...]:
    """What `cancel_items` answered, for a commit that is repeated; holders that have ended since are left out."""
    return tuple(row.lock for row in _named(work, request) if row.cancelled)
