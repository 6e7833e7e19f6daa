"""A history that lost its end, since the key of a row was damaged, is not gone on with as if it were whole."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
import trio

import trioflow
from tests.postgres_server import fresh_schema, shared_url
from tests.runtime.programs import running
from tests.stores.postgres_helpers import ask
from trioflow import durable
from trioflow.abc import Store
from trioflow.stores import PostgresStore, SqliteStore

Column = Literal["instance", "execution"]
ELSEWHERE = {"instance": "'somebody else'", "execution": "77"}


class Damaged:
    """A store of one kind, and the means to damage it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.path, self.schema = folder / "test.db", fresh_schema()
        self.on_file = kind == "sqlite"

    def store(self) -> Store:
        """Opened anew."""
        return SqliteStore(self.path) if self.on_file else PostgresStore(shared_url(), schema=self.schema)

    def lose_the_last_event(self, instance: str, column: Column) -> None:
        """Its row is there, and no longer where it belongs."""
        table = "event" if self.on_file else f"{self.schema}.event"
        last = f"id = (SELECT max(id) FROM {table} WHERE instance = '{instance}')"
        change = f"UPDATE {table} SET {column} = {ELSEWHERE[column]} WHERE instance = '{instance}' AND {last}"
        if self.on_file:
            with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
                assert db.execute(change).rowcount == 1
        else:
            ask(shared_url(), change)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("column", ELSEWHERE)
async def test_what_lost_its_end_is_parked_and_not_gone_on_with(kind: str, column: Column, tmp_path: Path) -> None:
    """The runtime parks it and says why, whoever reads it is told, and nobody else notices."""
    app = trioflow.App("damaged")

    @app.orchestration
    async def ask_twice() -> list[str]:
        return [await durable.wait_event("answer", str), await durable.wait_event("answer", str)]

    damaged = Damaged(kind, tmp_path)
    async with running(app, damaged.store()) as client:
        for name in ("bad", "good"):
            handle = await client.start(ask_twice, id=name)
            await handle.raise_event("answer", "first")
            with trio.fail_after(60):
                while (await handle.info()).history_length < 4 or (await handle.info()).queued:
                    await trio.lowlevel.checkpoint()
    damaged.lose_the_last_event("bad", column)
    async with running(app, damaged.store()) as client:
        for name in ("bad", "good"):
            await client.raise_event(name, "answer", "second")
        assert await client.handle("good").result(timeout=20) == ["first", "second"]
        with pytest.raises(trioflow.InstanceParked, match=r"StoreCorrupt.* 3 of .* 4 events") as parked:
            await client.handle("bad").result(timeout=20)
        assert "bad" in str(parked.value)
        for read in (client.history, client.tree):
            with pytest.raises(trioflow.StoreCorrupt) as caught:
                await read("bad")
            assert caught.value.instance == "bad"
        await client.terminate("bad")
        with pytest.raises(trioflow.OrchestrationTerminated):
            await client.handle("bad").result(timeout=20)
