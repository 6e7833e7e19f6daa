"""Short ways for tests of the PostgreSQL store."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import trio

from tests.postgres_server import fresh_schema, shared_url
from trioflow.stores import PostgresStore
from trioflow.stores._postgres._statements import STATEMENTS
from trioflow.testing._store_contract import Subject


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


@contextmanager
def in_the_middle_of(s: Subject, verb: str, parameters: tuple[object, ...]) -> Iterator[psycopg.Connection]:
    """A verb that has done everything but commit; that it does when the block ends."""
    assert isinstance(s.store, PostgresStore)
    with psycopg.connect(shared_url()) as connection:
        connection.execute("SELECT set_config('trioflow.now', %s, true)", (repr(s.clock.now),))
        connection.execute(STATEMENTS[verb].format(s.store._schema), parameters)  # type: ignore[arg-type]
        yield connection
        connection.commit()


async def until_somebody_waits_for(connection: psycopg.Connection) -> None:
    """Somebody's statement is blocked by that connection; a failure if nobody's is."""
    pid = connection.info.backend_pid
    with psycopg.connect(shared_url(), autocommit=True) as asker, trio.fail_after(60):
        while True:
            row = asker.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))", (pid,)
            ).fetchone()
            if row is not None and row[0]:
                return
            await trio.sleep(0.005)
