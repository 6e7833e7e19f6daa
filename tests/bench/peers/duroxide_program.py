"""duroxide, from its package, on the workloads; its options are its defaults.

Laws: it runs in an environment of its own and imports nothing of ours but `figures.py` and `stores.py`; all runs of a
process share a store, under ids of their own. Started by `running.py`.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from duroxide import Client, PostgresProvider, Runtime, SqliteProvider

from tests.bench.figures import Figure, Job, asked_for, latencies, repeat
from tests.bench.stores import fresh_file

NUMBERS = itertools.count(1)
PATIENCE = 600_000  # milliseconds


def prepared(provider: Any) -> Any:
    """A runtime that knows the workloads, running."""
    runtime = Runtime(provider)

    @runtime.register_activity("echo")
    def echo(context: Any, value: int) -> int:
        return value

    @runtime.register_activity("doze")
    def doze(context: Any, value: int) -> int:
        time.sleep(0.01)
        return value

    @runtime.register_orchestration("Fan")
    def fan(context: Any, width: int) -> Generator[Any, Any, int]:
        results = yield context.all([context.schedule_activity("echo", number) for number in range(width)])
        return len(results)

    @runtime.register_orchestration("Doze")
    def five_dozing(context: Any, width: int) -> Generator[Any, Any, int]:
        results = yield context.all([context.schedule_activity("doze", number) for number in range(width)])
        return len(results)

    @runtime.register_orchestration("Chain")
    def chain(context: Any, steps: int) -> Generator[Any, Any, int]:
        for step in range(steps):
            yield context.schedule_activity("echo", step)
        return steps

    runtime.start()
    return runtime


def run(client: Any, name: str, argument: int) -> None:
    """Start one and wait for its end."""
    wait(client, start(client, name, argument))


def start(client: Any, name: str, argument: int) -> str:
    """Start one; its id."""
    instance = f"i{next(NUMBERS)}"
    client.start_orchestration(instance, name, argument)
    return instance


def wait(client: Any, instance: str) -> None:
    """Wait for the end of one, which has to be a good one."""
    ended = client.wait_for_orchestration(instance, PATIENCE)
    assert ended.status == "Completed", (ended.status, ended.error)


def hello(client: Any, size: int) -> list[Figure]:
    """One after another, of one activity each."""
    times = []
    for _ in range(size):
        began = time.perf_counter()
        run(client, "Chain", 1)
        times.append(time.perf_counter() - began)
    return latencies(times)


def chain(client: Any, size: int) -> list[Figure]:
    """One of many steps."""
    began = time.perf_counter()
    run(client, "Chain", size)
    return [Figure("ms per step", (time.perf_counter() - began) * 1000 / size)]


def fan(client: Any, size: int) -> list[Figure]:
    """One of many activities at once."""
    began = time.perf_counter()
    run(client, "Fan", size)
    return [Figure("activities/s", size / (time.perf_counter() - began), True)]


def five(client: Any, size: int) -> list[Figure]:
    """Many at once, of five activities each."""
    began = time.perf_counter()
    for instance in [start(client, "Fan", 5) for _ in range(size)]:
        wait(client, instance)
    return [Figure("orchestrations/s", size / (time.perf_counter() - began), True)]


def five_dozing(client: Any, size: int) -> list[Figure]:
    """The same, twenty in flight, each activity takes ten milliseconds."""
    began = time.perf_counter()
    with ThreadPoolExecutor(20) as threads:
        for _ in threads.map(lambda _: run(client, "Doze", 5), range(size)):
            pass
    return [Figure("orchestrations/s", size / (time.perf_counter() - began), True)]


MEASURES: dict[str, Callable[[Any, int], list[Figure]]] = {
    "hello": hello, "chain": chain, "fan": fan, "fan5": five, "fan5/10ms": five_dozing
}  # fmt: skip


def measure(job: Job, provider: Any) -> None:
    """Do what this process was started for."""
    runtime, client = prepared(provider), Client(provider)
    repeat(job, lambda size: MEASURES[job.workload](client, size))
    del runtime


def main() -> None:
    """Do it on the store that was asked for; threads of the runtime do not hold up the end."""
    job = asked_for()
    if job.store == "postgresql":
        measure(job, PostgresProvider.connect_with_schema(job.where, f"duroxide_{os.getpid()}"))
    else:
        with fresh_file() as path:
            measure(job, SqliteProvider.open(str(path)))
    os._exit(0)


if __name__ == "__main__":
    main()
