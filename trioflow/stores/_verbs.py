"""The verbs of the `Store` protocol, each bound to its rule: what the memory store and SQLite have in common.

Law: a verb says which rule it is and nothing else; how a rule is run is `_call`'s affair.

Who calls it: runtimes and clients, through the stores that inherit it. Read next: `_memory.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, TypeVar

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
Answer = Coroutine[Any, Any, A]
"""What a verb returns, to be awaited: it adds no frame of its own."""


class StoreVerbs(ABC):
    """See `trioflow.abc.Store`, where each verb's promise is written."""

    @abstractmethod
    def _call(self, rule: rules.Rule[R, A], request: R) -> Answer[A]:
        """Run a rule in one transaction. A checkpoint before the write; an answer is never lost to cancellation."""

    def start_instance(self, request: StartInstance) -> Answer[Started]:
        """See `Store`."""
        return self._call(rules.start_instance, request)

    def post_message(self, request: PostMessage) -> Answer[None]:
        """See `Store`."""
        return self._call(rules.post_message, request)

    def lock_turns(self, request: LockTurns) -> Answer[LockedTurns]:
        """See `Store`."""
        return self._call(rules.lock_turns, request)

    def commit_turn(self, request: CommitTurn) -> Answer[TurnCommitted]:
        """See `Store`."""
        return self._call(rules.commit_turn, request)

    def release_turn(self, request: ReleaseTurn) -> Answer[None]:
        """See `Store`."""
        return self._call(rules.release_turn, request)

    def renew_turns(self, request: RenewTurns) -> Answer[TurnsRenewed]:
        """See `Store`."""
        return self._call(rules.renew_turns, request)

    def lock_activities(self, request: LockActivities) -> Answer[LockedActivities]:
        """See `Store`."""
        return self._call(rules.lock_activities, request)

    def commit_activities(self, request: CommitActivities) -> Answer[ActivitiesCommitted]:
        """See `Store`."""
        return self._call(rules.commit_activities, request)

    def release_activity(self, request: ReleaseActivity) -> Answer[None]:
        """See `Store`."""
        return self._call(rules.release_activity, request)

    def renew_activities(self, request: RenewActivities) -> Answer[ActivitiesRenewed]:
        """See `Store`."""
        return self._call(rules.renew_activities, request)

    def renew_sessions(self, request: RenewSessions) -> Answer[SessionsRenewed]:
        """See `Store`."""
        return self._call(rules.renew_sessions, request)

    def release_sessions(self, worker: str) -> Answer[None]:
        """See `Store`."""
        return self._call(rules.release_sessions, worker)

    def delete_instances(self, request: DeleteInstances) -> Answer[int]:
        """See `Store`."""
        return self._call(rules.delete_instances, request)

    def prune_executions(self, request: PruneExecutions) -> Answer[int]:
        """See `Store`."""
        return self._call(rules.prune_executions, request)

    def list_instances(self, request: ListInstances) -> Answer[InstancePage]:
        """See `Store`."""
        return self._call(rules.list_instances, request)

    def read_executions(
        self, instance: str, *, after: int = 0, limit: int | None = None
    ) -> Answer[tuple[ExecutionRecord, ...]]:
        """See `Store`."""
        return self._call(rules.read_executions, rules.ReadExecutions(instance=instance, after=after, limit=limit))

    def read_depths(self) -> Answer[QueueDepths]:
        """See `Store`."""
        return self._call(rules.read_depths, None)

    def read_metrics(self) -> Answer[StoreMetrics]:
        """See `Store`."""
        return self._call(rules.read_metrics, None)

    def read_instance(self, instance: str) -> Answer[InstanceRecord | None]:
        """See `Store`."""
        return self._call(rules.read_instance, instance)

    def read_history(
        self, instance: str, execution: int, *, after: int = 0, limit: int | None = None
    ) -> Answer[tuple[EventRow, ...]]:
        """See `Store`."""
        request = rules.ReadHistory(instance=instance, execution=execution, after=after, limit=limit)
        return self._call(rules.read_history, request)

    def read_kv(self, instance: str) -> Answer[dict[str, bytes]]:
        """See `Store`."""
        return self._call(rules.read_kv, instance)

    def read_clock(self) -> Answer[float]:
        """See `Store`."""
        return self._call(rules.read_clock, None)
