"""Who comes next, and how often stores are asked: a busy instance delays nobody, sleeping ones cost nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

import trioflow
from trioflow import durable
from trioflow.abc import CommitTurn, Draft, LockTurns, LockedTurn, LockedTurns, StartInstance, Started, State, Store
from trioflow.stores import MemoryStore, open_store
from trioflow.testing import FaultyStore

app = trioflow.App("fair")


@app.orchestration
async def hot() -> int:
    """Takes events until told that it is enough."""
    taken = 0
    while await durable.wait_event("more", bool):
        taken += 1
    return taken


@app.orchestration
async def cool(number: int) -> int:
    """Two turns."""
    await durable.sleep(0)
    await durable.wait_event("go")
    return number


@attrs.define(eq=False)
class NotedStore(FaultyStore):
    """A store that notes who was started and who was taken, in order."""

    order: list[tuple[str, str]] = attrs.field(factory=list, init=False)

    async def start_instance(self, request: StartInstance) -> Started:
        """Note when it is acknowledged; where nothing else ran just then, its first turn began with it."""
        answer = await super().start_instance(request)
        self.order.append(("started", request.instance))
        if answer.turn is not None:
            self.order.append(("taken", request.instance))
        return answer

    async def lock_turns(self, request: LockTurns) -> LockedTurns:
        """Note who is taken."""
        answer = await super().lock_turns(request)
        self.order += [("taken", turn.lock.instance) for turn in answer.turns]
        return answer


async def test_a_hot_instance_delays_nobody(url: str) -> None:
    """An instance for which there is always another event has at most two turns between the start of another instance
    and that one's first turn, and so between an event and the turn that takes it.
    """
    store = NotedStore(open_store(url))
    options = trioflow.RuntimeOptions(turn_concurrency=1)
    with trio.fail_after(60):
        async with trioflow.open_runtime(app, store, options=options) as runtime, trio.open_nursery() as nursery:
            client = runtime.client
            heat = await client.start(hot, id="hot")
            enough = trio.Event()

            async def keep_hot() -> None:
                while not enough.is_set():
                    await heat.raise_event("more", True)

            for _ in range(4):
                nursery.start_soon(keep_hot)
            handles = [await client.start(cool, number, id=f"cool-{number}") for number in range(15)]
            for handle in handles:
                await handle.raise_event("go")
            assert [await handle.result() for handle in handles] == list(range(15))
            enough.set()
            await heat.raise_event("more", False)
            assert await heat.result() > 15
    for handle in handles:
        began = store.order.index(("started", handle.id))
        taken = store.order.index(("taken", handle.id))
        assert store.order[began:taken].count(("taken", "hot")) <= 2, store.order


# -- idle -------------------------------------------------------------------------------------------------------------


async def put_to_sleep(store: Store, count: int) -> None:
    """Instances that have run a turn and sleep for a year."""
    wake_at = await store.read_clock() + 365 * 24 * 3600.0

    async def start(number: int) -> None:
        await store.start_instance(
            StartInstance(request_id=f"s{number}", instance=f"sleeper-{number}", name="cool", start=Draft("A", b"{}"))
        )

    async def commit(turn: LockedTurn) -> None:
        await store.commit_turn(
            CommitTurn(
                request_id=f"c{turn.lock.instance}",
                lock=turn.lock,
                revision=turn.revision,
                events=(),
                consumed=tuple(message.seq for message in turn.messages),
                state=State.WAITING,
                wake_at=wake_at,
            )
        )

    for first in range(0, count, 500):  # few at once, as they wait for connections
        async with trio.open_nursery() as nursery:
            for number in range(first, min(first + 500, count)):
                nursery.start_soon(start, number)
        async with trio.open_nursery() as nursery:
            for turn in (await store.lock_turns(LockTurns(worker="bed", limit=count, lease=30.0))).turns:
                nursery.start_soon(commit, turn)


@asynccontextmanager
async def counted(real: Store, runtimes: int) -> AsyncIterator[FaultyStore]:
    """A store that counts, with so many runtimes on it that have had their first look."""
    store = FaultyStore(real)
    options = trioflow.RuntimeOptions(poll_interval=5.0)

    async def serve(task_status: trio.TaskStatus[object]) -> None:
        async with trioflow.open_runtime(app, store, options=options):
            task_status.started()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(runtimes):
            await nursery.start(serve)
        await trio.sleep(0.5)
        store.calls.clear()
        yield store
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("runtimes", [1, 4])
async def test_sleeping_instances_cost_nothing(runtimes: int, autojump_clock: MockClock) -> None:
    """Each runtime looks twice in each poll interval, once for turns and once for activities, and once a minute for
    what nobody takes, whether ten instances sleep or ten thousand.
    """
    calls = []
    for sleepers in (10, 10_000):
        store = MemoryStore(lambda: 1_000_000.0 + trio.current_time())
        await put_to_sleep(store, sleepers)
        async with counted(store, runtimes) as idle:
            await trio.sleep(1_000.0)
            calls.append(sum(idle.calls.values()))
    assert calls[0] == calls[1] == runtimes * (2 * 1_000 / 5 + 12)


@pytest.mark.slow
async def test_sleeping_instances_cost_nothing_on_disk(url: str) -> None:
    """The same in real time, in a store that other runtimes have open, too."""
    with trio.fail_after(120):
        async with open_store(url) as other:
            await put_to_sleep(other, 10_000)
            async with counted(open_store(url), 4) as idle:
                await trio.sleep(10.0)
                assert sum(idle.calls.values()) <= 4 * 2 * 3


@pytest.mark.parametrize("sleepers", [10, 10_000])
async def test_waking_one_asks_for_one(sleepers: int, autojump_clock: MockClock) -> None:
    """What is done for one instance makes each of four runtimes look a few times, whoever else sleeps."""
    store = MemoryStore(lambda: 1_000_000.0 + trio.current_time())
    await put_to_sleep(store, sleepers)
    async with counted(store, 4) as busy, trioflow.connect(store, app) as client:
        handle = await client.start(cool, 1)
        await handle.raise_event("go")
        assert await handle.result() == 1
        assert sum(busy.calls.values()) < 4 * 10
