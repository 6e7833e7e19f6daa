"""Several processes on one file: the dead are noticed, the living hear of each other, nothing is lost."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.stores.sqlite_helpers import subject
from trioflow.errors import ConfigurationError
from trioflow.stores import SqliteStore
from trioflow.testing._store_contract._subject import CLAIM

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("sqlite_process.py")


class Process:
    """A running `sqlite_process.py`."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.lines = self.read()

    async def read(self) -> AsyncIterator[str]:
        assert self.process.stdout is not None
        rest = b""
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line.decode()

    async def says(self, fact: str) -> None:
        assert await anext(self.lines) == fact

    async def go(self) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(b"go\n")

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def program(path: Path, *arguments: str, program: Path = PROGRAM) -> AsyncIterator[Process]:
    """Run the program; it is killed at the end."""
    command = [sys.executable, str(program), str(path), *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    running = Process(process)
    try:
        yield running
    finally:
        with trio.CancelScope(shield=True):
            await running.kill()
            await process.stdin.aclose()
            await process.stdout.aclose()


async def take_over(store: Any) -> None:
    """What the dead process held is here: a turn, an item, and the news that the marked item is lost."""
    s = subject(store)
    turns: dict[str, Any] = {}
    with store.signals.watch("turns") as watch:
        while len(turns) < 2:
            seen = watch.seen
            turns.update({turn.lock.instance: turn for turn in (await s.lock_turns()).turns})
            if len(turns) < 2:
                await watch.wait_beyond(seen)
    assert turns["turn"].attempts == 2
    assert [message.draft.kind for message in turns["item"].messages] == ["ActivityCancelled"]
    items = (await s.lock_items(worker="heir", sessions=CLAIM)).activities  # of a session that the dead one had
    assert [(item.lock.event_id, item.attempt) for item in items] == [(1, 2)]


async def test_leases_of_a_killed_process_are_free_at_the_next_start(tmp_path: Path) -> None:
    """What a process held for an hour when it was killed is taken over by the next one that opens the file, at once."""
    path = tmp_path / "x.db"
    async with program(path, "hold") as process:
        await process.says("holding")
        await process.kill()
        async with SqliteStore(path) as store:
            with trio.fail_after(60):
                await take_over(store)
    assert [entry.name for entry in (tmp_path / "x.db.workers").iterdir()] == ["gate"]


async def test_leases_of_a_killed_process_are_noticed_by_those_that_run(tmp_path: Path) -> None:
    """A process that already runs notices the death by itself and tells its dispatchers."""
    path = tmp_path / "x.db"
    async with program(path, "hold") as process, SqliteStore(path) as store:
        await process.says("holding")
        assert (await subject(store).lock_turns()).turns == ()
        await process.kill()
        with trio.fail_after(60):
            await take_over(store)


async def test_leases_of_a_living_process_are_left_alone(tmp_path: Path) -> None:
    """Opening the file beside a process that lives takes nothing from it."""
    path = tmp_path / "x.db"
    async with program(path, "hold") as process:
        await process.says("holding")
        for _ in range(3):
            async with SqliteStore(path) as store:
                assert (await subject(store).lock_turns()).turns == ()
                assert (await subject(store).lock_items()).activities == ()


async def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """Three processes start instances and run turns on one file; all of it is there, and the file is sound."""
    path = tmp_path / "x.db"
    async with program(path, "write", "a") as a, program(path, "write", "b") as b, program(path, "write", "c") as c:
        for process in (a, b, c):
            await process.says("open")
        for process in (a, b, c):
            await process.go()
        for process in (a, b, c):
            with trio.fail_after(60):
                await process.says("done")
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*), min(revision), max(revision) FROM instance").fetchone() == (180, 1, 1)
        assert db.execute("SELECT count(*) FROM event").fetchone() == (180,)
    db.close()


async def test_a_process_hears_what_another_wrote(tmp_path: Path) -> None:
    """Whoever waits in one process is told of a commit in another, without asking again and again."""
    path = tmp_path / "x.db"
    async with program(path, "watch") as process, SqliteStore(path) as store:
        await process.says("open")
        await process.says("waiting")
        await subject(store).start("awaited")
        with trio.fail_after(60):
            while (fact := await anext(process.lines)) == "waiting":
                pass
        assert fact == "found"


async def test_two_objects_on_one_file_hear_each_other(tmp_path: Path) -> None:
    """Two store objects in one process behave as two processes do."""
    path = tmp_path / "x.db"
    async with SqliteStore(path) as one, SqliteStore(path) as two:
        with two.signals.watch("turns") as watch, trio.fail_after(60):
            seen = watch.seen
            await subject(one).start("a")
            await watch.wait_beyond(seen)
        assert await two.read_instance("a") is not None


async def test_a_worker_id_belongs_to_one_that_lives(tmp_path: Path) -> None:
    """The same worker id cannot be registered twice at once, in one object or in two; afterwards it can."""
    path = tmp_path / "x.db"
    async with SqliteStore(path) as one, SqliteStore(path) as two:
        await one.register_worker("w/1")
        for store in (one, two):
            with pytest.raises(ConfigurationError, match="'w/1' is in use"):
                await store.register_worker("w/1")
        await one.unregister_worker("w/1")
        await one.unregister_worker("w/1")
        await two.register_worker("w/1")


async def test_leases_outlive_an_orderly_goodbye(tmp_path: Path) -> None:
    """A worker that was unregistered keeps its leases until they run out: it may have left threads behind."""
    path = tmp_path / "x.db"
    async with SqliteStore(path) as store:
        await store.register_worker("worker")
        await subject(store).start("a")
        await subject(store).turn()
        await store.unregister_worker("worker")
    async with SqliteStore(path) as store:
        await subject(store).nothing_eligible("the lease runs")


async def test_two_trio_runs_share_an_object(tmp_path: Path) -> None:
    """Runs in two threads may open one object; each hears of the other's commits through its own hints."""
    store = SqliteStore(tmp_path / "x.db")
    opened = trio.Event()
    token = trio.lowlevel.current_trio_token()

    async def other() -> None:
        async with store:
            with store.signals.watch("turns") as watch:
                seen = watch.seen
                token.run_sync_soon(opened.set)
                await watch.wait_beyond(seen)

    async with store:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, lambda: trio.run(other))
            with trio.fail_after(60):
                await opened.wait()
                assert "[open 2]" in repr(store)
                await subject(store).start("a")
        assert "[open 1]" in repr(store)
        await store.read_clock()
