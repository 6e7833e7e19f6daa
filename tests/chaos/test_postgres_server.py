"""The server dies, is restarted, ends its connections, in the middle of the work: nothing is lost, nothing is twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

import trioflow
from tests.postgres_server import Server
from tests.stores.postgres_helpers import ask
from trioflow import durable

app = trioflow.App("server")
done: list[str] = []  # what the bodies did, in order
wanted: list[trio.Event] = []  # set when enough was done


@app.activity(retry=trioflow.Retry(max_attempts=1))
async def step(name: str) -> str:
    """One step; tells the test when enough of them were done."""
    done.append(name)
    if len(done) % 40 == 0 and wanted:
        wanted.pop(0).set()
    await trio.lowlevel.checkpoint()
    return name


@app.orchestration
async def mixed(name: str) -> list[str]:
    """A chain, a fan and a timer."""
    first = [await step(f"{name}/{number}") for number in range(3)]
    await durable.sleep(0.01)
    return [*first, *await durable.gather(*(step(f"{name}/fan {number}") for number in range(3)))]


async def _work_through(server: Server, hurt: Callable[[], None], times: int, count: int = 40) -> None:
    """Run many orchestrations, and hurt the server several times on the way. All have to end as if nothing had been."""
    done.clear()
    wanted[:] = [trio.Event() for _ in range(times)]
    moments = list(wanted)
    results: dict[str, list[str]] = {}

    async def one(client: trioflow.Client, name: str) -> None:
        handle = await client.start(mixed, name, id=name, if_exists="attach")
        results[name] = await handle.result()

    options = trioflow.RuntimeOptions(turn_lease=5.0, activity_lease=5.0, poll_interval=0.2)
    async with trioflow.open_runtime(app, server.url, options=options) as runtime, trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, runtime.client, f"o{number}")
        for moment in moments:
            await moment.wait()
            await trio.to_thread.run_sync(hurt)
    expected = {
        f"o{number}": [f"o{number}/{part}" for part in (0, 1, 2, "fan 0", "fan 1", "fan 2")] for number in range(count)
    }
    assert results == expected
    outcomes = ask(
        server.url,
        "SELECT instance, kind, count(*) FROM trioflow.event WHERE kind LIKE 'Activity%%' GROUP BY 1, 2",
        (),
    )
    assert {(kind, number) for _, kind, number in outcomes} == {("ActivityScheduled", 6), ("ActivityCompleted", 6)}
    assert ask(server.url, "SELECT count(*) FROM trioflow.activity") == [(0,)]


@pytest.mark.slow
async def test_the_server_crashes(postgres_server: Server) -> None:
    """`restart -m immediate` ends all connections without a word and recovers from its log: the work goes on."""
    await _work_through(postgres_server, lambda: postgres_server.restart("immediate"), times=4)


async def test_all_connections_are_ended(postgres_server: Server) -> None:
    """`pg_terminate_backend` on every connection, again and again: statements are repeated, each is done once."""
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL"
    await _work_through(postgres_server, lambda: ask(postgres_server.url, end), times=4)
