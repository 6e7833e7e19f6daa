"""What a client is told of an instance: a frozen record of decoded facts, and the errors that an end means.

Laws: reading an instance never raises because of what it holds; an end that is no result raises the one error that fits
it. Must never know: how to reach the store. Who calls it: `_client.py`, `_handle.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from trioflow.abc import Draft, Ended, EventRow, InstanceRecord, State
from trioflow.app import App
from trioflow.errors import (
    HistoryError,
    InstanceNotFound,
    InstanceParked,
    OrchestrationCancelled,
    OrchestrationFailed,
    OrchestrationTerminated,
    UnregisteredError,
)
from trioflow.history import (
    CarriedEvent,
    Event,
    EventCodec,
    Failure,
    OrchestrationCancelled as CancelledEvent,
    OrchestrationCompleted as CompletedEvent,
    OrchestrationFailed as FailedEvent,
    OrchestrationTerminated as TerminatedEvent,
    Parked,
)


@attrs.frozen(kw_only=True)
class UnreadEvent:
    """An event that was received and never taken; `value` is plain JSON data."""

    name: str
    value: Any = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class InstanceInfo:
    """What is known of an instance. Times are the store's, in seconds since the Unix epoch."""

    id: str
    execution: int  # from 1; continue-as-new and replacements count on
    name: str
    version: str | None  # None until the first turn has pinned it
    state: State
    status: Any = attrs.field(repr=False)  # what the code last set, as plain JSON data
    parent: str | None  # the instance that waits for it
    attributes: Mapping[str, str]
    created_at: float
    updated_at: float
    ended_at: float | None
    wake_at: float | None  # its earliest open deadline; pending: when its delayed start begins
    history_length: int  # events
    history_bytes: int
    unread: int  # events received and not taken
    queued: int  # messages on their way in
    cancel_queued: bool  # among them a request to cancel, which a held instance hears of once it goes on
    failure: Failure | None  # why it failed or is parked
    unread_events: tuple[UnreadEvent, ...]  # once it has ended: those that nobody took


def decode_row(codec: EventCodec, row: EventRow) -> Event:
    """An event out of its row."""
    return codec.decode(row.id, row.at, row.kind, row.data, row.payload)


def draft_of(event: Event, codec: EventCodec) -> Draft:
    """An event that has not happened yet, as a store keeps it."""
    return Draft(*codec.encode(event))


def not_found(id: str) -> InstanceNotFound:
    """The error for an id that nobody has."""
    return InstanceNotFound(f"no instance has the id {id!r}; ids are case-sensitive, and a deleted instance is gone")


def last_event(record: InstanceRecord, codec: EventCodec) -> Event | None:
    """The event that says why an instance stands where it stands, or None; also None where it cannot be read."""
    if record.last_event is None:
        return None
    try:
        return decode_row(codec, record.last_event)
    except HistoryError:
        return None


def describe(record: InstanceRecord, app: App, codec: EventCodec) -> InstanceInfo:
    """The record, decoded."""
    last = last_event(record, codec)
    unread = tuple(_unread_event(event, app) for event in getattr(last, "unread", ()))
    return InstanceInfo(
        id=record.instance,
        execution=record.execution,
        name=record.name,
        version=record.version,
        state=record.state,
        status=plain(record.status, app),
        parent=None if record.parent is None else record.parent.instance,
        attributes=dict(record.attributes),
        created_at=record.created_at,
        updated_at=record.updated_at,
        ended_at=record.ended_at,
        wake_at=record.wake_at,
        history_length=record.history_length,
        history_bytes=record.history_bytes,
        unread=record.unread,
        queued=record.queued,
        cancel_queued=record.cancel_queued,
        failure=getattr(last, "failure", None),
        unread_events=unread,
    )


def plain(payload: bytes | None, app: App) -> Any:
    """A payload as plain JSON data; None where there is none."""
    return None if payload is None else app.codec.decode(payload, what="a recorded value")


def _unread_event(event: CarriedEvent, app: App) -> UnreadEvent:
    return UnreadEvent(name=event.name, value=plain(event.payload, app))


# -- how it ended -----------------------------------------------------------------------------------------------------


def result_of(record: InstanceRecord | Ended, app: App, codec: EventCodec) -> Any:
    """The result of an instance that has ended or is parked; raises what any other end means."""
    whole = f"orchestration {record.name!r}, instance {record.instance!r}"
    last = None if record.last_event is None else decode_row(codec, record.last_event)
    match last:
        case CompletedEvent():
            return app.codec.decode(last.payload, _return_type(record, app), what=f"the result of {whole}")
        case FailedEvent():
            raise failed(last.failure, whole, app)
        case CancelledEvent():
            raise OrchestrationCancelled(f"{whole} was cancelled{_because(last.reason)}", reason=last.reason)
        case TerminatedEvent():
            raise OrchestrationTerminated(f"{whole} was terminated{_because(last.reason)}", reason=last.reason)
        case Parked():
            raise InstanceParked(
                f"{whole} is parked: {last.failure.type}: {last.failure.message.rstrip('.')}. Deploy code that fits "
                f"its history, then `await client.resume({record.instance!r})`; or end it with `client.terminate`"
            )
    raise HistoryError(f"{whole} is {record.state.value}, and its last event does not say how")


def failed(failure: Failure, whole: str, app: App) -> OrchestrationFailed:
    """The error for a failure, caused by the original exception where that can be rebuilt."""
    error = OrchestrationFailed(
        f"{whole} failed: {failure}",
        type=failure.type,
        message=failure.message,
        category=failure.category.value,
        retryable=failure.retryable,
        attempts=failure.attempts,
        remote_traceback=failure.traceback,
    )
    error.__cause__ = app.failures.to_exception(failure) or app.failures.cause_of(failure)
    return error


def _return_type(record: InstanceRecord | Ended, app: App) -> Any:
    """The declared type of the result, or Any where the orchestration is not known here."""
    try:
        return app.find_orchestration(record.name, record.version).spec.returns
    except UnregisteredError:
        return Any


def _because(reason: str | None) -> str:
    return "" if reason is None else f": {reason}"
