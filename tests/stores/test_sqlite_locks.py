"""Locks between processes, checkpoints, and what happens at the edges of a store's life."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.stores.sqlite_helpers import Faults, subject
from trioflow.errors import StoreUnavailable
from trioflow.stores import SqliteStore
from trioflow.stores._sqlite import _database
from trioflow.stores._sqlite._gate import Gate, Presence, file_name, remove, take


def test_a_gate_lets_one_through(tmp_path: Path) -> None:
    """While one holds the gate another waits and then gives up; the holder may take it again."""
    one, two = Gate.at(tmp_path, 5.0), Gate.at(tmp_path, 0.01)
    with one.held():
        with one.held():
            pass
        with pytest.raises(StoreUnavailable, match="held the store"), two.held():
            raise AssertionError
    with two.held():
        pass
    one.close()
    two.close()


def test_a_lock_on_a_removed_file_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever locks a file that was removed meanwhile tries again with the file that is there now."""
    path = tmp_path / "x.alive"
    first = take(path, create=True)
    assert first is not None
    assert take(path, create=True) is None
    real, opened = os.open, 0

    def open_late(*args: Any) -> int:
        nonlocal opened
        fd = real(*args)
        opened += 1
        if opened == 1:
            remove(path, first)
        elif opened == 2:
            path.unlink()
            path.touch()
        return fd

    monkeypatch.setattr(os, "open", open_late)
    second = take(path, create=True)
    assert second is not None
    assert opened >= 3
    assert os.fstat(second).st_ino == path.stat().st_ino
    os.close(second)


def test_what_is_not_there_cannot_be_taken(tmp_path: Path) -> None:
    """Looking for the dead makes no files; a folder that is gone is an error."""
    assert take(tmp_path / "x.alive", create=False) is None
    with pytest.raises(FileNotFoundError):
        take(tmp_path / "gone/x.alive", create=True)


def test_a_lock_that_fails_closes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks is an error, and no descriptor is left open."""

    def refuse(fd: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No locks"):
        take(tmp_path / "x.alive", create=True)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_dead_are_found_until_they_are_buried(tmp_path: Path) -> None:
    """A file that nobody locks belongs to the dead; if it is left, somebody else may find it."""
    (tmp_path / file_name("w")).write_text("w")
    presence = Presence(tmp_path)
    for _ in range(2):
        ((_, dead),) = presence.others()
        assert dead is not None
        assert dead.owner == "w"
        dead.leave()
    ((_, dead),) = presence.others()
    assert dead is not None
    dead.bury()
    assert list(presence.others()) == []


async def test_the_dead_are_left_to_others_if_they_cannot_be_seen_to(tmp_path: Path) -> None:
    """If expiring a dead worker's leases fails its file stays, and the next look tries again."""
    faults = Faults()
    path = tmp_path / "x.db"
    async with SqliteStore(path, connect=faults.connect):
        pass
    dead = tmp_path / "x.db.workers" / file_name("w")
    dead.write_text("w")
    faults.fail("lock_worker", "SQLITE_IOERR")
    async with SqliteStore(path, connect=faults.connect) as store:
        with trio.fail_after(60):
            while dead.exists():
                await trio.lowlevel.checkpoint()
                await store.read_clock()
    assert not faults.rules, "the first look met the fault"


async def log_of(path: Path, faults: Faults) -> int:
    """The size of the log after two hundred commits."""
    async with SqliteStore(path, durability="fast", connect=faults.connect) as store:
        for number in range(200):
            await subject(store).start(f"i{number}", request_id=f"r{number}", name="x" * 500)
        return path.with_name(f"{path.name}-wal").stat().st_size


async def test_the_log_is_folded_into_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After enough commits a checkpoint is made, so the log stops growing; one that fails is tried again.

    How many are enough depends on whether somebody waits, which no test decides: 10 commits, or up to 40.
    """
    unfolded = await log_of(tmp_path / "x.db", Faults())
    monkeypatch.setattr(_database, "CHECKPOINT_BATCHES", 10)
    faults = Faults()
    faults.fail("wal_checkpoint", "SQLITE_BUSY")
    assert await log_of(tmp_path / "y.db", faults) < unfolded / 2
    assert faults.seen.count("PRAGMA wal_checkpoint(PASSIVE)") >= 4


async def test_a_run_that_has_ended_is_not_told(tmp_path: Path) -> None:
    """Hints for a trio run that is over are dropped without harm."""
    store = SqliteStore(tmp_path / "x.db")
    async with store:
        _, writer = store._here()

        async def other() -> None:
            await store.__aenter__()  # and never leaves

        await trio.to_thread.run_sync(trio.run, other)
        await subject(store).start("a")
        for run in writer._runs():
            run.tell_all()
        ended = next(run for run in writer._runs() if run is not store._here()[0])
        with store._lock:
            del store._runs[ended.token]


async def test_a_closed_database_that_is_asked_for_news_has_none(tmp_path: Path) -> None:
    """While the connection is given up there is no news; one that fails says that there may be."""
    faults = Faults()
    async with SqliteStore(tmp_path / "x.db", connect=faults.connect) as store:
        run, writer = store._here()
        database = writer._database

        def look() -> list[bool]:
            found = [database.changed_by_others(), database.changed_by_others()]
            faults.fail("data_version", "SQLITE_IOERR")
            found.append(database.changed_by_others())
            database._distrust()
            found.append(database.changed_by_others())
            return found

        assert (await writer.do(run, look))[1:] == [False, True, False]
        await store.read_clock()
