"""The floor's writer for a SQLite file: one thread, which takes whatever waits into one transaction.

Laws: nobody is answered before COMMIT has returned; what fails ends the measurement. Called by `floor.py`.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import outcome
import trio

from tests.bench.commits import DATA, PAYLOAD, Commit

TABLES = """
CREATE TABLE instance (
    instance TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL, revision INTEGER NOT NULL, due_at REAL, lock_until REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX instance_due ON instance (due_at, revision, instance) WHERE due_at IS NOT NULL;
CREATE TABLE event (
    instance TEXT NOT NULL, id INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, data BLOB NOT NULL, payload BLOB,
    PRIMARY KEY (instance, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE message (
    instance TEXT NOT NULL, seq INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (instance, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE activity (
    instance TEXT NOT NULL, id INTEGER NOT NULL, due_at REAL NOT NULL, data BLOB NOT NULL, payload BLOB NOT NULL,
    PRIMARY KEY (instance, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX activity_due ON activity (due_at, id, instance);
CREATE TABLE request (request_id TEXT NOT NULL PRIMARY KEY, at REAL NOT NULL) STRICT, WITHOUT ROWID;
"""

Waiting = tuple[trio.lowlevel.Task, Commit]


@asynccontextmanager
async def sqlite_writer(path: Path, *, full: bool) -> AsyncIterator[Callable[[Commit], Awaitable[None]]]:
    """What writes a transaction and returns once it is kept; `full`: once it has been synced."""
    waiting = queue.SimpleQueue[Waiting | None]()
    token = trio.lowlevel.current_trio_token()
    thread = threading.Thread(target=_work, args=(path, full, waiting, token), daemon=True)
    thread.start()

    async def write(commit: Commit) -> None:
        waiting.put((trio.lowlevel.current_task(), commit))
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    try:
        yield write
    finally:
        waiting.put(None)
        thread.join()


def _work(path: Path, full: bool, waiting: queue.SimpleQueue[Waiting | None], token: trio.lowlevel.TrioToken) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute(f"PRAGMA synchronous = {'full' if full else 'normal'}")
    connection.executescript(TABLES)
    over = False
    while not over:
        batch: list[Waiting] = []
        over = not _gather(waiting, batch)
        try:
            _commit(connection, batch)
        except sqlite3.Error as exc:
            token.run_sync_soon(_answer, batch, exc)
        else:
            token.run_sync_soon(_answer, batch, None)
    connection.close()


def _gather(waiting: queue.SimpleQueue[Waiting | None], batch: list[Waiting]) -> bool:
    """Take all that waits, one at least; False after the last."""
    while not batch or not waiting.empty():
        one = waiting.get()
        if one is None:
            return False
        batch.append(one)
    return True


def _answer(batch: list[Waiting], failure: sqlite3.Error | None) -> None:
    for task, _ in batch:
        trio.lowlevel.reschedule(task, outcome.Value(None) if failure is None else outcome.Error(failure))


def _commit(connection: sqlite3.Connection, batch: list[Waiting]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for _, commit in batch:
        write_rows(connection, commit)
    connection.execute("COMMIT")


def write_rows(connection: sqlite3.Connection, commit: Commit) -> None:
    """What is in one transaction."""
    instance = commit.instance
    if commit.begins:
        connection.execute("INSERT INTO instance VALUES (?, 'pending', 0, 0.0, NULL)", (instance,))
        connection.execute("INSERT INTO message VALUES (?, 0, ?)", (instance, DATA))
        connection.execute("INSERT INTO request VALUES (?, 0.0)", (instance,))
        return
    if commit.takes:
        connection.execute("UPDATE instance SET lock_until = 30.0, due_at = 30.0 WHERE instance = ?", (instance,))
        return
    connection.execute(
        "UPDATE instance SET state = ?, revision = revision + 1, due_at = ? WHERE instance = ?",
        ("ended" if commit.ends else "running", None if commit.ends else 30.0, instance),
    )
    if commit.reads:
        connection.execute("DELETE FROM message WHERE instance = ? AND seq = 0", (instance,))
    connection.executemany(
        "INSERT INTO event VALUES (?, ?, 0.0, ?, ?, ?)",
        [(instance, event, kind, DATA, PAYLOAD) for event, kind in commit.events],
    )
    connection.executemany(
        "INSERT INTO activity VALUES (?, ?, 30.0, ?, ?)", [(instance, ask, DATA, PAYLOAD) for ask in commit.asks]
    )
    connection.executemany(
        "DELETE FROM activity WHERE instance = ? AND id = ?", [(instance, ask) for ask in commit.settles]
    )
