"""The floor's writer for PostgreSQL: each transaction is one statement, so one round trip, on some connections.

Laws: statements are prepared, as the store's are; as many connections as the store has by default; what fails ends the
measurement. Called by `floor.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
import trio

from tests.bench.commits import DATA, PAYLOAD, Commit
from trioflow.stores._postgres._connection import TrioConnection

CONNECTIONS = 8
PREPARE_AFTER = 2

TABLES = """
CREATE TABLE instance (
    instance text COLLATE "C" PRIMARY KEY, state text NOT NULL, revision bigint NOT NULL, due_at float8,
    lock_until float8
) WITH (fillfactor = 80);
CREATE INDEX instance_due ON instance (due_at, instance) WHERE due_at IS NOT NULL;
CREATE TABLE event (
    instance text COLLATE "C" NOT NULL, id bigint NOT NULL, at float8 NOT NULL, kind text NOT NULL, data bytea NOT NULL,
    payload bytea, PRIMARY KEY (instance, id)
);
CREATE TABLE message (
    instance text COLLATE "C" NOT NULL, seq bigint NOT NULL, data bytea NOT NULL, PRIMARY KEY (instance, seq)
);
CREATE TABLE activity (
    instance text COLLATE "C" NOT NULL, id bigint NOT NULL, due_at float8 NOT NULL, data bytea NOT NULL,
    payload bytea NOT NULL, PRIMARY KEY (instance, id)
) WITH (fillfactor = 80);
CREATE INDEX activity_due ON activity (due_at, id, instance);
CREATE TABLE request (request_id text COLLATE "C" PRIMARY KEY, at float8 NOT NULL);
"""
BEGIN = """
WITH row AS (INSERT INTO instance VALUES (%(instance)s, 'pending', 0, 0.0, NULL)),
     asked AS (INSERT INTO request VALUES (%(instance)s, 0.0))
INSERT INTO message VALUES (%(instance)s, 0, %(data)s)
"""
TAKE = "UPDATE instance SET lock_until = 30.0, due_at = 30.0 WHERE instance = %(instance)s"
TURN = """
WITH read AS (DELETE FROM message WHERE %(reads)s AND instance = %(instance)s AND seq = 0),
     written AS (
         INSERT INTO event SELECT %(instance)s, t.id, 0.0, t.kind, t.data, t.payload
         FROM unnest(%(ids)s::bigint[], %(kinds)s::text[], %(datas)s::bytea[], %(payloads)s::bytea[])
              AS t (id, kind, data, payload)),
     asked AS (
         INSERT INTO activity SELECT %(instance)s, t.id, 30.0, t.data, t.payload
         FROM unnest(%(asks)s::bigint[], %(ask_datas)s::bytea[], %(ask_payloads)s::bytea[]) AS t (id, data, payload)),
     settled AS (DELETE FROM activity WHERE instance = %(instance)s AND id = ANY (%(settles)s::bigint[]))
UPDATE instance SET state = %(state)s, revision = revision + 1, due_at = %(due)s WHERE instance = %(instance)s
"""


@asynccontextmanager
async def postgresql_writer(server: str, schema: str) -> AsyncIterator[Callable[[Commit], Awaitable[None]]]:
    """What writes a transaction and returns once the server has committed it."""
    with psycopg.connect(server, autocommit=True) as setting_up:
        setting_up.execute(f"CREATE SCHEMA {schema}; SET search_path = {schema}; {TABLES}")
    idle: list[TrioConnection] = []
    try:
        for _ in range(CONNECTIONS):
            connection = await TrioConnection.connect(server, prepare_threshold=PREPARE_AFTER)
            idle.append(connection)
            await connection.execute(f"SET search_path = {schema}")
        places = trio.Semaphore(CONNECTIONS)

        async def write(commit: Commit) -> None:
            async with places:
                connection = idle.pop()
                await connection.cursor(binary=True).execute(*statement(commit))
                idle.append(connection)

        yield write
    finally:
        for connection in idle:
            connection.drop()


def statement(commit: Commit) -> tuple[str, dict[str, object]]:
    """One transaction as one statement with its parameters."""
    if commit.begins:
        return BEGIN, {"instance": commit.instance, "data": DATA}
    if commit.takes:
        return TAKE, {"instance": commit.instance}
    events, asks = len(commit.events), len(commit.asks)
    return TURN, {
        "instance": commit.instance,
        "reads": commit.reads,
        "ids": [event for event, _ in commit.events],
        "kinds": [kind for _, kind in commit.events],
        "datas": [DATA] * events,
        "payloads": [PAYLOAD] * events,
        "asks": list(commit.asks),
        "ask_datas": [DATA] * asks,
        "ask_payloads": [PAYLOAD] * asks,
        "settles": list(commit.settles),
        "state": "ended" if commit.ends else "running",
        "due": None if commit.ends else 30.0,
    }
