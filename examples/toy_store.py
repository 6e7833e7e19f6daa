"""A store as small as it can be: dictionaries, one process, no fused steps. docs/writing-a-store.md explains it.

Prints:
    Hello again, toy!
"""

import itertools
import uuid
from collections.abc import Callable
from typing import Self

import attrs
import trio

import trioflow
from trioflow import abc, durable
from trioflow.errors import InstanceExists, InstanceFinished, InstanceNotFound, LockLost, StoreError
from trioflow.history import ActivityCancelled, EventCodec

CODEC = EventCodec()


@attrs.define
class Instance:
    """What readers see of an instance, its inbox, and who holds it."""

    record: abc.InstanceRecord
    inbox: list[tuple[abc.MessageRow, abc.OutMessage]] = attrs.field(factory=list)
    values: dict[str, bytes] = attrs.field(factory=dict)
    lock: abc.TurnLock | None = None
    not_before: float = 0.0  # the end of the lease, or of the pause that a release asked for
    attempts: int = 0

    def due_at(self) -> float | None:
        """Since when, or from when on, it has something to do."""
        record = self.record
        paused = record.state.held or (record.state is abc.State.PENDING and record.wake_at is not None)
        times = [row.at for row, message in self.inbox if message.control or not paused]
        times += [record.wake_at] if record.wake_at is not None and not record.state.held else []
        return max(min(times), self.not_before, record.updated_at) if times and not record.state.ended else None


@attrs.define
class Item:
    """An activity in the queue. Its lock's token is empty while nobody holds it."""

    row: abc.LockedActivity
    due_at: float  # when it may be taken; while it is leased: when the lease runs out
    cancelled: bool = False


class ToyStore:
    """Each verb checks first and then writes, without an await in between: that alone makes it all or nothing."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.signals, self.seqs = clock, abc.Signals(), itertools.count(1)
        self.instances: dict[str, Instance] = {}
        self.histories: dict[tuple[str, int], tuple[abc.EventRow, ...]] = {}
        self.items: dict[tuple[str, int, int], Item] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def register_worker(self, worker: str) -> None: ...

    async def unregister_worker(self, worker: str) -> None: ...

    async def start_instance(self, request: abc.StartInstance) -> abc.Started:
        await trio.lowlevel.checkpoint()
        return self.begin(request)

    def begin(self, request: abc.StartInstance) -> abc.Started:
        old, now = self.instances.get(request.instance), self.clock()
        if request.if_exists != "fail" or old is not None:
            raise InstanceExists(f"Instance {request.instance!r} is there already, or might be. Choose another id.")
        self.instances[request.instance] = Instance(
            abc.InstanceRecord(
                instance=request.instance, execution=1, name=request.name, version=request.version,
                state=abc.State.PENDING, revision=0, parent=request.parent, attributes=dict(request.attributes),
                created_at=now, updated_at=now, ended_at=None, wake_at=now + request.delay if request.delay else None,
                history_length=0, history_bytes=0, unread=0, queued=0, control_queued=False, cancel_queued=False,
                status=None, last_event=None,
            )
        )  # fmt: skip
        self.deliver(abc.OutMessage(instance=request.instance, draft=request.start))
        return abc.Started(instance=request.instance, execution=1, created=True)

    async def post_message(self, request: abc.PostMessage) -> None:
        await trio.lowlevel.checkpoint()
        instance = self.instances.get(request.message.instance)
        if instance is None:
            raise InstanceNotFound(f"No instance has the id {request.message.instance!r}.")
        if instance.record.state.ended:
            raise InstanceFinished(f"Instance {request.message.instance!r} has ended.")
        self.deliver(request.message)

    def deliver(self, message: abc.OutMessage) -> None:
        """Put a message into an inbox; drop it where nobody is there whom it means."""
        instance = self.instances.get(message.instance)
        if instance is None or instance.record.state.ended:
            return
        record, row = instance.record, abc.MessageRow(next(self.seqs), self.clock(), message.draft)
        if message.execution in (None, record.execution) and message.child_of in (None, record.parent):
            instance.inbox.append((row, message))
            self.bump(message.instance)

    def bump(self, instance: str) -> None:
        for topic in (abc.TURNS, abc.ACTIVITIES, abc.instance_topic(instance)):
            self.signals.bump(topic)

    async def lock_turns(self, request: abc.LockTurns) -> abc.LockedTurns:
        await trio.lowlevel.checkpoint()
        now, turns = self.clock(), []
        self.sweep()
        line = [(at, i) for i in self.instances.values() if (at := i.due_at()) is not None]
        for _, i in sorted(((at, i) for at, i in line if at <= now), key=lambda one: one[0])[: request.limit]:
            i.lock = abc.TurnLock(i.record.instance, i.record.execution, uuid.uuid4().hex)
            i.not_before, i.attempts = now + request.lease, i.attempts + 1
            same = ("name", "version", "state", "revision", "history_length", "history_bytes", "wake_at")
            known = {name: getattr(i.record, name) for name in same}
            messages = tuple(row for row, _ in i.inbox)
            turns.append(abc.LockedTurn(lock=i.lock, attempts=i.attempts, messages=messages, **known))
        times = [at for i in self.instances.values() if (at := i.due_at()) is not None and at > now]
        times += [item.due_at for item in self.items.values() if item.cancelled]
        return abc.LockedTurns(now=now, turns=tuple(turns), next_due=min(times, default=None))

    def held(self, lock: abc.TurnLock) -> Instance | None:
        instance = self.instances.get(lock.instance)
        return instance if instance is not None and instance.lock == lock else None

    async def commit_turn(self, request: abc.CommitTurn) -> abc.TurnCommitted:
        await trio.lowlevel.checkpoint()
        now, i, lock = self.clock(), self.held(request.lock), request.lock
        if i is None or i.record.revision != request.revision:
            raise LockLost(f"Somebody else holds {lock.instance!r}, or has held it; nothing was committed.")
        history = self.histories.get((lock.instance, lock.execution), ()) + request.events
        if [event.id for event in history] != list(range(1, len(history) + 1)):
            raise StoreError("The events do not follow the history; nothing was committed.")
        self.histories[lock.instance, lock.execution] = history
        i.inbox = [one for one in i.inbox if one[0].seq not in request.consumed and not request.state.ended]
        i.values = {k: v for k, v in i.values.items() if k not in request.kv_cleared} | dict(request.kv_set)
        i.lock, i.not_before, i.attempts = None, 0.0, 0
        i.record = attrs.evolve(
            i.record, state=request.state, revision=i.record.revision + 1, updated_at=now, unread=request.unread,
            wake_at=None if request.state.ended else request.wake_at, ended_at=now if request.state.ended else None,
            version=request.version or i.record.version, history_length=len(history),
            history_bytes=sum(len(event.data) + len(event.payload or b"") for event in history),
            status=i.record.status if request.status is None else request.status,
        )  # fmt: skip
        for new in request.activities:
            row = abc.LockedActivity(
                lock=abc.ActivityLock(lock.instance, lock.execution, new.event_id, ""), name=new.name, tag=new.tag,
                session=new.session, attempt=0, failures=0, fetches=0, scheduled_at=now, heartbeat=None, data=new.data,
                payload=new.payload,
            )  # fmt: skip
            self.items[lock.instance, lock.execution, new.event_id] = Item(row, now)
        if request.next_execution is not None:
            self.begin_next(i, request.next_execution)
        hurt = self.cancel(request)
        for start in request.starts:
            try:
                self.begin(start)
                reply = start.on_started
            except InstanceExists:
                reply = start.on_refused
            if reply is not None:
                self.deliver(reply)
        for message in request.messages:
            self.deliver(message)
        self.bump(lock.instance)
        return abc.TurnCommitted(
            now=now, revision=i.record.revision, execution=i.record.execution, kept=False, hurt=hurt
        )

    def begin_next(self, i: Instance, following: abc.NextExecution) -> None:
        i.record = attrs.evolve(
            i.record, execution=i.record.execution + 1, version=following.version, state=abc.State.PENDING,
            history_length=0, history_bytes=0, wake_at=None,
        )  # fmt: skip
        left, i.inbox = [one for one in i.inbox if one[1].execution in (None, i.record.execution)], []
        self.deliver(abc.OutMessage(instance=i.record.instance, draft=following.start))
        i.inbox += [(attrs.evolve(row, seq=next(self.seqs)), message) for row, message in left]

    async def release_turn(self, request: abc.ReleaseTurn) -> None:
        await trio.lowlevel.checkpoint()
        i = self.held(request.lock)
        if i is not None:
            i.lock, i.not_before, i.attempts = None, self.clock() + request.delay, i.attempts - request.clean
            self.bump(request.lock.instance)

    async def renew_turns(self, request: abc.RenewTurns) -> abc.TurnsRenewed:
        await trio.lowlevel.checkpoint()
        held = {lock: i for lock in request.locks if (i := self.held(lock)) is not None}
        for i in held.values():
            i.not_before = self.clock() + request.lease
        return abc.TurnsRenewed(lost=tuple(lock for lock in request.locks if lock not in held))

    def remove(self, item: Item, draft: abc.Draft | None) -> None:
        """An item and its outcome are one: whoever removes it says how it ended."""
        lock = item.row.lock
        del self.items[lock.instance, lock.execution, lock.event_id]
        if draft is not None:
            self.deliver(abc.OutMessage(instance=lock.instance, execution=lock.execution, draft=draft))

    def remove_cancelled(self, item: Item, how: str) -> None:
        """The one event that a store words itself, since nobody else is there to tell."""
        encoded = CODEC.encode(ActivityCancelled(answers=item.row.lock.event_id, how=how))
        self.remove(item, abc.Draft(encoded.kind, encoded.data, encoded.payload))

    def sweep(self) -> None:
        for item in [item for item in self.items.values() if item.cancelled and item.due_at <= self.clock()]:
            self.remove_cancelled(item, "lost")

    def cancel(self, request: abc.CommitTurn) -> tuple[abc.ActivityLock, ...]:
        hurt = []
        for key, item in list(self.items.items()):
            named = request.cancel_all_activities or key[2] in request.cancel_activities
            if key[:2] == (request.lock.instance, request.lock.execution) and named:
                token = item.row.lock.token
                if token and item.due_at > self.clock():
                    item.cancelled = True
                    hurt.append(item.row.lock)
                    self.signals.bump(abc.activity_topic(token))
                else:
                    self.remove_cancelled(item, "lost" if token else "never_started")
        return tuple(hurt)

    async def lock_activities(self, request: abc.LockActivities) -> abc.LockedActivities:
        await trio.lowlevel.checkpoint()
        now = self.clock()
        self.sweep()
        line = sorted((item for item in self.items.values() if not item.cancelled), key=lambda item: item.due_at)
        taken = [item for item in line if item.due_at <= now][: request.limit]
        for item in taken:
            row, item.due_at = item.row, now + request.lease
            lock = attrs.evolve(row.lock, token=uuid.uuid4().hex)
            item.row = attrs.evolve(row, lock=lock, attempt=row.attempt + 1, fetches=row.fetches + 1)
        next_due = min((item.due_at for item in line if item.due_at > now), default=None)
        return abc.LockedActivities(now=now, activities=tuple(item.row for item in taken), next_due=next_due)

    def leased(self, lock: abc.ActivityLock) -> Item | None:
        item = self.items.get((lock.instance, lock.execution, lock.event_id))
        return item if item is not None and lock.token and item.row.lock == lock else None

    async def commit_activities(self, request: abc.CommitActivities) -> abc.ActivitiesCommitted:
        await trio.lowlevel.checkpoint()
        lost = []
        for settle in request.settle:
            item = self.leased(settle.lock)
            if item is None:
                lost.append(settle.lock)
            elif settle.retry_in is None:
                self.remove(item, settle.message)
            elif item.cancelled:
                self.remove_cancelled(item, "ended")
            else:
                data = item.row.data if settle.data is None else settle.data
                item.row = attrs.evolve(item.row, failures=item.row.failures + 1, fetches=0, data=data)
                self.free(item, settle.retry_in)
        return abc.ActivitiesCommitted(now=self.clock(), lost=tuple(lost))

    def free(self, item: Item, delay: float) -> None:
        item.row = attrs.evolve(item.row, lock=attrs.evolve(item.row.lock, token=""))
        item.due_at = self.clock() + delay
        self.bump(item.row.lock.instance)

    async def release_activity(self, request: abc.ReleaseActivity) -> None:
        await trio.lowlevel.checkpoint()
        item = self.leased(request.lock)
        if item is not None and item.cancelled:
            self.remove_cancelled(item, "never_started")
        elif item is not None:
            if request.clean:
                item.row = attrs.evolve(item.row, attempt=item.row.attempt - 1, fetches=0)
            self.free(item, request.delay)

    async def renew_activities(self, request: abc.RenewActivities) -> abc.ActivitiesRenewed:
        await trio.lowlevel.checkpoint()
        held = {lock: item for lock in request.locks if (item := self.leased(lock)) is not None}
        for item in held.values():
            item.due_at = self.clock() + request.lease
        return abc.ActivitiesRenewed(
            lost=tuple(lock for lock in request.locks if lock not in held),
            cancelled=tuple(lock for lock, item in held.items() if item.cancelled),
        )

    async def read_instance(self, instance: str) -> abc.InstanceRecord | None:
        await trio.lowlevel.checkpoint()
        i = self.instances.get(instance)
        if i is None:
            return None
        history = self.histories.get((instance, i.record.execution), ())
        says_why = history and (i.record.state.ended or i.record.state is abc.State.PARKED)
        return attrs.evolve(
            i.record, queued=len(i.inbox), control_queued=any(message.control for _, message in i.inbox),
            cancel_queued=any(row.draft.kind == "CancelRequested" for row, _ in i.inbox),
            last_event=history[-1] if says_why else None,
        )  # fmt: skip

    async def read_history(
        self, instance: str, execution: int, *, after: int = 0, limit: int | None = None
    ) -> tuple[abc.EventRow, ...]:
        await trio.lowlevel.checkpoint()
        return self.histories.get((instance, execution), ())[after : None if limit is None else after + limit]

    async def read_kv(self, instance: str) -> dict[str, bytes]:
        await trio.lowlevel.checkpoint()
        return dict(self.instances[instance].values) if instance in self.instances else {}

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
    import time

    unfused = trioflow.RuntimeOptions(fuse=False, born_leased=False)
    async with trioflow.open_runtime(app, ToyStore(time.time), options=unfused) as runtime:
        handle = await runtime.client.start(hello, "toy", id="toy-1")
        print(await handle.result())


if __name__ == "__main__":
    trio.run(main)
