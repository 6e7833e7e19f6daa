"""One connection to PostgreSQL, driven natively by trio.

Laws: psycopg says what to wait for, trio waits; nothing blocks the loop, names of hosts included; a statement that is
cancelled is asked back from the server, and what became of it is known or the connection is closed.

psycopg's asynchronous connection knows asyncio only in the four places that are overridden here (`lock`, `connect`,
`wait`, `cancel_safe`); everything else goes through them. Who calls it: `_pool.py`, `_listening.py`.
"""

from __future__ import annotations

import math
import select
import socket
from collections.abc import Sequence
from typing import Any, Self, TypeVar

import psycopg
import trio
from psycopg import errors as e
from psycopg._conninfo_utils import get_param, split_attempts
from psycopg.abc import ConnDict, PQGen, PQGenConn
from psycopg.adapt import Transformer
from psycopg.conninfo import conninfo_attempts, conninfo_to_dict, make_conninfo, timeout_from_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg.waiting import Ready, Wait

from trioflow.stores._postgres._asking import Asking, Question

RV = TypeVar("RV")
Row = tuple[Any, ...]

# What notices a peer that has vanished without a word, in seconds (the last in milliseconds); a caller's own prevail.
KEEPALIVES: dict[str, str] = {
    "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "30000"
}  # fmt: skip
LAST_WORDS = 5.0  # seconds in which the server has to say what became of a statement that was cancelled


async def _until_ready(fileno: int, wanted: Wait) -> Ready:
    """Wait until a socket can be read or written, as asked. A checkpoint."""
    if wanted == Wait.R:
        await trio.lowlevel.wait_readable(fileno)
        return Ready.R
    if wanted == Wait.W:
        await trio.lowlevel.wait_writable(fileno)
        return Ready.W
    ready, closed = 0, False

    async def watch(wait: Any, bit: Ready) -> None:
        nonlocal ready, closed
        try:
            await wait(fileno)
            ready |= bit
        except trio.ClosedResourceError:
            closed = True
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, trio.lowlevel.wait_readable, Ready.R)
        nursery.start_soon(watch, trio.lowlevel.wait_writable, Ready.W)
    if closed:
        raise trio.ClosedResourceError("the socket was closed by another task")
    return Ready(ready)


async def _drive(generator: PQGenConn[RV]) -> RV:
    """Carry out a generator that names its socket anew each time."""
    try:
        fileno, wanted = next(generator)
        while True:
            fileno, wanted = generator.send(await _until_ready(fileno, wanted))
    except StopIteration as done:
        result: RV = done.value
        return result
    finally:
        generator.close()


async def _with_addresses(attempt: ConnDict) -> list[ConnDict]:
    """The same attempt for each address that its host has. Raises OSError."""
    host = get_param(attempt, "host")
    if not host or host.startswith(("/", "@")) or get_param(attempt, "hostaddr"):
        return [attempt]
    found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [{**attempt, "host": host, "hostaddr": str(address[0])} for *_, address in found]


async def _attempts(params: ConnDict) -> list[ConnDict]:
    """Where to connect to, one address each, in the order to try. Raises psycopg's `Error` if no host is known."""
    resolved: list[ConnDict] = []
    unknown: list[str] = []
    for attempt in split_attempts(params):
        try:
            resolved += await _with_addresses(attempt)
        except (OSError, UnicodeError) as exc:
            unknown.append(f"the host name {get_param(attempt, 'host')!r} is not known: {exc}")
    if not resolved:
        raise e.OperationalError("; ".join(unknown))
    # The order is psycopg's business; with all addresses given it has nothing to look up.
    given = {key: [get_param(attempt, key) or "" for attempt in resolved] for key in ("host", "hostaddr", "port")}
    return conninfo_attempts({**params, **{key: ",".join(values) for key, values in given.items() if any(values)}})


class TrioConnection(psycopg.AsyncConnection[Row]):
    """`psycopg.AsyncConnection` under trio."""

    def __init__(self, pgconn: Any, row_factory: Any = tuple_row) -> None:
        super().__init__(pgconn, row_factory)
        self.lock = trio.Lock()  # type: ignore[assignment]  # used by `async with` only, there and here
        self._autocommit = True  # here, and not in `connect`: after that nothing may be interrupted
        self._interrupted = False  # whether a request to cancel is on its way, which may hit a later statement
        self._asking = Asking(self.pgconn, Transformer(psycopg.adapters))

    @classmethod
    async def connect(  # type: ignore[override]  # fewer options than there
        cls, conninfo: str = "", *, prepare_threshold: int | None = 5, patience: float = math.inf
    ) -> Self:
        """Connect to the first address that answers, in autocommit mode. A checkpoint.

        Args:
            conninfo: as libpq takes it, with several hosts if need be; its `connect_timeout` is for each address.
            prepare_threshold: after how many uses the server keeps a statement; None for never.
            patience: seconds for everything, shared out evenly among the addresses that are left.

        Raises psycopg's `Error`: `ConnectionTimeout` where nothing answered in time.
        """
        deadline = trio.current_time() + patience
        params = conninfo_to_dict(conninfo)
        failures: dict[str, e.Error] = {}
        attempts: list[ConnDict] = []
        with trio.move_on_at(deadline) as resolving:
            attempts = await _attempts({**KEEPALIVES, **params, "client_encoding": "UTF8"})
        if resolving.cancelled_caught:
            raise e.ConnectionTimeout(f"the name of the host was not found within {patience:g} seconds")
        for tried, attempt in enumerate(attempts):
            share = (deadline - trio.current_time()) / (len(attempts) - tried)
            try:
                connection = await cls._connect_one(attempt, max(0.0, min(share, timeout_from_conninfo(params))))
            except e.Error as exc:
                failures.setdefault(" ".join(str(exc).split()), exc)
                continue
            connection.prepare_threshold = prepare_threshold
            return connection
        if len(failures) == 1:
            raise next(iter(failures.values()))
        raise e.OperationalError("; ".join(failures))

    @classmethod
    async def _connect_one(cls, attempt: ConnDict, seconds: float) -> Self:
        with trio.move_on_after(seconds):
            return await _drive(cls._connect_gen(make_conninfo("", **attempt)))
        where = attempt.get("hostaddr") or attempt.get("host") or "the local socket"
        raise e.ConnectionTimeout(f"no answer from {where} within {seconds:.3g} seconds")

    async def ask(self, question: Question) -> list[Row]:
        """Carry out a statement and fetch its rows, as `execute` would with less around it; by one task at a time. A
        checkpoint, cancellable as `wait` is.
        """
        return await self._carry_out(self._asking.one(question, keep=self.prepare_threshold is not None))

    async def ask_together(self, questions: Sequence[Question]) -> list[list[Row]]:
        """The same for several, in one transaction and one trip. The server has to keep the statements of all."""
        return await self._carry_out(self._asking.together(questions))

    def keeps(self, question: Question) -> bool:
        """Whether the server keeps the statement."""
        return self._asking.keeps(question)

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = 0.0,  # for loops that cannot be interrupted
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's name
    ) -> RV:
        """Carry out what a generator of psycopg's asks for. A checkpoint.

        If it is cancelled while a statement runs, the server is asked to end it. Then either the statement was done
        already and its result is returned, or the server confirms and the connection can be used further, or the
        connection is closed; the last two raise what cancelled.

        Raises `_WaitTimeout` after `timeout` seconds.
        """
        if timeout is None:
            return await self._carry_out(gen)
        with trio.move_on_after(timeout):
            return await self._carry_out(gen)
        raise e._WaitTimeout("the wait was over")  # noqa: SLF001 - `notifies` catches it

    async def _carry_out(self, gen: PQGen[RV]) -> RV:
        try:
            wanted = next(gen)
        except StopIteration as done:
            await trio.lowlevel.cancel_shielded_checkpoint()
            early: RV = done.value
            return early
        try:
            return await self._go_on(gen, wanted)
        except BaseException as exc:
            active = not self.closed and self.pgconn.transaction_status == TransactionStatus.ACTIVE
            if isinstance(exc, Exception) or not active:
                raise
            return await self._ask_back(gen, exc)

    async def _go_on(self, gen: PQGen[RV], wanted: Wait) -> RV:
        try:
            while True:
                wanted = gen.send(await _until_ready(self.pgconn.socket, wanted))
        except StopIteration as done:
            result: RV = done.value
            return result
        except (OSError, trio.ClosedResourceError) as exc:
            self.drop()
            raise e.OperationalError("the connection was closed here") from exc

    async def _ask_back(self, gen: PQGen[RV], why: BaseException) -> RV:
        """Have the running statement ended. Returns its result if it was done before the server heard of it."""
        self._interrupted = True
        try:
            with trio.CancelScope(shield=True), trio.move_on_after(LAST_WORDS) as patience:
                await self.cancel_safe(timeout=LAST_WORDS)
                result = await self._go_on(gen, gen.send(Ready.NONE))
                if isinstance(why, trio.Cancelled):
                    return result
            if patience.cancelled_caught:
                self.drop()
        except e.QueryCanceled:
            pass  # as it was told
        except BaseException:
            self.drop()
        raise why

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - psycopg's name
        """Ask the server to end the statement that runs, if any; it may be too late. A checkpoint.

        Raises psycopg's `Error`: `CancellationTimeout` where the server did not hear it within `timeout` seconds.
        """
        if not self._should_cancel():
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(timeout):
            await _drive(self._cancel_gen())
            return
        raise e.CancellationTimeout(f"the server did not take the cancellation within {timeout:g} seconds")

    @property
    def is_idle(self) -> bool:
        """Whether it has done what it was asked, and nothing is on its way that was meant for an earlier statement."""
        return not self._interrupted and not self.closed and self.pgconn.transaction_status == TransactionStatus.IDLE

    @property
    def is_usable(self) -> bool:
        """Whether another statement may be sent: it is idle, and alive as far as can be seen without asking the
        server.
        """
        if not self.is_idle:
            return False
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        # Nobody speaks on an idle connection but a server that ends it: it is closed, or about to be.
        return not poll.poll(0)

    def drop(self) -> None:
        """Close it at once, whatever it does; a task that waits for its answer is told."""
        if not self.closed:
            trio.lowlevel.notify_closing(self.pgconn.socket)
        self.pgconn.finish()
