"""The rules of turns: lock, commit, release, renew.

Laws: everything is checked before anything is written; a commit is one transaction or nothing; the last commit of an
instance may be repeated and is then already applied; no rule looks at an instance that it does not write, targets of
messages apart.

Who calls it: stores. Read next: `_activities.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from trioflow.abc import (
    CommitTurn,
    LockTurns,
    LockedTurn,
    LockedTurns,
    MessageRow,
    NextExecution,
    OutMessage,
    ReleaseTurn,
    RenewTurns,
    StartInstance,
    State,
    TurnCommitted,
    TurnLock,
    TurnsRenewed,
)
from trioflow.errors import InstanceExists
from trioflow.stores import _refusals as refusals
from trioflow.stores._rules._activities import cancel_items, hurt_by, schedule_items, settle_in_turn, sweep
from trioflow.stores._rules._checks import check_commit
from trioflow.stores._rules._locks import inbox_of, lock_instance, locked_turn
from trioflow.stores._rules._rows import InstanceRow, StoredMessage
from trioflow.stores._rules._starts import begin
from trioflow.stores._rules._work import Work


def lock_turns(work: Work, request: LockTurns) -> LockedTurns:
    """Lease instances that have something to do."""
    if sweep(work):
        work.finish()  # what was posted may make its instance eligible for this very call
    rows = work.tables.due_instances(work.now - request.overdue, request.limit, request.can_run, others=request.others)
    inboxes = work.tables.inboxes([row.instance for row in rows if row.queued])
    turns = [_lock(work, row, request, inboxes.get(row.instance, ())) for row in rows]
    work.finish()  # their leases are times at which something may become eligible, too
    tables = work.tables
    times = (tables.next_due_instance(work.now), tables.next_due_cancelled(work.now), tables.next_due_late(work.now))
    return LockedTurns(
        now=work.now, turns=tuple(turns), next_due=min((at for at in times if at is not None), default=None)
    )


def _lock(work: Work, row: InstanceRow, request: LockTurns, inbox: Sequence[StoredMessage]) -> LockedTurn:
    lock_instance(work, row, request.worker, work.new_token(), request.lease)
    return locked_turn(row, inbox)


def _messages(work: Work, row: InstanceRow) -> tuple[MessageRow, ...]:
    return tuple(message.row for message in inbox_of(work, row))


def commit_turn(work: Work, request: CommitTurn) -> TurnCommitted:
    """Write everything a turn did."""
    check_commit(request)
    row = work.instance(request.lock.instance)
    if row is not None and row.last_commit == request.request_id:
        return _already_applied(work, row, request)
    _check_lock(row, request)
    assert row is not None
    settle_in_turn(work, request)  # may find a lease gone
    _append(work, row, request)
    _take_from_inbox(work, row, request)
    _set_columns(work, row, request)
    schedule_items(work, row.instance, row.execution, request.activities)
    if request.next_execution is not None:
        # Before the cancels: what they post is for the old execution, and nobody is left there to read it.
        _begin_next(work, row, request.next_execution)
    hurt = cancel_items(work, request)
    for start in request.starts:
        _start(work, start)
    for message in request.messages:
        work.deliver(message)
    kept = _keep_or_release(work, row, request)
    return TurnCommitted(
        now=work.now,
        revision=row.revision,
        execution=row.execution,
        kept=kept,
        messages=_messages(work, row) if kept else (),
        hurt=hurt,
    )


def _check_lock(row: InstanceRow | None, request: CommitTurn) -> None:
    lock = request.lock
    if row is None:
        raise refusals.instance_gone(lock)
    if row.lock_token != lock.token or row.execution != lock.execution:
        raise refusals.lock_lost(lock)
    if row.revision != request.revision:
        raise refusals.wrong_revision(request, row.revision)
    ids = [event.id for event in request.events]
    if ids != list(range(row.history_length + 1, row.history_length + 1 + len(ids))):
        raise refusals.not_following(request, row.history_length)


def _already_applied(work: Work, row: InstanceRow, request: CommitTurn) -> TurnCommitted:
    kept = request.keep is not None and row.lock_token == request.lock.token
    return TurnCommitted(
        now=work.now,
        revision=row.revision,
        execution=row.execution,
        kept=kept,
        messages=_messages(work, row) if kept else (),
        hurt=hurt_by(work, request),
    )


def _append(work: Work, row: InstanceRow, request: CommitTurn) -> None:
    if request.events:
        work.tables.append_events(row.instance, row.execution, request.events)
        row.history_length += len(request.events)
        for event in request.events:
            row.history_bytes += len(event.data) + (0 if event.payload is None else len(event.payload))


def _take_from_inbox(work: Work, row: InstanceRow, request: CommitTurn) -> None:
    if request.state.ended:
        if row.queued:
            work.tables.keep_messages(row.instance, for_execution=None)
            row.empty_inbox()
    elif request.consumed:
        removed = work.tables.remove_messages(row.instance, request.consumed)
        if removed == row.queued:
            row.empty_inbox()
        else:
            work.count_inbox(row)


def _set_columns(work: Work, row: InstanceRow, request: CommitTurn) -> None:
    row.state = request.state
    row.wake_at = None if request.state.ended else request.wake_at
    row.version = row.version if request.version is None else request.version
    row.unread = request.unread
    row.unread_bytes = request.unread_bytes
    row.revision += 1
    row.last_commit = request.request_id
    row.attempts = 0
    row.updated_at = work.now
    row.ended_at = work.now if request.state.ended else None
    row.not_before = 0.0
    if request.status is not None:
        work.tables.set_status(row.instance, request.status)
    if request.kv_set or request.kv_cleared:
        work.tables.change_values(row.instance, request.kv_set, request.kv_cleared)
    work.touch(row)


def _begin_next(work: Work, row: InstanceRow, following: NextExecution) -> None:
    row.execution += 1
    row.version, row.semantics = following.version, following.semantics
    row.state = State.PENDING
    row.history_length = row.history_bytes = 0
    row.wake_at = row.ended_at = None
    if row.queued:
        work.tables.keep_messages(row.instance, for_execution=row.execution)
        work.count_inbox(row)
    start = OutMessage(instance=row.instance, execution=row.execution, draft=following.start)
    work.put_message(row, start, first=True)


def _start(work: Work, request: StartInstance) -> None:
    try:
        begin(work, request)
        reply = request.on_started
    except InstanceExists:
        reply = request.on_refused
    if reply is not None:
        work.deliver(reply)


def _keep_or_release(work: Work, row: InstanceRow, request: CommitTurn) -> bool:
    if request.keep is None or row.state.ended:
        row.unlock()
        return False
    row.lock_until = work.now + request.keep
    return True


def _held_by(work: Work, lock: TurnLock) -> InstanceRow | None:
    row = work.instance(lock.instance)
    if row is None or row.lock_token != lock.token or row.execution != lock.execution:
        return None
    return row


def release_turn(work: Work, request: ReleaseTurn) -> None:
    """Give a lock back."""
    row = _held_by(work, request.lock)
    if row is not None:
        row.unlock()
        row.not_before = work.now + request.delay if request.delay else 0.0
        if request.clean:
            row.attempts = max(row.attempts - 1, 0)
        work.touch(row, news=False)


def renew_turns(work: Work, request: RenewTurns) -> TurnsRenewed:
    """Hold locks for longer."""
    lost = []
    for lock in request.locks:
        row = _held_by(work, lock)
        if row is None:
            lost.append(lock)
        else:
            row.lock_until = work.now + request.lease
            work.touch(row, news=False)
    return TurnsRenewed(lost=tuple(lost))
