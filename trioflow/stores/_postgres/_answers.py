"""From rows to records: what the functions answered, in the words of the protocol.

Laws: a row is read by position, in the order that `_statements.py` names; a verdict that refuses becomes the error that
every store raises.

Who calls it: `_store.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trioflow.abc import (
    ActivityLock,
    CommitTurn,
    DeleteInstances,
    Draft,
    EventRow,
    ExecutionRecord,
    InstancePage,
    InstanceRecord,
    ListInstances,
    ListPlace,
    LockedActivities,
    LockedActivity,
    LockedTurn,
    LockedTurns,
    MessageRow,
    Parent,
    PostMessage,
    PruneExecutions,
    QueueDepth,
    QueueDepths,
    StartInstance,
    Started,
    State,
    StoreMetrics,
    TurnCommitted,
    TurnLock,
)
from trioflow.stores import _refusals as refusals

Row = tuple[Any, ...]


def started(request: StartInstance, row: Row) -> Started:
    """How a start went. Raises what refuses it."""
    verdict, execution, state, other, *turn = row
    if verdict == "duplicate":
        raise refusals.request_id_reused(request.request_id, (state, other), ("start", request.instance))
    if verdict == "exists":
        raise refusals.id_taken(request, State(state), execution)
    if verdict == "other":
        raise refusals.another_orchestration(request, other)
    return Started(
        instance=request.instance,
        execution=execution,
        created=verdict == "created",
        turn=None if turn[0] is None else _locked_turn(turn),
    )


def check_posted(request: PostMessage, row: Row) -> None:
    """Raise what refuses a message."""
    verdict, state, other, held = row
    instance = request.message.instance
    if verdict == "duplicate":
        raise refusals.request_id_reused(request.request_id, (state, other), ("post", instance))
    if verdict == "unknown":
        raise refusals.no_such_instance(instance)
    if verdict == "ended":
        raise refusals.already_ended(instance, State(state))
    if verdict == "full":
        raise refusals.mailbox_full(instance, held, request.mailbox_limit)
    if verdict == "large":
        size = len(request.message.draft.payload or b"")
        raise refusals.mailbox_too_large(instance, held, size, request.mailbox_bytes)


def _messages(columns: Sequence[Any]) -> tuple[MessageRow, ...]:
    """Messages out of five arrays, which are null where there is no message."""
    if columns[0] is None:
        return ()
    return tuple(
        MessageRow(seq, at, Draft(kind, data, payload)) for seq, at, kind, data, payload in zip(*columns, strict=True)
    )


def locked_turns(rows: Sequence[Row]) -> LockedTurns:
    """What was taken, if anything."""
    header, turns = rows[0], [_locked_turn(columns) for _, _, _, *columns in rows if columns[0] is not None]
    return LockedTurns(now=header[0], turns=tuple(turns), next_due=header[1])


def _locked_turn(columns: Sequence[Any]) -> LockedTurn:
    instance, execution, token, name, version, state, *rest = columns
    revision, history_length, history_bytes, attempts, wake_at, *messages = rest
    return LockedTurn(
        lock=TurnLock(instance, execution, token),
        name=name,
        version=version,
        state=State(state),
        revision=revision,
        history_length=history_length,
        history_bytes=history_bytes,
        attempts=attempts,
        wake_at=wake_at,
        messages=_messages(messages),
    )


def committed(request: CommitTurn, row: Row) -> TurnCommitted:
    """How a commit went. Raises what refuses it."""
    verdict, at_fault, now, revision, execution, kept, hurt_events, hurt_tokens, _reached, _turns, *messages = row
    if verdict == "gone":
        raise refusals.instance_gone(request.lock)
    if verdict == "lost":
        raise refusals.lock_lost(request.lock)
    if verdict == "revision":
        raise refusals.wrong_revision(request, revision)
    if verdict == "events":
        raise refusals.not_following(request, at_fault)
    if verdict == "settle":
        raise refusals.settled_by_others(request.settle[at_fault].lock)
    lock = request.lock
    hurt = zip(hurt_events or (), hurt_tokens or (), strict=True)
    return TurnCommitted(
        now=now,
        revision=revision,
        execution=execution,
        kept=kept,
        messages=_messages(messages),
        hurt=tuple(ActivityLock(lock.instance, lock.execution, event_id, token) for event_id, token in hurt),
    )


def locked_activities(rows: Sequence[Row]) -> LockedActivities:
    """What was taken, if anything."""
    activities, header = [], rows[0]
    for _, _, _, instance, execution, event_id, token, *rest in rows:
        if instance is None:
            continue
        name, tag, session, attempt, failures, fetches, scheduled_at, heartbeat, data, payload = rest
        activities.append(
            LockedActivity(
                lock=ActivityLock(instance, execution, event_id, token),
                name=name,
                tag=tag,
                session=session,
                attempt=attempt,
                failures=failures,
                fetches=fetches,
                scheduled_at=scheduled_at,
                heartbeat=heartbeat,
                data=data,
                payload=payload,
            )
        )
    return LockedActivities(now=header[0], activities=tuple(activities), next_due=header[1])


def instance_record(row: Row) -> InstanceRecord:
    """What is known of an instance."""
    (
        instance, execution, name, version, state, revision, parent, attributes, created_at, updated_at, ended_at,
        wake_at, history_length, history_bytes, unread, unread_bytes, queued, control_queued, cancel_queued, status,
        *event,
    ) = row  # fmt: skip
    return InstanceRecord(
        instance=instance,
        execution=execution,
        name=name,
        version=version,
        state=State(state),
        revision=revision,
        parent=None if parent is None else _parent(parent),
        attributes=dict(json.loads(pair) for pair in attributes),
        created_at=created_at,
        updated_at=updated_at,
        ended_at=ended_at,
        wake_at=wake_at,
        history_length=history_length,
        history_bytes=history_bytes,
        unread=unread,
        unread_bytes=unread_bytes,
        queued=queued,
        control_queued=control_queued,
        cancel_queued=cancel_queued,
        status=status,
        last_event=None if event[0] is None else EventRow(*event),
    )


def _parent(text: str) -> Parent:
    instance, execution, event_id = json.loads(text)
    return Parent(instance=instance, execution=execution, event_id=event_id)


# -- administration ---------------------------------------------------------------------------------------------------


def deleted(request: DeleteInstances, first: str, row: Row) -> int:
    """How many were removed. Raises what refuses it."""
    verdict, state, other, removed, *_ = row
    if verdict == "duplicate":
        raise refusals.request_id_reused(request.request_id, (state, other), ("delete", first))
    if verdict == "unfinished":
        raise refusals.not_ended(other, State(state))
    count: int = removed
    return count


def pruned(request: PruneExecutions, row: Row) -> int:
    """How many executions were. Raises DuplicateRequestError."""
    verdict, verb, other, removed = row
    if verdict == "duplicate":
        assert request.request_id is not None  # nothing else can have been used before
        raise refusals.request_id_reused(request.request_id, (verb, other), ("prune", request.instance))
    count: int = removed
    return count


def page(request: ListInstances, rows: Sequence[Row]) -> InstancePage:
    """A page, out of as many rows and one more that says that it is not the last."""
    instances = tuple(instance_record(row) for row in rows[: request.limit])
    more = len(rows) > request.limit and bool(instances)
    return InstancePage(
        instances=instances, next=ListPlace(instances[-1].created_at, instances[-1].instance) if more else None
    )


def execution_record(row: Row) -> ExecutionRecord:
    """One execution in short."""
    execution, history_length, history_bytes, *events = row
    first, last = (None if event[0] is None else EventRow(*event) for event in (events[:4], events[4:]))
    return ExecutionRecord(
        execution=execution, history_length=history_length, history_bytes=history_bytes, first=first, last=last
    )


def depths(rows: Sequence[Row]) -> QueueDepths:
    """What waits: of each queue, and of the activities with each tag."""
    queues, tagged = {}, {}
    for queue, tag, ready, leased, later, oldest in rows:
        found = QueueDepth(ready=ready, leased=leased, later=later, oldest=oldest)
        if tag is None:
            queues[queue] = found
        else:
            tagged[tag] = found
    empty = QueueDepth(ready=0, leased=0, later=0)
    return QueueDepths(
        turns=queues.get("turns", empty),
        activities=queues.get("activities", empty),
        tagged={tag: tagged[tag] for tag in sorted(tagged)},
    )


def metrics(row: Row) -> StoreMetrics:
    """What is there."""
    names, states, counts, executions, events, messages, activities, sessions = row
    return StoreMetrics(
        instances={
            (name, State(state)): count
            for name, state, count in zip(names or (), states or (), counts or (), strict=True)
        },
        executions=executions,
        events=events,
        messages=messages,
        activities=activities,
        sessions=sessions,
    )
