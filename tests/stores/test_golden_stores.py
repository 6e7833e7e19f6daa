"""A store that an earlier release left is opened, read, and worked off to its end, on every kind of store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio

import trioflow
from tests.histories import make, programs_0001 as programs
from trioflow.abc import State, Store
from trioflow.errors import OrchestrationFailed
from trioflow.stores import SqliteStore, open_store
from trioflow.stores._postgres._requests import digest
from trioflow.testing import check_replay

DUMP = make.TARGET.read_text()
STATES = {
    "completed": State.COMPLETED,
    "failed": State.FAILED,
    "cancelled": State.CANCELLED,
    "terminated": State.TERMINATED,
    "suspended": State.SUSPENDED,
    "parked": State.PARKED,
    "pending": State.PENDING,
    "delayed": State.PENDING,
    "waiting": State.WAITING,
}


def _load(path: Path) -> None:
    """The golden store as a file."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(DUMP)


def _copy_to_postgres(path: Path, address: str, schema: str) -> None:
    """The same rows in PostgreSQL, whose tables are named alike but for what each keeps apart."""
    with closing(sqlite3.connect(path)) as db, psycopg.connect(address) as connection:
        for table in ("instance", "event", "message", "kv", "activity", "request", "status"):
            cursor = db.execute(f"SELECT * FROM {table}")
            rows = [dict(zip((column[0] for column in cursor.description), row, strict=True)) for row in cursor]
            for row in rows:
                _insert(connection, schema, table, row)


def _insert(connection: Any, schema: str, table: str, row: dict[str, Any]) -> None:
    if table == "status":
        connection.execute(
            f"UPDATE {schema}.instance SET status = %(value)s WHERE instance = %(instance)s",
            row,
        )
        return
    if table == "instance":
        counted = ("next_seq", "queued", "mail", "mail_bytes", "first_at", "control_at")
        row = {name: value for name, value in row.items() if name not in counted}
        link = [row["parent"], row.pop("parent_execution"), row.pop("parent_event_id")]
        row |= {"parent_id": link[0], "parent": None if link[0] is None else json.dumps(link)}
    if table == "kv":
        row = {**row, "digest": digest(row["key"])}
    for name in ("control", "mailbox", "cancelled", "created"):
        if name in row:
            row[name] = bool(row[name])
    names, marks = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    connection.execute(f"INSERT INTO {schema}.{table} ({names}) VALUES ({marks})", row)


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str) -> AsyncIterator[Store]:
    """The golden store, open."""
    path = tmp_path / "golden.db"
    _load(path)
    opened: Store = SqliteStore(path) if request.param == "sqlite" else open_store(postgres_url)
    async with opened:
        if request.param == "postgres":
            address, _, schema = postgres_url.partition("schema=")
            await trio.to_thread.run_sync(_copy_to_postgres, path, address.rstrip("?&"), schema)
        yield opened


async def test_every_state_is_there(store: Store) -> None:
    """What the records say is what was written down."""
    for name, state in STATES.items():
        record = await store.read_instance(name)
        assert record is not None
        assert record.state is state


async def test_every_history_is_replayed(store: Store) -> None:
    """Each of them, by the programs that wrote them."""
    async with trioflow.connect(store, programs.app) as client:
        for name in programs.WANTED:
            history = await client.history(name)
            if history:
                check_replay(programs.app, history)


async def test_it_is_worked_off(store: Store) -> None:
    """Once events are raised, pauses ended and the missing tag taken, everything ends as its program says."""
    options = trioflow.RuntimeOptions(tags=None, poll_interval=0.1)
    async with trioflow.open_runtime(programs.app, store, options=options) as runtime:
        client = runtime.client
        await client.resume("parked")
        await client.resume("suspended")
        for name in programs.GO:
            await client.raise_event(name, "go", 7)
        for name, wanted in programs.WANTED.items():
            if not isinstance(wanted, type):
                assert await client.handle(name).result(timeout=30) == wanted, name
            elif issubclass(wanted, programs.SoldOut):
                with pytest.raises(OrchestrationFailed) as failed:
                    await client.handle(name).result(timeout=30)
                assert isinstance(failed.value.__cause__, wanted), name
            else:
                with pytest.raises(wanted):
                    await client.handle(name).result(timeout=30)
