"""The store under examination, and short ways to ask it for things.

Laws: no framework: a check is an async function that raises `ContractBroken` (or whatever the store raised); time only
passes when a check says so; every request gets an id of its own unless a check gives one.

Must never know: what a store is made of. Who calls it: the checks beside this file. Read next: `_marks.py`, then
`_starting.py`, then any of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

import attrs

from trioflow.abc import (
    ActivitiesCommitted,
    ActivityLock,
    CommitActivities,
    CommitTurn,
    Draft,
    EventRow,
    InstanceRecord,
    LockActivities,
    LockTurns,
    LockedActivities,
    LockedActivity,
    LockedTurn,
    LockedTurns,
    MessageRow,
    NewActivity,
    OutMessage,
    PostMessage,
    RenewTurns,
    SessionClaim,
    SettleActivity,
    StartInstance,
    Started,
    State,
    Store,
    TurnCommitted,
    TurnLock,
    TurnsRenewed,
)
from trioflow.errors import MailboxFull

LEASE = 30.0
CLAIM = SessionClaim(lease=LEASE, limit=9)


class ContractBroken(AssertionError):
    """The store does not do what the contract says."""


def expect(holds: object, promise: str) -> None:
    """The promise holds, or the contract is broken."""
    if not holds:
        raise ContractBroken(promise)


def expect_equal(found: object, wanted: object, promise: str) -> None:
    """What was found is what was promised."""
    if found != wanted:
        raise ContractBroken(f"{promise}: wanted {wanted!r}, found {found!r}")


@contextmanager
def expect_raises(cls: type[BaseException], promise: str) -> Iterator[None]:
    """The store refuses."""
    try:
        yield
    except cls:
        return
    raise ContractBroken(f"{promise}: {cls.__name__} was not raised")


def draft(kind: str = "Note", data: bytes = b"{}", payload: bytes | None = None) -> Draft:
    """A message's content."""
    return Draft(kind, data, payload)


@attrs.define(eq=False)
class Clock:
    """Time that only passes when told to."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


StoreFactory = Callable[[Callable[[], float]], Store]
"""Makes an unopened store that takes its time, in seconds, from the callable it is given."""


@attrs.define(eq=False)
class Subject:
    """A fresh, empty store that is open, and its clock."""

    store: Store
    clock: Clock
    make_twin: StoreFactory | None = None  # makes other stores on the same data; None: there are none
    name: str = ""  # of this store: request ids of twins differ
    _requests: int = 0
    _next_event: dict[tuple[str, int], int] = attrs.field(factory=dict)  # by (instance, execution)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds

    def request_id(self) -> str:
        """An id that was not used before."""
        self._requests += 1
        return f"{self.name}request-{self._requests}"

    @asynccontextmanager
    async def twin(self, name: str = "twin") -> AsyncIterator[Subject]:
        """Another store on the same data, open inside."""
        assert self.make_twin is not None
        async with self.make_twin(self.clock) as store:
            yield Subject(store, self.clock, self.make_twin, f"{self.name}{name}/", 0, self._next_event)

    def events(self, lock: TurnLock, *kinds: str) -> tuple[EventRow, ...]:
        """The next events of an execution."""
        key = (lock.instance, lock.execution)
        rows = []
        for kind in kinds:
            self._next_event[key] = self._next_event.get(key, 0) + 1
            rows.append(EventRow(self._next_event[key], self.clock.now, kind, b"{}", None))
        return tuple(rows)

    # -- starting and posting

    def a_start(self, instance: str, **fields: Any) -> StartInstance:
        """A request to start."""
        fields = {"request_id": self.request_id(), "name": "flow", "start": draft("Started"), **fields}
        return StartInstance(instance=instance, **fields)

    async def start(self, instance: str = "a", **fields: Any) -> Started:
        """Start an instance."""
        return await self.store.start_instance(self.a_start(instance, **fields))

    async def post(self, instance: str = "a", kind: str = "Note", **fields: Any) -> None:
        """Post a message; fields of `PostMessage` and of its message."""
        own = {name: fields.pop(name) for name in ("request_id", "mailbox_limit", "mailbox_bytes") if name in fields}
        own.setdefault("request_id", self.request_id())
        fields.setdefault("draft", draft(kind))
        await self.store.post_message(PostMessage(message=OutMessage(instance=instance, **fields), **own))

    async def mailbox_is_full(self, instance: str, limit: int) -> None:
        """One more event is refused."""
        with expect_raises(MailboxFull, f"the mailbox of {instance!r} holds {limit} events"):
            await self.post(instance, mailbox=True, mailbox_limit=limit)

    # -- turns

    async def lock_turns(self, limit: int = 10, lease: float = LEASE, **fields: Any) -> LockedTurns:
        """Take what is eligible."""
        return await self.store.lock_turns(LockTurns(worker="worker", limit=limit, lease=lease, **fields))

    async def turn(self, instance: str = "a", **fields: Any) -> LockedTurn:
        """Take everything that is eligible, which has to be this one instance."""
        turns = (await self.lock_turns(**fields)).turns
        expect_equal([turn.lock.instance for turn in turns], [instance], "what is eligible")
        return turns[0]

    async def nothing_eligible(self, why: str) -> None:
        """No instance is eligible."""
        expect_equal([turn.lock.instance for turn in (await self.lock_turns()).turns], [], why)

    def a_commit(self, turn: LockedTurn, *kinds: str, **fields: Any) -> CommitTurn:
        """A commit that consumes everything and waits, unless fields say otherwise."""
        fields = {
            "request_id": self.request_id(),
            "revision": turn.revision,
            "events": self.events(turn.lock, *kinds),
            "consumed": tuple(message.seq for message in turn.messages),
            "state": State.WAITING,
            **fields,
        }
        return CommitTurn(lock=turn.lock, **fields)

    async def commit(self, turn: LockedTurn, *kinds: str, **fields: Any) -> TurnCommitted:
        """Commit a turn."""
        return await self.store.commit_turn(self.a_commit(turn, *kinds, **fields))

    async def renew(self, turn: LockedTurn) -> TurnsRenewed:
        """Hold the lock of a turn for one lease more."""
        return await self.store.renew_turns(RenewTurns(locks=(turn.lock,), lease=LEASE))

    async def run(self, instance: str = "a", *kinds: str, **fields: Any) -> TurnCommitted:
        """Take the one instance that is eligible and commit its turn."""
        return await self.commit(await self.turn(instance), *kinds, **fields)

    async def waiting(self, instance: str = "a", *kinds: str, **fields: Any) -> TurnCommitted:
        """Start an instance and run its first turn."""
        await self.start(instance)
        return await self.run(instance, *kinds, **fields)

    async def ended(self, instance: str = "a", state: State = State.COMPLETED) -> TurnCommitted:
        """Start an instance and let it end in its first turn."""
        return await self.waiting(instance, "Started", "Ended", state=state)

    async def inbox(self, instance: str = "a") -> tuple[MessageRow, ...]:
        """What is in the inbox of the one instance that is eligible; its turn is given up."""
        turn = await self.turn(instance)
        self.advance(LEASE + 1)
        return turn.messages

    async def record(self, instance: str = "a") -> InstanceRecord:
        """What is known of an instance that is there."""
        record = await self.store.read_instance(instance)
        if record is None:
            raise ContractBroken(f"instance {instance!r} is not there")
        return record

    # -- activities

    async def scheduled(self, *items: NewActivity, instance: str = "a", **fields: Any) -> TurnCommitted:
        """Start an instance whose first turn schedules these items."""
        return await self.waiting(instance, *(["Scheduled"] * len(items)), activities=items, **fields)

    async def lock_items(
        self, limit: int = 10, lease: float = LEASE, worker: str = "worker", **fields: Any
    ) -> LockedActivities:
        """Take items."""
        return await self.store.lock_activities(LockActivities(worker=worker, limit=limit, lease=lease, **fields))

    async def item(self, **fields: Any) -> LockedActivity:
        """Take all items that are eligible, which has to be one."""
        items = (await self.lock_items(**fields)).activities
        expect_equal(len(items), 1, "how many items are eligible")
        return items[0]

    async def no_items(self, why: str) -> None:
        """No item is eligible."""
        expect_equal([item.lock.event_id for item in (await self.lock_items()).activities], [], why)

    async def settle(self, lock: ActivityLock, **fields: Any) -> ActivitiesCommitted:
        """Settle one attempt, with a message unless fields say otherwise."""
        if "retry_in" not in fields:
            fields.setdefault("message", draft("Done"))
        return await self.store.commit_activities(CommitActivities(settle=(SettleActivity(lock=lock, **fields),)))


def an_item(event_id: int = 1, **fields: Any) -> NewActivity:
    """Something to schedule."""
    return NewActivity(event_id=event_id, **{"name": "work", "data": b"options", "payload": b"arguments", **fields})


def an_event(number: int, kind: str = "E") -> EventRow:
    """An event, with the number that it has in its history."""
    return EventRow(number, 0.0, kind, b"{}", None)


def kinds(messages: tuple[MessageRow, ...]) -> list[str]:
    """What the messages are."""
    return [message.draft.kind for message in messages]


class Check(Protocol):
    """An async function that examines one promise, which its docstring states."""

    __name__: str

    def __call__(self, subject: Subject, /) -> Awaitable[None]: ...
