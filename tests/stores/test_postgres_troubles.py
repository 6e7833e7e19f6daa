"""What the PostgreSQL driver makes of trouble: lost connections, refusals, restarts. Certainty decides which error it
is: nothing was done, or nobody knows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import trio
from psycopg.conninfo import make_conninfo

from tests.postgres_server import Server, free_port, fresh_schema, shared_url
from tests.stores.postgres_drill import Watcher, watcher
from tests.stores.postgres_helpers import ask
from tests.stores.proxy import Proxy, open_proxy
from trioflow.errors import (
    ConfigurationError,
    OutcomeUnknown,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from trioflow.stores._postgres._asking import Question
from trioflow.stores._postgres._errors import address_of, translate
from trioflow.stores._postgres._pool import ATTEMPTS, Pool, _pause


async def table(other: Watcher, rows: int = 0) -> str:
    """The name of a new table with one column, and rows 1, 2, ..."""
    name = fresh_schema()
    await other.ask(f"CREATE UNLOGGED TABLE {name} AS SELECT generate_series(1, %s) AS n", (rows,))
    return name


async def pid(pool: Pool) -> int:
    ((number,),) = await pool.call("SELECT pg_backend_pid()", reads=True)
    return int(number)


async def refused(call: Callable[[], Awaitable[Any]]) -> StoreError:
    """The error that a call ends with, which has to be exactly of a class of ours."""
    with pytest.raises(StoreError) as caught:
        await call()
    return caught.value


# -- connections that are lost


async def test_one_that_idled_is_known_to_be_dead() -> None:
    """The server ended it while nobody used it: the next call takes another one and nobody notices."""
    async with watcher(shared_url()) as other, Pool(shared_url()) as pool:
        name = await table(other)
        await other.terminate(await pid(pool))
        await pool.call(f"INSERT INTO {name} VALUES (1)")
        assert await other.ask(f"SELECT n FROM {name}") == [(1,)]


async def test_a_write_that_was_on_its_way() -> None:
    """The server ended the connection in the middle: nobody can know what was done."""
    async with watcher(shared_url()) as other, Pool(shared_url()) as pool:
        await other.ask("SELECT pg_advisory_lock(31)")
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                error = await refused(lambda: pool.call("SELECT pg_advisory_xact_lock(31)"))
                assert type(error) is OutcomeUnknown
                assert "Repeat it with the same request id" in str(error)

            nursery.start_soon(write)
            (busy,) = await other.waiting_for(31)
            await other.terminate(busy)
        assert repr(pool).endswith("[busy 0 | idle 0 | of 8]>")
        await pid(pool)


async def test_a_read_that_was_on_its_way() -> None:
    """It is sent again, once: the second loss is told, as one that changed nothing."""
    async with watcher(shared_url()) as other, Pool(shared_url()) as pool:
        await other.ask("SELECT pg_advisory_lock(32)")
        ends: list[object] = []

        async def read() -> None:
            try:
                ends.append(await pool.call("SELECT 1 FROM pg_advisory_xact_lock(32)", reads=True))
            except StoreError as exc:
                ends.append(type(exc))

        for losses in (1, 2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                for _ in range(losses):
                    (busy,) = await other.waiting_for(32)
                    await other.terminate(busy)
                if losses == 1:
                    await other.waiting_for(32)
                    await other.ask("SELECT pg_advisory_unlock(32)")
            await other.ask("SELECT pg_advisory_lock(32)")
        assert ends == [[(1,)], StoreUnavailable]


async def cut_in(direction: str, proxy: Proxy, call: Callable[[], Awaitable[Any]]) -> None:
    """Cut the line while something of a call is held in one direction."""
    way = proxy.requests if direction == "request" else proxy.answers
    way.hold()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await way.something_held()
        proxy.cut()
        way.flow()


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_cut_line(lost: str, tcp_server: Server) -> None:
    """The request or the answer is lost: from here both look the same, and both happen."""
    async with (
        watcher(tcp_server.url) as other,
        open_proxy(tcp_server.port) as proxy,
        Pool(tcp_server.tcp(proxy.port)) as pool,
    ):
        name = await table(other)
        await pid(pool)

        async def write() -> None:
            error = await refused(lambda: pool.call(f"INSERT INTO {name} VALUES (1)"))
            assert type(error) is OutcomeUnknown

        await cut_in(lost, proxy, write)
        assert await other.ask(f"SELECT n FROM {name}") == ([] if lost == "request" else [(1,)])

        await pid(pool)

        async def read() -> None:
            await pid(pool)

        await cut_in(lost, proxy, read)


async def test_a_line_cut_while_nothing_flows(tcp_server: Server) -> None:
    """Nobody notices."""
    async with open_proxy(tcp_server.port) as proxy, Pool(tcp_server.tcp(proxy.port)) as pool:
        await pid(pool)
        for connection in [entry.connection for entry in pool._idle]:
            proxy.cut()
            while connection.is_usable:
                await trio.lowlevel.checkpoint()
        await pool.call("SELECT 1")
        assert proxy.connections == 2


async def test_what_comes_before_is_not_the_call(tcp_server: Server) -> None:
    """If the connection is lost before the statement itself was sent, nothing was done."""
    async with open_proxy(tcp_server.port) as proxy, Pool(tcp_server.tcp(proxy.port)) as pool:
        await pid(pool)

        async def write() -> None:
            error = await refused(lambda: pool.call("SELECT 1", before=Question("SELECT 2")))
            assert type(error) is StoreUnavailable

        await cut_in("answer", proxy, write)


async def test_a_line_that_goes_away_while_connecting(tcp_server: Server) -> None:
    """Nothing was done, so it may be tried again."""
    async with open_proxy(tcp_server.port) as proxy, Pool(tcp_server.tcp(proxy.port)) as pool:
        proxy.refusing = True
        error = await refused(lambda: pool.call("SELECT 1"))
        assert type(error) is StoreUnavailable
        assert "connecting failed" in str(error)
        proxy.refusing = False
        await pid(pool)


@pytest.mark.slow
async def test_a_crash_of_the_server(tcp_server: Server) -> None:
    """The write on its way is unknown; while the server is gone nothing is done; afterwards all goes on by itself."""
    async with Pool(tcp_server.tcp(), size=4) as pool:
        async with watcher(tcp_server.url) as other:
            await other.ask("SELECT pg_advisory_lock(33)")
            async with trio.open_nursery() as nursery:

                async def write() -> None:
                    error = await refused(lambda: pool.call("SELECT pg_advisory_xact_lock(33)"))
                    assert type(error) is OutcomeUnknown

                nursery.start_soon(pid, pool)
                nursery.start_soon(write)
                await other.waiting_for(33)
                await trio.to_thread.run_sync(tcp_server.stop, "immediate")
        try:
            assert type(await refused(lambda: pool.call("SELECT 1"))) is StoreUnavailable
        finally:
            await trio.to_thread.run_sync(tcp_server.start)
        await pool.call("SELECT 1")


# -- what the server says


async def raising(other: Watcher, state: str) -> str:
    """A statement that fails as told, and counts how often."""
    name = fresh_schema()
    await other.ask(f"CREATE SEQUENCE {name}")
    await other.ask(
        f"CREATE FUNCTION {name}() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('{name}'); "
        f"RAISE EXCEPTION 'on purpose' USING ERRCODE = '{state}'; END $$"
    )
    return name


@pytest.mark.parametrize(
    ("state", "cls", "advice", "tries"),
    [
        ("40001", StoreUnavailable, "in the way again and again", ATTEMPTS),
        ("40P01", StoreUnavailable, "in the way again and again", ATTEMPTS),
        ("26000", StoreError, "pooled=True", 2),
        ("25006", StoreReadOnly, "connect to the primary", 1),
        ("42501", StoreError, "grant this user", 1),
        ("42P01", StoreError, "restart to make it again", 1),
        ("53100", StoreFull, "free some room", 1),
        ("53200", StoreUnavailable, "short of memory", 1),
        ("53300", StoreUnavailable, "max_connections", 1),
        ("55P03", StoreUnavailable, "something else holds", 1),
        ("57014", StoreUnavailable, "stopped the statement", 1),
        ("58030", StoreUnavailable, "see its log", 1),
        ("22021", StoreError, "cannot keep", 1),
        ("XX000", StoreError, "please report it", 1),
    ],
)
async def test_every_refusal_says_what_to_do(state: str, cls: type[StoreError], advice: str, tries: int) -> None:
    """The class tells whether it may pass; the message names the server, the code, and the way out."""
    async with watcher(shared_url()) as other, Pool(shared_url()) as pool:
        name = await raising(other, state)
        error = await refused(lambda: pool.call(f"SELECT {name}()"))
        assert type(error) is cls
        assert str(error).startswith(f"{pool.address}: a statement failed: on purpose ({state}). What to do: ")
        assert advice in str(error)
        assert isinstance(error.__cause__, psycopg.Error)
        assert await other.value(f"SELECT last_value FROM {name}") == tries


async def test_what_psycopg_refuses() -> None:
    """A text with a NUL is never sent, and the connection goes on."""
    async with Pool(shared_url()) as pool:
        before = await pid(pool)
        error = await refused(lambda: pool.call("SELECT %s::text", ("a\0b",)))
        assert type(error) is StoreError
        assert "such as NUL" in str(error)
        assert await pid(pool) == before


async def test_a_deadlock_is_tried_again(tcp_server: Server) -> None:
    """Two statements that lock two rows crosswise both end well, whichever the server undoes."""
    async with watcher(tcp_server.url) as other, Pool(tcp_server.tcp()) as pool:
        name = await table(other, rows=2)
        await other.ask(f"CREATE SEQUENCE {name}_tries")
        await other.ask(
            f"CREATE FUNCTION {name}(a integer, b integer) RETURNS void LANGUAGE plpgsql AS $$ BEGIN "
            f"PERFORM nextval('{name}_tries'); UPDATE {name} SET n = n WHERE n = a; "
            f"PERFORM pg_advisory_xact_lock_shared(34); UPDATE {name} SET n = n WHERE n = b; END $$"
        )
        await other.ask("SELECT pg_advisory_lock(34)")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.call, f"SELECT {name}(1, 2)")
            nursery.start_soon(pool.call, f"SELECT {name}(2, 1)")
            await other.waiting_for(34, 2)
            await other.ask("SELECT pg_advisory_unlock(34)")
        assert await other.value(f"SELECT last_value FROM {name}_tries") > 2


async def test_a_statement_that_was_kept_goes_stale() -> None:
    """A table that changed under a prepared statement, or a server that forgot it, costs nobody anything."""
    async with watcher(shared_url()) as other, Pool(shared_url()) as pool:
        name = await table(other, rows=1)
        for _ in range(5):
            assert await pool.call(f"SELECT * FROM {name}") == [(1,)]
        await other.ask(f"ALTER TABLE {name} ADD COLUMN m text DEFAULT 'more'")
        assert await pool.call(f"SELECT * FROM {name}") == [(1, "more")]
        for _ in range(5):
            await pool.call(f"SELECT * FROM {name}")
        await pool.call("DEALLOCATE ALL")
        assert await pool.call(f"SELECT * FROM {name}") == [(1, "more")]
        assert repr(pool).endswith("[busy 0 | idle 1 | of 8]>")  # the one that was stale is gone


async def test_whoever_was_in_the_way_gets_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between tries grow, and two connections do not wait for the same time."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await trio.lowlevel.checkpoint()

    async with watcher(shared_url()) as other, Pool(shared_url()) as pool:
        name = await raising(other, "40P01")
        monkeypatch.setattr(trio, "sleep", sleep)
        await refused(lambda: pool.call(f"SELECT {name}()"))
    assert pauses == sorted(pauses)
    assert len(pauses) == ATTEMPTS - 1
    assert 0.0 < pauses[0] < pauses[-1] < 0.2
    one, two = (SimpleNamespace(pgconn=SimpleNamespace(backend_pid=number)) for number in (100, 101))
    assert _pause(one, 1) != _pause(two, 1)


async def test_a_server_that_must_not_be_written() -> None:
    """A standby refuses, and says so."""
    address = make_conninfo(shared_url(), options="-c default_transaction_read_only=on")
    async with watcher(shared_url()) as other, Pool(address) as pool:
        name = await table(other)
        error = await refused(lambda: pool.call(f"INSERT INTO {name} VALUES (1)"))
        assert type(error) is StoreReadOnly


# -- who may not come in


@pytest.mark.parametrize(
    ("address", "cls", "said"),
    [
        ("postgresql://guarded:wrong-secret@127.0.0.1:{port}/postgres", StoreError, "check the user and the password"),
        ("postgresql://guarded@127.0.0.1:{port}/postgres", StoreError, "check the user and the password"),
        ("postgresql://banned@127.0.0.1:{port}/postgres", StoreError, "pg_hba.conf"),
        ("postgresql://stranger@127.0.0.1:{port}/postgres", StoreError, "check the user"),
        ("postgresql://postgres@127.0.0.1:{port}/nowhere", StoreError, "create the database"),
        ("postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=require", StoreError, "sslmode"),
        ("postgresql://postgres@127.0.0.1:{unused}/postgres", StoreUnavailable, "check that the server runs"),
        ("postgresql://postgres@trioflow.invalid/postgres", StoreUnavailable, "check that the server runs"),
        ("postgresql:///postgres?host=/nowhere", StoreUnavailable, "check that the server runs"),
    ],
)
async def test_who_may_not_come_in(address: str, cls: type[StoreError], said: str, tcp_server: Server) -> None:
    """What a person has to set right is a StoreError, what may pass is StoreUnavailable; no password is shown."""
    async with Pool(address.format(port=tcp_server.port, unused=free_port())) as pool:
        error = await refused(lambda: pool.call("SELECT 1"))
        assert type(error) is cls, error
        assert said in str(error)
        assert "wrong-secret" not in f"{error} {error.__cause__} {pool!r}"


async def test_the_right_password_comes_in(tcp_server: Server) -> None:
    """The same user, with what the server asks for."""
    address = f"postgresql://guarded:open%20sesame@127.0.0.1:{tcp_server.port}/postgres"
    async with Pool(address) as pool:
        assert await pool.call("SELECT current_user::text") == [("guarded",)]


async def test_no_rights(tcp_server: Server) -> None:
    """A user without rights, and one whose connections are all in use, are told what to ask for."""
    ask(tcp_server.url, "CREATE TABLE IF NOT EXISTS treasure (n integer)")
    async with Pool(tcp_server.tcp(user="plain")) as pool, Pool(tcp_server.tcp(user="plain")) as second:
        error = await refused(lambda: pool.call("SELECT * FROM treasure"))
        assert type(error) is StoreError
        assert "grant this user the right" in str(error)
        error = await refused(lambda: second.call("SELECT 1"))
        assert type(error) is StoreUnavailable
        assert "raise the server's max_connections" in str(error)


# -- addresses


@pytest.mark.parametrize(
    ("conninfo", "shown"),
    [
        ("postgresql://me:secret@db.example:5433/shop", "PostgreSQL at db.example:5433/shop"),
        ("host=a,b port=1,2 dbname=shop password=secret", "PostgreSQL at a,b:1,2/shop"),
        ("postgresql://me:se%40cr%2Fet@[::1]/shop?application_name=a%40b", "PostgreSQL at ::1/shop"),
        ("hostaddr=10.0.0.1", "PostgreSQL at 10.0.0.1"),
        ("postgresql:///shop?host=/var/run", "PostgreSQL at /var/run/shop"),
        ("", "PostgreSQL at the default host"),
        ("postgresql://", "PostgreSQL at the default host"),
    ],
)
def test_an_address_is_shown_without_its_password(conninfo: str, shown: str) -> None:
    """Enough to know which server is meant."""
    assert address_of(conninfo) == shown


@pytest.mark.parametrize(
    "conninfo",
    [
        "postgresql://me:sec@ret@db/shop",
        "postgresql://me:sec/ret@db/shop",
        "postgresql://me:sec?ret@db/shop",
        "postgresql://me:sec%ret@db/shop",
        "postgresql://db/shop?sec=ret",
        "host=db password=sec ret",
        "host=db port=ret",
        "sec:ret",
        "host=db password=sec\0ret",
    ],
)
def test_an_address_that_cannot_be_understood_is_not_shown(conninfo: str) -> None:
    """Where a special character was not encoded, part of the password stands where the host or database would be."""
    with pytest.raises(ConfigurationError, match="percent-encoded") as caught:
        address_of(conninfo)
    assert "ret" not in f"{caught.value} {caught.value.__cause__}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_an_error_without_words() -> None:
    """It is named by its class."""
    assert "connecting failed: OSError. What" in str(translate(OSError(), "PostgreSQL at x", "connecting"))
