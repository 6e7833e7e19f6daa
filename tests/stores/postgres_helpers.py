"""Short ways for tests of the PostgreSQL store."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from tests.postgres_server import fresh_schema, shared_url
from trioflow.stores import PostgresStore


def ask(address: str, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """Carry out a statement on a connection of its own."""
    with psycopg.connect(address, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters or None)  # type: ignore[call-overload]  # not literal
        return cursor.fetchall() if cursor.description else []


@functools.cache
def _emptied(address: str) -> tuple[str, list[str]]:
    """A schema that one test after the other uses, and its tables; filled by the first store that is opened on it."""
    return fresh_schema(), []


def empty_store(clock: Callable[[], float]) -> PostgresStore:
    """A store with a clock of the test's, in a schema that is emptied for it: quicker than a new one."""
    address = shared_url()
    schema, tables = _emptied(address)
    if not tables:
        found = ask(address, "SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,))
        tables += [name for (name,) in found if name != "trioflow_version"]
    if tables:
        ask(address, "; ".join(f"DELETE FROM {schema}.{table}" for table in tables))
    return _open(schema, clock)


def other_store(store: object) -> Callable[[Callable[[], float]], PostgresStore]:
    """What makes more handles on the same data, also in other processes."""
    assert isinstance(store, PostgresStore)
    return functools.partial(_open, store._schema, address=shared_url())


def _open(schema: str, clock: Callable[[], float], address: str | None = None) -> PostgresStore:
    return PostgresStore(address or shared_url(), schema=schema, durability="fast", clock=clock)
