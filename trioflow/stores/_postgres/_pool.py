"""Some connections, and the one way to use them: a statement that is sent is waited for.

Laws: a call is one statement, in a transaction of its own or with others that wait at the same moment, so it is carried
out or it is not; it can be cancelled until it is sent and not afterwards; an answer from a connection that lives on
says what was done, a connection that is lost on the way means that nobody knows; there are never more than `size`
connections, however many ask, and none is opened before it is used.

Must never know: what a statement means. Who calls it: `_store.py`. Read next: `_line.py`, `_sending.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

import attrs
import psycopg
import trio

from trioflow.errors import OutcomeUnknown, StoreClosed, StoreError, StoreUnavailable
from trioflow.stores._postgres._asking import Question
from trioflow.stores._postgres._connection import LAST_WORDS, TrioConnection
from trioflow.stores._postgres._errors import AGAIN, STALE, address_of, translate
from trioflow.stores._postgres._line import Call, Line
from trioflow.stores._postgres._sending import Sender

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
        self._sender = Sender(self.address, limit)
        self._open = False
        self._line = Line(size)  # a place for each connection that may be in use
        self._idle: list[Idle] = []  # the one used last is at the end
        self._busy: dict[TrioConnection, None] = {}

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        self._line = Line(self._size)
        self._open = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Wait for the calls that are on their way, then close all connections."""
        self._open = False
        with trio.CancelScope(shield=True), trio.move_on_after(self._limit + LAST_WORDS):
            for _ in range(self._size):  # those who wait for a place are before us, and are told that it is closed
                await self._line.take_place(Call((), reads=False, key=None))
        for connection in (*self._busy, *(entry.connection for entry in self._idle)):
            connection.drop()
        self._busy.clear()
        self._idle.clear()

    async def call(
        self,
        statement: str,
        parameters: Sequence[object] = (),
        *,
        reads: bool = False,
        before: Question | None = None,
        key: str | None = None,
    ) -> list[Row]:
        """Carry out one statement and fetch its rows. A checkpoint; cancellable until it is sent.

        Args:
            statement: with %s for each parameter.
            parameters: their values.
            reads: it changes nothing, so if its answer is lost it is sent again, once.
            before: what to say before, on the same connection.
            key: of all rows that it locks. If it has to wait it may then go along with others, in their transaction.

        Raises:
            StoreUnavailable: there is no connection, or the server could not do it now; nothing was done.
            OutcomeUnknown: it was sent and the answer was lost.
            StoreClosed: the pool is closed; nothing was done.
            StoreError: the server refused; nothing was done.
        """
        question = Question(statement, parameters)
        questions = (question,) if before is None else (before, question)
        call = Call(questions, reads, key if self._prepare_threshold is not None else None)
        while True:
            line = self._line  # a pool that is opened again has another
            if await self._place(line, call):
                try:
                    self._check_open()
                    return await self._carry_out(line, call)
                finally:
                    line.give_back()
            if call.rows is not None:
                return call.rows
            if call.failure is not None and not reads:
                raise self._verdict(call.failure, lost=True, repeatable=False) from call.failure
            call = Call(questions, reads, None)

    async def _place(self, line: Line, call: Call) -> bool:
        """See `Line.take_place`. Raises StoreUnavailable if all are in use for too long."""
        self._check_open()
        if line.free:
            return await line.take_place(call)
        with trio.move_on_after(self._patience):
            return await line.take_place(call)
        raise StoreUnavailable(
            f"{self.address}: all {self._size} connections were busy for {self._patience:g} seconds; nothing was "
            "done. Open the store with more `connections`, or ask less of it at once."
        )

    async def _carry_out(self, line: Line, call: Call) -> list[Row]:
        """With a place: send it until it is done or refused for good."""
        tries, fresh = 1, False
        while True:
            connection = self._take_idle() if not fresh else None
            if connection is None:
                connection = await self._connect()
            self._busy[connection] = None
            try:
                return await self._sender.send(connection, line, call)
            except psycopg.Error as exc:
                lost = connection.closed  # then the error says nothing about the statement
                fresh = lost or exc.sqlstate in STALE
                again = call.reads if lost else fresh or exc.sqlstate in AGAIN
                if not again or tries == (2 if fresh else ATTEMPTS):
                    raise self._verdict(exc, lost=lost, repeatable=call.reads) from exc
                pause = _pause(connection, tries)
                if fresh:
                    connection.drop()
            finally:
                self._busy.pop(connection, None)
                self._give_back(connection)
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
        line = self._line
        await self._place(line, Call((), reads=False, key=None))
        try:
            self._check_open()
            connection = self._take_idle() or await self._connect()
            self._busy[connection] = None
            try:
                await connection.execute(script)
            except psycopg.Error as exc:
                raise self._verdict(exc, lost=connection.closed, repeatable=True) from exc
            finally:
                self._busy.pop(connection, None)
                self._give_back(connection)
        finally:
            line.give_back()

    def _check_open(self) -> None:
        if not self._open:
            raise StoreClosed(f"{self.address}: the store is closed; nothing was done. Open it again.")

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
        if not self._open or not connection.is_idle:
            connection.drop()
            return
        now = trio.current_time()
        self._idle.append(Idle(connection, now))
        while now - self._idle[0].since > KEEP_IDLE:
            self._idle.pop(0).connection.drop()

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
