"""The verbs of administration and reading.

Laws: a verb is one statement, the call of the function of its name; what cannot be there is not asked for.

Must never know: connections. Who calls it: clients, through `_store.py`. Read next: `_verbs.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from trioflow.abc import (
    TURNS,
    DeleteInstances,
    EventRow,
    ExecutionRecord,
    InstancePage,
    InstanceRecord,
    ListInstances,
    PruneExecutions,
    QueueDepths,
    StoreMetrics,
    activity_topic,
    end_topic,
    instance_topic,
)
from trioflow.stores._postgres import _answers as answers, _requests as requests
from trioflow.stores._rules import is_id

Row = tuple[Any, ...]


class PostgresReads(ABC):
    """See `trioflow.abc.Store`, where each verb's promise is written."""

    @abstractmethod
    async def _call(self, verb: str, *parameters: object, reads: bool = False, key: str | None = None) -> list[Row]:
        """Send a verb's statement. Reading may be repeated whatever happened to the first try; what locks no more
        than the rows of one instance, its key, may share a transaction with others.
        """

    @abstractmethod
    def _tell(self, topics: Iterable[str]) -> None:
        """Wake those in this process at once, and the others soon."""

    def _tell_reached(self, instances: list[str] | None) -> None:
        """Something was posted to these."""
        if instances:
            self._tell((TURNS, *map(instance_topic, instances)))

    # -- administration

    async def delete_instances(self, request: DeleteInstances) -> int:
        """See `Store`."""
        (row,) = await self._call("delete_instances", *requests.delete_instances(request))
        answer = answers.deleted(request, requests.first_of(request), row)
        *_, gone, tokens, reached = row
        gone = gone or ()
        self._tell((*map(instance_topic, gone), *map(end_topic, gone), *map(activity_topic, tokens or ())))
        self._tell_reached(reached)
        return answer

    async def prune_executions(self, request: PruneExecutions) -> int:
        """See `Store`."""
        if not is_id(request.instance):
            return 0
        (row,) = await self._call("prune_executions", *requests.prune_executions(request))
        return answers.pruned(request, row)

    async def list_instances(self, request: ListInstances) -> InstancePage:
        """See `Store`."""
        parameters = requests.list_instances(request)
        rows = [] if parameters is None else await self._call("list_instances", *parameters, reads=True)
        return answers.page(request, rows)

    async def read_executions(
        self, instance: str, *, after: int = 0, limit: int | None = None
    ) -> tuple[ExecutionRecord, ...]:
        """See `Store`."""
        if not is_id(instance):
            return ()
        rows = await self._call("read_executions", instance, after, limit, reads=True)
        return tuple(map(answers.execution_record, rows))

    async def read_depths(self) -> QueueDepths:
        """See `Store`."""
        return answers.depths(await self._call("read_depths", reads=True))

    async def read_metrics(self) -> StoreMetrics:
        """See `Store`."""
        (row,) = await self._call("read_metrics", reads=True)
        return answers.metrics(row)

    # -- reading

    async def read_instance(self, instance: str) -> InstanceRecord | None:
        """See `Store`."""
        if not is_id(instance):
            return None
        rows = await self._call("read_instance", instance, reads=True, key=instance)
        return answers.instance_record(rows[0]) if rows else None

    async def read_history(
        self, instance: str, execution: int, *, after: int = 0, limit: int | None = None
    ) -> tuple[EventRow, ...]:
        """See `Store`."""
        if not is_id(instance):
            return ()
        rows = await self._call("read_history", instance, execution, after, limit, reads=True)
        return tuple(EventRow(*row) for row in rows)

    async def read_kv(self, instance: str) -> dict[str, bytes]:
        """See `Store`."""
        return dict(await self._call("read_kv", instance, reads=True)) if is_id(instance) else {}

    async def read_clock(self) -> float:
        """See `Store`."""
        ((now,),) = await self._call("clock", reads=True)
        return float(now)
