"""Some connections, and the one way to use them: a statement that is sent is waited for.

Laws: a call is one statement in autocommit, so it is carried out or it is not; it can be cancelled until it is sent and
not afterwards; an answer from a connection that lives on says what was done, a connection that is lost on the way means
that nobody knows; there are never more than `size` connections, however many ask, and none is opened before it is used.

Must never know: what a statement means. Who calls it: `_store.py`. Read next: `_connection.py`, `_errors.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import attrs
import psycopg
import trio

from trioflow.errors import OutcomeUnknown, StoreClosed, StoreError, StoreUnavailable
from trioflow.stores._postgres._connection import LAST_WORDS, TrioConnection
from trioflow.stores._postgres._errors import AGAIN, STALE, address_of, translate

Row = tuple[Any, ...]
ATTEMPTS = 6  # of a statement that the server undid because of others
KEEP_IDLE = 60.0  # seconds that a connection may be idle while there are others
PREPARE_AFTER = 2  # uses of a statement on a connection


@attrs.frozen
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
        limit: seconds that one statement may take; then the server is asked to end it and its connection is given up.
        prepare: let the server keep statements; not through a transaction pooler.
        setup: run on each new connection.

    Raises:
        ConfigurationError: the conninfo cannot be understood.
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
        self._prepare_threshold = PREPARE_AFTER if prepare else None
        self._setup = setup
        self._open = False
        self._free = trio.Semaphore(size)  # a place for each connection that may be in use
        self._idle: list[Idle] = []  # the one used last is at the end
        self._busy: dict[TrioConnection, None] = {}

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        self._free = trio.Semaphore(self._size)
        self._open = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Wait for the calls that are on their way, then close all connections."""
        self._open = False
        with trio.CancelScope(shield=True), trio.move_on_after(self._limit + LAST_WORDS):
            for _ in range(self._size):  # those who wait for a place are before us, and are told that it is closed
                await self._free.acquire()
        for connection in (*self._busy, *(entry.connection for entry in self._idle)):
            connection.drop()
        self._busy.clear()
        self._idle.clear()

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
            StoreClosed: the pool is closed; nothing was done.
            StoreError: the server refused; nothing was done.
        """
        async with self._place():
            tries, fresh = 1, False
            while True:
                async with self._connection(fresh=fresh) as connection:
                    if before is not None:
                        await self._prepare_for(connection, before)
                    try:
                        return await self._execute(connection, statement, parameters)
                    except psycopg.Error as exc:
                        lost = connection.closed  # then the error says nothing about the statement
                        fresh = lost or exc.sqlstate in STALE
                        again = reads if lost else fresh or exc.sqlstate in AGAIN
                        if not again or tries == (2 if fresh else ATTEMPTS):
                            raise self._verdict(exc, lost=lost, repeatable=reads) from exc
                        pause = _pause(connection, tries)
                        if fresh:
                            connection.drop()
                await trio.sleep(pause)
                tries += 1

    async def run_script(self, script: str) -> None:
        """Carry out several statements that begin and commit a transaction of their own, and may be repeated. A
        checkpoint; if it is cancelled the server undoes it, unless it was done already. There is no limit on its time.

        Raises:
            StoreUnavailable: there is no connection, or it was lost on the way; the script may be done or not.
            StoreClosed: the pool is closed; nothing was done.
            StoreError: the server refused; nothing was done.
        """
        async with self._place(), self._connection(fresh=False) as connection:
            try:
                await connection.execute(script)
            except psycopg.Error as exc:
                raise self._verdict(exc, lost=connection.closed, repeatable=True) from exc

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """The right to use a connection. Raises StoreUnavailable if all are in use for too long."""
        free = self._free  # a pool that is opened again has other places
        self._check_open()
        with trio.move_on_after(self._patience) as patience:
            await free.acquire()
        if patience.cancelled_caught:
            raise StoreUnavailable(
                f"{self.address}: all {self._size} connections were busy for {self._patience:g} seconds; nothing was "
                "done. Open the store with more `connections`, or ask less of it at once."
            )
        try:
            self._check_open()
            yield
        finally:
            free.release()

    def _check_open(self) -> None:
        if not self._open:
            raise StoreClosed(f"{self.address}: the store is closed; nothing was done. Open it again.")

    @asynccontextmanager
    async def _connection(self, *, fresh: bool) -> AsyncIterator[TrioConnection]:
        """A connection for one statement: the one used last if it is alive, or a new one.

        Whoever asks for a fresh one has dropped another, so there are never more than places.
        """
        connection = None if fresh else self._take_idle()
        if connection is None:
            connection = await self._connect()
        self._busy[connection] = None
        try:
            yield connection
        finally:
            self._busy.pop(connection, None)
            self._give_back(connection)

    def _take_idle(self) -> TrioConnection | None:
        while self._idle:
            connection = self._idle.pop().connection
            if connection.is_usable:
                return connection
            connection.drop()
        return None

    async def _connect(self) -> TrioConnection:
        with trio.move_on_after(self._patience):
            try:
                connection = await TrioConnection.connect(
                    self._conninfo, prepare_threshold=self._prepare_threshold, patience=self._patience
                )
                await self._set_up(connection)
                return connection
            except (psycopg.Error, OSError) as exc:
                raise translate(exc, self.address, "connecting") from exc
        raise StoreUnavailable(
            f"{self.address}: no connection within {self._patience:g} seconds. Check that the server runs and can be "
            "reached, and try again."
        )

    async def _set_up(self, connection: TrioConnection) -> None:
        if self._setup is not None:
            try:
                await self._setup(connection)
            except BaseException:
                connection.drop()
                raise

    def _give_back(self, connection: TrioConnection) -> None:
        if not self._open or not connection.is_usable:
            connection.drop()
            return
        now = trio.current_time()
        self._idle.append(Idle(connection, now))
        while now - self._idle[0].since > KEEP_IDLE:
            self._idle.pop(0).connection.drop()

    async def _prepare_for(self, connection: TrioConnection, before: str) -> None:
        try:
            await self._execute(connection, before, ())
        except psycopg.Error as exc:
            raise translate(exc, self.address, "a statement") from exc  # whatever became of it, the call was not sent

    async def _execute(self, connection: TrioConnection, statement: str, parameters: Sequence[object]) -> list[Row]:
        """Send a statement and wait for the answer. Raises psycopg's `Error`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True), trio.move_on_after(self._limit):
            cursor = connection.cursor(binary=True)
            await cursor.execute(statement, parameters)
            return [] if cursor.description is None else await cursor.fetchall()
        # The server has confirmed that it ended the statement, or the connection was closed.
        cls = psycopg.OperationalError if connection.closed else psycopg.errors.QueryCanceled
        raise cls(f"no answer within {self._limit:g} seconds")

    def _verdict(self, exc: psycopg.Error, *, lost: bool, repeatable: bool) -> StoreError:
        """What to raise for an error of a statement that was sent."""
        if not lost:
            return translate(exc, self.address, "a statement")
        detail = " ".join(str(exc).split())
        if repeatable:
            return StoreUnavailable(
                f"{self.address}: the connection was lost ({detail}). Check that the server runs and can be reached, "
                "and try again."
            )
        return OutcomeUnknown(
            f"{self.address}: the connection was lost before the answer came ({detail}), so what was written may or "
            "may not be kept. Repeat it with the same request id: it is carried out once."
        )

    def __repr__(self) -> str:
        state = f"busy {len(self._busy)} | idle {len(self._idle)} | of {self._size}" if self._open else "closed"
        return f"<Pool {self.address} [{state}]>"


def _pause(connection: TrioConnection, tries: int) -> float:
    """Seconds until the next try: longer each time, and not the same for those who were in each other's way."""
    return 0.002 * tries * tries * (1.0 + connection.pgconn.backend_pid % 8 / 8)
