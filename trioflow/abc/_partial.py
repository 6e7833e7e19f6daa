"""A store that can do less: what is left out is refused, and says so.

Law: nothing here pretends; a verb that a store does not have raises, naming the store and the verb.

Who calls it: authors of stores that keep no sessions or offer no administration. Read next: `_store.py`.
"""

from __future__ import annotations

from typing import Never

from trioflow.abc._administration import (
    DeleteInstances,
    ExecutionRecord,
    InstancePage,
    ListInstances,
    PruneExecutions,
    QueueDepths,
    StoreMetrics,
)
from trioflow.abc._records import RenewSessions, SessionsRenewed
from trioflow.abc._store import Store
from trioflow.errors import StoreError


class PartialStore(Store):
    """A base for stores that keep no sessions and offer no administration: these verbs raise `StoreError`."""

    def _cannot(self, verb: str) -> Never:
        raise StoreError(f"{type(self).__name__} has no `{verb}`. Use a store that has, or give it one.")

    async def renew_sessions(self, request: RenewSessions) -> SessionsRenewed:
        """Refused."""
        self._cannot("renew_sessions")

    async def release_sessions(self, worker: str) -> None:
        """Refused."""
        self._cannot("release_sessions")

    async def delete_instances(self, request: DeleteInstances) -> int:
        """Refused."""
        self._cannot("delete_instances")

    async def prune_executions(self, request: PruneExecutions) -> int:
        """Refused."""
        self._cannot("prune_executions")

    async def list_instances(self, request: ListInstances) -> InstancePage:
        """Refused."""
        self._cannot("list_instances")

    async def read_executions(
        self, instance: str, *, after: int = 0, limit: int | None = None
    ) -> tuple[ExecutionRecord, ...]:
        """Refused."""
        self._cannot("read_executions")

    async def read_depths(self) -> QueueDepths:
        """Refused."""
        self._cannot("read_depths")

    async def read_metrics(self) -> StoreMetrics:
        """Refused."""
        self._cannot("read_metrics")
