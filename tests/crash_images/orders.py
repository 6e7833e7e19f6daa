"""A process that runs a whole runtime on a SQLite file, and what must come of its orders wherever the power failed.

Usage: python -m tests.crash_images.orders PATH full|fast

The orders are those of `tests/chaos/worker.py`. Notes are as in `workload.py`: an order was started, approved, its
result seen.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import trio

import trioflow
from tests.chaos import worker
from tests.crash_images.workload import Marks
from trioflow.errors import InstanceFinished
from trioflow.history import ActivityCompleted, ActivityScheduled
from trioflow.stores import SqliteStore
from trioflow.stores._sqlite import _database

ORDERS = 5
OPTIONS = trioflow.RuntimeOptions(turn_lease=1.0, activity_lease=1.0)  # seconds: what the dead held has to run out


async def run(path: str, durability: Any) -> None:
    """Start orders, approve them, wait for their results."""
    marks = Marks(f"{path}.ack")

    async def one(client: trioflow.Client, number: int) -> None:
        async with marks.around("started", number):
            handle = await client.start(worker.order, number, id=f"order-{number}")
        async with marks.around("approved", number):
            await handle.raise_event("approved", number, dedupe_key="once")
        async with marks.around("ended", number):
            await handle.result()

    store = SqliteStore(path, durability=durability)
    async with trioflow.open_runtime(worker.app, store, options=OPTIONS) as runtime, trio.open_nursery() as nursery:
        for number in range(ORDERS):
            nursery.start_soon(one, runtime.client, number)


async def missing(client: trioflow.Client, facts: list[tuple[object, ...]]) -> list[str]:
    """Which of the things that were answered are not so."""
    lost = []
    for what, number in facts:
        order = f"order-{number}"
        try:
            info = await client.get(order)
        except trioflow.InstanceNotFound:
            lost.append(f"{order} is gone")
            continue
        if what == "ended" and info.state != "completed":
            lost.append(f"{order} had ended and is {info.state}")
    return lost


async def finish(path: Path, facts: list[tuple[object, ...]]) -> None:
    """Ask for everything once more, by the same ids, and see every order through."""
    async with trioflow.open_runtime(worker.app, SqliteStore(path, durability="fast"), options=OPTIONS) as runtime:
        client = runtime.client
        assert await missing(client, facts) == []
        for number in range(ORDERS):
            handle = await client.start(worker.order, number, id=f"order-{number}", if_exists="attach")
            try:
                await handle.raise_event("approved", number, dedupe_key="once")
            except InstanceFinished:
                pass  # it was approved, or it could not have ended
        for number in range(ORDERS):
            handle = client.handle(f"order-{number}")
            assert await handle.result() == worker.expected(number)
            history = await handle.history()
            scheduled = [event.id for event in history if isinstance(event, ActivityScheduled)]
            completed = [event.answers for event in history if isinstance(event, ActivityCompleted)]
            assert sorted(scheduled) == sorted(completed)


if __name__ == "__main__":
    _database.CHECKPOINT_BATCHES, _database.CHECKPOINT_ROWS = 4, 12
    trio.run(run, sys.argv[1], sys.argv[2])
