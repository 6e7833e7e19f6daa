"""Work of a process that dies or stands still is taken over; one that wakes too late changes nothing."""

from __future__ import annotations

import os
import pathlib
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import trioflow
from tests.chaos import crowd
from tests.chaos.life import Life

LEASE = 1.0
SLOW = pytest.mark.slow


@asynccontextmanager
async def worker(url: str, ledger: pathlib.Path, name: str, *options: object) -> AsyncIterator[Life]:
    """A worker process that is ready; told to end at the end, and waited for."""
    life = await Life.begin("worker", url, ledger, name, *options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.listen)
        try:
            await life.ready.wait()
            yield life
            await life.tell_to_end()
            await life.process.wait()
        finally:
            await life.bury()


async def standing_still(life: Life) -> None:
    """Wait until a process has been stopped."""

    def wait() -> None:
        os.waitid(os.P_PID, life.process.pid, os.WSTOPPED | os.WNOWAIT)

    await trio.to_thread.run_sync(wait, abandon_on_cancel=True)


async def everything(client: trioflow.Client, *instances: str) -> list[Any]:
    """All that can be read."""
    found: list[Any] = []
    for instance in instances:
        record = await client.store.read_instance(instance)
        assert record is not None
        found += [record, await client.store.read_kv(instance)]
        found += [await client.store.read_history(instance, number) for number in range(1, record.execution + 1)]
    return found


def noted(ledger: pathlib.Path, what: str) -> list[list[str]]:
    """The lines of a ledger that say this."""
    lines = [line.split() for line in ledger.read_text("utf-8").splitlines()]
    return [words for words in lines if words[1] == what]


@pytest.mark.parametrize(
    "moment",
    [
        "turn.before_commit",
        pytest.param("turn.locked", marks=SLOW),
        pytest.param("activity.after_body", marks=SLOW),
    ],
)
async def test_a_zombie_that_wakes_changes_nothing(url: str, tmp_path: pathlib.Path, moment: str) -> None:
    """It stands still with a turn or an outcome in hand until another has ended the instance after its lease; then it
    goes on, is refused, and ends in peace.
    """
    ledger = tmp_path / "ledger"
    with trio.fail_after(60):
        async with trioflow.connect(url, crowd.app) as client:
            async with worker(url, ledger, "zombie", "--lease", LEASE, "--stop-at", moment) as zombie:
                handle = await client.start(crowd.chain, 0, id="chain-0")
                await standing_still(zombie)
                async with worker(url, ledger, "other"):
                    assert await handle.result() == 5
                    before = await everything(client, "chain-0")
                    zombie.process.send_signal(signal.SIGCONT)
                    await zombie.tell_to_end()
                    await zombie.process.wait()
                    assert zombie.process.returncode == 0
                    assert await everything(client, "chain-0") == before
    said = zombie.said.decode()
    if moment.startswith("turn"):
        assert re.search("a turn of instance chain-0 was dropped", said), said
    runs = noted(ledger, "run")
    assert len(runs) == 5 + (moment == "activity.after_body")


@pytest.mark.parametrize(
    "moment",
    [
        "activity.after_body",
        pytest.param("turn.before_commit", marks=SLOW),
        pytest.param("turn.locked", marks=SLOW),
        pytest.param("turn.after_commit", marks=SLOW),
        pytest.param("activity.before_body", marks=SLOW),
    ],
)
async def test_what_a_dead_worker_held_is_taken_over(
    url: str, tmp_path: pathlib.Path, moment: str, notices_deaths: bool
) -> None:
    """When its lease is over, or long before where deaths are noticed, whatever it was doing."""
    ledger, lease = tmp_path / "ledger", 30.0 if notices_deaths else LEASE
    with trio.fail_after(60):
        async with trioflow.connect(url, crowd.app) as client:
            async with worker(url, ledger, "mortal", "--lease", lease, "--die-at", moment) as mortal:
                handle = await client.start(crowd.chain, 1, id="chain-1")
                await mortal.process.wait()
            async with worker(url, ledger, "other", "--lease", lease):
                with trio.fail_after(20):  # far less than the lease where deaths are noticed
                    assert await handle.result() == 6
    assert noted(ledger, "died")[0][2:] == ["mortal", moment]
    assert len(noted(ledger, "run")) == 5 + (moment == "activity.after_body")
