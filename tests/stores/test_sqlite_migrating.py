"""Processes that migrate a file, die over it, or come meanwhile: one migrates, all work, nothing is half done."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest
import trio

from tests.stores import test_sqlite_processes as processes
from tests.stores.sqlite_helpers import subject
from tests.stores.test_sqlite_migrations import NEW, OLD
from trioflow.errors import StoreUnavailable
from trioflow.stores import SqliteStore
from trioflow.stores._sqlite import _opening

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).with_name("sqlite_migrating.py")
MOMENTS = {
    1: "CREATE TABLE later (instance TEXT NOT NULL PRIMARY KEY, mark INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
    4: "UPDATE instance SET mark = 1;",
    5: "CREATE INDEX later_mark ON later (mark);",
    8: f"PRAGMA user_version = {len(NEW)}",
    9: "COMMIT",
    10: "the end",
}
"""When a process is stopped: at the beginning, inside of both steps, around the numbers, and behind it all."""


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A file of today's release, with an instance in it whose turn has run."""
    async with SqliteStore(tmp_path / "x.db") as store:
        await subject(store).waiting("a", "Started")
    return tmp_path / "x.db"


@asynccontextmanager
async def opener(path: Path, name: str, nth: int = 0) -> AsyncIterator[processes.Process]:
    """A process that will open the file."""
    with trio.fail_after(60):
        async with processes.program(path, name, str(nth), program=PROGRAM) as process:
            yield process


async def open_it(process: processes.Process) -> None:
    """Let it begin."""
    await process.says("ready")
    await process.go()
    await process.says("opening")


def found(path: Path) -> tuple[int, list[str]]:
    """The schema, and the instances; the file is sound, and all that belongs to the schema is there, once."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (version,) = db.execute("PRAGMA user_version").fetchone()
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
        assert {"later", "later_mark"} & names == ({"later", "later_mark"} if version == len(NEW) else set())
        if version == len(NEW):
            assert db.execute("SELECT instance, mark FROM later").fetchall() == [("a", 2)]
            assert db.execute("SELECT mark FROM instance WHERE instance = 'a'").fetchall() == [(1,)]
        instances = db.execute("SELECT instance FROM instance WHERE revision = 1 ORDER BY instance").fetchall()
        return version, [name for (name,) in instances]


@pytest.mark.parametrize("nth", MOMENTS)
async def test_a_process_is_killed_while_it_migrates(path: Path, nth: int) -> None:
    """One that waits meanwhile carries on as soon as the other is dead: it migrates, or finds it done."""
    async with opener(path, "b", nth) as killed, opener(path, "c") as next_one:
        await open_it(killed)
        await killed.says(f"at {MOMENTS[nth]}")
        await open_it(next_one)
        await killed.kill()
        await next_one.says("found" if nth == 10 else "migrated")
        await next_one.says("done")
    assert found(path) == (len(NEW), ["a", "c"])


@pytest.mark.parametrize("nth", [4, 10])
async def test_what_a_killed_process_leaves_is_whole(path: Path, nth: int) -> None:
    """Nobody waits: to whoever looks first, a program other than trioflow included, it has happened or not."""
    async with opener(path, "b", nth) as killed:
        await open_it(killed)
        await killed.says(f"at {MOMENTS[nth]}")
        await killed.kill()
    assert found(path) == (len(NEW) if nth == 10 else len(OLD), ["a"])


async def test_six_processes_come_at_once(path: Path) -> None:
    """While the first is at it the other five come; none of them migrates again, and all of them work."""
    async with AsyncExitStack() as stack:
        names = list("bcdefg")
        those = [await stack.enter_async_context(opener(path, name, 4)) for name in names]
        for process in those:
            await open_it(process)
        first: list[processes.Process] = []
        said: list[str] = []

        async def watch(process: processes.Process) -> None:
            async for fact in process.lines:
                said.append(fact)
                if fact.startswith("at "):
                    first.append(process)
                    await process.go()

        async with trio.open_nursery() as nursery:
            for process in those:
                nursery.start_soon(watch, process)
    assert len(first) == 1
    assert sorted(said) == sorted([f"at {MOMENTS[4]}", "migrated", *["found"] * 5, *["done"] * 6])
    assert found(path) == (len(NEW), ["a", *names])


async def test_a_migration_that_outlasts_patience(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not wait long enough is told that another process holds the store, and may come again."""
    monkeypatch.setattr(_opening, "migrations", lambda: NEW)
    async with opener(path, "b", 4) as slow:
        await open_it(slow)
        await slow.says(f"at {MOMENTS[4]}")
        with pytest.raises(StoreUnavailable, match="try again"):
            async with SqliteStore(path, patience=0.05):
                raise AssertionError
        await slow.go()
        await slow.says("migrated")
        await slow.says("done")
    async with SqliteStore(path) as store:
        assert await store.read_instance("b") is not None
