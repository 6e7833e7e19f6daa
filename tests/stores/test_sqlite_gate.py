"""The gate between processes: held around whatever writes or folds the log, and found again if somebody removes it."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.crash_images.workload import Marks, Task
from tests.stores.sqlite_helpers import subject
from trioflow.errors import StoreUnavailable
from trioflow.stores import SqliteStore
from trioflow.stores._sqlite import _database
from trioflow.stores._sqlite._gate import Gate


def is_held(gate: Path) -> bool:
    """Whether somebody holds the gate."""
    if not gate.exists():
        return False
    fd = os.open(gate, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


async def test_it_is_held_around_all_that_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write transaction, from its beginning to behind its commit, each checkpoint, each migration, each setting
    that may write, and the close: nothing of it happens without the gate, and reading needs no gate.
    """
    monkeypatch.setattr(_database, "CHECKPOINT_BATCHES", 2)
    gate, seen = tmp_path / "x.db.workers" / "gate", Counter[str]()

    class Watched(sqlite3.Connection):
        writes = False

        def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
            verb = " ".join(text.replace("(", " ").split()[:2])
            if text == "BEGIN IMMEDIATE":
                self.writes = True
            if self.writes or verb in ("PRAGMA wal_checkpoint", "PRAGMA journal_mode"):
                assert is_held(gate), text
                seen[verb] += 1
            found = super().execute(text, *values)
            if text in ("COMMIT", "ROLLBACK"):
                assert is_held(gate) is self.writes, "it is let go of behind the commit only"
                self.writes = False
            return found

        def close(self) -> None:
            assert is_held(gate)
            seen["close"] += 1
            super().close()

    def connect(*args: Any, uri: bool = False, **kwargs: Any) -> sqlite3.Connection:
        if uri:  # the reader's, which can do nothing of it
            assert "mode=ro" in args[0]
            seen["reader"] += 1
            return sqlite3.connect(*args, uri=True, **kwargs)
        return sqlite3.connect(*args, factory=Watched, **kwargs)

    async with SqliteStore(tmp_path / "x.db", connect=connect) as store:
        async with trio.open_nursery() as nursery:
            for name in ("a", "b", "c"):
                nursery.start_soon(Task(store, Marks(f"{tmp_path}/marks"), name).round, 0)
                nursery.start_soon(store.read_kv, name)
        for name in ("d", "e", "f"):  # with nobody to share a transaction with
            await Task(store, Marks(f"{tmp_path}/marks"), name).round(0)
    assert seen["close"] == 1
    assert seen["reader"] == 1
    assert seen["CREATE TABLE"]
    assert seen["PRAGMA wal_checkpoint"] >= 3
    assert seen["COMMIT"] >= 6


def test_a_gate_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """Whoever held the old file and whoever comes new hold the same one from the next time on."""
    folder = tmp_path / "x.db.workers"
    one, two = Gate.at(folder, 0.01), Gate.at(folder, 0.01)
    with one.held():
        pass
    shutil.rmtree(folder)
    with two.held(), pytest.raises(StoreUnavailable, match="held the store"), one.held():
        raise AssertionError
    (folder / "gate").unlink()
    (folder / "gate").touch()
    with one.held(), pytest.raises(StoreUnavailable, match="held the store"), two.held():
        raise AssertionError
    for gate in (one, two):
        gate.close()


async def test_a_gate_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    """While the folder cannot be made writing is refused, and reading is not; afterwards all is well."""
    folder = tmp_path / "x.db.workers"
    async with SqliteStore(tmp_path / "x.db") as store:
        shutil.rmtree(folder)
        folder.touch()
        with pytest.raises(StoreUnavailable):
            await subject(store).start("a")
        assert await store.read_instance("a") is None
        folder.unlink()
        await subject(store).start("a")


async def test_another_program_may_read_meanwhile(tmp_path: Path) -> None:
    """A reader that holds an old state keeps nobody from writing and folding, and reads that state to its end."""
    async with SqliteStore(tmp_path / "x.db") as store:
        await subject(store).start("a")
        reader = sqlite3.connect(f"file:{tmp_path / 'x.db'}?mode=ro", uri=True, isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM instance").fetchone() == (1,)
        await subject(store).start("b", request_id="another")
        run, writer = store._here()
        writer._database._batches = 10 * _database.CHECKPOINT_BATCHES
        await writer.do(run, lambda: writer._database.checkpoint(idle=True))
        assert writer._database._batches == 0, "the checkpoint was made"
        assert reader.execute("SELECT count(*) FROM instance").fetchone() == (1,)
        reader.close()
