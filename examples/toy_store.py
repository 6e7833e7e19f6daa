"""A store as small as it can be: two tables in one process. docs/writing-a-store.md explains it.

Prints:
    Hello again, toy!
"""

import itertools
import time
import uuid
from collections.abc import Callable, Iterable
from math import inf
from types import SimpleNamespace
from typing import Any

import attrs
import trio

import trioflow
from trioflow import abc, durable
from trioflow.errors import InstanceExists, InstanceNotFound, LockLost, StoreError

UNSET = dict(lock=None, wake_at=None, ended_at=None, last_event=None, control_queued=False, cancel_queued=False)
ZERO = dict(execution=1, revision=0, unread=0, history_length=0, history_bytes=0, attempt=0, fetches=0, failures=0)
NEW: dict[str, Any] = dict(state=abc.State.PENDING, status=None, messages=(), urgent=(), history=(), values={})


class Row(SimpleNamespace):
    """A row of a table. Its columns have the names that the records give them, and a few are its own.

    `due_at`: when it may be taken; while it is leased, when the lease is over. `urgent`: numbers of control messages.
    A new one has what its request says, and `UNSET`, `ZERO` and `NEW`.
    """

    def read(self, cls: type[Any], **others: Any) -> Any:
        """A record of what the row holds, and of others."""
        return cls(**{name: value for name, value in (vars(self) | others).items() if name in attrs.fields_dict(cls)})


class ToyStore(abc.PartialStore):
    """Each verb is a checkpoint first. Then it checks, and writes, without an await in between: all or nothing.

    Verbs that are not here are inherited and do nothing: a lease that is given back runs out.
    """

    signals = abc.Signals()

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.signals, self.seqs = clock, abc.Signals(), itertools.count(1)
        self.instances: dict[str, Row] = {}
        self.items: list[Row] = []

    async def find(self, instance: str) -> Row | None:
        await trio.lowlevel.checkpoint()
        return self.instances.get(instance)

    async def start_instance(self, request: abc.StartInstance) -> abc.Started:
        if await self.find(request.instance) is not None or request.if_exists != "fail" or request.delay:
            raise InstanceExists(f"{request.instance!r} is there already, or was to be more than a new one, at once.")
        columns = attrs.asdict(request, recurse=False) | UNSET | ZERO | NEW | {"attributes": dict(request.attributes)}
        self.instances[request.instance] = Row(**columns, due_at=inf, created_at=self.clock(), updated_at=self.clock())
        self.deliver(abc.OutMessage(instance=request.instance, draft=request.start))
        return abc.Started(instance=request.instance, execution=1, created=True)

    async def post_message(self, request: abc.PostMessage) -> None:
        row = await self.find(request.message.instance)
        if row is None:
            raise InstanceNotFound(f"No instance has the id {request.message.instance!r}.")
        self.deliver(request.message)

    def deliver(self, message: abc.OutMessage) -> None:
        """Put a message at the end of an inbox. Its instance is due, but for a held one, which waits for control."""
        row, seq, now = self.instances[message.instance], next(self.seqs), self.clock()
        if not row.state.ended:
            row.messages += (abc.MessageRow(seq, now, message.draft),)
            row.urgent += (seq,) if message.control else ()
            if row.lock is None and (message.control or not row.state.held):
                row.due_at = min(row.due_at, now)
        self.signals.bump_all()

    async def take(self, rows: Iterable[Row], request: Any, lock: type[Any]) -> tuple[list[Row], dict[str, Any]]:
        """Lease the rows that are due, those that have waited longest first."""
        await trio.lowlevel.checkpoint()
        now, line = self.clock(), sorted(rows, key=lambda row: row.due_at)
        taken = [row for row in line if row.due_at <= now][: request.limit]
        for row in taken:
            row.lock, row.due_at = row.read(lock, token=uuid.uuid4().hex), now + request.lease
            row.attempt, row.fetches = row.attempt + 1, row.fetches + 1
        later = [row.due_at for row in line if now < row.due_at < inf]
        return taken, {"now": now, "next_due": min(later, default=None)}

    async def renew(self, rows: Iterable[Row], request: Any) -> tuple[Any, ...]:
        """Lease for longer, and name the locks that hold nothing any more."""
        await trio.lowlevel.checkpoint()
        held = {row.lock: row for row in rows if row.lock in request.locks}
        for row in held.values():
            row.due_at = self.clock() + request.lease
        return tuple(lock for lock in request.locks if lock not in held)

    async def lock_turns(self, request: abc.LockTurns) -> abc.LockedTurns:
        rows, times = await self.take(self.instances.values(), request, abc.TurnLock)
        return abc.LockedTurns(turns=tuple(row.read(abc.LockedTurn, attempts=row.fetches) for row in rows), **times)

    async def renew_turns(self, request: abc.RenewTurns) -> abc.TurnsRenewed:
        return abc.TurnsRenewed(lost=await self.renew(self.instances.values(), request))

    async def commit_turn(self, request: abc.CommitTurn) -> abc.TurnCommitted:
        row, now = await self.find(request.lock.instance), self.clock()
        if row is None or row.lock != request.lock or row.revision != request.revision:
            raise LockLost(f"Somebody else holds {request.lock.instance!r}; nothing was committed.")
        if request.starts or request.messages or request.next_execution or request.settle or request.keep:
            raise StoreError("This store has only the core of the contract; nothing was committed.")
        row.history, row.history_length = row.history + request.events, row.history_length + len(request.events)
        row.history_bytes += sum(len(event.data) + len(event.payload or b"") for event in request.events)
        row.state, row.wake_at, row.unread, row.updated_at = request.state, request.wake_at, request.unread, now
        row.version = request.version or row.version
        row.status = row.status if request.status is None else request.status
        row.values = {k: v for k, v in row.values.items() if k not in request.kv_cleared} | dict(request.kv_set)
        row.messages = tuple(message for message in row.messages if message.seq not in request.consumed)
        if row.state.ended:
            row.messages, row.wake_at, row.ended_at = (), None, now
        row.last_event = next(reversed(row.history), None) if row.state.ended or row.state is abc.State.PARKED else None
        row.revision, row.fetches, row.lock = row.revision + 1, 0, None
        wakes = any(message.seq in row.urgent or not row.state.held for message in row.messages)
        row.due_at = now if wakes else inf if row.wake_at is None or row.state.held else row.wake_at
        known = UNSET | ZERO | {"instance": row.instance, "scheduled_at": now, "due_at": now, "heartbeat": None}
        self.items += [Row(**(attrs.asdict(new, recurse=False) | known)) for new in request.activities]
        self.signals.bump_all()
        return abc.TurnCommitted(now=now, revision=row.revision, execution=1, kept=False)

    async def lock_activities(self, request: abc.LockActivities) -> abc.LockedActivities:
        rows, times = await self.take(self.items, request, abc.ActivityLock)
        return abc.LockedActivities(activities=tuple(row.read(abc.LockedActivity) for row in rows), **times)

    async def renew_activities(self, request: abc.RenewActivities) -> abc.ActivitiesRenewed:
        return abc.ActivitiesRenewed(lost=await self.renew(self.items, request), cancelled=())

    async def commit_activities(self, request: abc.CommitActivities) -> abc.ActivitiesCommitted:
        await trio.lowlevel.checkpoint()
        lost = []
        for settle in request.settle:
            row = next((row for row in self.items if row.lock == settle.lock), None)
            if row is None:
                lost.append(settle.lock)
            elif settle.message is not None:
                self.items.remove(row)
                self.deliver(abc.OutMessage(instance=row.instance, draft=settle.message))
            elif settle.retry_in is not None:
                row.lock, row.due_at = None, self.clock() + settle.retry_in
                row.failures, row.fetches, row.data = row.failures + 1, 0, settle.data or row.data
        self.signals.bump_all()
        return abc.ActivitiesCommitted(now=self.clock(), lost=tuple(lost))

    async def read_instance(self, instance: str) -> abc.InstanceRecord | None:
        row = await self.find(instance)
        return None if row is None else row.read(abc.InstanceRecord, queued=len(row.messages))

    async def read_history(self, instance: str, execution: int, *, after: int = 0, limit: int | None = None) -> Any:
        row = await self.find(instance)
        return row.history[after:][:limit] if row is not None and row.execution == execution else ()

    async def read_kv(self, instance: str) -> dict[str, bytes]:
        row = await self.find(instance)
        return {} if row is None else dict(row.values)

    async def read_clock(self) -> float:
        await trio.lowlevel.checkpoint()
        return self.clock()


app = trioflow.App("toy")


@app.activity(retry=trioflow.Retry(max_attempts=2, initial=0.01))
async def greet(name: str) -> str:
    if trioflow.activity.info().attempt == 1:
        raise ConnectionError("the line is bad")
    return f"Hello, {name}!"


@app.orchestration
async def hello(name: str) -> str:
    greeting = await greet(name)
    durable.set_status(greeting)
    await durable.sleep(0.05)
    return f"{greeting[:5]} again{greeting[5:]}"


async def main() -> None:
    unfused = trioflow.RuntimeOptions(fuse=False, born_leased=False)
    async with trioflow.open_runtime(app, ToyStore(time.time), options=unfused) as runtime:
        handle = await runtime.client.start(hello, "toy", id="toy-1")
        print(await handle.result())


if __name__ == "__main__":
    trio.run(main)
