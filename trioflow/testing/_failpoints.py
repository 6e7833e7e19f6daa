"""Crashes and faults, on purpose: at named moments, and in the answers of a store.

Laws: a plan is made before the run and is followed exactly; a crash is a `BaseException`, so that nothing that tidies
up after errors can mistake it for one; a faulty store does what the real one does, and lies only where it was told to.

Who calls it: tests of runtimes, stores and applications.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Literal, Self, TypeVar

import attrs
import trio

from trioflow.abc import (
    ActivitiesCommitted,
    ActivitiesRenewed,
    CommitActivities,
    CommitTurn,
    DeleteInstances,
    Env,
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
    Signals,
    StartInstance,
    Started,
    Store,
    StoreMetrics,
    TurnCommitted,
    TurnsRenewed,
)
from trioflow.errors import StoreUnavailable

A = TypeVar("A")


class Crash(SystemExit):
    """The process ends here, as far as the test is concerned."""


@attrs.define(eq=False)
class FailpointEnv(Env):
    """The real world, with a plan for its named moments.

    Attributes:
        trace: the moments reached so far, in order.
    """

    trace: list[str] = attrs.field(factory=list)
    _plan: list[tuple[str | None, int, Callable[[], None]]] = attrs.field(factory=list)
    _seen: dict[str | None, int] = attrs.field(factory=dict)

    def at(self, moment: str | None, action: Callable[[], None] | None = None, *, nth: int = 1) -> Self:
        """Plan `action` (a crash, if not given) for the nth time that `moment` is reached; None counts every moment."""
        self._plan.append((moment, nth, action or crash))
        return self

    def reached(self, moment: str) -> None:
        """Follow the plan."""
        self.trace.append(moment)
        for name in (moment, None):
            self._seen[name] = self._seen.get(name, 0) + 1
        for name, nth, action in self._plan:
            if name in (moment, None) and self._seen[name] == nth:
                action()


def crash() -> None:
    """End the process, as far as the test is concerned."""
    raise Crash


@attrs.define(eq=False)
class _Fault:
    verb: str
    nth: int
    when: Literal["before", "after"]
    error: Exception


@attrs.define(eq=False)
class FaultyStore:
    """A store that fails where it was told to, and is the given one otherwise.

    Attributes:
        calls: how often each verb was called.
        dead: once True, everything raises StoreUnavailable: to whoever uses it, its process has ended.
    """

    _store: Store = attrs.field(alias="store")
    calls: dict[str, int] = attrs.field(factory=dict)
    dead: bool = False
    _faults: list[_Fault] = attrs.field(factory=list)

    def fail(self, verb: str, error: Exception, *, nth: int = 1, when: Literal["before", "after"] = "before") -> Self:
        """Raise `error` at the nth call of a verb, before it is carried out or after: then it has happened."""
        self._faults.append(_Fault(verb, nth, when, error))
        return self

    async def _through(self, verb: str, call: Callable[[], Awaitable[A]]) -> A:
        count = self.calls[verb] = self.calls.get(verb, 0) + 1
        faults = [fault for fault in self._faults if fault.verb == verb and fault.nth == count]
        for fault in faults:
            if fault.when == "before":
                raise fault.error
        if self.dead:
            await trio.lowlevel.checkpoint()
            raise StoreUnavailable("this store was told to be dead")
        answer = await call()
        for fault in faults:
            raise fault.error
        return answer

    @property
    def signals(self) -> Signals:
        """The store's."""
        return self._store.signals

    async def __aenter__(self) -> Self:
        await self._store.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._store.__aexit__(exc_type, exc, tb)

    async def register_worker(self, worker: str) -> None:
        """See `Store`."""
        await self._store.register_worker(worker)

    async def unregister_worker(self, worker: str) -> None:
        """See `Store`."""
        await self._store.unregister_worker(worker)

    async def start_instance(self, request: StartInstance) -> Started:
        """See `Store`."""
        return await self._through("start_instance", lambda: self._store.start_instance(request))

    async def post_message(self, request: PostMessage) -> None:
        """See `Store`."""
        await self._through("post_message", lambda: self._store.post_message(request))

    async def lock_turns(self, request: LockTurns) -> LockedTurns:
        """See `Store`."""
        return await self._through("lock_turns", lambda: self._store.lock_turns(request))

    async def commit_turn(self, request: CommitTurn) -> TurnCommitted:
        """See `Store`."""
        return await self._through("commit_turn", lambda: self._store.commit_turn(request))

    async def release_turn(self, request: ReleaseTurn) -> None:
        """See `Store`."""
        await self._through("release_turn", lambda: self._store.release_turn(request))

    async def renew_turns(self, request: RenewTurns) -> TurnsRenewed:
        """See `Store`."""
        return await self._through("renew_turns", lambda: self._store.renew_turns(request))

    async def lock_activities(self, request: LockActivities) -> LockedActivities:
        """See `Store`."""
        return await self._through("lock_activities", lambda: self._store.lock_activities(request))

    async def commit_activities(self, request: CommitActivities) -> ActivitiesCommitted:
        """See `Store`."""
        return await self._through("commit_activities", lambda: self._store.commit_activities(request))

    async def release_activity(self, request: ReleaseActivity) -> None:
        """See `Store`."""
        await self._through("release_activity", lambda: self._store.release_activity(request))

    async def renew_activities(self, request: RenewActivities) -> ActivitiesRenewed:
        """See `Store`."""
        return await self._through("renew_activities", lambda: self._store.renew_activities(request))

    async def renew_sessions(self, request: RenewSessions) -> SessionsRenewed:
        """See `Store`."""
        return await self._through("renew_sessions", lambda: self._store.renew_sessions(request))

    async def release_sessions(self, worker: str) -> None:
        """See `Store`."""
        await self._through("release_sessions", lambda: self._store.release_sessions(worker))

    async def delete_instances(self, request: DeleteInstances) -> int:
        """See `Store`."""
        return await self._through("delete_instances", lambda: self._store.delete_instances(request))

    async def prune_executions(self, request: PruneExecutions) -> int:
        """See `Store`."""
        return await self._through("prune_executions", lambda: self._store.prune_executions(request))

    async def list_instances(self, request: ListInstances) -> InstancePage:
        """See `Store`."""
        return await self._through("list_instances", lambda: self._store.list_instances(request))

    async def read_executions(
        self, instance: str, *, after: int = 0, limit: int | None = None
    ) -> tuple[ExecutionRecord, ...]:
        """See `Store`."""
        return await self._through(
            "read_executions", lambda: self._store.read_executions(instance, after=after, limit=limit)
        )

    async def read_depths(self) -> QueueDepths:
        """See `Store`."""
        return await self._through("read_depths", self._store.read_depths)

    async def read_metrics(self) -> StoreMetrics:
        """See `Store`."""
        return await self._through("read_metrics", self._store.read_metrics)

    async def read_instance(self, instance: str) -> InstanceRecord | None:
        """See `Store`."""
        return await self._through("read_instance", lambda: self._store.read_instance(instance))

    async def read_history(
        self, instance: str, execution: int, *, after: int = 0, limit: int | None = None
    ) -> tuple[EventRow, ...]:
        """See `Store`."""
        return await self._through(
            "read_history", lambda: self._store.read_history(instance, execution, after=after, limit=limit)
        )

    async def read_kv(self, instance: str) -> dict[str, bytes]:
        """See `Store`."""
        return await self._through("read_kv", lambda: self._store.read_kv(instance))

    async def read_clock(self) -> float:
        """See `Store`."""
        return await self._through("read_clock", self._store.read_clock)
