"""The floor: a throw-away loop on trio that writes what durable execution has to write, and has no engine.

Laws: no history is read, nothing is evaluated, checked or decoded; a transaction is waited for before what follows from
it; an activity is one task that reaches one checkpoint. Started by `running.py`, as a process. Next: `commits.py`,
`floor_sqlite.py`, `floor_postgresql.py`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator

import trio

from tests.bench import commits
from tests.bench.commits import Commit
from tests.bench.figures import Figure, Job, asked_for, latencies, repeat
from tests.bench.floor_postgresql import postgresql_writer
from tests.bench.floor_sqlite import sqlite_writer
from tests.bench.stores import fresh_file, fresh_schema

Write = Callable[[Commit], Awaitable[None]]


async def carry_out(orchestration: Iterator[Commit], write: Write) -> None:
    """Write one transaction after another; before each, run the activities whose ends it holds."""
    for commit in orchestration:
        if commit.settles:
            async with trio.open_nursery() as nursery:
                for _ in commit.settles:
                    nursery.start_soon(trio.lowlevel.checkpoint)
        await write(commit)


async def hello(write: Write, size: int) -> list[Figure]:
    """One after another, of one activity each."""
    times: list[float] = []
    for number in range(size):
        began = time.perf_counter()
        await carry_out(commits.chain(f"hello-{number}", 1), write)
        times.append(time.perf_counter() - began)
    return latencies(times)


async def chain(write: Write, size: int) -> list[Figure]:
    """One of many steps."""
    began = time.perf_counter()
    await carry_out(commits.chain("chain", size), write)
    return [Figure("ms per step", (time.perf_counter() - began) * 1000 / size)]


async def fan(write: Write, size: int) -> list[Figure]:
    """One of many activities at once."""
    began = time.perf_counter()
    await carry_out(commits.fan("fan", size), write)
    return [Figure("activities/s", size / (time.perf_counter() - began), True)]


async def five(write: Write, size: int) -> list[Figure]:
    """Many at once, of five activities each."""
    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(size):
            nursery.start_soon(carry_out, commits.fan(f"five-{number}", 5), write)
    return [Figure("orchestrations/s", size / (time.perf_counter() - began), True)]


MEASURES: dict[str, Callable[[Write, int], Awaitable[list[Figure]]]] = {
    "hello": hello, "chain": chain, "fan": fan, "fan5": five
}  # fmt: skip


async def run(job: Job, size: int) -> list[Figure]:
    """One run on an empty database."""
    if job.store == "postgresql":
        with fresh_schema(job.where) as schema:
            async with postgresql_writer(job.where, schema) as write:
                return await MEASURES[job.workload](write, size)
    with fresh_file() as path:
        async with sqlite_writer(path, full=job.store == "sqlite") as write:
            return await MEASURES[job.workload](write, size)


def main() -> None:
    """Do what this process was started for."""
    job = asked_for()
    repeat(job, lambda size: trio.run(run, job, size))


if __name__ == "__main__":
    main()
