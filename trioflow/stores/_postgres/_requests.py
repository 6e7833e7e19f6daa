"""From a request to one statement's arguments: a JSON document for what is small, arrays for what is bytes.

Laws: each verb is one call of the function of its name; what a document leaves out is absent, not null, where the
function asks `?`; arrays stand beside the lists of the document, element by element.

Must never know: connections. Who calls it: `_store.py`. Read next: `_answers.py`, `schema/0004_turns.sql`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs

from trioflow.abc import (
    ActivityLock,
    CommitTurn,
    DeleteInstances,
    Draft,
    EventRow,
    ListInstances,
    LockActivities,
    LockTurns,
    NewActivity,
    OutMessage,
    Parent,
    PostMessage,
    PruneExecutions,
    ReleaseActivity,
    ReleaseTurn,
    RenewActivities,
    RenewSessions,
    RenewTurns,
    SettleActivity,
    StartInstance,
    TurnLock,
)
from trioflow.stores._rules import is_id

Document = dict[str, Any]
Bodies = list[bytes | None] | None
TIMES = ("created_after", "created_before", "updated_after", "updated_before", "ended_after", "ended_before")


def document(fields: Document) -> str:
    """As JSON, without what is None."""
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def digest(key: str) -> bytes:
    """What stands for a kv key in its index."""
    return hashlib.sha256(key.encode()).digest()


def parent_text(parent: Parent | None) -> str | None:
    """A parent as it is kept and compared."""
    return None if parent is None else json.dumps([parent.instance, parent.execution, parent.event_id])


def attribute_texts(attributes: Mapping[str, str]) -> list[str]:
    """Attributes as they are kept and searched for."""
    return [json.dumps(pair) for pair in attributes.items()]


def _is_text(value: str) -> bool:
    """Whether PostgreSQL can be asked for it: what cannot be kept is not there."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def _turn_lock(lock: TurnLock) -> Document:
    return {"instance": lock.instance, "execution": lock.execution, "token": lock.token}


def _activity_lock(lock: ActivityLock) -> Document:
    return {
        "instance": lock.instance, "execution": lock.execution, "event_id": lock.event_id, "token": lock.token
    }  # fmt: skip


# -- clients ----------------------------------------------------------------------------------------------------------


def _start(request: StartInstance) -> Document:
    return {
        "instance": request.instance,
        "name": request.name,
        "version": request.version,
        "semantics": request.semantics,
        "kind": request.start.kind,
        "parent": parent_text(request.parent),
        "parent_id": request.parent.instance if request.parent and is_id(request.parent.instance) else None,
        "attributes": attribute_texts(request.attributes),
        "delay": request.delay,
        "if_exists": request.if_exists,
    }


def start_instance(request: StartInstance) -> tuple[object, ...]:
    """See `Store`."""
    born = None if request.born is None or request.delay else attrs.asdict(request.born)
    start = {"request_id": request.request_id, "born": born, **_start(request)}
    return (document(start), request.start.data, request.start.payload)


def _letter(message: OutMessage, start: int | None = None, reply: str | None = None) -> Document:
    return {
        "instance": message.instance,
        "execution": message.execution,
        "child_of": parent_text(message.child_of),
        "control": message.control,
        "mailbox": message.mailbox,
        "kind": message.draft.kind,
        "start": start,
        "reply": reply,
    }


def post_message(request: PostMessage) -> tuple[object, ...]:
    """See `Store`."""
    draft = request.message.draft
    letter = {
        "request_id": request.request_id,
        "mailbox_limit": request.mailbox_limit,
        "mailbox_bytes": request.mailbox_bytes,
        **_letter(request.message),
    }
    return (document(letter), draft.data, draft.payload)


# -- turns ------------------------------------------------------------------------------------------------------------


def lock_turns(request: LockTurns, token: str) -> tuple[object, ...]:
    """See `Store`."""
    fields: Document = {
        "worker": request.worker,
        "limit": request.limit,
        "lease": request.lease,
        "token": token,
        "others": request.others,
        "overdue": request.overdue,
    }
    if request.can_run is not None:
        fields["names"] = [name for name, _ in request.can_run.orchestrations]
        fields["versions"] = [version for _, version in request.can_run.orchestrations]
        fields["semantics"] = list(request.can_run.semantics)
    return (document(fields),)


def _activity(new: NewActivity) -> Document:
    born = new.born
    return {
        "event_id": new.event_id,
        "name": new.name,
        "tag": new.tag,
        "session": new.session,
        "worker": None if born is None else born.worker,
        "token": None if born is None else born.token,
        "lease": None if born is None else born.lease,
        "start_within": new.start_within,
        "late_kind": None if new.late is None else new.late.kind,
    }


def _letters(request: CommitTurn) -> list[tuple[OutMessage, int | None, str | None]]:
    """All messages that a commit may deliver: replies say to which start they belong, counted from 1."""
    letters: list[tuple[OutMessage, int | None, str | None]] = []
    for number, start in enumerate(request.starts, 1):
        if start.on_started is not None:
            letters.append((start.on_started, number, "started"))
        if start.on_refused is not None:
            letters.append((start.on_refused, number, "refused"))
    letters += [(message, None, None) for message in request.messages]
    return [letter for letter in letters if is_id(letter[0].instance)]  # nobody has another id, so nobody misses it


def _late_bodies(activities: Sequence[NewActivity]) -> Bodies:
    if all(new.late is None for new in activities):
        return None
    return [None if new.late is None else new.late.data for new in activities]


def _settle(settle: SettleActivity) -> Document:
    kind = None if settle.message is None else settle.message.kind
    return {**_activity_lock(settle.lock), "retry_in": settle.retry_in, "kind": kind}


def _bodies(rows: Sequence[Draft | EventRow | NewActivity | None]) -> tuple[Bodies, Bodies]:
    """The data of rows and their payloads, beside each other; of no rows nothing."""
    if not rows:
        return None, None
    data = [None if row is None else row.data for row in rows]
    return data, [None if row is None else row.payload for row in rows]


def _settle_bodies(settles: Sequence[SettleActivity]) -> tuple[Bodies, Bodies, Bodies]:
    return *_bodies([settle.message for settle in settles]), [settle.data for settle in settles] or None


def _is_done(settle: SettleActivity, lock: TurnLock) -> bool:
    """Whether the item goes and nobody has to be told: the turn that settles it says what became of it."""
    own = settle.lock.instance == lock.instance and settle.lock.execution == lock.execution
    return own and settle.message is None and settle.retry_in is None


def _has_gap(ids: list[int]) -> bool:
    return any(later != earlier + 1 for earlier, later in pairwise(ids))


def commit_turn(request: CommitTurn) -> tuple[object, ...]:
    """See `Store`."""
    following = request.next_execution
    letters = _letters(request)
    settle, done = request.settle, [settle.lock for settle in request.settle if _is_done(settle, request.lock)]
    if len(done) == len(settle):
        settle = ()
    else:
        done = []
    fields: Document = {
        "request_id": request.request_id,
        **_turn_lock(request.lock),
        "revision": request.revision,
        "state": request.state.value,
        "wake_at": request.wake_at,
        "version": request.version,
        "unread": request.unread,
        "unread_bytes": request.unread_bytes,
        "keep": request.keep,
        "events": [{"id": event.id, "at": event.at, "kind": event.kind} for event in request.events] or None,
        "gap": True if _has_gap([event.id for event in request.events]) else None,
        "event_bytes": sum(len(event.data) + len(event.payload or b"") for event in request.events),
        "consumed": list(request.consumed) or None,
        "kv_keys": list(request.kv_set) or None,
        "activities": [_activity(new) for new in request.activities] or None,
        "cancels": list(request.cancel_activities) or None,
        "cancel_all": request.cancel_all_activities or None,
        "starts": [_start(start) for start in request.starts] or None,
        "letters": [_letter(*letter) for letter in letters] or None,
        "settle": [_settle(each) for each in settle] or None,
    }
    if following is not None:
        fields["next"] = {
            "kind": following.start.kind, "version": following.version, "semantics": following.semantics
        }  # fmt: skip
    return (
        document(fields),
        request.status,
        *_bodies(request.events),
        [digest(key) for key in request.kv_set] or None,
        list(request.kv_set.values()) or None,
        [digest(key) for key in request.kv_cleared] or None,
        *_bodies(request.activities),
        _late_bodies(request.activities),
        *_bodies([start.start for start in request.starts]),
        *_bodies([message.draft for message, _, _ in letters]),
        None if following is None else following.start.data,
        None if following is None else following.start.payload,
        *_settle_bodies(settle),
        f"{{{','.join(str(lock.event_id) for lock in done)}}}" if done else None,
        [lock.token for lock in done] or None,
    )


def release_turn(request: ReleaseTurn) -> tuple[object, ...]:
    """See `Store`."""
    return (document({**_turn_lock(request.lock), "delay": request.delay, "clean": request.clean}),)


def renew_turns(request: RenewTurns) -> tuple[object, ...]:
    """See `Store`."""
    return (document({"locks": [_turn_lock(lock) for lock in request.locks], "lease": request.lease}),)


# -- activities -------------------------------------------------------------------------------------------------------


def lock_activities(request: LockActivities, token: str) -> tuple[object, ...]:
    """See `Store`."""
    tags, claim = request.tags.tags, request.sessions
    fields = {
        "worker": request.worker,
        "limit": request.limit,
        "lease": request.lease,
        "token": token,
        "untagged": request.tags.untagged,
        "tags": None if tags is None else list(tags),
        "but": list(request.tags.but),
        "sessions": None if claim is None else {"lease": claim.lease, "limit": claim.limit},
    }
    return (document(fields),)


def commit_activities(settles: tuple[SettleActivity, ...]) -> tuple[object, ...]:
    """See `Store`."""
    return (document({"settle": [_settle(settle) for settle in settles]}), *_settle_bodies(settles))


def release_activity(request: ReleaseActivity) -> tuple[object, ...]:
    """See `Store`."""
    how = {"delay": request.delay, "clean": request.clean, "leave": request.leave}
    return (document({**_activity_lock(request.lock), **how}),)


def renew_activities(request: RenewActivities) -> tuple[object, ...]:
    """See `Store`."""
    heartbeats: Mapping[str, bytes] = request.heartbeats
    return (
        document({"locks": [_activity_lock(lock) for lock in request.locks], "lease": request.lease}),
        [heartbeats.get(lock.token) for lock in request.locks] or None,
    )


# -- sessions ---------------------------------------------------------------------------------------------------------


def renew_sessions(request: RenewSessions) -> tuple[object, ...]:
    """See `Store`."""
    return (document({"worker": request.worker, "lease": request.lease, "idle": request.idle}),)


# -- administration ---------------------------------------------------------------------------------------------------


def first_of(request: DeleteInstances) -> str:
    """What a deletion is remembered by."""
    return request.instances[0] if request.instances and is_id(request.instances[0]) else ""


def delete_instances(request: DeleteInstances) -> tuple[object, ...]:
    """See `Store`."""
    messages = [message for message in request.messages if is_id(message.instance)]
    fields = {
        "request_id": request.request_id,
        "first": first_of(request),
        "instances": [instance for instance in request.instances if is_id(instance)],
        "executions": {name: number for name, number in request.executions.items() if is_id(name)},
        "force": request.force,
        "letters": [_letter(message) for message in messages] or None,
    }
    return (
        document(fields),
        *_bodies([message.draft for message in messages]),
    )


def prune_executions(request: PruneExecutions) -> tuple[object, ...]:
    """See `Store`."""
    return request.request_id, request.instance, request.keep, request.ended_before


def list_instances(request: ListInstances) -> tuple[object, ...] | None:
    """See `Store`; None: nothing can be found."""
    query, after = request.query, request.after
    texts = {"name": query.name, "version": query.version, "prefix": query.prefix, "parent": query.parent}
    place = {} if after is None else {"after_at": repr(after.created_at), "after_instance": after.instance}
    if not all(_is_text(text) for text in (*texts.values(), place.get("after_instance")) if text is not None):
        return None
    times = {name: getattr(query, name) for name in TIMES}
    fields = {
        **texts,
        **place,
        "states": [state.value for state in query.states] or None,
        "roots": query.roots or None,
        "attributes": attribute_texts(query.attributes) or None,
        **{name: None if at is None else repr(at) for name, at in times.items()},  # as text: it may be infinite
        "limit": request.limit + 1,  # whether there are more
    }
    return (document(fields),)
