"""The workloads: the programs that the field measures itself by, on a runtime of their own and a store of their own.

Laws: activities return their argument; a workload is told its store and who listens, gives back figures and prints
nothing; each run starts from an empty store. Called by `child.py`; a new workload is a function here and in `MEASURES`,
and a line in `plan.py`. Next: `replaying.py`, `sleeping.py`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

import trio

import trioflow
from tests.bench.figures import Figure, latencies
from trioflow import durable
from trioflow.abc import Instrument

Instruments = Sequence[Instrument]

app = trioflow.App("bench")


@app.activity
async def echo(value: int) -> int:
    """Give the argument back."""
    return value


@app.activity
async def doze(value: int) -> int:
    """Give the argument back after ten milliseconds."""
    await trio.sleep(0.01)
    return value


@app.orchestration
async def hello(value: int) -> int:
    """One activity."""
    return await echo(value)


@app.orchestration
async def chain(steps: int) -> int:
    """Activities one after another."""
    for step in range(steps):
        await echo(step)
    return steps


@app.orchestration
async def fan(width: int) -> int:
    """Activities all at once."""
    return len(await durable.gather(*(echo(number) for number in range(width))))


@app.orchestration
async def five(value: int) -> int:
    """Five activities at once."""
    return sum(await durable.gather(*(echo(value) for _ in range(5))))


@app.orchestration
async def five_dozing(value: int) -> int:
    """Five activities at once that take ten milliseconds each."""
    return sum(await durable.gather(*(doze(value) for _ in range(5))))


@app.orchestration
async def listen(count: int) -> int:
    """Take events one by one."""
    for _ in range(count):
        await durable.wait_event("tick", int)
    return count


async def measure_hello(store: str, size: int, instruments: Instruments) -> list[Figure]:
    """Start and await one orchestration with one activity, `size` times, one after another."""
    times: list[float] = []
    async with trioflow.open_runtime(app, store, instruments=instruments) as runtime:
        for number in range(size):
            began = time.perf_counter()
            handle = await runtime.client.start(hello, number)
            await handle.result()
            times.append(time.perf_counter() - began)
    return latencies(times)


async def measure_chain(store: str, size: int, instruments: Instruments) -> list[Figure]:
    """One orchestration awaits `size` activities in sequence."""
    async with trioflow.open_runtime(app, store, instruments=instruments) as runtime:
        began = time.perf_counter()
        handle = await runtime.client.start(chain, size)
        await handle.result()
        return [Figure(name="ms per step", value=(time.perf_counter() - began) * 1000 / size)]


async def measure_fan(store: str, size: int, instruments: Instruments) -> list[Figure]:
    """One orchestration runs `size` activities at once."""
    async with trioflow.open_runtime(app, store, instruments=instruments) as runtime:
        began = time.perf_counter()
        handle = await runtime.client.start(fan, size)
        await handle.result()
        return [Figure(name="activities/s", value=size / (time.perf_counter() - began), higher_is_better=True)]


async def measure_five(store: str, size: int, instruments: Instruments) -> list[Figure]:
    """`size` orchestrations started together, five parallel activities each."""
    async with trioflow.open_runtime(app, store, instruments=instruments) as runtime:

        async def one(number: int) -> None:
            handle = await runtime.client.start(five, number)
            await handle.result()

        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for number in range(size):
                nursery.start_soon(one, number)
        return [Figure(name="orchestrations/s", value=size / (time.perf_counter() - began), higher_is_better=True)]


async def measure_five_dozing(store: str, size: int, instruments: Instruments) -> list[Figure]:
    """`size` orchestrations, twenty in flight, five parallel activities of ten milliseconds each."""
    in_flight = trio.CapacityLimiter(20)
    async with trioflow.open_runtime(app, store, instruments=instruments) as runtime:

        async def one(number: int) -> None:
            async with in_flight:
                handle = await runtime.client.start(five_dozing, number)
                await handle.result()

        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for number in range(size):
                nursery.start_soon(one, number)
        return [Figure(name="orchestrations/s", value=size / (time.perf_counter() - began), higher_is_better=True)]


async def measure_events(store: str, size: int, instruments: Instruments) -> list[Figure]:
    """`size` events raised into one instance, which takes them one by one."""
    async with trioflow.open_runtime(app, store, instruments=instruments) as runtime:
        handle = await runtime.client.start(listen, size)
        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(size):
                nursery.start_soon(handle.raise_event, "tick", 1)
        await handle.result()
        return [Figure(name="events/s", value=size / (time.perf_counter() - began), higher_is_better=True)]


MEASURES: dict[str, Callable[[str, int, Instruments], Awaitable[list[Figure]]]] = {
    "hello": measure_hello,
    "chain": measure_chain,
    "fan": measure_fan,
    "fan5": measure_five,
    "fan5/10ms": measure_five_dozing,
    "events": measure_events,
}
"""By name: each takes the address of an empty store, a size, and who is told of everything."""
