"""A crash at any named moment, a lost answer at any commit: the result is right and nothing is recorded twice."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import EPOCH, Probe, shape
from trioflow import durable
from trioflow.abc import Store
from trioflow.errors import OutcomeUnknown, StoreUnavailable
from trioflow.history import Answer, Event
from trioflow.stores import MemoryStore, SqliteStore
from trioflow.testing import Crash, FailpointEnv, FaultyStore


class Clock:
    """A clock for stores that is moved by hand, on top of another."""

    def __init__(self, ticking: Callable[[], float] = trio.current_time) -> None:
        self.offset = EPOCH
        self.ticking = ticking

    def __call__(self) -> float:
        return self.offset + self.ticking()


def workload(probe: Probe) -> trioflow.App:
    """Steps, branches, a retry, a timer, an event, a child."""
    app = trioflow.App("workload")

    @app.activity(retry=trioflow.Retry(max_attempts=2, initial=0))
    async def step(name: str) -> str:
        probe.calls.append(name)
        if name == "retried" and probe.calls.count(name) == 1:
            raise ValueError("the first time")
        return name

    @app.orchestration
    async def child(name: str) -> str:
        return await step(name)

    @app.orchestration
    async def main() -> list[str]:
        first = await step("first")
        second = list(await durable.gather(step("left"), step("right"), child("child")))
        with durable.move_on_after(0.001):
            await durable.sleep_forever()
        third = await durable.wait_event("go", str)
        return [first, *second, third, await step("retried")]

    return app


RESULT = ["first", "left", "right", "child", "went", "retried"]


def check_history(history: list[Event]) -> None:
    """Ids are 1 to n, time never runs back, and nothing is answered twice."""
    assert [event.id for event in history] == list(range(1, len(history) + 1))
    assert all(one.at <= two.at for one, two in itertools.pairwise(history))
    answered = Counter(event.answers for event in history if isinstance(event, Answer))
    assert not answered or max(answered.values()) == 1


async def finish(app: trioflow.App, store: Store, probe: Probe, clock: Clock) -> None:
    """After a crash: leases run out, another runtime comes, and all is as it should be."""
    clock.offset += 100
    async with trioflow.open_runtime(app, store) as runtime:
        handle = runtime.client.handle("it")
        assert await handle.result(timeout=20) == RESULT
        history = await handle.history()
        check_history(history)
        assert shape(history).count("ActivityCompleted") == 4
        assert not [name for name, count in Counter(probe.calls).items() if count > 3]


async def crash(app: trioflow.App, store: Store, nth: int, **options: Any) -> bool:
    """Run until the nth moment of all, or to the end; after it nothing more reaches the store. Returns whether it was
    that moment.
    """
    mortal = FaultyStore(store)

    def die() -> None:
        mortal.dead = True
        raise Crash

    env = FailpointEnv().at(None, die, nth=nth)
    settings = trioflow.RuntimeOptions(slow_turn=None, **options)
    try:
        async with trioflow.open_runtime(app, mortal, options=settings, env=env) as runtime:
            await runtime.client.handle("it").result(timeout=20)
    except (Crash, BaseExceptionGroup, StoreUnavailable):
        pass
    return mortal.dead


MOMENTS = 55
"""More than there are in one run of the workload."""


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("born_leased", [True, False])
@pytest.mark.parametrize("nth", range(1, MOMENTS + 1))
async def test_a_crash_at_any_moment_loses_and_doubles_nothing(
    nth: int, fuse: bool, born_leased: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Whatever moment it crashes at, the next runtime finishes right, with one completion per activity."""
    clock, probe = Clock(), Probe()
    store, app = MemoryStore(clock=clock), workload(probe)
    async with trioflow.connect(store, app) as client:
        handle = await client.start("main", id="it")
        await handle.raise_event("go", "went")
    crashed = await crash(app, store, nth, fuse=fuse, born_leased=born_leased)
    assert crashed or nth > 35
    assert not (crashed and nth == MOMENTS), "there are moments that are not tried"
    await finish(app, store, probe, clock)


async def test_crash_after_crash_it_gets_there(tmp_path: Any) -> None:
    """A worker that dies again and again on one SQLite file still makes progress, and the next finishes."""
    clock, probe = Clock(time.monotonic), Probe()
    app = workload(probe)
    async with SqliteStore(tmp_path / "crash.db", clock=clock) as store:
        async with trioflow.connect(store, app) as client:
            handle = await client.start("main", id="it")
            await handle.raise_event("go", "went")
        for nth in (4, 9, 6):
            await crash(app, store, nth)
            clock.offset += 100
        await finish(app, store, probe, clock)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("verb", ["start_instance", "post_message", "commit_turn", "commit_activities"])
async def test_an_answer_that_was_lost_changes_nothing(
    verb: str, when: Any, autojump_clock: trio.testing.MockClock
) -> None:
    """A write whose outcome is unknown, carried out or not, is repeated by its request id and counts once."""
    clock, probe = Clock(), Probe()
    store, app = FaultyStore(MemoryStore(clock=clock)), workload(probe)
    for nth in range(1, 30, 2):
        store.fail(verb, OutcomeUnknown("no answer"), nth=nth, when=when)
    async with trioflow.open_runtime(app, store) as runtime:
        handle = await runtime.client.start("main", id="it")
        await handle.raise_event("go", "went")
        assert await handle.result() == RESULT
        check_history(await handle.history())
    assert store.calls[verb] > 1
    assert Counter(probe.calls) == {"first": 1, "left": 1, "right": 1, "child": 1, "retried": 2}


async def test_bodies_born_in_a_commit_wait_for_its_outcome(autojump_clock: trio.testing.MockClock) -> None:
    """While nobody knows whether the commit was written, no activity of it runs."""
    probe = Probe()
    app = workload(probe)
    store = FaultyStore(MemoryStore(clock=Clock()))
    for nth in (1, 2, 3):
        store.fail("commit_turn", OutcomeUnknown("no answer"), nth=nth, when="after")
    async with trioflow.open_runtime(app, store) as runtime:
        handle = await runtime.client.start("main", id="it")
        while store.calls.get("commit_turn", 0) < 3:
            assert not probe.calls
            await trio.sleep(0.01)
        await handle.raise_event("go", "went")
        assert await handle.result() == RESULT
