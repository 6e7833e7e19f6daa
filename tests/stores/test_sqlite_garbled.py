"""A text in a SQLite file that is no UTF-8 any more: `StoreCorrupt` says where; nobody gets a wrong result."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

import trioflow
from tests.stores.sqlite_helpers import subject
from trioflow import durable
from trioflow.abc import LockTurns, TagFilter
from trioflow.errors import InstanceParked, OrchestrationTerminated, StoreCorrupt
from trioflow.stores import SqliteStore
from trioflow.stores._sqlite._opening import migrations, statements
from trioflow.testing._store_contract._subject import CLAIM, an_item

BAD, GOOD = "order-bad", "order-good"


def text_columns() -> list[tuple[str, str]]:
    """Table and column of each text of an instance, keys left out: a row whose key is damaged is not found, or found
    by its place.
    """
    with closing(sqlite3.connect(":memory:")) as db:
        for script in migrations():
            for statement in statements(script):
                db.execute(statement)
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return [
            (table, name)
            for table in sorted(tables)
            for _, name, kind, _, _, key in db.execute(f"PRAGMA table_info({table})")
            if kind == "TEXT" and table != "session" and (not key or (table, name) == ("kv", "key"))
        ]


def garble(path: Path, table: str, column: str) -> None:
    """Set the high bit of the first byte, in each row of one instance; where there was nothing is something now."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.create_function("garbled", 1, lambda text: b"\xff" + (text or b"x")[1:])
        where = f"instance = '{BAD}'"
        rows = db.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()
        assert rows != (0,), f"there is nothing in {table} to be damaged"
        set_to = f"CAST(garbled(CAST({column} AS BLOB)) AS TEXT)"
        db.execute(f"UPDATE {table} SET {column} = {set_to} WHERE {where} AND {column} IS NOT {set_to}")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


# -- through the store


async def fill(path: Path) -> None:
    """Two instances with something in each table."""
    async with SqliteStore(path, durability="fast") as store:
        s = subject(store)
        for name in (BAD, GOOD):
            await s.start(name, request_id=f"start {name}", version="1.0.0", attributes={"k": "v"})
        for turn in (await s.lock_turns()).turns:
            items = (an_item(1, tag="gpu", session="s"),)
            await s.commit(turn, "Scheduled", activities=items, kv_set={"k": b"1"}, status=b"1")
        for name in (BAD, GOOD):
            await s.post(name, request_id=f"post {name}")


def verbs(store: SqliteStore, instance: str) -> list[Callable[[], Awaitable[Any]]]:
    """All that reads."""
    s = subject(store)
    return [
        lambda: store.read_instance(instance),
        lambda: store.read_history(instance, 1),
        lambda: store.read_kv(instance),
        lambda: s.start(instance, request_id=f"start {instance}", if_exists="attach"),
        lambda: s.post(instance, request_id=f"post {instance}"),
        lambda: s.lock_items(tags=TagFilter(untagged=True, tags=None), sessions=CLAIM),
        lambda: store.lock_turns(LockTurns(worker="w", limit=10, lease=30.0)),
    ]


@pytest.mark.parametrize(("table", "column"), text_columns())
async def test_a_garbled_text_is_damage_at_a_place(tmp_path: Path, table: str, column: str) -> None:
    """Each verb that reads it says in which table, in which column and whose it is; verbs about others do not mind."""
    await fill(tmp_path / "x.db")
    garble(tmp_path / "x.db", table, column)
    async with SqliteStore(tmp_path / "x.db") as store:
        met = []
        for verb in verbs(store, BAD):
            try:
                await verb()
            except StoreCorrupt as exc:
                met.append(exc)
        for verb in verbs(store, GOOD)[:5]:
            await verb()
    assert met
    for exc in met:
        known = column != "instance"
        whose = BAD if known else f"\ufffd{BAD[1:]}"
        assert f"column {column} of table {table}, instance '{whose}', is no text any more" in str(exc)
        assert "restore a backup" in str(exc)
        assert exc.instance == (BAD if known else None)
        assert isinstance(exc.__cause__, Exception)


async def test_a_garbled_session_is_damage(tmp_path: Path) -> None:
    """A session is no instance's, and the name of its worker may be damaged as any other text."""
    async with SqliteStore(tmp_path / "x.db") as store:
        await subject(store).scheduled(an_item(1, session="s"))
        item = await subject(store).item(sessions=CLAIM)
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as db:
        db.execute("UPDATE session SET worker = CAST(x'ff41' AS TEXT)")
    async with SqliteStore(tmp_path / "x.db") as store:
        with pytest.raises(StoreCorrupt, match="column worker of table session, is no text any more"):
            await subject(store).settle(item.lock)


async def test_a_garbled_schema_is_damage(tmp_path: Path) -> None:
    """The text from which SQLite knows the tables is one, too."""
    await fill(tmp_path / "x.db")
    content = (tmp_path / "x.db").read_bytes()
    assert content.count(b"history_bytes") == 1
    (tmp_path / "x.db").write_bytes(content.replace(b"history_bytes", b"history_b\xfftes"))
    async with SqliteStore(tmp_path / "x.db") as store:
        for verb in (lambda: store.read_instance(GOOD), subject(store).lock_turns):
            with pytest.raises(StoreCorrupt, match=r"no such column: history_bytes.*schema is damaged"):
                await verb()


# -- through a runtime

app = trioflow.App("garbled")


@app.activity
async def early(number: int) -> str:
    """Runs before the damage."""
    return f"early {number}"


@app.activity
async def late(number: int) -> str:
    """Waits in the store while the damage is done."""
    return f"late {number}"


@app.orchestration
async def order(number: int) -> list[Any]:
    """A step, then a step and an event that are both still to come."""
    durable.kv["number"] = number
    done = await early(number)
    durable.set_status("ready")
    return [done, *await durable.gather(late.options(tag="late")(number), durable.wait_event("go"))]


async def begin(path: Path) -> None:
    """Two orders that wait, each with an activity that nobody here takes."""
    async with trioflow.open_runtime(app, SqliteStore(path, durability="fast")) as runtime:
        for number, name in enumerate((BAD, GOOD)):
            handle = await runtime.client.start(order, number, id=name)
            async for status in handle.watch():
                if status == "ready":
                    break
    async with trioflow.connect(SqliteStore(path, durability="fast"), app) as client:
        for name in (BAD, GOOD):
            await client.raise_event(name, "go", "gone")


async def carry_on(path: Path) -> dict[str, str]:
    """Let another runtime go on; what became of both orders and of the runtime."""
    outcomes = {"runtime": "well"}

    async def finish(client: trioflow.Client, number: int, name: str) -> None:
        try:
            result = await client.handle(name).result()
        except (StoreCorrupt, InstanceParked) as exc:
            outcomes[name] = type(exc).__name__
        else:
            assert result == [f"early {number}", f"late {number}", "gone"]
            outcomes[name] = "right"

    options = trioflow.RuntimeOptions(tags=None)
    try:
        async with trioflow.open_runtime(app, SqliteStore(path, durability="fast"), options=options) as runtime:
            async with trio.open_nursery() as nursery:
                for number, name in enumerate((BAD, GOOD)):
                    nursery.start_soon(finish, runtime.client, number, name)
    except* StoreCorrupt:
        outcomes["runtime"] = "StoreCorrupt"
    return outcomes


@pytest.mark.parametrize(
    ("table", "column"),
    [
        pytest.param(*place, id=".".join(place), marks=() if place == ("event", "kind") else pytest.mark.slow)
        for place in text_columns()
    ],
)
async def test_a_runtime_meets_it(tmp_path: Path, table: str, column: str) -> None:
    """Where only a history is hit its instance is parked; elsewhere the runtime ends or the reader is told, with
    `StoreCorrupt`. Whoever has a result has the right one.
    """
    await begin(tmp_path / "x.db")
    garble(tmp_path / "x.db", table, column)
    with trio.fail_after(60):
        outcomes = await carry_on(tmp_path / "x.db")
    assert outcomes.get(GOOD, "right") == "right"
    if table == "event":
        assert outcomes == {"runtime": "well", BAD: "InstanceParked", GOOD: "right"}
    elif table in ("kv", "request"):  # which nobody needs in order to go on
        assert outcomes == {"runtime": "well", BAD: "right", GOOD: "right"}
    else:
        assert "StoreCorrupt" in (outcomes["runtime"], outcomes.get(BAD))
        assert outcomes.get(BAD, "StoreCorrupt") == "StoreCorrupt"


async def test_a_parked_one_is_resumed_and_terminated(tmp_path: Path) -> None:
    """Neither needs the history, or ends the runtime: it is parked once more, and then has ended."""
    await begin(tmp_path / "x.db")
    garble(tmp_path / "x.db", "event", "kind")
    with trio.fail_after(60):
        async with trioflow.open_runtime(app, SqliteStore(tmp_path / "x.db", durability="fast")) as runtime:
            handle = runtime.client.handle(BAD)
            with pytest.raises(InstanceParked, match="column kind of table event"):
                await handle.result()
            parked = (await handle.info()).history_length
            await handle.resume()
            with pytest.raises(InstanceParked, match="column kind of table event"):
                await handle.result()
            assert (await handle.info()).history_length == parked + 2
            await handle.terminate("it cannot be read")
            with pytest.raises(OrchestrationTerminated, match="it cannot be read"):
                await handle.result()
            await runtime.client.raise_event(GOOD, "more")
