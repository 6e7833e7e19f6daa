"""Fused or not, born leased or not, live or replayed: a program leaves the same history, to the last event.

Activities end at times of their own in virtual time, so that what happens at once in the program has an order in every
way of running it.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

import trioflow
from tests.runtime.programs import running, virtual_store
from trioflow import activity, durable
from trioflow.history import Event

app = trioflow.App("ways")


@app.activity
async def work(name: str, seconds: float = 0.0) -> str:
    """Take some time."""
    await trio.sleep(seconds)
    return name


@app.activity
async def linger(seconds: float) -> None:
    """Run until cancelled, and then some time more."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)


@app.activity(retry=trioflow.Retry(max_attempts=3, initial=5.0))
async def fail_twice(name: str) -> str:
    """Succeed at the third attempt."""
    if activity.info().attempt < 3:
        raise ValueError(name)
    return name


@app.activity
async def fail(seconds: float) -> None:
    """Fail for good."""
    await trio.sleep(seconds)
    raise ValueError("for good")


@app.orchestration
async def chain() -> list[str]:
    """One after another."""
    return [await work(f"step {number}", number % 3) for number in range(12)]


@app.orchestration
async def fan() -> list[str]:
    """At once, ending in another order than they began."""
    return list(await durable.gather(*(work(f"branch {number}", (number * 7) % 10 + 1) for number in range(10))))


@app.orchestration
async def saga() -> None:
    """Steps, a failure, compensations."""
    async with durable.saga() as saga:
        for name in ("flight", "hotel", "car"):
            await work(name, 1.0)
            saga.on_failure(work, f"cancel {name}")
        await fail(2.0)


@app.orchestration
async def child(number: int) -> str:
    """Someone's child."""
    await work(f"child {number}", number)
    return await durable.wait_event("never", str) if number == 9 else f"child {number}"


@app.orchestration
async def children() -> list[str]:
    """A child awaited, two at once, one that is cancelled."""
    first = await child.options(id="one")(1)
    both = await durable.gather(child.options(id="two")(2), child.options(id="three")(3))
    with durable.move_on_after(20):
        await child.options(id="nine")(9)
    return [first, *both]


@app.orchestration
async def cancelling() -> str:
    """Cancelled from outside while two activities run; cleans up."""
    try:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(linger, 3.0)
            nursery.start_soon(linger, 1.0)
    finally:
        with durable.CancelScope(shield=True):
            await work("clean up", 1.0)
    return "not cancelled"


@app.orchestration
async def retrying() -> list[str]:
    """Attempts, and a failure that is caught."""
    found = [await fail_twice("a"), *await durable.gather(fail_twice("b"), work("c", 3.0))]
    try:
        await fail(1.0)
    except ValueError:
        found.append(await work("d"))
    return found


@app.orchestration
async def listening() -> list[str]:
    """Events that come before, between and while activities run."""
    found = [await durable.wait_event("news", str), await work("a", 2.0)]
    async with durable.open_nursery() as nursery:
        nursery.start_soon(work, "b", 50.0)
        found += [await durable.wait_event("news", str), await work("c", 3.0)]
    return found


@app.orchestration
async def timing() -> list[str]:
    """Timers, races against them and between activities, and activities that are too slow."""
    await durable.sleep(30)
    with durable.move_on_after(10) as scope:
        await work("slow", 100.0)
    index, _ = await durable.race(work("quick", 1.0), durable.sleep(5.0))
    first, _ = await durable.race(work("at once"), linger(2.0))
    return [str(scope.cancelled_caught), str(index), str(first)]


WAYS: list[dict[str, Any]] = [
    {"fuse": fuse, "born_leased": born_leased, "cache_executions": cached}
    for fuse in (True, False)
    for born_leased in (True, False)
    for cached in (2_000, 0)
]


async def histories(name: str, way: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Run a program that way; what it and its children have recorded, by instance."""
    store = virtual_store()
    async with running(app, store, **way) as client, trio.open_nursery() as nursery:
        handle = await client.start(name, id="it")
        nursery.start_soon(_happen, handle, name)
        try:
            await handle.result()
        except (trioflow.OrchestrationFailed, trioflow.OrchestrationCancelled):
            pass
        return {info.id: facts(await client.history(info.id)) async for info in client.list()}


async def _happen(handle: trioflow.Handle[Any], name: str) -> None:
    """What comes from outside."""
    if name == "listening":
        for number in range(3):
            await handle.raise_event("news", f"{number}")
            await trio.sleep(17)
    if name == "cancelling":
        await trio.sleep(10)
        await handle.cancel(reason="enough")


def facts(history: list[Event]) -> list[dict[str, Any]]:
    """A history as data, without what must differ between two runs: times and the seed."""
    return [
        {
            "kind": type(event).__name__,
            **attrs.asdict(event, filter=lambda a, _: a.name not in ("at", "seed", "deadline", "carried_kv_times")),
        }
        for event in history
    ]


@pytest.mark.parametrize(
    "name",
    ["chain", "fan", "saga", "children", "cancelling", "retrying", "listening", "timing"],
)
async def test_every_way_of_running_leaves_the_same_history(name: str, autojump_clock: trio.testing.MockClock) -> None:
    """Eight ways, one history."""
    first, *others = [await histories(name, way) for way in WAYS]
    assert len(first["it"]) > 5
    for way, other in zip(WAYS[1:], others, strict=True):
        assert other == first, way
