"""A process with a runtime whose file has no room left, and then has again.

Usage: python full_disk.py FOLDER limit|disk

limit: no file may grow, which the kernel says with EFBIG. disk: FOLDER is a small file system, which is filled up, and
stays full whatever the store gives back meanwhile.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import trio

import trioflow
from tests.stores.sqlite_helpers import subject
from trioflow import durable
from trioflow.abc import State, Store
from trioflow.errors import OutcomeUnknown, StoreFull, StoreUnavailable
from trioflow.history import ActivityCompleted, ActivityScheduled
from trioflow.stores import SqliteStore

ORDERS = 4
OPTIONS = trioflow.RuntimeOptions(activity_lease=2.0, turn_lease=2.0, grace=0.5)  # seconds
app = trioflow.App("full")


class Moments(logging.Handler):
    """What has happened so far: the disk is full, the runtime has met it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0
        self.full, self.met = trio.Event(), trio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """What a runtime says of its store."""
        if "the store did not answer" in record.getMessage():
            self.met.set()


moments: Moments


@app.activity
async def step(number: int, name: str) -> str:
    """The one "during" ends when there is no room for its outcome."""
    if name == "during":
        moments.begun += 1
        await moments.full.wait()
    return f"{name} {number}"


@app.orchestration
async def order(number: int) -> list[Any]:
    """A step before, one that ends while the disk is full, an event that is sent meanwhile, and a step after it all."""
    done = [await step(number, "before"), await step(number, "during")]
    done.append(await durable.wait_event("approved", int))
    return [*done, await step(number, "after")]


def expected(number: int) -> list[Any]:
    """What an order returns."""
    return [f"before {number}", f"during {number}", number, f"after {number}"]


class Limit:
    """No file may have a byte more."""

    def fill(self) -> None:
        """From now on."""
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))

    def clear(self) -> None:
        """Up to now."""
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


class Disk:
    """A small file system, and a file that takes what room there is."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Take all the room there is just now."""
        fd = os.open(self._filler, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        try:
            while True:
                os.write(fd, b"x" * 4096)
        except OSError as exc:
            if exc.errno != errno.ENOSPC:
                raise
        finally:
            os.close(fd)

    def clear(self) -> None:
        """Give it back."""
        self._filler.unlink()


async def keep_full(room: Limit | Disk, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    """There is no room until the scope that this gives is cancelled."""
    with trio.CancelScope() as scope:
        try:
            room.fill()
            task_status.started(scope)
            while True:
                await trio.sleep(0.001)
                room.fill()
        finally:
            room.clear()


async def insist(call: Callable[[], Awaitable[Any]]) -> Any:
    """As a caller does who is told that the disk is full, or that nobody knows: ask for the same again."""
    while True:
        try:
            return await call()
        except StoreFull:
            await trio.sleep(0.05)


async def begin(client: trioflow.Client) -> None:
    """Start the orders, and wait until each is where the disk is to be filled."""
    for number in range(ORDERS):
        await client.start(order, number, id=f"order-{number}")
    while moments.begun < ORDERS:
        await trio.sleep(0.001)


async def approve(client: trioflow.Client, number: int) -> None:
    """Send what an order waits for; once."""
    await insist(lambda: client.raise_event(f"order-{number}", "approved", number, dedupe_key="once"))


async def see_through(client: trioflow.Client) -> None:
    """All orders have the right result, and each activity one completion."""
    for number in range(ORDERS):
        handle = client.handle(f"order-{number}")
        assert await handle.result() == expected(number)
        history = await handle.history()
        scheduled = [event.id for event in history if isinstance(event, ActivityScheduled)]
        assert sorted(scheduled) == sorted(event.answers for event in history if isinstance(event, ActivityCompleted))


async def refused(store: Store) -> str:
    """Which errors a write meets that is tried again and again."""
    said: dict[str, None] = {}
    for _ in range(5):
        try:
            await subject(store).start("x", request_id="x")
        except (StoreFull, StoreUnavailable, OutcomeUnknown) as exc:
            said[type(exc).__name__] = None
        else:
            raise AssertionError("there was room")
    return ", ".join(said)


async def still_waits(store: Store, order: str) -> None:
    """Nothing has become of it. It cannot be read if SQLite finds no room for its index of the log."""
    try:
        record = await store.read_instance(order)
    except (StoreFull, StoreUnavailable):
        return
    assert record is not None
    assert record.state is State.WAITING


async def going_on(path: Path, room: Limit | Disk) -> str:
    """A runtime meets a full disk and goes on by itself when there is room; what a write was told meanwhile."""
    async with (
        trioflow.open_runtime(app, SqliteStore(path), options=OPTIONS) as runtime,
        trio.open_nursery() as nursery,
    ):
        client = runtime.client
        await begin(client)
        full = await nursery.start(keep_full, room)
        said = await refused(runtime.store)
        moments.full.set()
        for number in range(ORDERS):
            nursery.start_soon(approve, client, number)
        await moments.met.wait()
        for number in range(ORDERS):
            await still_waits(runtime.store, f"order-{number}")
        full.cancel()
        await see_through(client)
        await subject(runtime.store).start("x", request_id="x")
    return said


async def leaving(path: Path, room: Limit | Disk) -> None:
    """A runtime is left while there is no room; another, later, ends its orders."""
    async with trio.open_nursery() as nursery:
        async with trioflow.open_runtime(app, SqliteStore(path), options=OPTIONS) as runtime:
            await begin(runtime.client)
            full = await nursery.start(keep_full, room)
            moments.full.set()
            await moments.met.wait()
        full.cancel()
    async with trioflow.open_runtime(app, SqliteStore(path), options=OPTIONS) as runtime:
        for number in range(ORDERS):
            await approve(runtime.client, number)
        await see_through(runtime.client)


async def main(folder: Path, kind: str) -> None:
    """Both, each on a file of its own."""
    global moments
    room = Disk(folder) if kind == "disk" else Limit()
    said = ""
    for use in (going_on, leaving):
        moments = Moments()
        logging.getLogger("trioflow.runtime").addHandler(moments)
        path = folder / f"{use.__name__}.db"
        with trio.fail_after(60):
            said = await use(path, room) or said
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    print(f"{kind}: a write was told {said}")


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2])
