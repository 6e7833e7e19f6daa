"""How a call goes over a connection: alone, or with those who wait at the same moment, as one transaction.

Laws: a lone call goes at once, so nobody waits for company; what is sent is not cancelled, and has a limit; a
transaction that is refused is undone and each of its calls goes alone, so nobody pays for another's fault; when the
line breaks, nobody who was sent knows what was done.

Who calls it: `_pool.py`. Read next: `_line.py`, `_asking.py`.
"""

from __future__ import annotations

from typing import Any

import attrs
import psycopg
import trio

from trioflow.stores._postgres._asking import Question
from trioflow.stores._postgres._connection import TrioConnection
from trioflow.stores._postgres._errors import translate
from trioflow.stores._postgres._line import Call, Line

Row = tuple[Any, ...]


@attrs.frozen
class Sender:
    """Sends calls.

    Attributes:
        address: where the server is, for people.
        limit: seconds that what is sent together may take.
    """

    address: str
    limit: float

    async def send(self, connection: TrioConnection, line: Line, call: Call) -> list[Row]:
        """With those who wait, as one transaction, or alone, also if that is refused. Raises psycopg's `Error`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        calls = line.take_along(call, connection.keeps)
        if len(calls) > 1:
            if await self._send_together(connection, line, call, calls):
                assert call.rows is not None
                return call.rows
            await trio.lowlevel.checkpoint_if_cancelled()
        *before, question = call.questions
        for earlier in before:
            await self._say_before(connection, earlier)
            await trio.lowlevel.checkpoint_if_cancelled()
        return await self._execute(connection, question)

    async def _send_together(self, connection: TrioConnection, line: Line, leader: Call, calls: list[Call]) -> bool:
        """Whether it was done; if not, nothing was. All but the leader are told. Raises psycopg's `Error` if the
        connection was lost.
        """
        try:
            with self._limit():
                answers = iter(await connection.ask_together([each for call in calls for each in call.questions]))
                for call in calls:
                    call.rows = [next(answers) for _ in call.questions][-1]
            if leader.rows is None:
                raise self._too_slow(connection)
        except psycopg.Error as exc:
            if connection.closed:
                for call in calls:
                    call.failure = exc
            if not connection.is_idle:
                raise
        except BaseException:
            for call in calls:
                call.failure = psycopg.OperationalError("what it was sent with was interrupted")
            raise
        finally:
            for call in calls:
                if call is not leader:
                    line.tell(call)
        return leader.rows is not None

    async def _say_before(self, connection: TrioConnection, before: Question) -> None:
        try:
            await self._execute(connection, before)
        except psycopg.Error as exc:
            raise translate(exc, self.address, "a statement") from exc  # whatever became of it, the call was not sent

    async def _execute(self, connection: TrioConnection, question: Question) -> list[Row]:
        """Send a statement and wait for the answer. Raises psycopg's `Error`."""
        with self._limit():
            return await connection.ask(question)
        raise self._too_slow(connection)

    def _too_slow(self, connection: TrioConnection) -> psycopg.Error:
        """After the limit: the server has confirmed that it ended the statement, or the connection was closed."""
        cls = psycopg.OperationalError if connection.closed else psycopg.errors.QueryCanceled
        return cls(f"no answer within {self.limit:g} seconds")

    def _limit(self) -> trio.CancelScope:
        """For what is sent: nobody's cancellation reaches it, and it may take so long."""
        return trio.CancelScope(shield=True, deadline=trio.current_time() + self.limit)
