"""What the SQLite store makes of the file it is given."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.stores.sqlite_helpers import Faults, subject
from trioflow.errors import (
    ConfigurationError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreSchemaNewer,
    StoreUnavailable,
)
from trioflow.stores import SqliteStore
from trioflow.stores._sqlite._opening import APPLICATION_ID, migrations, statements


async def opened(path: Any, **options: Any) -> None:
    """Open and close."""
    async with SqliteStore(path, **options):
        pass


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("fast", 1)])
async def test_settings_are_what_was_asked_for(tmp_path: Path, durability: Any, synchronous: int) -> None:
    """The connection runs in WAL mode, with the synchronous setting that the durability stands for."""
    found: dict[str, Any] = {}
    async with SqliteStore(tmp_path / "x.db", durability=durability) as store:
        run, writer = store._here()

        def look() -> None:
            for name in ("journal_mode", "synchronous", "wal_autocheckpoint", "busy_timeout"):
                (found[name],) = writer._database._connection.execute(f"PRAGMA {name}").fetchone()

        await writer.do(run, look)
    assert found == {
        "journal_mode": "wal",
        "synchronous": synchronous,
        "wal_autocheckpoint": 0,
        "busy_timeout": 5000,
    }


async def test_a_setting_that_is_not_kept_is_an_error(tmp_path: Path) -> None:
    """A file system that cannot do what durability needs is refused, by the name of the setting."""

    class Stubborn(sqlite3.Connection):
        def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
            return super().execute("SELECT 'delete'" if text == "PRAGMA journal_mode" else text, *values)

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return sqlite3.connect(*args, factory=Stubborn, **kwargs)

    with pytest.raises(StoreError, match="journal_mode is 'delete' although 'wal'"):
        await opened(tmp_path / "x.db", connect=connect)


async def test_a_new_file_is_private_and_marked(tmp_path: Path) -> None:
    """A new file belongs to its owner alone, carries our application id, and has STRICT tables only."""
    path = tmp_path / "x.db"
    await opened(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert db.execute("PRAGMA user_version").fetchone() == (len(migrations()),)
        loose = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%' AND NOT strict"
        assert db.execute(loose).fetchall() == []
    db.close()


async def test_what_was_written_is_there_when_opened_again(tmp_path: Path) -> None:
    """Closing and opening keeps everything, also through another object."""
    path = tmp_path / "x.db"
    async with SqliteStore(path) as store:
        await subject(store).start("a", attributes={"k": "v"})
    async with SqliteStore(path) as store:
        record = await subject(store).record("a")
    assert record.attributes == {"k": "v"}


async def test_a_closed_store_leaves_one_file(tmp_path: Path) -> None:
    """The last to close folds the log into the file, and nobody is marked as alive."""
    await opened(tmp_path / "x.db")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["x.db", "x.db.workers"]
    assert [entry.name for entry in (tmp_path / "x.db.workers").iterdir()] == ["gate"]


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A path in a folder that does not exist says which folder."""
    with pytest.raises(StoreUnavailable, match=f"folder {tmp_path}/no/such does not exist"):
        await opened(tmp_path / "no/such/x.db")


async def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    """A path that is a folder cannot be opened."""
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await opened(tmp_path)


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A text file is not touched."""
    path = tmp_path / "notes.txt"
    path.write_text("dear diary " * 1000)
    with pytest.raises(StoreCorrupt, match="not a SQLite database: choose another path"):
        await opened(path)
    assert path.read_text() == "dear diary " * 1000


@pytest.mark.parametrize("mark", ["table", "application id"])
async def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path, mark: str) -> None:
    """A database with other tables, or another application's id, is not touched."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA application_id = 77" if mark == "application id" else "CREATE TABLE customers (name)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="belongs to another program"):
        await opened(path)
    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A file that a newer release wrote says so, and what to do."""
    path = tmp_path / "x.db"
    await opened(path)
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(migrations()) + 1}")
    db.close()
    with pytest.raises(StoreSchemaNewer, match="Upgrade trioflow"):
        await opened(path)


async def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """Migrations are one transaction: after a failure the file is as it was, and the next attempt succeeds."""
    path, faults = tmp_path / "x.db", Faults()
    faults.fail("CREATE TABLE activity", "SQLITE_IOERR")
    with pytest.raises(StoreUnavailable, match="the disk reported an error"):
        await opened(path, connect=faults.connect)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == []
    db.close()
    await opened(path)


async def test_several_may_be_first(tmp_path: Path) -> None:
    """Objects that open a new file at the same moment migrate it once."""
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(opened, tmp_path / "x.db")
    await opened(tmp_path / "x.db")


async def test_a_truncated_file_is_corrupt(tmp_path: Path) -> None:
    """A file that lost its end is reported as damaged, with what to do."""
    path = tmp_path / "x.db"
    async with SqliteStore(path) as store:
        for number in range(200):
            await subject(store).start(f"i{number}", request_id=f"r{number}", name="x" * 400)
    os.truncate(path, 8192)
    with pytest.raises(StoreCorrupt, match="restore a backup"):
        async with SqliteStore(path) as store:
            await subject(store).lock_turns(limit=1000)


async def test_a_garbled_file_is_corrupt(tmp_path: Path) -> None:
    """Pages that make no sense are reported as damage, and the store object survives it."""
    path = tmp_path / "x.db"
    async with SqliteStore(path) as store:
        for number in range(200):
            await subject(store).start(f"i{number}", request_id=f"r{number}", name="x" * 400)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    with pytest.raises(StoreCorrupt):
        async with SqliteStore(path) as store:
            with pytest.raises(StoreCorrupt):
                await store.read_kv("i1")
            await subject(store).lock_turns(limit=1000)


async def test_a_full_disk_is_full(tmp_path: Path) -> None:
    """When there is no room the write is refused as such, and the store goes on once there is room."""
    async with SqliteStore(tmp_path / "x.db") as store:
        run, writer = store._here()
        await writer.do(run, lambda: writer._database._connection.execute("PRAGMA max_page_count = 1").fetchone())
        s = subject(store)
        with pytest.raises(StoreFull, match="free some room"):
            for number in range(100):
                await s.start(f"i{number}", name="x" * 400)
        await writer.do(run, lambda: writer._database._connection.execute("PRAGMA max_page_count = 100000").fetchone())
        await s.start("more", name="x" * 400)


async def test_a_file_that_cannot_be_written_is_read_only(tmp_path: Path) -> None:
    """A file that may only be read is refused as such."""
    path = tmp_path / "x.db"
    await opened(path)

    def connect(name: str, **kwargs: Any) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{name}?mode=ro", uri=True, **kwargs)

    with pytest.raises(StoreReadOnly, match="right to write"):
        async with SqliteStore(path, connect=connect) as store:
            await subject(store).start("a")


@pytest.mark.parametrize(
    ("number", "cls"),
    [
        (errno.EROFS, StoreReadOnly),
        (errno.EACCES, StoreReadOnly),
        (errno.ENOSPC, StoreFull),
        (errno.EIO, StoreUnavailable),
    ],
)
async def test_what_the_file_system_says_is_translated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, cls: type[Exception]
) -> None:
    """Errors of the operating system become errors of the store, with the cause kept."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(cls) as caught:
        await opened(tmp_path / "x.db")
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_file_that_somebody_holds_is_unavailable(tmp_path: Path) -> None:
    """A write that another program keeps from happening fails after a while, and succeeds when it lets go."""
    path = tmp_path / "x.db"
    async with SqliteStore(path, patience=0.05) as store:
        s = subject(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another process holds the file"):
            await s.start("a")
        assert await store.read_instance("a") is None  # reading is possible
        other.execute("ROLLBACK")
        other.close()
        await s.start("a")


async def test_durability_is_one_of_two(tmp_path: Path) -> None:
    """A misspelt durability is refused before anything is opened."""
    with pytest.raises(ConfigurationError, match='"full" or "fast"'):
        SqliteStore(tmp_path / "x.db", durability="medium")  # type: ignore[arg-type]


async def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    """Verbs outside of `async with` raise with a hint."""
    store = SqliteStore(tmp_path / "x.db")
    with pytest.raises(StoreError, match="async with store"):
        await store.read_clock()
    assert "[open 0]" in repr(store)


def test_scripts_are_cut_into_statements() -> None:
    """A script is cut where statements end, not at semicolons inside of them."""
    script = "-- first; comment\nCREATE TABLE a (b TEXT DEFAULT ';');\nCREATE INDEX c\n  ON a (b);\n-- the end\n"
    assert [text.split("\n")[-1] for text in statements(script)] == [
        "CREATE TABLE a (b TEXT DEFAULT ';');",
        "  ON a (b);",
    ]
