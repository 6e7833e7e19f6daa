"""A file of an earlier schema is brought up to date whole or not at all, whoever is interrupted or comes too."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.stores.sqlite_helpers import sqlite_error, subject
from trioflow.errors import StoreSchemaNewer, StoreUnavailable
from trioflow.stores import SqliteStore
from trioflow.stores._sqlite import _opening

OLD = _opening.migrations()
SECOND = """
-- A step that makes, changes and fills.
CREATE TABLE later (instance TEXT NOT NULL PRIMARY KEY, mark INTEGER NOT NULL) STRICT, WITHOUT ROWID;
ALTER TABLE instance ADD COLUMN mark INTEGER;
INSERT INTO later SELECT instance, 1 FROM instance;
UPDATE instance SET mark = 1;
"""
THIRD = """
CREATE INDEX later_mark ON later (mark);
UPDATE later SET mark = 2;
"""
NEW = [*OLD, SECOND, THIRD]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of today's release, with something in it."""

    async def fill() -> None:
        async with SqliteStore(tmp_path / "x.db") as store:
            await subject(store).start("a")

    trio.run(fill)
    return tmp_path / "x.db"


@pytest.fixture
def newer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release with two more steps."""
    monkeypatch.setattr(_opening, "migrations", lambda: NEW)


def version(path: Path) -> int:
    """The schema of a sound file; each version has all that belongs to it, and nothing else."""
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (found,) = db.execute("PRAGMA user_version").fetchone()
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
        assert {"later", "later_mark"} & names == (set() if found == len(OLD) else {"later", "later_mark"})
        if found == len(NEW):
            assert db.execute("SELECT mark FROM later").fetchall() == [(2,)]
            assert db.execute("SELECT mark FROM instance").fetchall() == [(1,)]
        return int(found)
    finally:
        db.close()


class Interrupted:
    """Makes connections; something happens before the n-th statement that is part of a migration."""

    def __init__(self, act: Any, nth: int) -> None:
        self.act, self.nth, self.seen = act, nth, 0

    def connect(self, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        """What the store opens its file with."""
        interrupted = self

        class Connection(sqlite3.Connection):
            migrates = False

            def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
                self.migrates = text == "BEGIN IMMEDIATE" or (self.migrates and self.in_transaction)
                if self.migrates:
                    interrupted.seen += 1
                    if interrupted.seen == interrupted.nth:
                        interrupted.act()
                found = super().execute(text, *values)
                if text == "COMMIT" and self.migrates:
                    interrupted.seen += 1
                    if interrupted.seen == interrupted.nth:
                        interrupted.act()
                return found

        return sqlite3.connect(*args, factory=Connection, **kwargs)


async def statements(path: Path) -> int:
    """How many statements it takes, and the moment behind the last."""
    counting = Interrupted(None, 0)
    copy = path.with_name("counted.db")
    shutil.copy(path, copy)
    async with SqliteStore(copy, connect=counting.connect):
        assert version(copy) == len(NEW)
        return counting.seen


@pytest.mark.usefixtures("newer")
async def test_one_that_fails_has_not_happened(path: Path) -> None:
    """A failure of any statement leaves the file as it was, and the next attempt succeeds."""
    count = await statements(path)
    assert count > 10
    for nth in range(1, count):
        copy = path.with_name(f"{nth}.db")
        shutil.copy(path, copy)

        def fail() -> None:
            raise sqlite_error("SQLITE_IOERR")

        with pytest.raises(StoreUnavailable):
            async with SqliteStore(copy, connect=Interrupted(fail, nth).connect):
                raise AssertionError
        assert version(copy) == len(OLD)
        async with SqliteStore(copy) as store:
            assert await store.read_instance("a") is not None
        assert version(copy) == len(NEW)


@pytest.mark.usefixtures("newer")
async def test_one_that_is_killed_has_happened_or_not(path: Path) -> None:
    """What a process leaves that dies at any statement is complete or untouched, and is completed by the next."""
    count = await statements(path)
    left: list[int] = []
    for nth in range(1, count + 1):
        run, copy = path.with_name(f"{nth}"), path.with_name(f"{nth} killed")
        run.mkdir()
        shutil.copy(path, run)

        def die() -> None:
            shutil.copytree(run, copy)  # nothing of what a process does afterwards is in here

        async with SqliteStore(run / "x.db", connect=Interrupted(die, nth).connect):
            pass
        (copy / "x.db-shm").unlink(missing_ok=True)
        left.append(version(copy / "x.db"))
        async with SqliteStore(copy / "x.db") as store:
            assert await store.read_instance("a") is not None
        assert version(copy / "x.db") == len(NEW)
    assert left == [len(OLD)] * (count - 1) + [len(NEW)]


@pytest.mark.usefixtures("newer")
async def test_several_may_migrate_at_once(path: Path) -> None:
    """Whoever comes first does it, the others wait and find it done."""

    async def opened() -> None:
        async with SqliteStore(path) as store:
            assert await store.read_instance("a") is not None

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(opened)
    assert version(path) == len(NEW)


async def test_the_older_release_refuses_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once migrated, a file is closed to the release before, which says what to do."""
    with monkeypatch.context() as patched:
        patched.setattr(_opening, "migrations", lambda: NEW)
        async with SqliteStore(path):
            pass
    with pytest.raises(StoreSchemaNewer, match="Upgrade trioflow"):
        async with SqliteStore(path):
            raise AssertionError
    assert version(path) == len(NEW)
