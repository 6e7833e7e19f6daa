"""A runtime whose file is read-only, or held by another process for longer than patience: it waits or says so, nothing
hangs, and all goes on when it may.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import trioflow
from tests.stores import test_sqlite_processes as processes
from tests.stores.sqlite_helpers import subject
from trioflow import durable
from trioflow.errors import StoreReadOnly, StoreUnavailable
from trioflow.stores import SqliteStore

PROGRAM = Path(__file__).with_name("sqlite_holding.py")
PATIENCE = 0.05  # seconds: far less than anybody holds anything here


class Shop:
    """An application whose order stops at a step until it is told to go on."""

    def __init__(self) -> None:
        self.app = app = trioflow.App("held")
        self.begun, self.end = trio.Event(), trio.Event()

        @app.activity
        async def step(name: str) -> str:
            if name == "during":
                self.begun.set()
                await self.end.wait()
            return name

        @app.orchestration
        async def order() -> list[Any]:
            done = [await step("before"), await step("during")]
            return [*done, await durable.wait_event("go"), await step("after")]

        self.order = order

    async def begin(self, client: trioflow.Client) -> trioflow.Handle[list[Any]]:
        """An order whose second step runs."""
        handle = await client.start(self.order, id="order")
        await self.begun.wait()
        return handle


RESULT = ["before", "during", "gone", "after"]


class Met(logging.Handler):
    """That a runtime has met the trouble, by what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.event = trio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Is it that?"""
        if "the store did not answer" in record.getMessage():
            self.event.set()


@pytest.fixture
def met() -> Iterator[trio.Event]:
    """Set when a runtime has met the trouble."""
    handler, logger = Met(), logging.getLogger("trioflow.runtime")
    logger.addHandler(handler)
    yield handler.event
    logger.removeHandler(handler)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "x.db"


@asynccontextmanager
async def holder(path: Path, what: str) -> AsyncIterator[processes.Process]:
    """A process that holds the file until it is told to let go, or dies."""
    with trio.fail_after(60):
        async with processes.program(path, what, program=PROGRAM) as process:
            await process.says("held")
            yield process


@pytest.mark.slow
@pytest.mark.parametrize("end", ["lets go", "is killed"])
@pytest.mark.parametrize("what", ["write", "gate"])
async def test_another_process_holds_the_file(path: Path, met: trio.Event, what: str, end: str) -> None:
    """Writes are refused in time, reads are answered; clients and the runtime go on by themselves when it is over."""
    shop = Shop()
    async with trioflow.open_runtime(shop.app, SqliteStore(path, patience=PATIENCE)) as runtime:
        handle = await shop.begin(runtime.client)
        async with holder(path, what) as process, trio.open_nursery() as nursery:
            with pytest.raises(StoreUnavailable, match="nother process"):
                await subject(runtime.store).start("x")
            shop.end.set()
            nursery.start_soon(handle.raise_event, "go", "gone")
            await met.wait()
            assert (await handle.info()).state == "waiting"
            if end == "lets go":
                await process.go()
                await process.says("free")
            else:
                await process.kill()
            assert await handle.result() == RESULT


@pytest.mark.slow
@pytest.mark.parametrize("what", ["gate", "whole"])
async def test_a_file_that_is_held_cannot_be_opened(path: Path, what: str) -> None:
    """Opening a runtime is refused in time, and succeeds when the other has let go."""
    shop = Shop()
    async with SqliteStore(path):
        pass
    async with holder(path, what) as process:
        with pytest.raises(StoreUnavailable, match="nother process"):
            async with trioflow.open_runtime(shop.app, SqliteStore(path, patience=PATIENCE)):
                raise AssertionError
        await process.go()
        await process.says("free")
        shop.end.set()
        async with trioflow.open_runtime(shop.app, SqliteStore(path, patience=PATIENCE)) as runtime:
            handle = await shop.begin(runtime.client)
            await handle.raise_event("go", "gone")
            assert await handle.result() == RESULT


def read_only(path: str, **options: Any) -> sqlite3.Connection:
    """A connection that cannot write, whoever asks for it."""
    if not options.pop("uri", False):  # the reading connection says so itself
        path = f"file:{path}?mode=ro"
    return sqlite3.connect(path, uri=True, **options)


@contextmanager
def ends_read_only() -> Iterator[None]:
    """What is inside ends with StoreReadOnly: from one part of a runtime, or from several that met it at once."""
    told: list[str] = []
    try:
        yield
    except* StoreReadOnly as group:
        told += map(str, leaves(group))
    assert told
    assert all("give this user the right to write" in text for text in told)


def leaves(exc: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group of groups."""
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            yield from leaves(inner)
    else:
        yield exc


async def finish(shop: Shop, path: Path) -> None:
    """Another runtime, on a file that can be written again, ends what was begun."""
    options = trioflow.RuntimeOptions(worker="another")
    shop.end.set()
    async with trioflow.open_runtime(shop.app, SqliteStore(path), options=options) as runtime:
        handle = runtime.client.handle("order")
        await handle.raise_event("go", "gone")
        with trio.fail_after(60):
            assert await handle.result() == RESULT


@pytest.mark.slow
async def test_a_file_becomes_read_only(path: Path) -> None:
    """The runtime ends with what is to be done, and takes its body with it; another one ends its order."""
    shop = Shop()
    options = trioflow.RuntimeOptions(turn_lease=0.5, activity_lease=0.5)
    with trio.fail_after(60), ends_read_only():
        async with trioflow.open_runtime(shop.app, store := SqliteStore(path), options=options) as runtime:
            await shop.begin(runtime.client)
            run, writer = store._here()
            await writer.do(run, lambda: writer._database._connection.execute("PRAGMA query_only = 1").fetchall())
            with pytest.raises(StoreReadOnly, match="the right to write"):
                await subject(store).start("x")
            shop.end.set()
            await trio.sleep_forever()
    await finish(shop, path)


async def test_a_file_is_read_only(path: Path) -> None:
    """No runtime can be opened on it; a client may read, and is refused at once when it writes."""
    shop = Shop()
    async with trioflow.open_runtime(shop.app, SqliteStore(path)) as runtime:
        await shop.begin(runtime.client)
        shop.end.set()
    with trio.fail_after(60):
        with ends_read_only():
            async with trioflow.open_runtime(shop.app, SqliteStore(path, connect=read_only)):
                await trio.sleep_forever()
        async with trioflow.connect(SqliteStore(path, connect=read_only), shop.app) as client:
            assert (await client.get("order")).state == "waiting"
            with pytest.raises(StoreReadOnly, match="the right to write"):
                await client.raise_event("order", "go", "lost")
    await finish(shop, path)
