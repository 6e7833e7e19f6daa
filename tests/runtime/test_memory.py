"""What a runtime keeps in memory: live executions as far as its cache allows, each payload once, and nothing else."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
import trio

import trioflow
from tests.runtime.programs import running, until, virtual_store
from trioflow import durable
from trioflow._runtime._cache import OVERHEAD
from trioflow.history import PayloadCodec, TimerCreated
from trioflow.testing import FaultyStore

DAY = 86_400.0
BIG = 300_000
"""Bytes of a payload beside which everything else is small."""


def keepers() -> trioflow.App:
    """Orchestrations that sleep for a day, with a large value at hand or behind them."""
    app = trioflow.App("keepers")

    @app.activity
    async def echo(text: str) -> str:
        return text

    @app.orchestration
    async def argument(text: str) -> None:
        await durable.sleep(DAY)

    @app.orchestration
    async def result(text: str) -> None:
        answer = await echo(text)
        del text
        await durable.sleep(DAY)
        del answer

    @app.orchestration
    async def event(text: str) -> None:
        del text
        news = await durable.wait_event("news", str)
        await durable.sleep(DAY)
        del news

    @app.orchestration
    async def nothing(text: str) -> None:
        await echo(text)
        del text
        await durable.sleep(DAY)

    return app


async def fall_asleep(runtime: trioflow.Runtime, name: str, text: str, numbers: range) -> None:
    """Start so many and wait until all of them sleep, and the runtime does nothing more."""
    client = runtime.client
    for number in numbers:
        handle = await client.start(name, text, id=f"{name}-{number}")
        if name == "event":
            await handle.raise_event("news", text)
    for number in numbers:
        while not any(isinstance(event, TimerCreated) for event in await client.history(f"{name}-{number}")):
            await trio.lowlevel.checkpoint()
    worker = runtime._worker
    await until(lambda: not worker.turns.taken and not worker.slots.taken)
    # The store's threads hold what they last told until their next job, and trio what this task was last resumed with.
    await runtime.store.read_instance("nobody")
    await runtime.store.unregister_worker("nobody")
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("name", "recorded", "kept"), [("argument", 1, 1), ("event", 2, 1), ("result", 3, 1), ("nothing", 3, 0)]
)
async def test_live_executions_weigh_what_the_cache_allows(name: str, recorded: int, kept: int, tmp_path: Path) -> None:
    """Eight histories with large values pass through a cache with room for three; what the code has at hand is in
    memory once, and what it let go of is not.
    """
    options = trioflow.RuntimeOptions(cache_bytes=3 * (recorded * BIG + OVERHEAD) + BIG // 2)
    async with trioflow.open_runtime(keepers(), f"sqlite:{tmp_path / 'store.db'}", options=options) as runtime:
        await fall_asleep(runtime, name, "small", range(1))  # what is made once and kept
        gc.collect()
        tracemalloc.start()
        try:
            await fall_asleep(runtime, name, "x" * BIG, range(1, 9))
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(runtime._worker.cache) in (3, 4)  # the small one may still be there
        assert held / BIG == pytest.approx(3 * kept, abs=0.6)


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_encoded_payloads_take_no_more_room_than_they_need(size: int) -> None:
    """Whatever buffer a JSON library writes into, what is kept is the text alone."""
    codec = PayloadCodec()
    codec.encode("warm")
    texts: list[bytes] = []
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        texts += [codec.encode("x" * size) for _ in range(100)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(texts) < 2 * size + 100


async def test_whoever_sleeps_leaves_nothing_behind(tmp_path: Path) -> None:
    """With a full cache, two hundred more sleepers do not make two hundred more objects of any type."""
    options = trioflow.RuntimeOptions(cache_executions=10, activity_concurrency=10)  # so few tasks are kept for more
    async with trioflow.open_runtime(keepers(), f"sqlite:{tmp_path / 'store.db'}", options=options) as runtime:
        await fall_asleep(runtime, "argument", "x", range(30))
        before = _census()
        await fall_asleep(runtime, "argument", "x", range(30, 230))
        after = _census()
        # trio keeps the deadlines of scopes that were left, in tuples, until there are a thousand of them.
        left = after.pop("CancelScope") - before["CancelScope"]
        after["tuple"] -= left
        assert not {kind: count - before[kind] for kind, count in after.items() if count - before[kind] > 150}
        assert len(runtime._worker.cache) == 10
        signals = runtime.store.signals
        assert max(len(signals.watches), len(signals.counts)) < 10


def _census() -> Counter[str]:
    """How many objects there are of each type."""
    gc.collect()
    return Counter(type(thing).__qualname__ for thing in gc.get_objects())


async def test_an_idle_runtime_looks_once_in_each_poll_interval(autojump_clock: trio.testing.MockClock) -> None:
    """With a hundred instances asleep, a day costs a look at each queue every minute, and the janitor's rounds."""
    store = FaultyStore(virtual_store())
    app = keepers()
    async with running(app, store, poll_interval=60.0, unclaimed_after=None) as client:
        for number in range(100):
            await client.start("argument", "x", id=str(number))
        await trio.sleep(10)
        before = dict(store.calls)
        await trio.sleep(DAY / 2)
        made = {verb: count - before.get(verb, 0) for verb, count in store.calls.items() if count > before.get(verb, 0)}
        assert set(made) == {"lock_turns", "lock_activities"}
        assert all(count <= DAY / 2 / 60 + 1 for count in made.values()), made
