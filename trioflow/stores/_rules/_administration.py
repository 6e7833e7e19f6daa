"""The rules of administration: delete, prune, list, count.

Laws: what is deleted goes with all its descendants in one transaction, or nothing goes; a late commit or outcome of
what is gone finds nobody; the current execution is never pruned.

Who calls it: stores, for clients. Read next: `_tables.py`.
"""

from __future__ import annotations

from typing import Any

import attrs

from trioflow.abc import (
    DeleteInstances,
    ExecutionRecord,
    InstancePage,
    ListInstances,
    ListPlace,
    PruneExecutions,
    QueueDepths,
    StoreMetrics,
)
from trioflow.stores import _refusals as refusals
from trioflow.stores._rules._checks import is_id
from trioflow.stores._rules._reads import read_clock, read_history, read_instance, read_kv, record_of
from trioflow.stores._rules._rows import InstanceRow, Remembered
from trioflow.stores._rules._starts import recall
from trioflow.stores._rules._work import Rule, Work


def delete_instances(work: Work, request: DeleteInstances) -> int:
    """Remove instances and their descendants."""
    first = request.instances[0] if request.instances else ""
    answer = recall(work, request.request_id, "delete", first)
    if answer is not None:
        return answer.execution
    family = _family(work, request)
    if not request.force:
        for row in family:
            if not row.state.ended:
                raise refusals.not_ended(row.instance, row.state)
    for row in family:
        work.remove(row)
    for message in request.messages:
        work.deliver(message)
    work.tables.remember(request.request_id, work.now, Remembered("delete", first, len(family), created=False))
    return len(family)


def _family(work: Work, request: DeleteInstances) -> list[InstanceRow]:
    """Those that are meant and there, and all their descendants; each once."""
    found: dict[str, InstanceRow] = {}
    waiting = [instance for instance in request.instances if is_id(instance) and _is_meant(work, request, instance)]
    while waiting:
        instance = waiting.pop()
        row = None if instance in found else work.instance(instance)
        if row is not None:
            found[instance] = row
            waiting += work.tables.children(instance)
    return list(found.values())


def _is_meant(work: Work, request: DeleteInstances, instance: str) -> bool:
    """Whether it is still the one that was named; another may have begun under its id."""
    row, wanted = work.instance(instance), request.executions.get(instance)
    return row is not None and wanted in (None, row.execution)


def prune_executions(work: Work, request: PruneExecutions) -> int:
    """Remove histories of earlier executions."""
    if request.request_id is None:
        return _prune(work, request)
    answer = recall(work, request.request_id, "prune", request.instance)
    if answer is not None:
        return answer.execution
    count = _prune(work, request)
    work.tables.remember(request.request_id, work.now, Remembered("prune", request.instance, count, created=False))
    return count


def _prune(work: Work, request: PruneExecutions) -> int:
    row = work.instance(request.instance) if is_id(request.instance) else None
    if row is None:
        return 0
    below = row.execution - max(request.keep, 1) + 1
    gone = work.tables.old_executions(row.instance, below, request.ended_before)
    for execution in gone:
        work.tables.remove_execution(row.instance, execution)
    return len(gone)


def list_instances(work: Work, request: ListInstances) -> InstancePage:
    """A page of a list."""
    rows = work.tables.list_instances(request.query, request.limit + 1, request.after)
    more, rows = len(rows) > request.limit, rows[: request.limit]
    return InstancePage(
        instances=tuple(record_of(work, row) for row in rows),
        next=ListPlace(rows[-1].created_at, rows[-1].instance) if more and rows else None,
    )


@attrs.frozen(kw_only=True)
class ReadExecutions:
    """Which part of which list."""

    instance: str
    after: int
    limit: int | None


def read_executions(work: Work, request: ReadExecutions) -> tuple[ExecutionRecord, ...]:
    """Executions in short."""
    row = work.instance(request.instance) if is_id(request.instance) else None
    if row is None:
        return ()
    found = work.tables.executions(row.instance, request.after, request.limit)
    room = request.limit is None or len(found) < request.limit
    if row.execution > request.after and room and not (found and found[-1].execution == row.execution):
        found.append(ExecutionRecord(execution=row.execution, history_length=0, history_bytes=0, first=None, last=None))
    return tuple(found)


def read_depths(work: Work, request: None) -> QueueDepths:
    """What waits for runtimes."""
    return work.tables.depths(work.now)


def read_metrics(work: Work, request: None) -> StoreMetrics:
    """What is in the store."""
    return work.tables.metrics()


READS: tuple[Rule[Any, Any], ...] = (
    read_instance,
    read_history,
    read_kv,
    read_clock,
    list_instances,
    read_executions,
    read_depths,
    read_metrics,
)
"""The rules that never write, so they need no right to."""
