"""How often a client that waits asks the store."""

from __future__ import annotations

import trio
from trio.testing import MockClock

import trioflow
from trioflow import durable
from trioflow.stores import MemoryStore
from trioflow.testing import FaultyStore

app = trioflow.App("patient")


@app.orchestration
async def wait() -> str:
    """Waits for an event, and for another."""
    await durable.wait_event("first")
    return await durable.wait_event("second", str)


async def others_write(store: FaultyStore, seconds: float) -> None:
    """Other processes write, fifty times a second: anything may have changed."""
    for _ in range(int(seconds * 50)):
        store.signals.bump_all()
        await trio.sleep(0.02)


async def test_a_client_that_waits_long_asks_rarely(autojump_clock: MockClock) -> None:
    """While other processes write all the time, it looks ever more rarely at an instance to which nothing happens,
    about twice a second at last; a hint that names the instance is followed at once all the same.
    """
    store = FaultyStore(MemoryStore())
    async with trioflow.connect(store, app) as client, trio.open_nursery() as nursery:
        handle = await client.start(wait, id="a")
        nursery.start_soon(handle.result)
        await others_write(store, 1.0)
        young = store.calls.pop("read_instance")
        await others_write(store, 60.0)
        old = store.calls.pop("read_instance")
        await others_write(store, 60.0)
        assert 20 < young < 60
        assert 60 < old < 300
        assert 110 < store.calls.pop("read_instance") <= 125
        store.signals.bump("end/a")
        await trio.sleep(0.001)
        assert store.calls.pop("read_instance") == 1
        nursery.cancel_scope.cancel()


async def test_what_happens_to_the_instance_makes_the_client_eager(autojump_clock: MockClock) -> None:
    """Once a look has found that the instance moves, looks follow each other quickly again."""
    store = FaultyStore(MemoryStore())
    async with trioflow.open_runtime(app, store) as runtime, trio.open_nursery() as nursery:
        handle = await runtime.client.start(wait, id="a")
        nursery.start_soon(handle.result)
        await others_write(store, 60.0)
        await handle.raise_event("first")
        await trio.sleep(0.1)
        store.calls.clear()
        await others_write(store, 1.0)
        assert store.calls["read_instance"] > 20
        await handle.raise_event("second", "done")
