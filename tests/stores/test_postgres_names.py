"""A worker's name belongs to one runtime at a time, wherever it runs, while there is a connection to hold it by."""

from __future__ import annotations

import pytest
import trio

from tests.postgres_server import fresh_schema, shared_url
from tests.stores.postgres_helpers import ask
from trioflow.errors import ConfigurationError
from trioflow.stores import PostgresStore
from trioflow.stores._postgres import _listening

HOLDERS = """
    SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND ((classid::bigint << 32) | objid::bigint)
        = hashtextextended(%s, 0)
"""


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is in use is waited for a moment only, since here nobody is about to give it up; the answer, for as
    long as it takes.
    """
    monkeypatch.setattr(_listening, "SESSION", _listening.SESSION.replace("'2000'", "'50'"))
    monkeypatch.setattr(_listening, "CLAIM_PATIENCE", 60.0)


def holders(schema: str, worker: str) -> list[int]:
    """The server's processes that hold a name."""
    return [pid for (pid,) in ask(shared_url(), HOLDERS, (f"trioflow/{schema}/{worker}",))]


async def until_held(schema: str, worker: str, *, not_by: int = 0) -> int:
    """Wait until a name is held, by another process of the server's than the one named; by which."""
    with trio.fail_after(60):
        while not (found := [pid for pid in holders(schema, worker) if pid != not_by]):
            await trio.sleep(0.02)
    return found[0]


async def until_free(schema: str, worker: str) -> None:
    """Wait until nobody holds a name."""
    with trio.fail_after(60):
        while holders(schema, worker):
            await trio.sleep(0.02)


async def test_a_name_is_refused_while_its_worker_is_alive_anywhere() -> None:
    """In the same object and in another, which stands for another machine; one that has left leaves it free."""
    schema = fresh_schema()
    async with PostgresStore(shared_url(), schema=schema) as one, PostgresStore(shared_url(), schema=schema) as two:
        await one.register_worker("w")
        for store in (one, two):
            with pytest.raises(ConfigurationError, match="'w' is in use by a runtime that is alive"):
                await store.register_worker("w")
        await two.register_worker("x")
        await one.unregister_worker("w")
        await one.unregister_worker("w")
        await until_free(schema, "w")  # others hear of it soon, not at once
        await two.register_worker("w")
        await two.unregister_worker("w")
        await two.register_worker("w")  # whether the lock was given up meanwhile or not
        with pytest.raises(ConfigurationError, match="'w' is in use"):
            await one.register_worker("w")


async def test_a_name_is_free_in_another_schema() -> None:
    """One schema is one store."""
    async with (
        PostgresStore(shared_url(), schema=fresh_schema()) as one,
        PostgresStore(shared_url(), schema=fresh_schema()) as two,
    ):
        await one.register_worker("w")
        await two.register_worker("w")


async def test_a_process_that_dies_gives_its_names_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server frees them with the connection; whoever comes at that moment waits a little."""
    monkeypatch.setattr(_listening, "SESSION", _listening.SESSION.replace("'50'", "'9000'"))
    schema = fresh_schema()
    async with PostgresStore(shared_url(), schema=schema) as two:
        async with PostgresStore(shared_url(), schema=schema) as one:
            await one.register_worker("w")  # and never says goodbye
        await two.register_worker("w")


async def test_a_connection_that_was_lost_is_made_again_and_holds_the_names() -> None:
    """The guard does not end with the first connection; what was granted is not refused afterwards."""
    schema = fresh_schema()
    async with PostgresStore(shared_url(), schema=schema) as one, PostgresStore(shared_url(), schema=schema) as two:
        await one.register_worker("w")
        first = await until_held(schema, "w")
        ask(shared_url(), "SELECT pg_terminate_backend(%s)", (first,))
        await until_held(schema, "w", not_by=first)
        with pytest.raises(ConfigurationError, match="'w' is in use"):
            await two.register_worker("w")


async def test_where_nobody_listens_only_the_object_itself_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a transaction pooler there is no connection to hold a name by; one that cannot be had lets all in."""
    monkeypatch.setattr(_listening, "CLAIM_PATIENCE", 0.05)
    schema = fresh_schema()
    nowhere = "postgresql://127.0.0.1:1/nowhere"
    async with (
        PostgresStore(shared_url(), schema=schema, pooled=True) as one,
        PostgresStore(shared_url(), schema=schema, listen=nowhere) as two,
    ):
        for store in (one, two):
            await store.register_worker("w")
            with pytest.raises(ConfigurationError, match="'w' is in use"):
                await store.register_worker("w")
