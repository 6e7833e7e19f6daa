"""What the tests of the PostgreSQL driver do to a server, and the facts that they wait for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from trioflow.stores._postgres._connection import TrioConnection

WAITING = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s ORDER BY pid"


class Watcher:
    """A connection beside the one that is tested."""

    def __init__(self, connection: TrioConnection) -> None:
        self.connection = connection

    async def ask(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor = await self.connection.execute(statement, parameters)
        return [] if cursor.description is None else await cursor.fetchall()

    async def value(self, statement: str, parameters: Sequence[object] = ()) -> Any:
        ((value,),) = await self.ask(statement, parameters)
        return value

    async def until(self, statement: str, parameters: Sequence[object] = ()) -> None:
        """Ask until the answer is true."""
        while not await self.value(statement, parameters):
            pass

    async def waiting_for(self, key: int, count: int = 1) -> list[int]:
        """Wait until so many statements wait for an advisory lock: the processes that carry them out."""
        while len(rows := await self.ask(WAITING, (key,))) != count:
            pass
        return [pid for (pid,) in rows]

    async def terminate(self, pid: int) -> None:
        """End a connection from the server's side, and see it gone."""
        await self.ask("SELECT pg_terminate_backend(%s)", (pid,))
        await self.until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)", (pid,))


@asynccontextmanager
async def watcher(address: str) -> AsyncIterator[Watcher]:
    """A watcher for the length of a block."""
    connection = await TrioConnection.connect(address)
    try:
        yield Watcher(connection)
    finally:
        connection.drop()
