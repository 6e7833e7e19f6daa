"""The executions of an instance: what is known of each without reading its history.

Laws: only executions are told of whose histories are kept, and the current one; reading them never raises because of
what they hold: an end that cannot be read is None.

Who calls it: `_management.py`. Read next: `_removing.py`, which removes them.
"""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, Final

import attrs

from trioflow._client._requests import until_answered
from trioflow.abc import EventRow, ExecutionRecord
from trioflow.errors import HistoryError
from trioflow.history import (
    Event,
    EventCodec,
    Failure,
    OrchestrationCancelled,
    OrchestrationCompleted,
    OrchestrationContinuedAsNew,
    OrchestrationFailed,
    OrchestrationStarted,
    OrchestrationTerminated,
)

if TYPE_CHECKING:
    from trioflow._client._steering import Steering

AT_ONCE: Final = 500
"""Executions that are read at once."""


class ExecutionEnd(enum.StrEnum):
    """How an execution ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    CONTINUED_AS_NEW = "continued_as_new"


_ENDS: Final[dict[type[Event], ExecutionEnd]] = {
    OrchestrationCompleted: ExecutionEnd.COMPLETED,
    OrchestrationFailed: ExecutionEnd.FAILED,
    OrchestrationCancelled: ExecutionEnd.CANCELLED,
    OrchestrationTerminated: ExecutionEnd.TERMINATED,
    OrchestrationContinuedAsNew: ExecutionEnd.CONTINUED_AS_NEW,
}


@attrs.frozen(kw_only=True)
class ExecutionInfo:
    """One execution of an instance. Times are the store's, in seconds since the Unix epoch."""

    execution: int  # from 1; numbers whose histories were pruned are missing
    version: str | None  # None until the first turn has pinned it
    started_at: float | None  # when its first event happened; None before that
    ended_at: float | None
    end: ExecutionEnd | None  # how; None while it goes on
    history_length: int  # events
    history_bytes: int
    failure: Failure | None  # why it failed or is parked


async def executions_of(client: Steering, id: str) -> tuple[ExecutionInfo, ...]:
    """See `Client.executions`."""
    await client.read(id)  # somebody is there
    found: list[ExecutionInfo] = []
    while True:
        after = found[-1].execution if found else 0
        read = functools.partial(client.store.read_executions, id, after=after, limit=AT_ONCE)
        records = await until_answered(read)
        found += [_describe(record, client.codec) for record in records]
        if len(records) < AT_ONCE:
            return tuple(found)


def _describe(record: ExecutionRecord, codec: EventCodec) -> ExecutionInfo:
    first, last = _event(record.first, codec), _event(record.last, codec)
    end = None if last is None else _ENDS.get(type(last))
    return ExecutionInfo(
        execution=record.execution,
        version=first.version if isinstance(first, OrchestrationStarted) else None,
        started_at=None if record.first is None else record.first.at,
        ended_at=None if last is None or end is None else last.at,
        end=end,
        history_length=record.history_length,
        history_bytes=record.history_bytes,
        failure=getattr(last, "failure", None),
    )


def _event(row: EventRow | None, codec: EventCodec) -> Event | None:
    """An event whose payload was left in the store, or None if it cannot be read."""
    if row is None:
        return None
    try:
        return codec.decode(row.id, row.at, row.kind, row.data, b"")
    except HistoryError:
        return None
