"""How a schema comes to be, and to be current: at once for all, or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
import trio.testing
from psycopg.conninfo import make_conninfo

from tests.postgres_server import fresh_schema, shared_url
from tests.stores.postgres_drill import Watcher, watcher
from tests.stores.postgres_helpers import ask
from trioflow.errors import ConfigurationError, StoreCorrupt, StoreError, StoreSchemaNewer, StoreUnavailable
from trioflow.stores import PostgresStore
from trioflow.stores._postgres import _migrating
from trioflow.stores._postgres._migrating import migrations

LATEST = len(migrations())


@pytest.fixture
def schema() -> Iterator[str]:
    """The name of a schema that is not there; it goes with the test."""
    name = fresh_schema()
    yield name
    ask(shared_url(), f"SET client_min_messages = error; DROP SCHEMA IF EXISTS {name} CASCADE")


async def open_and_close(schema: str, address: str | None = None) -> None:
    """Open a store, see that it answers, and leave."""
    async with PostgresStore(address or shared_url(), schema=schema, durability="fast") as store:
        assert await store.read_instance("nobody") is None


async def versions(other: Watcher, schema: str) -> list[int]:
    return [version for (version,) in await other.ask(f"SELECT version FROM {schema}.trioflow_version ORDER BY 1")]


async def hold_back(other: Watcher, schema: str) -> None:
    """Let no migration begin."""
    await other.ask("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"trioflow/{schema}",))


async def migrating(other: Watcher, count: int = 1) -> int:
    """Wait until so many are held back: the server's process for the first of them."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory' ORDER BY pid"
    while len(rows := await other.ask(waiting)) != count:
        pass
    return int(rows[0][0])


async def test_the_first_to_come_makes_the_schema(schema: str) -> None:
    """Every migration is noted, in order, and whoever comes later changes nothing."""
    async with watcher(shared_url()) as other:
        await open_and_close(schema)
        assert await versions(other, schema) == list(range(1, LATEST + 1))
        notes = await other.ask(f"SELECT * FROM {schema}.trioflow_version")
        await open_and_close(schema)
        assert await other.ask(f"SELECT * FROM {schema}.trioflow_version") == notes


async def test_many_who_start_together(schema: str) -> None:
    """One of them makes the schema, the others wait for it, and all go on."""
    async with watcher(shared_url()) as other:
        await hold_back(other, schema)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(open_and_close, schema)
            await migrating(other, 5)
            await other.ask("SELECT pg_advisory_unlock_all()")
        assert await versions(other, schema) == list(range(1, LATEST + 1))


async def test_an_older_schema_is_brought_up_to_date(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is missing runs; what was there stays."""
    async with watcher(shared_url()) as other:
        with monkeypatch.context() as patch:
            patch.setattr(
                _migrating, "migrations", lambda: ["CREATE TABLE kept (n integer); INSERT INTO kept VALUES (1)"]
            )
            with pytest.raises(StoreError):
                await open_and_close(schema)  # the functions are not there yet
            assert await versions(other, schema) == [1]
            scripts = ["SELECT 1/0", "ALTER TABLE kept ADD COLUMN m integer DEFAULT 2"]
            patch.setattr(_migrating, "migrations", lambda: scripts)
            with pytest.raises(StoreError):
                await open_and_close(schema)
        assert await versions(other, schema) == [1, 2]
        assert await other.ask(f"SELECT n, m FROM {schema}.kept") == [(1, 2)]


async def test_a_migration_that_fails_has_not_happened(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither it nor those before it, and the next one to open is not in its way."""
    async with watcher(shared_url()) as other:
        with monkeypatch.context() as patch:
            patch.setattr(_migrating, "migrations", lambda: [*migrations(), "SELECT 1/0"])
            store = PostgresStore(shared_url(), schema=schema, durability="fast", connections=1)
            with pytest.raises(StoreError, match="division by zero"):
                async with store:
                    raise AssertionError
        assert not await other.value("SELECT to_regnamespace(%s) IS NOT NULL", (schema,))
        async with store:
            assert await versions(other, schema) == list(range(1, LATEST + 1))


async def test_a_migration_that_is_interrupted_is_made_again(schema: str) -> None:
    """The one whose connection was lost is told to try again, and that finds out what was done."""
    async with watcher(shared_url()) as other:
        await hold_back(other, schema)
        async with trio.open_nursery() as nursery:

            async def lose() -> None:
                with pytest.raises(StoreUnavailable, match="try again"):
                    await open_and_close(schema)

            nursery.start_soon(lose)
            await other.terminate(await migrating(other))
        await other.ask("SELECT pg_advisory_unlock_all()")
        await open_and_close(schema)
        assert await versions(other, schema) == list(range(1, LATEST + 1))


async def test_opening_can_be_cancelled_while_others_migrate(schema: str) -> None:
    """Whoever waits for the others may leave, and the server does not migrate for them afterwards."""
    async with watcher(shared_url()) as other:
        await hold_back(other, schema)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(open_and_close, schema)
                await migrating(other)
                scope.cancel()
        assert scope.cancelled_caught
        await other.ask("SELECT pg_advisory_unlock_all()")
        assert not await other.value("SELECT to_regnamespace(%s) IS NOT NULL", (schema,))


async def test_a_newer_schema_is_refused(schema: str) -> None:
    """It was written by a release that knows more; nothing is changed."""
    await open_and_close(schema)
    async with watcher(shared_url()) as other:
        await other.ask(f"INSERT INTO {schema}.trioflow_version VALUES (%s, now())", (LATEST + 1,))
        with pytest.raises(StoreSchemaNewer, match=f"version {LATEST + 1}, this release knows {LATEST}. Upgrade"):
            await open_and_close(schema)


async def test_the_schema_of_another_program_is_refused(schema: str) -> None:
    """Its tables are left alone."""
    async with watcher(shared_url()) as other:
        await other.ask(f"CREATE SCHEMA {schema}")
        await other.ask(f"CREATE TABLE {schema}.instances (n integer)")
        with pytest.raises(StoreCorrupt, match="belongs to another program: it holds 1 tables"):
            await open_and_close(schema)
        tables = "SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace(%s)::oid"
        assert await other.ask(tables, (schema,)) == [("instances",)]


async def test_an_empty_schema_is_taken(schema: str) -> None:
    """An administrator may have made it, for a user who may not."""
    ask(shared_url(), f"CREATE SCHEMA {schema}")
    await open_and_close(schema)


@pytest.mark.parametrize("setting", ["synchronous_commit"])
async def test_a_server_that_does_not_wait_for_its_disk(schema: str, setting: str) -> None:
    """It cannot keep the promise of "full", so it is refused; "fast" takes it."""
    address = make_conninfo(shared_url(), options=f"-c {setting}=off")
    with pytest.raises(StoreError, match=f"{setting} is off, so commits would not be as durable as promised"):
        async with PostgresStore(address, schema=schema):
            raise AssertionError
    await open_and_close(schema, address)


async def test_a_database_that_cannot_keep_all_text(schema: str) -> None:
    """Its encoding has to be UTF8."""
    ask(shared_url(), f"CREATE DATABASE {schema} TEMPLATE template0 ENCODING SQL_ASCII LOCALE 'C'")
    try:
        with pytest.raises(StoreError, match="the database's encoding is SQL_ASCII; it has to be UTF8"):
            await open_and_close(schema, make_conninfo(shared_url(), dbname=schema))
    finally:
        ask(shared_url(), f"DROP DATABASE {schema} WITH (FORCE)")


@pytest.mark.parametrize("name", ["", "Shop", "a-b", "a b", 'a"b', "1a", "pg_shop", "x" * 49, "a.b", "ä", "a\n"])
def test_a_name_that_no_schema_may_have(name: str) -> None:
    """It is refused before anything is opened, with the rule."""
    with pytest.raises(ConfigurationError, match="lower-case letters, digits and underscores"):
        PostgresStore("postgresql://", schema=name)
