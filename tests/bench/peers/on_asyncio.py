"""The workloads of peers that run on asyncio, given a way to call one of their orchestrations and wait for its result.

Laws: each peer has orchestrations of these names, which take a number and give it back: `one_by_one`, `fan_out`,
`fan_out_dozing`. Called by `dbos_program.py` and `restate_program.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.bench.figures import Figure, latencies

Call = Callable[[str, int], Awaitable[None]]


async def hello(call: Call, size: int) -> list[Figure]:
    """One after another, of one step each."""
    times = []
    for _ in range(size):
        began = time.perf_counter()
        await call("one_by_one", 1)
        times.append(time.perf_counter() - began)
    return latencies(times)


async def chain(call: Call, size: int) -> list[Figure]:
    """One of many steps."""
    began = time.perf_counter()
    await call("one_by_one", size)
    return [Figure("ms per step", (time.perf_counter() - began) * 1000 / size)]


async def fan(call: Call, size: int) -> list[Figure]:
    """One of many steps at once."""
    began = time.perf_counter()
    await call("fan_out", size)
    return [Figure("activities/s", size / (time.perf_counter() - began), True)]


async def five(call: Call, size: int) -> list[Figure]:
    """Many at once, of five steps each."""
    began = time.perf_counter()
    await asyncio.gather(*[call("fan_out", 5) for _ in range(size)])
    return [Figure("orchestrations/s", size / (time.perf_counter() - began), True)]


async def five_dozing(call: Call, size: int) -> list[Figure]:
    """The same, twenty in flight, each step takes ten milliseconds."""
    in_flight = asyncio.Semaphore(20)

    async def one() -> None:
        async with in_flight:
            await call("fan_out_dozing", 5)

    began = time.perf_counter()
    await asyncio.gather(*[one() for _ in range(size)])
    return [Figure("orchestrations/s", size / (time.perf_counter() - began), True)]


MEASURES: dict[str, Callable[[Call, int], Awaitable[list[Figure]]]] = {
    "hello": hello, "chain": chain, "fan": fan, "fan5": five, "fan5/10ms": five_dozing
}  # fmt: skip
