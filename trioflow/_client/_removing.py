"""Deleting an instance, and pruning the histories of its earlier executions.

Laws: an instance goes with all its descendants or not at all; a parent that waits for what is removed is told in the
same transaction, so it never waits for ever; the current execution is never pruned.

Who calls it: `_management.py`, `_bulk.py`. Read next: `_restarting.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioflow._client._checks import check_count, check_seconds, check_switch
from trioflow._client._info import draft_of
from trioflow._client._requests import until_answered
from trioflow.abc import DeleteInstances, InstanceRecord, OutMessage, PruneExecutions
from trioflow.history import ChildTerminated

if TYPE_CHECKING:
    from trioflow._client._steering import Steering

DELETED = "it was deleted"
"""The reason that a parent is told."""


async def delete_one(client: Steering, record: InstanceRecord, *, force: bool) -> int:
    """Delete an instance that was just read; 0: it is gone, or was begun anew since. Raises InstanceNotFinished."""
    check_switch("force", force)
    request = DeleteInstances(
        request_id=client.env.token(),
        instances=(record.instance,),
        executions={record.instance: record.execution},
        force=force,
        messages=_to_parent(client, record) if force else (),
    )
    return await until_answered(client.store.delete_instances, request)


def _to_parent(client: Steering, record: InstanceRecord) -> tuple[OutMessage, ...]:
    """What whoever waits for it is told. If it ends by itself before, the parent knows, and passes this over."""
    parent = record.parent
    if parent is None or record.state.ended:
        return ()
    told = ChildTerminated(answers=parent.event_id, reason=DELETED)
    draft = draft_of(told, client.codec)
    return (OutMessage(instance=parent.instance, execution=parent.execution, draft=draft),)


async def prune_one(client: Steering, id: str, *, keep: int, ended_before: float | None) -> int:
    """Prune an instance; how many executions were removed."""
    request = PruneExecutions(request_id=client.env.token(), instance=id, keep=keep, ended_before=ended_before)
    return await until_answered(client.store.prune_executions, request)


async def pruning_limit(client: Steering, keep: int, older_than: float | None) -> float | None:
    """The time on the store's clock that an age stands for; checks both. Raises ConfigurationError."""
    check_count("keep", keep)
    if older_than is None:
        return None
    check_seconds("older_than", older_than)
    return await until_answered(client.store.read_clock) - older_than
