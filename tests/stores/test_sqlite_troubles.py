"""What the SQLite store makes of trouble beside its file: no descriptors, removed folders, a clock that is set back."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.stores.sqlite_helpers import subject
from trioflow.errors import ConfigurationError, StoreClosed, StoreCorrupt, StoreFull, StoreReadOnly, StoreUnavailable
from trioflow.stores import MemoryStore, SqliteStore
from trioflow.stores._rules import SteadyClock
from trioflow.stores._sqlite._gate import Presence
from trioflow.testing._store_contract import Clock


async def look(store: SqliteStore) -> None:
    """Have the store's thread look around now."""
    run, writer = store._here()

    def now() -> None:
        writer._place.check()
        writer._look_for_others()

    await writer.do(run, now)


async def test_a_look_that_fails_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a free descriptor nobody else is seen, which is said once, and the store goes on."""

    def scandir(path: Any) -> Any:
        raise OSError(errno.EMFILE, "too many open files")

    async with SqliteStore(tmp_path / "x.db") as store:
        monkeypatch.setattr(os, "scandir", scandir)
        await look(store)
        await look(store)
        monkeypatch.undo()
        await subject(store).start("a")
        assert await store.read_instance("a") is not None
    assert caplog.text.count("cannot see who else is alive") == 1


async def test_a_removed_folder_of_workers_is_made_again(tmp_path: Path) -> None:
    """Whoever removes the folder beside the file does not end the store, and its files come back."""
    async with SqliteStore(tmp_path / "x.db") as store:
        await store.register_worker("w")
        shutil.rmtree(tmp_path / "x.db.workers")
        await look(store)
        assert len(list((tmp_path / "x.db.workers").glob("*.alive"))) == 2
        await subject(store).start("a")


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_is_gone_ends_the_store(tmp_path: Path, replaced: bool) -> None:
    """What is written to a removed or replaced file would be lost, so the store says so and ends."""
    path = tmp_path / "x.db"
    async with SqliteStore(path) as store:
        _, writer = store._here()
        path.rename(tmp_path / "old.db")
        if replaced:
            path.touch()
        writer._looked = 0.0
        with pytest.raises(StoreClosed, match="was replaced" if replaced else "was removed"):
            for _ in range(1000):
                await store.read_clock()


async def test_a_full_disk_leaves_nothing_of_an_announcement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that could not be announced is told why, and may try again."""

    def pwrite(*args: Any) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    async with SqliteStore(tmp_path / "x.db") as store:
        monkeypatch.setattr(os, "pwrite", pwrite)
        with pytest.raises(StoreFull, match="free some room"):
            await store.register_worker("w")
        monkeypatch.undo()
        await store.register_worker("w")


def test_an_announcement_that_fails_gives_its_lock_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is left behind."""
    monkeypatch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        Presence(tmp_path).announce("w")
    assert list(tmp_path.iterdir()) == []


async def test_a_place_that_cannot_be_written_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An existing file on a read-only mount says what to do."""
    async with SqliteStore(tmp_path / "x.db"):
        pass
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StoreReadOnly, match="mount its file system"):
        async with SqliteStore(tmp_path / "x.db"):
            raise AssertionError


async def test_paths_that_cannot_be(tmp_path: Path) -> None:
    """A NUL in the path, and a file where the folder of workers has to be, are named."""
    with pytest.raises(ConfigurationError, match="NUL"):
        SqliteStore("a\0b")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreCorrupt, match="no regular file"):
        async with SqliteStore(tmp_path / "pipe"):
            raise AssertionError
    assert not (tmp_path / "pipe.workers").exists()
    (tmp_path / "x.db.workers").touch()
    with pytest.raises(StoreUnavailable, match="Move it away"):
        async with SqliteStore(tmp_path / "x.db"):
            raise AssertionError


def test_a_steady_clock_goes_on() -> None:
    """When the wall clock is set back the time goes on at the machine's pace."""
    wall, machine = [100.0], [5.0]
    clock = SteadyClock(lambda: wall[0], lambda: machine[0])
    assert clock() == 100.0
    wall[0], machine[0] = 40.0, 7.0
    assert clock() == 102.0
    wall[0] = 200.0
    assert clock() == 200.0


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_an_instance_hears_messages_after_the_clock_was_set_back(tmp_path: Path, kind: str) -> None:
    """What a store that is opened anew, on an earlier clock, is told wakes the instances that are there."""
    clock = Clock()
    store: Any = MemoryStore(clock) if kind == "memory" else SqliteStore(tmp_path / "x.db", clock=clock)
    async with store:
        await subject(store, clock).start("a")
    later = clock.now
    clock.now -= 3600
    if kind == "memory":
        store._steady = SteadyClock(clock, None)
    else:
        store = SqliteStore(tmp_path / "x.db", clock=clock)
    async with store:
        s = subject(store, clock)
        assert await store.read_clock() < later
        await s.post("a", request_id="another")
        assert len((await s.lock_turns()).turns) == 1
