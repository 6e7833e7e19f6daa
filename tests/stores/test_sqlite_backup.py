"""A backup of a SQLite store that is in use."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

import trioflow
from tests.chaos import worker
from tests.stores.sqlite_helpers import Faults, subject
from trioflow.errors import ConfigurationError, StoreError, StoreFull, StoreUnavailable
from trioflow.stores import SqliteStore
from trioflow.stores._sqlite import _backup
from trioflow.testing._store_contract import Clock


def count(path: Path) -> int:
    """How many instances a file holds; it has to be sound."""
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (instances,) = db.execute("SELECT count(*) FROM instance").fetchone()
        return int(instances)
    finally:
        db.close()


def slowly(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Copy page by page, and do something after each."""
    real = _backup._look_up

    def look_up(*progress: int) -> None:
        act()
        real(*progress)

    monkeypatch.setattr(_backup, "STEP", 1)
    monkeypatch.setattr(_backup, "_look_up", look_up)


async def test_a_copy_is_a_store(tmp_path: Path) -> None:
    """It opens, holds what was written, is its owner's alone, and nothing else is left beside it."""
    async with SqliteStore(tmp_path / "x.db") as store:
        await subject(store).start("a", attributes={"k": "v"})
        await store.backup(tmp_path / "copies of x?.db")
        await subject(store).start("b", request_id="another")
    (tmp_path / "x.db").unlink()
    assert {entry.name for entry in tmp_path.iterdir()} == {"x.db.workers", "copies of x?.db"}
    assert (tmp_path / "copies of x?.db").stat().st_mode & 0o777 == 0o600
    async with SqliteStore(tmp_path / "copies of x?.db") as copy:
        assert (await subject(copy).record("a")).attributes == {"k": "v"}
        assert await copy.read_instance("b") is None


async def test_leases_in_a_copy_run_out(tmp_path: Path) -> None:
    """What was leased when the copy was made can be taken from it a lease later."""
    clock = Clock()
    async with SqliteStore(tmp_path / "x.db", clock=clock) as store:
        await subject(store, clock).start("a")
        await subject(store, clock).turn(lease=30.0)
        await store.backup(tmp_path / "copy.db")
    async with SqliteStore(tmp_path / "copy.db", clock=clock) as copy:
        s = subject(copy, clock)
        await s.nothing_eligible("its lease runs")
        s.advance(31)
        assert (await s.turn()).attempts == 2


async def test_writers_go_on_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a copy is made others commit and the log is folded; the copy is of the moment at which it began."""
    pages, written = threading.Semaphore(0), threading.Semaphore(0)
    slowly(monkeypatch, lambda: (pages.release(), written.acquire()))
    async with SqliteStore(tmp_path / "x.db", durability="fast") as store, trio.open_nursery() as nursery:
        s = subject(store)
        for number in range(30):
            await s.start(f"i{number}", name="x" * 500)

        async def write() -> None:
            for number in range(30, 60):
                await trio.to_thread.run_sync(pages.acquire)
                await s.start(f"i{number}", name="x" * 500)
                written.release()
            for _ in range(1000):
                written.release()

        nursery.start_soon(write)
        with trio.fail_after(60):
            await store.backup(tmp_path / "copy.db")
        for _ in range(1000):
            pages.release()
    assert count(tmp_path / "copy.db") == 30
    assert count(tmp_path / "x.db") == 60


async def test_a_cancelled_backup_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends between two steps, and there is no file."""
    with trio.CancelScope() as scope:
        slowly(monkeypatch, lambda: trio.from_thread.run_sync(scope.cancel))
        async with SqliteStore(tmp_path / "x.db") as store:
            await store.backup(tmp_path / "copy.db")
    assert scope.cancelled_caught
    assert {entry.name for entry in tmp_path.iterdir()} == {"x.db", "x.db.workers"}


async def test_a_file_that_exists_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that was there before nor one that somebody else makes meanwhile."""
    target = tmp_path / "copy.db"
    async with SqliteStore(tmp_path / "x.db") as store:
        with pytest.raises(ConfigurationError, match="never replaces"):
            await store.backup(tmp_path / "x.db")
        slowly(monkeypatch, lambda: target.write_text("mine"))
        with pytest.raises(ConfigurationError, match="never replaces"):
            await store.backup(target)
    assert target.read_text() == "mine"
    assert not list(tmp_path.glob("*.part"))


async def test_what_cannot_be_backed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in memory, a store that is not open, a folder that is not there, a full disk: each says what to do."""
    async with SqliteStore(":memory:") as memory:
        with pytest.raises(ConfigurationError, match="in a file"):
            await memory.backup(tmp_path / "copy.db")
    faults = Faults()
    store = SqliteStore(tmp_path / "x.db", connect=faults.connect)
    with pytest.raises(StoreError, match="not open here"):
        await store.backup(tmp_path / "copy.db")
    async with store:
        with pytest.raises(StoreUnavailable, match=r"backing it up to .*no/copy.db failed"):
            await store.backup(tmp_path / "no" / "copy.db")
        faults.fail("sqlite_schema", "SQLITE_FULL")
        with pytest.raises(StoreFull, match="free some room"):
            await store.backup(tmp_path / "copy.db")
    assert not list(tmp_path.glob("copy*"))


async def test_a_copy_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the content, then the name, then the folder: power loss leaves all of it or none."""
    done: list[str] = []
    sync, link = os.fsync, os.link

    def note_sync(fd: int) -> None:
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file")
        sync(fd)

    def note_link(*args: Any) -> None:
        done.append("name")
        link(*args)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "link", note_link)
    async with SqliteStore(tmp_path / "x.db") as store:
        await store.backup(tmp_path / "copy.db")
    assert done == ["file", "name", "folder"]


def test_the_example_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page on SQLite shows how it is done."""
    page = (Path(__file__).parents[2] / "docs" / "sqlite.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert count(tmp_path / "shop-backup.db") == 0


async def test_a_running_system_goes_on_from_its_copy(tmp_path: Path) -> None:
    """Orders that were under way when the copy was made are finished from it."""
    options = trioflow.RuntimeOptions(turn_lease=0.5, activity_lease=0.5)
    store = SqliteStore(tmp_path / "x.db", durability="fast")
    async with trioflow.open_runtime(worker.app, store, options=options) as runtime:
        for number in range(5):
            await runtime.client.start(worker.order, number, id=f"order-{number}")
        await store.backup(tmp_path / "copy.db")
    with trio.fail_after(60):
        async with trioflow.open_runtime(worker.app, SqliteStore(tmp_path / "copy.db"), options=options) as runtime:
            for number in range(5):
                handle = runtime.client.handle(f"order-{number}")
                await handle.raise_event("approved", number)
                assert await handle.result() == worker.expected(number)
