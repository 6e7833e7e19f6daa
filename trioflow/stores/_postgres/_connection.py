"""One connection to PostgreSQL, driven natively by trio.

Laws: psycopg says what to wait for, trio waits; nothing blocks the loop, names of hosts included; a statement that is
cancelled costs its connection, since nobody knows how far it came.

psycopg's asynchronous connection knows asyncio only in the four places that are overridden here; everything else goes
through them. Who calls it: `_pool.py`, `_listening.py`.
"""

from __future__ import annotations

import math
import select
from collections.abc import Generator
from typing import Any, Self, TypeVar

import psycopg
import trio
from psycopg import errors as e
from psycopg.conninfo import conninfo_attempts, conninfo_to_dict, make_conninfo, timeout_from_conninfo
from psycopg.rows import tuple_row
from psycopg.waiting import Ready, Wait

RV = TypeVar("RV")
Row = tuple[Any, ...]

# What notices a peer that has vanished without a word, in seconds (the last in milliseconds); a caller's own prevail.
KEEPALIVES: dict[str, str] = {
    "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "30000"
}  # fmt: skip


async def _until_ready(fileno: int, wanted: Wait) -> Ready:
    """Wait until a socket can be read or written, as asked. A checkpoint."""
    if wanted == Wait.R:
        await trio.lowlevel.wait_readable(fileno)
        return Ready.R
    if wanted == Wait.W:
        await trio.lowlevel.wait_writable(fileno)
        return Ready.W
    ready = 0

    async def watch(wait: Any, bit: Ready) -> None:
        nonlocal ready
        await wait(fileno)
        ready |= bit
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, trio.lowlevel.wait_readable, Ready.R)
        nursery.start_soon(watch, trio.lowlevel.wait_writable, Ready.W)
    return Ready(ready)


async def _carry_out(generator: Generator[tuple[int, Wait], Ready, RV]) -> RV:
    """Carry out what a generator asks for that opens a connection of its own: it says each time which socket it is."""
    try:
        fileno, wanted = next(generator)
        while True:
            fileno, wanted = generator.send(await _until_ready(fileno, wanted))
    except StopIteration as done:
        result: RV = done.value
        return result
    finally:
        generator.close()


class TrioConnection(psycopg.AsyncConnection[Row]):
    """`psycopg.AsyncConnection` under trio."""

    def __init__(self, pgconn: Any, row_factory: Any = tuple_row) -> None:
        super().__init__(pgconn, row_factory)
        self.lock = trio.Lock()  # type: ignore[assignment]  # used by `async with` only, there and here

    @classmethod
    async def connect(cls, conninfo: str = "", *, prepare_threshold: int | None = 5, **kwargs: Any) -> Self:
        """Connect to the first host that answers, in autocommit mode. A checkpoint.

        Raises psycopg's `Error`; `ConnectionTimeout` after `connect_timeout` seconds for each address.
        """
        params = {**KEEPALIVES, **conninfo_to_dict(conninfo, **kwargs)}
        attempts = await trio.to_thread.run_sync(conninfo_attempts, params, abandon_on_cancel=True)
        failures: list[e.Error] = []
        for attempt in attempts:
            try:
                connection = await cls._connect_one(make_conninfo("", **attempt), timeout_from_conninfo(params))
            except e.Error as exc:
                failures.append(exc)
                continue
            await connection.set_autocommit(True)
            connection.prepare_threshold = prepare_threshold
            return connection
        raise failures[-1]

    @classmethod
    async def _connect_one(cls, conninfo: str, seconds: float) -> Self:
        with trio.move_on_after(seconds):
            return await _carry_out(cls._connect_gen(conninfo))
        raise e.ConnectionTimeout(f"no answer within {seconds} seconds")

    async def wait(
        self,
        gen: Generator[Wait, Ready | int, RV],
        interval: float = 0.0,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's name
    ) -> RV:
        """Carry out what a generator of psycopg's asks for. Cancelled while a statement runs: the server is asked to
        stop it, and the connection is closed.

        Raises `_WaitTimeout` after `timeout` seconds.
        """
        try:
            with trio.move_on_after(math.inf if timeout is None else timeout):
                return await self._wait(gen)
        except trio.Cancelled:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                with trio.CancelScope(shield=True):
                    await self.cancel_safe(timeout=1.0)
                self.pgconn.finish()
            raise
        raise e._WaitTimeout("the wait was over")  # noqa: SLF001 - what psycopg's own callers catch

    async def _wait(self, generator: Generator[Wait, Ready | int, RV]) -> RV:
        try:
            wanted = next(generator)
            while True:
                wanted = generator.send(await _until_ready(self.pgconn.socket, wanted))
        except StopIteration as done:
            result: RV = done.value
            return result
        except (OSError, trio.ClosedResourceError) as exc:
            raise e.OperationalError("the connection's socket was closed") from exc

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - psycopg's name
        """Ask the server to end the statement that runs. Whether it could be asked is not told."""
        with trio.move_on_after(timeout):
            try:
                await _carry_out(self._cancel_gen())
            except e.Error:
                pass  # then it ends by itself, or with the server

    @property
    def is_dead(self) -> bool:
        """Whether an idle connection has been closed by the other side, as far as can be seen without asking it."""
        if self.closed or self.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            return True
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        if poll.poll(0):
            try:
                self.pgconn.consume_input()  # a notice, or the end
                self.pgconn.is_busy()
            except e.OperationalError:
                return True
        return self.closed
