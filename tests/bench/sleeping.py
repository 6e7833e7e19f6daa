"""Sleepers: what orchestrations cost that wait for a day.

Laws: memory is what the process has resident after a collection of garbage, once all wait, less what it had before the
first was started, divided by their number; it holds the live copies that a runtime keeps by its defaults, and with the
store in memory also the rows. Idle is processor time of all threads of the process by time passed; a database server's
own is not in it. Called by `child.py`, in a process of its own for each run.
"""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import trio

import trioflow
from tests.bench.figures import Figure
from tests.bench.workloads import Instruments, app
from trioflow import durable

DAY = 86_400.0
AT_ONCE = 64
LOOK, GLANCE = 5.0, 0.2
"""Seconds for which the idle process is watched; the second for a handful of sleepers, to see that it works."""


@app.orchestration
async def nap() -> None:
    """Sleep for a day."""
    await durable.sleep(DAY)


async def measure_asleep(store: str, size: int, instruments: Instruments) -> list[Figure]:
    """Have `size` orchestrations wait, then look at the process."""
    async with trioflow.open_runtime(app, store, instruments=instruments) as runtime:
        gc.collect()
        before = resident()
        await start_all(runtime.client, size)
        await all_wait(runtime.client, size)
        gc.collect()
        each = (resident() - before) / size
        used, began = time.process_time(), time.perf_counter()
        await trio.sleep(LOOK if size >= 1_000 else GLANCE)
        idle = (time.process_time() - used) / (time.perf_counter() - began)
        return [Figure("bytes each", each), Figure("idle CPU, s/s", idle)]


async def start_all(client: trioflow.Client, size: int) -> None:
    """Start them, some at once."""
    numbers = iter(range(size))

    async def some() -> None:
        for number in numbers:
            await client.start(nap, id=f"nap-{number}")

    async with trio.open_nursery() as nursery:
        for _ in range(min(AT_ONCE, size)):
            nursery.start_soon(some)


async def all_wait(client: trioflow.Client, size: int) -> None:
    """Until none of them is about to run, or runs."""
    while (await client.queue_depths()).turns.later < size:
        await trio.sleep(0.05)


def resident() -> int:
    """Bytes of memory that this process has, as Linux counts them."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
