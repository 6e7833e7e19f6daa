"""DBOS Transact, from its package, on the workloads; its options are its defaults, but for a quiet log.

Laws: it runs in an environment of its own and imports nothing of ours but `figures.py`, `stores.py` and its
neighbour; all runs of a process share a store. Started by `running.py`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

from dbos import DBOS

from tests.bench.figures import Figure, Job, asked_for, repeat
from tests.bench.peers.on_asyncio import MEASURES, Call
from tests.bench.stores import fresh_file

Workflow = Callable[[int], Awaitable[int]]


@DBOS.step()
async def echo(value: int) -> int:
    """Give the argument back."""
    return value


@DBOS.step()
async def doze(value: int) -> int:
    """Give the argument back after ten milliseconds."""
    await asyncio.sleep(0.01)
    return value


@DBOS.workflow()
async def fan_out(width: int) -> int:
    """Steps all at once."""
    return len(await asyncio.gather(*[echo(number) for number in range(width)]))


@DBOS.workflow()
async def fan_out_dozing(width: int) -> int:
    """Steps all at once that take ten milliseconds each."""
    return len(await asyncio.gather(*[doze(number) for number in range(width)]))


@DBOS.workflow()
async def one_by_one(steps: int) -> int:
    """Steps one after another."""
    for step in range(steps):
        await echo(step)
    return steps


WORKFLOWS: dict[str, Workflow] = {
    "one_by_one": one_by_one, "fan_out": fan_out, "fan_out_dozing": fan_out_dozing
}  # fmt: skip


async def call(workflow: str, argument: int) -> None:
    """Start one and wait for its end."""
    handle = await DBOS.start_workflow_async(WORKFLOWS[workflow], argument)
    assert await handle.get_result() == argument


async def five(call: Call, size: int) -> list[Figure]:
    """Many at once, of five steps each, awaited one after another, since each that waits asks the database."""
    began = time.perf_counter()
    for handle in [await DBOS.start_workflow_async(fan_out, 5) for _ in range(size)]:
        assert await handle.get_result() == 5
    return [Figure("orchestrations/s", size / (time.perf_counter() - began), True)]


def measure(job: Job, address: str) -> None:
    """Do what this process was started for."""

    async def once(size: int) -> list[Figure]:
        return await {**MEASURES, "fan5": five}[job.workload](call, size)

    quiet = {"run_admin_server": False, "log_level": "ERROR"}
    DBOS(config={"name": "bench", "system_database_url": address, **quiet})
    DBOS.launch()
    with asyncio.Runner() as runner:
        repeat(job, lambda size: runner.run(once(size)))


def main() -> None:
    """Do it on the store that was asked for; threads of the runtime do not hold up the end."""
    job = asked_for()
    if job.store == "postgresql":
        server, _, query = job.where.partition("?")
        measure(job, f"{server.rpartition('/')[0]}/dbos_{os.getpid()}" + (f"?{query}" if query else ""))
    else:
        with fresh_file() as path:
            measure(job, f"sqlite:///{path}")
    os._exit(0)


if __name__ == "__main__":
    main()
