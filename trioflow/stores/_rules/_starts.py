"""The rules of starting instances and posting messages.

Laws: an execution number of an id is never used twice; a client's request is carried out once, whatever is repeated; a
delayed instance is visible at once; a refusal writes nothing.

Who calls it: stores, for clients; `_turns.py`, for starts out of a turn. Read next: `_turns.py`.
"""

from __future__ import annotations

from trioflow.abc import BornLeased, LockedTurn, OutMessage, PostMessage, StartInstance, Started, State
from trioflow.stores import _refusals as refusals
from trioflow.stores._rules._checks import check_message, check_start
from trioflow.stores._rules._locks import inbox_of, lock_instance, locked_turn
from trioflow.stores._rules._rows import InstanceRow, Remembered
from trioflow.stores._rules._work import Work


def start_instance(work: Work, request: StartInstance) -> Started:
    """A client's start; it may take the first turn."""
    check_start(request)
    answer = recall(work, request.request_id, "start", request.instance)
    if answer is None:
        started = begin(work, request)
        answer = Remembered("start", started.instance, started.execution, started.created)
        work.tables.remember(request.request_id, work.now, answer)
        if request.born is not None and started.created and not request.delay:
            row = work.instance(request.instance)
            assert row is not None  # it has just begun
            lock_instance(work, row, request.born.worker, request.born.token, request.born.lease)
    return Started(
        instance=answer.instance,
        execution=answer.execution,
        created=answer.created,
        turn=None if request.born is None else _turn_of(work, request.instance, request.born),
    )


def _turn_of(work: Work, instance: str, born: BornLeased) -> LockedTurn | None:
    """Its first turn, if it was born leased to whoever asks and still is."""
    row = work.instance(instance)
    return None if row is None or row.lock_token != born.token else locked_turn(row, inbox_of(work, row))


def post_message(work: Work, request: PostMessage) -> None:
    """A client's message."""
    message = request.message
    check_message(message)
    if recall(work, request.request_id, "post", message.instance) is not None:
        return
    row = work.instance(message.instance)
    if row is None:
        raise refusals.no_such_instance(message.instance)
    if row.state.ended:
        raise refusals.already_ended(message.instance, row.state)
    if message.mailbox and row.unread + row.mail >= request.mailbox_limit:
        raise refusals.mailbox_full(message.instance, row.unread + row.mail, request.mailbox_limit)
    held, size = row.unread_bytes + row.mail_bytes, len(message.draft.payload or b"")
    if message.mailbox and held + size > request.mailbox_bytes:
        raise refusals.mailbox_too_large(message.instance, held, size, request.mailbox_bytes)
    work.deliver(message)
    work.tables.remember(
        request.request_id, work.now, Remembered("post", message.instance, row.execution, created=False)
    )


def recall(work: Work, request_id: str, verb: str, instance: str) -> Remembered | None:
    """What a request was answered before. Raises DuplicateRequestError if it was another request."""
    answer = work.tables.remembered(request_id)
    if answer is not None and (answer.verb, answer.instance) != (verb, instance):
        raise refusals.request_id_reused(request_id, (answer.verb, answer.instance), (verb, instance))
    return answer


def begin(work: Work, request: StartInstance) -> Started:
    """Create, attach or replace. Raises InstanceExists; then nothing was written."""
    old = work.instance(request.instance)
    if old is None:
        execution, revision = work.tables.last_execution(request.instance) + 1, 0
    elif request.if_exists == "attach":
        if old.name != request.name:
            raise refusals.another_orchestration(request, old.name)
        return Started(instance=request.instance, execution=old.execution, created=False)
    elif old.state.ended and (request.if_exists == "replace_finished" or _is_left_over(work, request)):
        # The revision goes on: (instance, execution, revision) is never the same twice.
        execution, revision = old.execution + 1, old.revision
        work.tables.forget_values(request.instance)
        work.tables.keep_messages(request.instance, for_execution=None)
    else:
        raise refusals.id_taken(request, old.state, old.execution)
    row = _new_row(request, execution, revision, work.now)
    work.tables.put_new_instance(row, request.parent, request.attributes)
    work.put_message(row, OutMessage(instance=row.instance, execution=execution, draft=request.start))
    return Started(instance=request.instance, execution=execution, created=True)


def _is_left_over(work: Work, request: StartInstance) -> bool:
    """Whether what has the id is a child of an earlier life of the same parent, which begins its children anew."""
    if request.parent is None:
        return False
    before, _ = work.tables.instance_details(request.instance)
    parent = work.instance(request.parent.instance)
    if before is None or parent is None or before.instance != parent.instance:
        return False
    return before.execution < parent.first_execution


def _new_row(request: StartInstance, execution: int, revision: int, now: float) -> InstanceRow:
    return InstanceRow(
        instance=request.instance,
        execution=execution,
        first_execution=execution,
        name=request.name,
        version=request.version,
        semantics=request.semantics,
        state=State.PENDING,
        revision=revision,
        last_commit=None,
        unread=0,
        unread_bytes=0,
        history_length=0,
        history_bytes=0,
        wake_at=now + request.delay if request.delay else None,
        not_before=0.0,
        due_at=None,
        next_seq=1,
        queued=0,
        mail=0,
        mail_bytes=0,
        first_at=None,
        control_at=None,
        lock_token=None,
        lock_worker=None,
        lock_until=0.0,
        attempts=0,
        created_at=now,
        updated_at=now,
        ended_at=None,
    )
