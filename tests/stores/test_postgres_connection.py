"""One connection to a real PostgreSQL, driven by trio: what is overridden, how it connects, how it is cancelled."""

from __future__ import annotations

import inspect
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio
import trio.testing
import trustme
from psycopg import errors as e, pq, waiting
from psycopg.conninfo import make_conninfo

from tests.postgres_server import Server, free_port, shared_url
from tests.stores.postgres_drill import watcher
from tests.stores.proxy import open_proxy
from trioflow.stores._postgres import _connection
from trioflow.stores._postgres._connection import LAST_WORDS, TrioConnection


@asynccontextmanager
async def connected(address: str | None = None) -> AsyncIterator[TrioConnection]:
    connection = await TrioConnection.connect(shared_url() if address is None else address)
    try:
        yield connection
    finally:
        connection.drop()


async def value(connection: TrioConnection, statement: str, *parameters: object) -> Any:
    row = await (await connection.execute(statement, parameters)).fetchone()
    assert row is not None
    return row[0]


def names(fn: Any) -> list[str]:
    return list(inspect.signature(fn).parameters)


def test_what_is_overridden_is_what_psycopg_calls() -> None:
    """The seams that the connection relies on are where they were: a new psycopg that moves one fails here."""
    base = psycopg.AsyncConnection
    assert names(base.wait) == ["self", "gen", "interval", "timeout"]
    assert names(base.cancel_safe) == ["self", "timeout"]
    assert names(base._connect_gen) == ["conninfo"]
    assert names(base._cancel_gen) == names(base._should_cancel) == ["self"]
    assert issubclass(e._WaitTimeout, psycopg.Error)
    assert (waiting.Ready.NONE, waiting.Ready.R, waiting.Ready.W) == (0, 1, 2)
    assert pq.version() >= 170000  # older ones cannot ask for cancellation without blocking


async def test_statements_of_every_kind() -> None:
    """Parameters, many at once, pipelines and copies all go through the seams."""
    async with connected() as connection:
        assert connection.autocommit
        await connection.execute("CREATE TEMPORARY TABLE t (n integer, b bytea)")
        async with connection.cursor() as cursor:
            await cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(n, b"x" * n) for n in range(50)])
        async with connection.pipeline():
            cursors = [await connection.execute("SELECT b FROM t WHERE n = %s", (n,)) for n in range(20)]
            assert [await cursor.fetchone() for cursor in cursors] == [(b"x" * n,) for n in range(20)]
        async with connection.cursor().copy("COPY t (n) FROM STDIN") as copy:
            await copy.write_row((1000,))
        async with connection.cursor().copy("COPY (SELECT max(n) FROM t) TO STDOUT") as copy:
            assert [row async for row in copy.rows()] == [("1000",)]
        with pytest.raises(KeyError):
            async with connection.transaction():
                await connection.execute("DELETE FROM t")
                raise KeyError
        assert await value(connection, "SELECT count(*) FROM t") == 51


async def test_what_does_not_fit_into_the_socket() -> None:
    """A parameter larger than every buffer is sent while the answer is read."""
    big = bytes(range(256)) * 40_000
    async with connected() as connection:
        assert await value(connection, "SELECT %b::bytea", big) == big


async def test_text_is_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the address or the environment says, or the database would do."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    async with connected(make_conninfo(shared_url(), client_encoding="SQL_ASCII")) as connection:
        assert await value(connection, "SELECT %s::text", "naïve 日本 🐙") == "naïve 日本 🐙"


async def test_tasks_take_turns() -> None:
    """One connection carries out one statement at a time, whoever asks."""
    found: list[int] = []
    async with connected() as connection, trio.open_nursery() as nursery:

        async def ask(number: int) -> None:
            found.append(await value(connection, "SELECT %s::integer", number))

        for number in range(10):
            nursery.start_soon(ask, number)
    assert sorted(found) == list(range(10))


async def test_a_wait_ends_in_time(mock_clock: trio.testing.MockClock) -> None:
    """Listening for some seconds ends after them, and the connection can be used further."""
    async with connected() as connection, trio.open_nursery() as nursery:

        async def listen() -> None:
            async for _ in connection.notifies(timeout=3.0):
                raise AssertionError
            assert await value(connection, "SELECT 1") == 1

        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(3.0)


# -- cancellation


async def test_a_statement_that_is_cancelled_ends_on_the_server_too() -> None:
    """The server is asked to end it, confirms, and the connection is as good as before."""
    async with connected() as connection, watcher(shared_url()) as other:
        await other.ask("SELECT pg_advisory_lock(11)")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.execute, "SELECT pg_advisory_lock(11)")
                (pid,) = await other.waiting_for(11)
                scope.cancel()
        assert scope.cancelled_caught
        assert pid == connection.pgconn.backend_pid
        await other.waiting_for(11, 0)
        assert not connection.closed
        assert not connection.is_usable  # by other statements: who knows what is on its way
        assert await value(connection, "SELECT 1") == 1


async def test_a_statement_that_was_done_already_answers(tcp_server: Server) -> None:
    """As with a thread: what has happened is returned, although it was cancelled meanwhile."""
    async with open_proxy(tcp_server.port) as proxy, connected(tcp_server.tcp(proxy.port)) as connection:
        answers: list[Any] = []
        proxy.answers.hold()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    answers.append(await value(connection, "SELECT 1"))

                nursery.start_soon(ask)
                await proxy.answers.something_held()
                scope.cancel()
                proxy.answers.flow()
        assert answers == [1]


async def test_a_server_that_does_not_hear_is_left(tcp_server: Server, mock_clock: trio.testing.MockClock) -> None:
    """If the server cannot be asked to end the statement, the connection is closed."""
    async with (
        open_proxy(tcp_server.port) as proxy,
        connected(tcp_server.tcp(proxy.port)) as connection,
    ):
        proxy.requests.hold()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.execute, "SELECT 1")
                await proxy.requests.something_held()
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(LAST_WORDS)
        assert connection.closed


async def test_a_server_that_cannot_be_asked_is_left(tcp_server: Server) -> None:
    """The same at once, if the request to end the statement is refused."""
    async with (
        open_proxy(tcp_server.port) as proxy,
        connected(tcp_server.tcp(proxy.port)) as connection,
    ):
        proxy.answers.hold()
        proxy.refusing = True
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.execute, "SELECT 1")
                await proxy.answers.something_held()
                scope.cancel()
        assert scope.cancelled_caught
        assert connection.closed


async def test_an_interrupt_from_the_keyboard_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised, even if the statement was done; the connection is not used by others."""
    until_ready = _connection._until_ready
    waits: list[waiting.Wait] = []

    async def interrupted(fileno: int, wanted: waiting.Wait) -> waiting.Ready:
        waits.append(wanted)
        if len(waits) == 1:
            raise KeyboardInterrupt
        return await until_ready(fileno, wanted)

    async with connected() as connection:
        with monkeypatch.context() as patch:
            patch.setattr(_connection, "_until_ready", interrupted)
            with pytest.raises(KeyboardInterrupt):
                await connection.execute("SELECT 1")
        assert not connection.is_usable


async def test_a_cancellation_that_the_server_does_not_take(
    tcp_server: Server, mock_clock: trio.testing.MockClock
) -> None:
    """Asking for it gives up in time, with psycopg's own error; without a connection there is nothing to ask."""
    async with open_proxy(tcp_server.port) as proxy:
        async with connected(tcp_server.tcp(proxy.port)) as connection, trio.open_nursery() as nursery:
            proxy.requests.hold()

            async def cancel() -> None:
                with pytest.raises(e.CancellationTimeout, match="within 2 seconds"):
                    await connection.cancel_safe(timeout=2.0)

            nursery.start_soon(cancel)
            await proxy.requests.something_held()
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(2.0)
        await connection.cancel_safe()


@pytest.mark.parametrize("size", [1, 20_000_000])
async def test_a_connection_that_is_dropped_tells_its_user(tcp_server: Server, size: int) -> None:
    """Closing it under a task that waits for the answer, or still sends, raises there."""
    async with (
        open_proxy(tcp_server.port) as proxy,
        connected(tcp_server.tcp(proxy.port)) as connection,
        trio.open_nursery() as nursery,
    ):
        proxy.requests.hold()

        async def ask() -> None:
            with pytest.raises(psycopg.OperationalError, match="was closed here"):
                await connection.execute("SELECT %b::bytea", (b"x" * size,))

        nursery.start_soon(ask)
        await proxy.requests.something_held()
        await trio.testing.wait_all_tasks_blocked()
        connection.drop()


async def test_a_server_that_ends_an_idle_connection_is_noticed() -> None:
    """Without asking the server: what it said before it went is there to be read."""
    async with connected() as connection, watcher(shared_url()) as other:
        assert connection.is_usable
        await other.terminate(connection.pgconn.backend_pid)
        assert not connection.is_usable
        assert not connection.closed


async def test_a_connection_that_was_just_made_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation that comes as it is there finds nothing to interrupt: the caller has it, to close it."""
    connection = None
    with trio.CancelScope() as scope:

        def made(self: TrioConnection, *args: Any) -> None:
            init(self, *args)
            scope.cancel()

        init = TrioConnection.__init__
        with monkeypatch.context() as patch:
            patch.setattr(TrioConnection, "__init__", made)
            connection = await TrioConnection.connect(shared_url())
    assert connection is not None
    assert connection.autocommit
    connection.drop()


# -- where to connect to


@contextmanager
def known_hosts(monkeypatch: pytest.MonkeyPatch, **hosts: list[str]) -> Iterator[list[str]]:
    """Names that resolve as told; gives those that were asked for."""
    asked: list[str] = []

    async def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        await trio.lowlevel.checkpoint()
        if host not in hosts:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in hosts[host]]

    with monkeypatch.context() as patch:
        patch.setattr(trio.socket, "getaddrinfo", getaddrinfo)
        yield asked


async def test_a_host_is_looked_up_by_trio(tcp_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its addresses are tried in turn, and libpq, which would block, has nothing to look up."""
    with known_hosts(monkeypatch, primary=["127.0.0.2", "127.0.0.1"]) as asked:
        async with connected(f"host=primary port={tcp_server.port} user=postgres") as connection:
            assert connection.info.hostaddr == "127.0.0.1"
            assert connection.info.host == "primary"
    assert asked == ["primary"]


async def test_several_hosts(tcp_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts that nobody knows, that refuse, and that are addresses already stand in one list, each with its port."""
    hosts, ports = "lost,gone,127.0.0.1", f"1,{free_port()},{tcp_server.port}"
    with known_hosts(monkeypatch, gone=["127.0.0.1"], **{"127.0.0.1": ["127.0.0.1"]}):
        async with connected(f"postgresql://postgres@/postgres?host={hosts}&port={ports}") as connection:
            assert connection.info.port == tcp_server.port


async def test_an_address_that_is_given_is_not_looked_up(tcp_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is then for certificates only."""
    with known_hosts(monkeypatch) as asked:
        async with connected(f"host=any hostaddr=127.0.0.1 port={tcp_server.port} user=postgres") as connection:
            assert connection.info.host == "any"
    assert asked == []


async def test_a_host_from_the_environment(tcp_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the address leaves out comes from where libpq would take it, and is looked up all the same."""
    monkeypatch.setenv("PGHOST", "primary")
    monkeypatch.setenv("PGPORT", str(tcp_server.port))
    with known_hosts(monkeypatch, primary=["127.0.0.1"]) as asked:
        async with connected("user=postgres") as connection:
            assert connection.info.hostaddr == "127.0.0.1"
    assert asked == ["primary"]


async def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error tells of every address, once each."""
    one, two = free_port(), free_port()
    with known_hosts(monkeypatch, down=["127.0.0.1"]):
        with pytest.raises(e.OperationalError, match=r"'lost' is not known"):
            await TrioConnection.connect("host=lost")
        with pytest.raises(e.OperationalError, match=rf"(?s){one}.*; .*{two}"):
            await TrioConnection.connect(f"host=down,down port={one},{two}")
        with pytest.raises(e.OperationalError) as caught:
            await TrioConnection.connect(f"host=down,down port={one},{one}")
        assert str(caught.value).count(str(one)) == 1


async def test_a_name_that_nobody_answers_for(
    monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    """A look-up that hangs is given up in time, and other tasks go on meanwhile."""

    async def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        mock_clock.jump(5.0)
        await trio.sleep_forever()

    monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(e.ConnectionTimeout, match="not found within 5 seconds"):
        await TrioConnection.connect("host=primary", patience=5.0)


async def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    tcp_server: Server, mock_clock: trio.testing.MockClock
) -> None:
    """Patience is shared out evenly, so one that swallows everything does not cost the connection."""
    with trio.socket.socket() as deaf:
        await deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        address = f"host=127.0.0.1,127.0.0.1 port={deaf.getsockname()[1]},{tcp_server.port} user=postgres"

        async with trio.open_nursery() as nursery:

            async def connect() -> None:
                connection = await TrioConnection.connect(address, patience=6.0)
                assert trio.current_time() - before == 3.0
                connection.drop()

            before = trio.current_time()
            nursery.start_soon(connect)
            accepted, _ = await deaf.accept()
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(3.0)
        accepted.close()


# -- TLS


def certified(*names: str) -> tuple[trustme.CA, ssl.SSLContext]:
    """An authority, and what a server speaks with a certificate of it."""
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return authority, context


async def test_tls(tcp_server: Server, tmp_path: Path) -> None:
    """A certificate that nobody knows is enough for `require`; the strictest mode wants one that is known."""
    authority, context = certified("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with open_proxy(tcp_server.port, tls=context) as proxy:
        for options in ("sslmode=require", f"sslmode=verify-full&sslrootcert={tmp_path}/ca.pem"):
            async with connected(f"{tcp_server.tcp(proxy.port)}?{options}") as connection:
                assert connection.pgconn.ssl_in_use
                assert await value(connection, "SELECT length(%b::bytea)", b"x" * 1_000_000) == 1_000_000


async def test_a_certificate_for_somebody_else(
    tcp_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify-full` refuses a certificate of another authority, and a right one for another name."""
    authority, context = certified("secondary")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    async with open_proxy(tcp_server.port, tls=context) as proxy:
        strict = f"host=primary port={proxy.port} user=postgres sslmode=verify-full sslrootcert={tmp_path}"
        with known_hosts(monkeypatch, primary=["127.0.0.1"]):
            with pytest.raises(e.OperationalError, match="certificate verify failed"):
                await TrioConnection.connect(f"{strict}/stranger.pem")
            with pytest.raises(e.OperationalError, match='does not match host name "primary"'):
                await TrioConnection.connect(f"{strict}/ca.pem")


async def test_a_server_without_tls(tcp_server: Server) -> None:
    """Whoever requires it does not get less."""
    with pytest.raises(e.OperationalError, match="does not support SSL"):
        await TrioConnection.connect(f"{tcp_server.tcp()}?sslmode=require")


def test_the_seams_are_used() -> None:
    """No other method of the connection is overridden, so nothing hides in between."""
    own = [name for name in vars(TrioConnection) if name in dir(psycopg.AsyncConnection)]
    assert [name for name in own if not name.startswith("__")] == ["connect", "wait", "cancel_safe"]
    assert _connection.TrioConnection is TrioConnection
