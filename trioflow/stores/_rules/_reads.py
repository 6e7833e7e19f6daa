"""The rules of reading: what clients see.

Laws: reading writes nothing; what it shows is one committed moment; what cannot be an id is not there.

Who calls it: stores.
"""

from __future__ import annotations

import attrs

from trioflow.abc import EventRow, InstanceRecord, State
from trioflow.stores._rules._checks import is_id
from trioflow.stores._rules._rows import CANCEL, InstanceRow
from trioflow.stores._rules._work import Work


@attrs.frozen(kw_only=True)
class ReadHistory:
    """Which part of which history."""

    instance: str
    execution: int
    after: int
    limit: int | None


def read_instance(work: Work, instance: str) -> InstanceRecord | None:
    """What is known of an instance."""
    row = work.instance(instance) if is_id(instance) else None
    return None if row is None else record_of(work, row)


def record_of(work: Work, row: InstanceRow) -> InstanceRecord:
    """What is known of an instance, from its row on."""
    instance = row.instance
    parent, attributes = work.tables.instance_details(instance)
    last_event = None
    if row.history_length and (row.state.ended or row.state is State.PARKED):
        events = work.tables.events(instance, row.execution, row.history_length - 1, 1)
        last_event = events[0]
    return InstanceRecord(
        instance=instance,
        execution=row.execution,
        name=row.name,
        version=row.version,
        state=row.state,
        revision=row.revision,
        parent=parent,
        attributes=dict(attributes),
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
        wake_at=row.wake_at,
        history_length=row.history_length,
        history_bytes=row.history_bytes,
        unread=row.unread,
        unread_bytes=row.unread_bytes,
        queued=row.queued,
        control_queued=row.control_at is not None,
        cancel_queued=bool(row.queued) and work.tables.has_message(instance, CANCEL),
        status=work.tables.status(instance),
        last_event=last_event,
    )


def read_history(work: Work, request: ReadHistory) -> tuple[EventRow, ...]:
    """Events of one execution."""
    if not is_id(request.instance):
        return ()
    return work.tables.events(request.instance, request.execution, request.after, request.limit)


def read_kv(work: Work, instance: str) -> dict[str, bytes]:
    """All values of an instance."""
    return work.tables.values(instance) if is_id(instance) else {}


def read_clock(work: Work, request: None) -> float:
    """The store's time."""
    return work.now
