"""Beginning an instance again, with what it began with.

Laws: nothing is ended before it is known with what to begin again, nor by who would end with it; what begins is a new
execution of the same id, and numbers go on; of the execution before it has the input, the name, the version and the
attributes, and nothing else.

Who calls it: `_management.py`. Read next: `_waiting.py`.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import TYPE_CHECKING

from trioflow._client._beginning import begin
from trioflow._client._checks import check_switch
from trioflow._client._filter import InstanceFilter
from trioflow._client._info import decode_row, draft_of
from trioflow._client._listing import Instances
from trioflow._client._requests import until_answered
from trioflow._client._waiting import Found, wait_ended, wait_until
from trioflow._engine import closes
from trioflow.abc import InstanceRecord, StartInstance
from trioflow.activity._context import current
from trioflow.errors import ConfigurationError, HistoryError, InstanceFinished, InstanceNotFinished, InstanceNotFound
from trioflow.history import REPLAY_SEMANTICS, ChildScheduled, Event, OrchestrationContinuedAsNew, OrchestrationStarted

if TYPE_CHECKING:
    from trioflow._client._steering import Steering

REASON = "it is to begin again"
"""Why one that had not ended was terminated."""


async def restart(client: Steering, id: str, *, force: bool, latest: bool) -> None:
    """See `Client.restart`."""
    check_switch("force", force)
    record = await client.read(id)
    if force and not record.state.ended:
        await _not_from_within(client, id)
    started = await _beginning(client, record) if record.state.ended or force else None
    if started is None:
        raise InstanceNotFinished(
            f"instance {id!r} is {record.state.value}; force=True terminates it before it begins again"
        )
    if not record.state.ended:
        with suppress(InstanceFinished):
            await client.terminate(id, REASON)
        record = await wait_ended(client, id)
        await _wait_for_those_below(client, record)
        started = await _beginning(client, record)  # it may have continued as new meanwhile
    again = _again(started, record, client.env.token(), latest=latest)
    request = StartInstance(
        request_id=client.env.token(),
        instance=id,
        name=again.name,
        version=again.version,
        semantics=REPLAY_SEMANTICS,
        start=draft_of(again, client.codec),
        attributes=record.attributes,
        if_exists="replace_finished",
    )
    await begin(client, again, request)


async def _not_from_within(client: Steering, id: str) -> None:
    """Refuse what would end the activity that asks for it, before it could begin the instance again."""
    around = current.get(None)
    asking = None if around is None else around.info().instance
    while asking is not None:
        if asking == id:
            raise ConfigurationError(
                f"restart(force=True) of instance {id!r} was asked for by an activity of its own, or of an instance "
                "below it: the termination would end that activity before it could begin the instance again. Let the "
                "orchestration continue as new, or ask from outside."
            )
        asking = await _who_ends_it(client, asking)


async def _who_ends_it(client: Steering, id: str) -> str | None:
    """The parent whose termination would terminate an instance; None if there is none, or it would not."""
    below = await until_answered(client.store.read_instance, id)
    link = None if below is None else below.parent
    above = None if link is None else await until_answered(client.store.read_instance, link.instance)
    if link is None or above is None or above.execution != link.execution:
        return None
    look = functools.partial(client.store.read_history, link.instance, link.execution, after=link.event_id - 1, limit=1)
    try:
        events = [decode_row(client.codec, row) for row in await until_answered(look)]
    except HistoryError:  # then whoever terminates the parent does not hear of the child, either
        return None
    return link.instance if any(isinstance(event, ChildScheduled) and closes(event) for event in events) else None


async def _wait_for_those_below(client: Steering, ended: InstanceRecord) -> None:
    """Wait for the end of those that were terminated with it: they may have ids that its code gives them again."""
    over = [ended]
    while over:
        async for child in Instances(client, InstanceFilter(parent=over.pop().instance), lambda record: record):
            if child.state.ended:
                over += [child] if child.updated_at >= ended.updated_at else []
            elif child.control_queued:
                with suppress(InstanceNotFound):
                    told = await wait_until(client, child.instance, _told)
                    over += [told] if told.state.ended else []


async def _told(record: InstanceRecord) -> Found[InstanceRecord] | None:
    """It has ended, or lives on after what it was told, which was another thing then."""
    return None if record.control_queued and not record.state.ended else Found(record)


def _again(
    started: OrchestrationStarted | OrchestrationContinuedAsNew, record: InstanceRecord, seed: str, *, latest: bool
) -> OrchestrationStarted:
    return OrchestrationStarted(
        instance=record.instance,
        name=record.name,
        version=None if latest else record.version,
        payload=started.payload,
        seed=seed,
    )


async def _beginning(client: Steering, record: InstanceRecord) -> OrchestrationStarted | OrchestrationContinuedAsNew:
    """The event that holds the input of the current execution.

    That is its first, but where it was ended before its first turn: then it is the last of the execution before. Raises
    HistoryError where there is none, or it cannot be read.
    """
    first = await _event(client, record.instance, record.execution, 1)
    if isinstance(first, OrchestrationStarted):
        return first
    read = functools.partial(client.store.read_executions, record.instance, after=record.execution - 2, limit=1)
    for before in await until_answered(read) if record.execution > 1 else ():
        last = await _event(client, record.instance, before.execution, before.history_length)
        if isinstance(last, OrchestrationContinuedAsNew):
            return last
    raise HistoryError(
        f"execution {record.execution} of instance {record.instance!r} has not begun, so no input of it is recorded: "
        'end it, and give the input to `client.start(..., if_exists="replace_finished")`'
    )


async def _event(client: Steering, id: str, execution: int, number: int) -> Event | None:
    rows = await until_answered(client.store.read_history, id, execution, after=number - 1, limit=1)
    return decode_row(client.codec, rows[0]) if rows else None
