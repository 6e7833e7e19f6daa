"""The memory store and SQLite give the same answers to the same requests, whatever they are."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import attrs
import trio
from hypothesis import given, settings, strategies as st

from trioflow.abc import (
    ActivityLock,
    BornLeased,
    Capabilities,
    CommitActivities,
    CommitTurn,
    Draft,
    Env,
    EventRow,
    LockActivities,
    LockTurns,
    NewActivity,
    NextExecution,
    OutMessage,
    PostMessage,
    ReleaseActivity,
    ReleaseTurn,
    RenewActivities,
    RenewTurns,
    SettleActivity,
    StartInstance,
    State,
    Store,
    TagFilter,
    TurnLock,
)
from trioflow.errors import TrioflowError
from trioflow.stores import MemoryStore, SqliteStore
from trioflow.testing._store_contract import Clock

INSTANCES = st.sampled_from(["a", "b", "c"])
SECONDS = st.sampled_from([0.0, 0.5, 5.0, 30.0, 40.0, 4000.0])
STATES = st.sampled_from(
    [State.WAITING] * 5 + [State.SUSPENDED, State.PARKED, State.COMPLETED, State.FAILED, State.TERMINATED]
)
TAGS = st.sampled_from([None, "gpu", "disk"])
KINDS = st.sampled_from(["A", "B", "CancelRequested"])
DRAFTS = st.builds(Draft, KINDS, st.binary(max_size=3), st.none() | st.binary(max_size=3))
OUT = st.builds(
    OutMessage,
    instance=INSTANCES,
    execution=st.sampled_from([None, None, 1, 2]),
    draft=DRAFTS,
    control=st.booleans(),
    mailbox=st.booleans(),
)
REQUESTS = st.integers(0, 40).map(str)
PICK = st.integers(0, 30)  # which of the locks seen so far
PAST = st.sampled_from([0, 0, 0, 0, 0, 1, 2])  # how stale a commit is


class Numbers(Env):
    """Tokens that are the same for both stores."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count()

    def token(self) -> str:
        return f"{next(self.numbers):032x}"


@attrs.define(eq=False)
class Driver:
    """Carries out steps on one store and notes every answer."""

    store: Store
    clock: Clock
    turns: list[Any] = attrs.field(factory=list)
    items: list[ActivityLock] = attrs.field(factory=list)
    answers: list[Any] = attrs.field(factory=list)
    commits: list[CommitTurn] = attrs.field(factory=list)

    def turn(self, pick: int) -> Any:
        return self.turns[-1 - pick % len(self.turns)] if self.turns else None

    def item(self, pick: int) -> ActivityLock:
        return self.items[-1 - pick % len(self.items)] if self.items else ActivityLock("a", 1, 1, "none")

    async def commit(self, pick: int, fields: dict[str, Any], request: str) -> Any:
        turn = self.turn(pick)
        if turn is None:
            return None
        record = await self.store.read_instance(turn.lock.instance)
        assert record is not None
        fields = dict(fields)
        length, count = record.history_length, fields.pop("count")
        settle = fields.pop("settle")
        commit = CommitTurn(
            request_id=request,
            lock=TurnLock(turn.lock.instance, record.execution, turn.lock.token),
            revision=record.revision - fields.pop("past"),
            events=tuple(EventRow(length + n, self.clock.now, "E", b"d", b"p") for n in range(1, count + 1)),
            consumed=tuple(m.seq for m in turn.messages)[: fields.pop("eaten")],
            settle=tuple(SettleActivity(lock=self.item(n), message=Draft("S", b"")) for n in settle),
            activities=tuple(
                NewActivity(event_id=length + n, name="work", tag=tag, data=b"", payload=b"", born=born)
                for n, (tag, born) in enumerate(fields.pop("activities")[:count], 1)
            ),
            **fields,
        )
        self.commits.append(commit)
        return await self.store.commit_turn(commit)

    async def repeat(self, pick: int) -> Any:
        return await self.store.commit_turn(self.commits[-1 - pick % len(self.commits)]) if self.commits else None

    async def lock_turns(self, request: LockTurns) -> Any:
        answer = await self.store.lock_turns(request)
        self.turns += answer.turns
        return answer

    async def lock_items(self, request: LockActivities) -> Any:
        answer = await self.store.lock_activities(request)
        self.items += [item.lock for item in answer.activities]
        return answer

    async def release(self, pick: int, delay: float, clean: bool) -> Any:
        turn = self.turn(pick)
        return turn and await self.store.release_turn(ReleaseTurn(lock=turn.lock, delay=delay, clean=clean))

    async def advance(self, seconds: float) -> None:
        self.clock.now += seconds

    async def do(self, step: Callable[[Driver], Any]) -> None:
        try:
            self.answers.append(await step(self))
        except TrioflowError as exc:
            self.answers.append(type(exc))

    async def dump(self) -> list[Any]:
        found: list[Any] = []
        for name in "abc":
            record = await self.store.read_instance(name)
            found += [record, await self.store.read_kv(name)]
            for execution in range(1, record.execution + 1 if record else 1):
                found.append(await self.store.read_history(name, execution))
        for _ in range(3):
            await self.advance(4000.0)
            found.append(await self.store.lock_turns(LockTurns(worker="w", limit=100, lease=30.0)))
            found.append(
                await self.store.lock_activities(
                    LockActivities(worker="w", limit=1000, lease=30.0, tags=TagFilter(tags=None))
                )
            )
        return found


def starts() -> st.SearchStrategy[StartInstance]:
    """Starts, from clients or out of turns."""
    return st.builds(
        StartInstance,
        request_id=REQUESTS,
        instance=INSTANCES,
        name=st.sampled_from(["flow", "other"]),
        version=st.sampled_from([None, "1"]),
        start=DRAFTS,
        delay=SECONDS,
        if_exists=st.sampled_from(["fail", "attach", "replace_finished"]),
        on_started=st.none() | OUT,
        on_refused=st.none() | OUT,
    )


BORN = st.one_of(
    st.none(),
    st.none(),
    st.builds(BornLeased, worker=st.just("w"), token=st.sampled_from(["t1", "t2"]), lease=SECONDS),
)
COMMITS = st.fixed_dictionaries(
    {
        "past": PAST,
        "count": st.sampled_from([1, 2, 3, 3, 0]),
        "eaten": st.sampled_from([0, 1, 100, 100, 100]),
        "settle": st.lists(PICK, max_size=1),
        "state": STATES,
        "wake_at": st.none() | st.sampled_from([1_000_010.0, 1_000_050.0, 1_000_500.0]),
        "version": st.sampled_from([None, None, "1"]),
        "unread": st.integers(0, 2),
        "status": st.none() | st.binary(max_size=2),
        "kv_set": st.dictionaries(st.sampled_from(["k", "l"]), st.binary(max_size=2), max_size=2),
        "kv_cleared": st.lists(st.sampled_from(["k", "l"]), max_size=1).map(tuple),
        "activities": st.lists(st.tuples(TAGS, BORN), max_size=3),
        "cancel_activities": st.lists(st.integers(1, 6), max_size=3, unique=True).map(tuple),
        "cancel_all_activities": st.sampled_from([False, False, False, True]),
        "starts": st.lists(starts(), max_size=2).map(tuple),
        "messages": st.lists(OUT, max_size=2).map(tuple),
        "next_execution": st.sampled_from([None, None, None, NextExecution(start=Draft("N", b""), version="1")]),
        "keep": st.none() | SECONDS,
    }
)
CAN_RUN = st.sampled_from(
    [None, None, Capabilities(orchestrations=(("flow", "1"),)), Capabilities(orchestrations=(("other", "2"),))]
)
LOCKS = st.builds(LockTurns, worker=st.just("w"), limit=st.integers(1, 3), lease=SECONDS, can_run=CAN_RUN)
TAG_FILTERS = st.builds(TagFilter, untagged=st.booleans(), tags=st.sampled_from([None, None, (), ("gpu",)]))
ITEM_LOCKS = st.builds(LockActivities, worker=st.just("w"), limit=st.integers(1, 5), lease=SECONDS, tags=TAG_FILTERS)
MESSAGES = st.builds(PostMessage, request_id=REQUESTS, message=OUT, mailbox_limit=st.integers(1, 4))
SETTLEMENTS = st.tuples(PICK, st.none() | DRAFTS, st.none() | SECONDS)


def settlement(driver: Driver, pick: int, message: Draft | None, retry_in: float | None) -> SettleActivity:
    """What becomes of one of the items seen so far."""
    message = None if retry_in is not None else message
    return SettleActivity(lock=driver.item(pick), message=message, retry_in=retry_in)


STEPS = st.one_of(
    starts().map(lambda r: lambda d: d.store.start_instance(r)),
    MESSAGES.map(lambda r: lambda d: d.store.post_message(r)),
    LOCKS.map(lambda r: lambda d: d.lock_turns(r)),
    LOCKS.map(lambda r: lambda d: d.lock_turns(r)),
    st.tuples(st.sampled_from([0, 0, 0, 1, 2]), COMMITS, REQUESTS).map(lambda a: lambda d: d.commit(*a)),
    st.tuples(st.just(0), COMMITS, REQUESTS).map(lambda a: lambda d: d.commit(*a)),
    st.integers(0, 2).map(lambda pick: lambda d: d.repeat(pick)),
    st.tuples(PICK, SECONDS, st.booleans()).map(lambda a: lambda d: d.release(*a)),
    st.lists(PICK, max_size=3).map(
        lambda picks: (
            lambda d: d.store.renew_turns(RenewTurns(locks=tuple(d.turn(n).lock for n in picks if d.turns), lease=30.0))
        )
    ),
    ITEM_LOCKS.map(lambda r: lambda d: d.lock_items(r)),
    st.lists(SETTLEMENTS, max_size=3).map(
        lambda all: (
            lambda d: d.store.commit_activities(CommitActivities(settle=tuple(settlement(d, *one) for one in all)))
        )
    ),
    st.tuples(PICK, SECONDS, st.booleans()).map(
        lambda a: lambda d: d.store.release_activity(ReleaseActivity(lock=d.item(a[0]), delay=a[1], clean=a[2]))
    ),
    st.lists(PICK, max_size=3).map(
        lambda picks: (
            lambda d: d.store.renew_activities(
                RenewActivities(
                    locks=tuple(d.item(n) for n in picks), lease=30.0, heartbeats={d.item(n).token: b"h" for n in picks}
                )
            )
        )
    ),
    SECONDS.map(lambda seconds: lambda d: d.advance(seconds)),
)


async def compare(steps: list[Callable[[Driver], Any]]) -> None:
    """Do the same to both."""
    clocks = Clock(), Clock()
    async with (
        MemoryStore(clocks[0], env=Numbers()) as memory,
        SqliteStore(":memory:", clock=clocks[1], env=Numbers()) as sqlite,
    ):
        one, two = Driver(memory, clocks[0]), Driver(sqlite, clocks[1])
        for step in steps:
            await one.do(step)
            await two.do(step)
            assert one.answers[-1] == two.answers[-1]
        assert await one.dump() == await two.dump()


@settings(deadline=None, max_examples=60)
@given(st.lists(STEPS, max_size=40))
def test_both_stores_give_the_same_answers(steps: list[Callable[[Driver], Any]]) -> None:
    """Every answer, every refusal, and everything that can be read at the end is the same."""
    trio.run(compare, steps)
