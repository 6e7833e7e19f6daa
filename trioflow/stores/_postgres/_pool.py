"""Some connections, and the one way to use them: a statement that is sent is waited for.

Laws: a call is one statement in autocommit, so it is carried out or it is not; it can be cancelled until it is sent and
not afterwards; an error that leaves the connection alive means that nothing was done, a connection that is lost on the
way means that nobody knows; there are never more than `size` connections, however many ask.

Must never know: what a statement means. Who calls it: `_store.py`. Read next: `_connection.py`, `_errors.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

import attrs
import psycopg
import trio

from trioflow.errors import OutcomeUnknown, StoreClosed, StoreUnavailable
from trioflow.stores._postgres._connection import TrioConnection
from trioflow.stores._postgres._errors import AGAIN, address_of, translate

Row = tuple[Any, ...]
ATTEMPTS = 6  # of a statement that the server undid because of others
KEEP_IDLE = 60.0  # seconds that a connection may be idle while there are others


@attrs.define
class Idle:
    """A connection that waits for its next call."""

    connection: TrioConnection
    since: float  # on trio's clock


class Pool:
    """Connections to one server.

    Args:
        conninfo: as libpq takes it.
        size: connections at most.
        patience: seconds to wait for a connection, and again for connecting.
        limit: seconds that one statement may take; then its connection is given up.
        prepare: let the server keep statements; not through a transaction pooler.
        setup: run on each new connection.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        size: int = 8,
        patience: float = 5.0,
        limit: float = 30.0,
        prepare: bool = True,
        setup: Callable[[TrioConnection], Awaitable[None]] | None = None,
    ) -> None:
        self.address = address_of(conninfo)
        self._conninfo, self._size, self._patience, self._limit = conninfo, size, patience, limit
        self._prepare_threshold = 2 if prepare else None
        self._setup = setup
        self._free = trio.Semaphore(size)
        self._idle: list[Idle] = []  # the one used last is at the end
        self._open = False

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        self._open = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Wait for the calls that are on their way, then close all connections."""
        self._open = False
        with trio.CancelScope(shield=True), trio.move_on_after(self._limit + 1.0):
            for _ in range(self._size):
                await self._free.acquire()
        idle, self._idle = self._idle, []
        for entry in idle:
            entry.connection.pgconn.finish()
        self._free = trio.Semaphore(self._size)

    async def call(
        self, statement: str, parameters: Sequence[object] = (), *, reads: bool = False, before: str | None = None
    ) -> list[Row]:
        """Carry out one statement and fetch its rows. A checkpoint; cancellable until it is sent.

        Args:
            statement: with %s for each parameter.
            parameters: their values.
            reads: it changes nothing, so if its answer is lost it is sent again, once.
            before: a statement to send before, on the same connection.

        Raises:
            StoreUnavailable: there is no connection, or the server could not do it now; nothing was done.
            OutcomeUnknown: it was sent and the answer was lost.
            StoreError: the server refused; nothing was done.
        """
        await self._acquire()
        try:
            for attempt in range(1, ATTEMPTS + 1):
                connection = await self._checkout()
                try:
                    return await self._execute(connection, statement, parameters, before)
                except psycopg.Error as exc:
                    again = exc.sqlstate in AGAIN if not connection.closed else reads and attempt == 1
                    if not again or attempt == ATTEMPTS:
                        raise self._told(exc, connection, reads) from exc
                finally:
                    self._give_back(connection)
                await trio.sleep(0.002 * attempt * attempt)
            raise AssertionError("the last attempt returns or raises")
        finally:
            self._free.release()

    async def run_script(self, script: str) -> None:
        """Carry out several statements, which are a transaction by themselves. A checkpoint; cancellable until sent.

        Raises as `call` does.
        """
        await self._acquire()
        try:
            connection = await self._checkout()
            try:
                await trio.lowlevel.checkpoint_if_cancelled()
                with trio.CancelScope(shield=True):
                    await connection.execute(script)
            except psycopg.Error as exc:
                raise self._told(exc, connection, reads=False) from exc
            finally:
                connection.pgconn.finish()  # an error may have left it in the middle of a transaction
        finally:
            self._free.release()

    async def _acquire(self) -> None:
        if not self._open:
            raise StoreClosed(f"{self.address}: the store is closed; nothing was done.")
        with trio.move_on_after(self._patience):
            await self._free.acquire()
            return
        raise StoreUnavailable(
            f"{self.address}: all {self._size} connections were busy for {self._patience} seconds. Open the store with "
            "more `connections`, or ask less of it at once."
        )

    async def _checkout(self) -> TrioConnection:
        while self._idle:
            connection = self._idle.pop().connection
            if not connection.is_dead:
                return connection
            connection.pgconn.finish()
        try:
            with trio.move_on_after(self._patience):
                connection = await TrioConnection.connect(self._conninfo, prepare_threshold=self._prepare_threshold)
                if self._setup is not None:
                    await self._setup(connection)
                return connection
        except (psycopg.Error, OSError) as exc:
            raise translate(exc, self.address, "connecting") from exc
        raise StoreUnavailable(
            f"{self.address}: no connection within {self._patience} seconds. Check that the server runs and can be "
            "reached, and try again."
        )

    def _give_back(self, connection: TrioConnection) -> None:
        if connection.closed or not self._open:
            connection.pgconn.finish()
            return
        now = trio.current_time()
        if self._idle and now - self._idle[0].since > KEEP_IDLE:
            self._idle.pop(0).connection.pgconn.finish()
        self._idle.append(Idle(connection, now))

    async def _execute(
        self, connection: TrioConnection, statement: str, parameters: Sequence[object], before: str | None
    ) -> list[Row]:
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True), trio.move_on_after(self._limit):
            if before is not None:
                await connection.execute(before)
            cursor = connection.cursor(binary=True)
            await cursor.execute(statement, parameters)
            return await cursor.fetchall()
        connection.pgconn.finish()
        raise psycopg.OperationalError(f"no answer within {self._limit} seconds")

    def _told(self, exc: psycopg.Error, connection: TrioConnection, reads: bool) -> Exception:
        """What to raise for an error of a statement that was sent."""
        if connection.closed and not reads:
            return OutcomeUnknown(
                f"{self.address}: the connection was lost before the answer came ({' '.join(str(exc).split())}), so "
                "what was written may or may not be kept. Repeat it with the same request id: it is carried out once."
            )
        if connection.closed:
            return StoreUnavailable(
                f"{self.address}: the connection was lost ({' '.join(str(exc).split())}). Check that the server runs "
                "and can be reached, and try again."
            )
        return translate(exc, self.address, "a statement")
