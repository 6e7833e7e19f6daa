"""The stores that are compared, and how to ask all of them the same.

Laws: a store is asked with the tokens and seqs that it gave out itself, and what it answers is told in names that are
the same for all: a lock is numbered in the order in which locks were given out, a message by its place among those that
its holder has seen.

Who calls it: `state_machine.py`. Another kind of store is one line more in `KINDS`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from tests.stores.postgres_helpers import empty_store, other_store
from tests.stores.requests import ReleaseSessions
from tests.stores.sqlite_helpers import open_fast
from trioflow.abc import (
    ActivitiesCommitted,
    ActivitiesRenewed,
    CommitActivities,
    CommitTurn,
    DeleteInstances,
    ListInstances,
    LockActivities,
    LockTurns,
    LockedActivities,
    LockedTurns,
    MessageRow,
    PostMessage,
    PruneExecutions,
    ReleaseActivity,
    ReleaseTurn,
    RenewActivities,
    RenewSessions,
    RenewTurns,
    StartInstance,
    Store,
    StoreMetrics,
    TurnCommitted,
    TurnsRenewed,
)
from trioflow.errors import TrioflowError
from trioflow.stores import MemoryStore
from trioflow.testing._store_contract import Clock

VERBS: dict[type[Any], str] = {
    StartInstance: "start_instance",
    PostMessage: "post_message",
    LockTurns: "lock_turns",
    CommitTurn: "commit_turn",
    ReleaseTurn: "release_turn",
    RenewTurns: "renew_turns",
    LockActivities: "lock_activities",
    CommitActivities: "commit_activities",
    ReleaseActivity: "release_activity",
    RenewActivities: "renew_activities",
    RenewSessions: "renew_sessions",
    ReleaseSessions: "release_sessions",
    DeleteInstances: "delete_instances",
    PruneExecutions: "prune_executions",
    ListInstances: "list_instances",
}


@attrs.frozen
class Kind:
    """A kind of store. `make` gives an empty one; `further` gives, for a store, what makes others on the same data, and
    is None where a store has its data to itself.
    """

    name: str
    make: Callable[[Path, Clock], Store]
    further: Callable[[Any], Callable[[Clock], Store]] | None = None


KINDS = [
    Kind("memory", lambda folder, clock: MemoryStore(clock)),
    Kind(
        "sqlite",
        lambda folder, clock: open_fast(folder / "store.db", clock),
        lambda store: partial(open_fast, store._settings.path),
    ),
    Kind("postgres", lambda folder, clock: empty_store(clock), other_store),
]


@attrs.define(eq=False)
class Names:
    """One store's tokens and seqs, and what they are called here."""

    _own: dict[str, str] = attrs.field(factory=dict)  # by the name
    _named: dict[str, str] = attrs.field(factory=dict)  # by the own token
    _seqs: dict[tuple[str, int], list[int]] = attrs.field(factory=dict)  # by name and execution: those seen

    def own(self, request: Any) -> Any:
        """A request in the store's own terms."""
        match request:
            case CommitTurn():
                seen = self._seqs.get((request.lock.token, request.lock.execution), [])
                return attrs.evolve(
                    request,
                    lock=self.own_lock(request.lock),
                    consumed=tuple(seen[place] for place in request.consumed),
                    settle=tuple(attrs.evolve(settle, lock=self.own_lock(settle.lock)) for settle in request.settle),
                )
            case CommitActivities():
                settle = tuple(attrs.evolve(settle, lock=self.own_lock(settle.lock)) for settle in request.settle)
                return attrs.evolve(request, settle=settle)
            case ReleaseTurn() | ReleaseActivity():
                return attrs.evolve(request, lock=self.own_lock(request.lock))
            case RenewTurns():
                return attrs.evolve(request, locks=tuple(map(self.own_lock, request.locks)))
            case RenewActivities():
                beats = {self._own.get(token, token): beat for token, beat in request.heartbeats.items()}
                return attrs.evolve(request, locks=tuple(map(self.own_lock, request.locks)), heartbeats=beats)
        return request

    def own_lock(self, lock: Any) -> Any:
        """A lock with the store's own token; one that the holder made up is called as it is."""
        return attrs.evolve(lock, token=self._own.get(lock.token, lock.token))

    def told(self, answer: Any, request: Any) -> Any:
        """An answer in terms that are the same for all."""
        match answer:
            case LockedTurns():
                return attrs.evolve(answer, turns=tuple(map(self._new, answer.turns)))
            case LockedActivities():
                return attrs.evolve(answer, activities=tuple(map(self._new, answer.activities)))
            case TurnCommitted():
                messages = self._places(request.lock.token, answer.execution, answer.messages)
                hurt = sorted(self._locks(answer.hurt), key=lambda lock: lock.event_id)  # in no order that is promised
                return attrs.evolve(answer, messages=messages, hurt=tuple(hurt))
            case ActivitiesCommitted() | TurnsRenewed():
                return attrs.evolve(answer, lost=self._locks(answer.lost))
            case ActivitiesRenewed():
                return attrs.evolve(answer, lost=self._locks(answer.lost), cancelled=self._locks(answer.cancelled))
        return answer

    def _new(self, locked: Any) -> Any:
        """Something that was just taken: its lock gets a name."""
        name = f"lock {len(self._own) + 1}"
        assert locked.lock.token not in self._named, "a token was given out twice"
        self._own[name], self._named[locked.lock.token] = locked.lock.token, name
        if hasattr(locked, "messages"):
            messages = self._places(name, locked.lock.execution, locked.messages)
            locked = attrs.evolve(locked, messages=messages)
        return attrs.evolve(locked, lock=attrs.evolve(locked.lock, token=name))

    def _places(self, name: str, execution: int, messages: tuple[MessageRow, ...]) -> tuple[MessageRow, ...]:
        seqs = [message.seq for message in messages]
        assert seqs == sorted(set(seqs)), "seq does not grow"
        seen = self._seqs.setdefault((name, execution), [])
        seen += [seq for seq in seqs if seq not in seen]
        return tuple(attrs.evolve(message, seq=seen.index(message.seq)) for message in messages)

    def _locks(self, locks: Any) -> Any:
        return tuple(attrs.evolve(lock, token=self._named.get(lock.token, lock.token)) for lock in locks)


@attrs.define(eq=False)
class Subject:
    """One store among those compared; `sides` are ways into it, used in turns as two processes would."""

    name: str
    sides: list[Any]  # a Store, or the model, which answers at once
    names: Names = attrs.field(factory=Names)
    sent: list[tuple[Any, Any]] = attrs.field(factory=list)  # each request, as it was meant and as it was sent

    async def ask(self, verb: str, side: int, *args: Any, **kwargs: Any) -> Any:
        """Call a verb; an error is an answer, too."""
        try:
            answer = getattr(self.sides[side % len(self.sides)], verb)(*args, **kwargs)
            return await answer if inspect.isawaitable(answer) else answer
        except TrioflowError as exc:
            return type(exc)

    async def send(self, request: Any, side: int) -> Any:
        """Send a request, and tell the answer."""
        self.sent.append((request, self.names.own(request)))
        return await self.repeat(-1, side)

    async def repeat(self, number: int, side: int) -> Any:
        """Send a request once more, unchanged."""
        meant, own = self.sent[number]
        what = own.worker if isinstance(own, ReleaseSessions) else own
        return self.names.told(await self.ask(VERBS[type(meant)], side, what), meant)

    async def look(self, instance: str, side: int) -> list[Any]:
        """All that can be read of an instance."""
        record = await self.ask("read_instance", side, instance)
        found = [record, await self.ask("read_kv", side, instance), await self.ask("read_executions", side, instance)]
        if record is not None:
            last = record.execution
            found += [await self.ask("read_history", side, instance, number) for number in range(1, last + 1)]
            found.append(await self.ask("read_history", side, instance, last, after=1, limit=2))
            found.append(await self.ask("read_executions", side, instance, after=1, limit=1))
        return found

    async def count(self, side: int) -> list[Any]:
        """All numbers, but for that of sessions: one that ran out long ago may be forgotten, or not yet."""
        metrics = await self.ask("read_metrics", side)
        assert isinstance(metrics, StoreMetrics)
        return [attrs.evolve(metrics, sessions=0), await self.ask("read_depths", side)]
