"""The same done to every instance that fits a filter, one after the other.

Laws: each is done for itself, in the order of the list, newest first; what has vanished, ended or left the filter's
states since the list was read is passed over and not counted; never more than the filter names, and a filter that names
nothing has to be meant (`narrow_filter_of`). Where it stops half-way, what was done stays done, and doing it again does
the rest.

Who calls it: `_management.py`. Read next: `_removing.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from trioflow._client._checks import check_count
from trioflow._client._filter import InstanceFilter
from trioflow._client._listing import Instances
from trioflow._client._removing import delete_one, prune_one, pruning_limit
from trioflow.abc import ENDED, InstanceRecord, State
from trioflow.errors import InstanceFinished, InstanceNotFinished, InstanceNotFound

if TYPE_CHECKING:
    from trioflow._client._steering import Steering

MOVING: Final = (State.PENDING, State.WAITING)
HELD: Final = (State.SUSPENDED, State.PARKED)


async def for_each(
    client: Steering,
    filter: InstanceFilter | None,
    act: Callable[[InstanceRecord], Awaitable[int]],
    limit: int | None,
) -> int:
    """The sum of what `act` answers for instances that fit, of at most `limit` for which it is not 0."""
    if limit is not None:
        check_count("limit", limit)
    if filter is None:
        return 0
    done = hits = 0
    async for listed in Instances(client, filter, lambda record: record):
        try:
            record = await client.read(listed.instance)  # the list may be old by now
            if record.execution != listed.execution or (filter.states and record.state not in filter.states):
                continue
            count = await act(record)
        except (InstanceNotFound, InstanceFinished, InstanceNotFinished):
            continue
        done, hits = done + count, hits + bool(count)
        if hits == limit:
            break
    return done


async def post_to_each(
    client: Steering, filter: InstanceFilter | None, post: Callable[[str], Awaitable[None]], limit: int | None
) -> int:
    """Send a message to each; to how many."""

    async def act(record: InstanceRecord) -> int:
        await post(record.instance)
        return 1

    return await for_each(client, filter, act, limit)


async def resume_each(client: Steering, filter: InstanceFilter | None, limit: int | None) -> int:
    """See `Client.resume_all`."""

    async def act(record: InstanceRecord) -> int:
        if record.control_queued:
            return 0  # somebody has let it go on already
        await client.resume(record.instance)
        return 1

    return await for_each(client, filter, act, limit)


async def delete_each(client: Steering, filter: InstanceFilter, *, force: bool, limit: int | None) -> int:
    """See `Client.delete_all`."""

    async def act(record: InstanceRecord) -> int:
        return await delete_one(client, record, force=force)

    return await for_each(client, filter if force else filter.only(*ENDED), act, limit)


async def prune_each(
    client: Steering, filter: InstanceFilter, *, keep: int, older_than: float | None, limit: int | None
) -> int:
    """See `Client.prune_all`."""
    ended_before = await pruning_limit(client, keep, older_than)

    async def act(record: InstanceRecord) -> int:
        if record.execution <= keep:
            return 0
        return await prune_one(client, record.instance, keep=keep, ended_before=ended_before)

    return await for_each(client, filter, act, limit)
