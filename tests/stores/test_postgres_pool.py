"""The pool of connections: how many there are, how long one waits, what cancellation does, how it closes."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.postgres_server import Server, free_port, fresh_schema, shared_url
from tests.stores.postgres_drill import Watcher, watcher
from tests.stores.proxy import open_proxy
from trioflow.errors import OutcomeUnknown, StoreClosed, StoreUnavailable
from trioflow.stores._postgres._asking import Question
from trioflow.stores._postgres._connection import LAST_WORDS, TrioConnection
from trioflow.stores._postgres._pool import Pool

Row = tuple[Any, ...]


async def table(other: Watcher) -> str:
    """The name of a new table with one column."""
    name = fresh_schema()
    await other.ask(f"CREATE UNLOGGED TABLE {name} (n integer)")
    return name


async def pid(pool: Pool) -> int:
    ((number,),) = await pool.call("SELECT pg_backend_pid()", reads=True)
    return int(number)


def blocked(fn: Callable[..., Awaitable[Any]], *args: Any, error: type[Exception], match: str) -> Any:
    """A task that has to end with an error."""

    async def run() -> None:
        with pytest.raises(error, match=match):
            await fn(*args)

    return run


async def test_a_call() -> None:
    """Rows come back as Python values; a statement without rows gives none; what is to come before comes before."""
    async with Pool(shared_url()) as pool:
        assert await pool.call("SELECT %s::bigint, %s, %s::bytea", (2**40, "text", b"\x00\xff")) == [
            (2**40, "text", b"\x00\xff")
        ]
        assert await pool.call("SET application_name = 'a'") == []
        assert await pool.call(
            "SELECT current_setting('a.b')", before=Question("SELECT set_config('a.b', 'c', false)")
        ) == [("c",)]
        await pool.run_script("BEGIN; SELECT 1; SELECT 2; COMMIT;")


async def test_connections_are_opened_when_needed_and_used_again(tcp_server: Server) -> None:
    """None before the first call, and one is enough for one call after the other; the state is in the repr."""
    async with open_proxy(tcp_server.port) as proxy:
        address = f"PostgreSQL at 127.0.0.1:{proxy.port}/postgres"
        pool = Pool(tcp_server.tcp(proxy.port), size=3)
        assert repr(pool) == f"<Pool {address} [closed]>"
        async with pool:
            assert proxy.connections == 0
            assert await pid(pool) == await pid(pool)
            assert proxy.connections == 1
            assert repr(pool) == f"<Pool {address} [busy 0 | idle 1 | of 3]>"


async def test_never_more_than_there_may_be(tcp_server: Server) -> None:
    """Many callers share few connections."""
    async with open_proxy(tcp_server.port) as proxy, Pool(tcp_server.tcp(proxy.port), size=3) as pool:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(pid, pool)
        assert proxy.connections <= 3


async def test_all_are_busy(mock_clock: trio.testing.MockClock) -> None:
    """Who waits longer than the pool's patience is told that nothing was done, and why."""
    async with watcher(shared_url()) as other, Pool(shared_url(), size=1, patience=2.0) as pool:
        await other.ask("SELECT pg_advisory_lock(21)")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.call, "SELECT pg_advisory_lock(21)")
            await other.waiting_for(21)
            second = blocked(pid, pool, error=StoreUnavailable, match="all 1 connections were busy for 2 seconds")
            nursery.start_soon(second)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(2.0)
            await trio.testing.wait_all_tasks_blocked()
            await other.ask("SELECT pg_advisory_unlock(21)")
        await pid(pool)


async def test_idle_connections_are_closed_in_time(mock_clock: trio.testing.MockClock) -> None:
    """After a minute without use all but one go, the ones used least first; nothing runs in the background for it."""
    async with watcher(shared_url()) as other, Pool(shared_url(), size=4) as pool:
        await other.ask("SELECT pg_advisory_lock(22)")
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(pool.call, "SELECT pg_advisory_lock_shared(22)")
            await other.waiting_for(22, 4)
            await other.ask("SELECT pg_advisory_unlock(22)")
        assert repr(pool).endswith("[busy 0 | idle 4 | of 4]>")
        assert await pid(pool) == await pid(pool) == await pid(pool)
        mock_clock.jump(60.5)
        await pid(pool)
        assert repr(pool).endswith("[busy 0 | idle 1 | of 4]>")


# -- cancellation


async def test_cancelled_before_anything() -> None:
    """Nothing is sent."""
    async with watcher(shared_url()) as other, Pool(shared_url()) as pool:
        name = await table(other)
        with trio.CancelScope() as scope:
            scope.cancel()
            await pool.call(f"INSERT INTO {name} VALUES (1)")
        assert scope.cancelled_caught
        assert await other.ask(f"SELECT * FROM {name}") == []


async def test_cancelled_between_connecting_and_sending() -> None:
    """The last moment at which it can be stopped is just before it is sent."""
    scope = trio.CancelScope()

    async def setup(connection: TrioConnection) -> None:
        scope.cancel()

    async with watcher(shared_url()) as other, Pool(shared_url(), setup=setup) as pool:
        name = await table(other)
        with scope:
            await pool.call(f"INSERT INTO {name} VALUES (1)")
        assert scope.cancelled_caught
        assert await other.ask(f"SELECT * FROM {name}") == []


async def test_cancelled_while_it_waits_for_a_connection() -> None:
    """Its place in the queue is free again."""
    async with watcher(shared_url()) as other, Pool(shared_url(), size=1) as pool:
        await other.ask("SELECT pg_advisory_lock(23)")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.call, "SELECT pg_advisory_lock(23)")
            await other.waiting_for(23)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as inner:
                    inner.start_soon(pid, pool)
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()
            assert scope.cancelled_caught
            await other.ask("SELECT pg_advisory_unlock(23)")
        await pid(pool)


async def test_cancelled_while_it_connects(tcp_server: Server) -> None:
    """Nothing was sent, and the place is free again."""
    async with open_proxy(tcp_server.port) as proxy, Pool(tcp_server.tcp(proxy.port), size=1) as pool:
        proxy.answers.hold()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pid, pool)
                await proxy.answers.something_held()
                scope.cancel()
        assert scope.cancelled_caught
        proxy.answers.flow()
        await pid(pool)


async def test_cancelled_in_flight() -> None:
    """A statement that was sent is waited for, and what it did is done."""
    async with watcher(shared_url()) as other, Pool(shared_url()) as pool:
        name = await table(other)
        await other.ask("SELECT pg_advisory_lock(24)")
        answers: list[list[Row]] = []
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def insert() -> None:
                    statement = f"INSERT INTO {name} SELECT 7 FROM pg_advisory_xact_lock(24) RETURNING n"
                    answers.append(await pool.call(statement))

                nursery.start_soon(insert)
                await other.waiting_for(24)
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await trio.testing.wait_all_tasks_blocked()
                    await other.ask("SELECT pg_advisory_unlock(24)")
        assert answers == [[(7,)]]
        assert await other.ask(f"SELECT n FROM {name}") == [(7,)]


async def test_a_script_can_be_cancelled() -> None:
    """It is a transaction by itself, so the server undoes what it had begun."""
    async with watcher(shared_url()) as other, Pool(shared_url(), size=1) as pool:
        name = await table(other)
        await other.ask("SELECT pg_advisory_lock(25)")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                script = f"BEGIN; INSERT INTO {name} VALUES (1); SELECT pg_advisory_xact_lock(25); COMMIT;"
                nursery.start_soon(pool.run_script, script)
                await other.waiting_for(25)
                scope.cancel()
        assert scope.cancelled_caught
        await other.waiting_for(25, 0)
        assert await other.ask(f"SELECT n FROM {name}") == []
        await pid(pool)


# -- the limit


async def test_a_statement_that_takes_too_long_is_ended(mock_clock: trio.testing.MockClock) -> None:
    """The server confirms that it did nothing; the connection, on which a late request might still hit, is not used
    again.
    """
    async with watcher(shared_url()) as other, Pool(shared_url(), size=1, limit=10.0) as pool:
        name = await table(other)
        await other.ask("SELECT pg_advisory_lock(26)")
        before = await pid(pool)
        async with trio.open_nursery() as nursery:
            statement = f"INSERT INTO {name} SELECT 1 FROM pg_advisory_xact_lock(26)"
            nursery.start_soon(blocked(pool.call, statement, error=StoreUnavailable, match=r"10 seconds \(57014"))
            await other.waiting_for(26)
            mock_clock.jump(10.0)
        await other.waiting_for(26, 0)
        assert await other.ask(f"SELECT n FROM {name}") == []
        assert await pid(pool) != before


async def test_a_server_that_falls_silent(tcp_server: Server, mock_clock: trio.testing.MockClock) -> None:
    """What was sent to it may have been done, and nobody waits for ever."""
    async with (
        open_proxy(tcp_server.port) as proxy,
        Pool(tcp_server.tcp(proxy.port), size=1, limit=10.0) as pool,
    ):
        await pid(pool)
        proxy.requests.hold()
        async with trio.open_nursery() as nursery:
            call = functools.partial(pool.call, "SELECT 1")
            nursery.start_soon(blocked(call, error=OutcomeUnknown, match="no answer within 10 seconds"))
            await proxy.requests.something_held()
            mock_clock.jump(10.0)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(LAST_WORDS)
        proxy.requests.flow()
        await pid(pool)


@pytest.mark.parametrize("deaf", ["server", "setup"])
async def test_connecting_takes_too_long(deaf: str, tcp_server: Server, mock_clock: trio.testing.MockClock) -> None:
    """Nothing was done, and what was half opened is closed."""
    opened: list[TrioConnection] = []

    async def setup(connection: TrioConnection) -> None:
        opened.append(connection)
        mock_clock.jump(3.0)
        await trio.sleep_forever()

    async with open_proxy(tcp_server.port) as proxy, trio.open_nursery() as nursery:
        async with Pool(tcp_server.tcp(proxy.port), patience=3.0, setup=setup) as pool:
            if deaf == "server":
                proxy.answers.hold()
            nursery.start_soon(blocked(pid, pool, error=StoreUnavailable, match=r"within 3 seconds"))
            if deaf == "server":
                await proxy.answers.something_held()
                mock_clock.jump(3.0)
            await trio.testing.wait_all_tasks_blocked()
        assert all(connection.closed for connection in opened)
        assert len(opened) == (deaf == "setup")


# -- closing


async def test_closing_waits_for_what_is_on_its_way() -> None:
    """Calls that were sent get their answers; those in the queue are told that it is closed; so are later ones."""
    async with watcher(shared_url()) as other:
        await other.ask("SELECT pg_advisory_lock(27)")
        answers: list[list[Row]] = []
        pool = Pool(shared_url(), size=1)
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                async with pool:

                    async def first() -> None:
                        answers.append(await pool.call("SELECT 1 FROM pg_advisory_xact_lock(27)"))

                    nursery.start_soon(first)
                    await other.waiting_for(27)
                    nursery.start_soon(blocked(pid, pool, error=StoreClosed, match="the store is closed"))
                    await trio.testing.wait_all_tasks_blocked()

                    async def later() -> None:
                        await trio.testing.wait_all_tasks_blocked()
                        with pytest.raises(StoreClosed):
                            await pid(pool)
                        await other.ask("SELECT pg_advisory_unlock(27)")

                    nursery.start_soon(later)
                    scope.cancel()  # closing is not cut short
            assert answers == [[(1,)]]
        async with pool:
            await pid(pool)


async def test_closing_does_not_wait_for_ever(mock_clock: trio.testing.MockClock) -> None:
    """A script has no limit; one that hangs when the pool closes is left after the pool's own."""
    async with watcher(shared_url()) as other, trio.open_nursery() as nursery:
        await other.ask("SELECT pg_advisory_lock(28)")
        async with Pool(shared_url(), limit=10.0) as pool:
            script = "BEGIN; SELECT pg_advisory_xact_lock(28); COMMIT;"
            nursery.start_soon(blocked(pool.run_script, script, error=StoreUnavailable, match="was closed here"))
            await other.waiting_for(28)

            async def impatient() -> None:
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(10.0 + LAST_WORDS)

            nursery.start_soon(impatient)


async def test_setup_runs_on_each_connection() -> None:
    """What it sets is there; if it fails nothing was done and the connection is closed."""
    seen: list[TrioConnection] = []

    async def setup(connection: TrioConnection) -> None:
        seen.append(connection)
        await connection.execute("SET application_name = 'set up'" if len(seen) > 1 else "SELECT 1/0")

    async with Pool(shared_url(), setup=setup) as pool:
        with pytest.raises(Exception, match="connecting failed: division by zero"):
            await pool.call("SELECT 1")
        assert seen[0].closed
        assert await pool.call("SHOW application_name") == [("set up",)]


async def test_nothing_is_kept_on_the_server_for_a_pooler() -> None:
    """Behind a transaction pooler each call may reach another backend: no statement is prepared and no setting made."""
    async with Pool(shared_url(), prepare=False) as plain, Pool(shared_url()) as preparing:
        counts = []
        for pool in (plain, preparing):
            for _ in range(5):
                await pool.call("SELECT %s::integer", (1,))
            counts.append(await pool.call("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%$1%%'"))
        assert counts == [[(0,)], [(1,)]]
        before = await pid(plain)
        for entry in list(plain._idle):
            entry.connection.drop()
        assert await pid(plain) != before


async def test_an_outage_does_not_open_more(tcp_server: Server) -> None:
    """Many who find nobody there are told so at once; when the server is back they share what there may be."""
    gone = Pool(tcp_server.tcp(free_port()), size=2)
    async with gone, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(blocked(pid, gone, error=StoreUnavailable, match="connecting failed.*refused"))
    async with open_proxy(tcp_server.port) as proxy, Pool(tcp_server.tcp(proxy.port), size=2) as pool:
        await pid(pool)
        proxy.cut()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(pid, pool)
        assert proxy.connections <= 3
