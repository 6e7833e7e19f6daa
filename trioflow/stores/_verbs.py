"""The verbs of the `Store` protocol, each bound to its rule: what the memory store and SQLite have in common.

Law: a verb says which rule it is and nothing else; how a rule is run is `_call`'s affair.

Who calls it: runtimes and clients, through the stores that inherit it. Read next: `_memory.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

from trioflow.abc import (
    ActivitiesCommitted,
    ActivitiesRenewed,
    CommitActivities,
    CommitTurn,
    DeleteInstances,
    EventRow,
    ExecutionRecord,
    InstancePage,
    InstanceRecord,
    ListInstances,
    LockActivities,
    LockTurns,
    LockedActivities,
    LockedTurns,
    PostMessage,
    PruneExecutions,
    QueueDepths,
    ReleaseActivity,
    ReleaseTurn,
    RenewActivities,
    RenewSessions,
    RenewTurns,
    SessionsRenewed,
    StartInstance,
    Started,
    StoreMetrics,
    TurnCommitted,
    TurnsRenewed,
)
from trioflow.stores import _rules as rules

R = TypeVar("R")
A = TypeVar("A")


class StoreVerbs(ABC):
    """See `trioflow.abc.Store`, where each verb's promise is written."""

    @abstractmethod
    async def _call(self, rule: rules.Rule[R, A], request: R) -> A:
        """Run a rule in one transaction. A checkpoint before the write; an answer is never lost to cancellation."""

    async def start_instance(self, request: StartInstance) -> Started:
        """See `Store`."""
        return await self._call(rules.start_instance, request)

    async def post_message(self, request: PostMessage) -> None:
        """See `Store`."""
        await self._call(rules.post_message, request)

    async def lock_turns(self, request: LockTurns) -> LockedTurns:
        """See `Store`."""
        return await self._call(rules.lock_turns, request)

    async def commit_turn(self, request: CommitTurn) -> TurnCommitted:
        """See `Store`."""
        return await self._call(rules.commit_turn, request)

    async def release_turn(self, request: ReleaseTurn) -> None:
        """See `Store`."""
        await self._call(rules.release_turn, request)

    async def renew_turns(self, request: RenewTurns) -> TurnsRenewed:
        """See `Store`."""
        return await self._call(rules.renew_turns, request)

    async def lock_activities(self, request: LockActivities) -> LockedActivities:
        """See `Store`."""
        return await self._call(rules.lock_activities, request)

    async def commit_activities(self, request: CommitActivities) -> ActivitiesCommitted:
        """See `Store`."""
        return await self._call(rules.commit_activities, request)

    async def release_activity(self, request: ReleaseActivity) -> None:
        """See `Store`."""
        await self._call(rules.release_activity, request)

    async def renew_activities(self, request: RenewActivities) -> ActivitiesRenewed:
        """See `Store`."""
        return await self._call(rules.renew_activities, request)

    async def renew_sessions(self, request: RenewSessions) -> SessionsRenewed:
        """See `Store`."""
        return await self._call(rules.renew_sessions, request)

    async def release_sessions(self, worker: str) -> None:
        """See `Store`."""
        await self._call(rules.release_sessions, worker)

    async def delete_instances(self, request: DeleteInstances) -> int:
        """See `Store`."""
        return await self._call(rules.delete_instances, request)

    async def prune_executions(self, request: PruneExecutions) -> int:
        """See `Store`."""
        return await self._call(rules.prune_executions, request)

    async def list_instances(self, request: ListInstances) -> InstancePage:
        """See `Store`."""
        return await self._call(rules.list_instances, request)

    async def read_executions(
        self, instance: str, *, after: int = 0, limit: int | None = None
    ) -> tuple[ExecutionRecord, ...]:
        """See `Store`."""
        return await self._call(
            rules.read_executions, rules.ReadExecutions(instance=instance, after=after, limit=limit)
        )

    async def read_depths(self) -> QueueDepths:
        """See `Store`."""
        return await self._call(rules.read_depths, None)

    async def read_metrics(self) -> StoreMetrics:
        """See `Store`."""
        return await self._call(rules.read_metrics, None)

    async def read_instance(self, instance: str) -> InstanceRecord | None:
        """See `Store`."""
        return await self._call(rules.read_instance, instance)

    async def read_history(
        self, instance: str, execution: int, *, after: int = 0, limit: int | None = None
    ) -> tuple[EventRow, ...]:
        """See `Store`."""
        request = rules.ReadHistory(instance=instance, execution=execution, after=after, limit=limit)
        return await self._call(rules.read_history, request)

    async def read_kv(self, instance: str) -> dict[str, bytes]:
        """See `Store`."""
        return await self._call(rules.read_kv, instance)

    async def read_clock(self) -> float:
        """See `Store`."""
        return await self._call(rules.read_clock, None)
