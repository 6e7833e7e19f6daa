"""Hints between processes over LISTEN and NOTIFY: who hears what, and who is told that hints may have been lost."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import psycopg
import pytest
import trio
import trio.testing

from tests.postgres_server import Server, fresh_schema, shared_url
from tests.stores.postgres_drill import watcher
from tests.stores.proxy import open_proxy
from trioflow.errors import StoreUnavailable
from trioflow.stores._postgres import _connection, _listening
from trioflow.stores._postgres._connection import TrioConnection
from trioflow.stores._postgres._listening import LONGEST, MOST, Announcer, Listener, payloads
from trioflow.stores._postgres._pool import Pool


@attrs.define(eq=False)
class Ear:
    """What a listener was told, in order; None where hints may have been lost."""

    told: list[str | None] = attrs.field(factory=list)
    listener: Listener = attrs.field(init=False)
    _news: trio.Event = attrs.field(factory=trio.Event)

    def heard(self, topic: str) -> None:
        self._tell(topic)

    def lost(self) -> None:
        self._tell(None)

    def _tell(self, what: str | None) -> None:
        self.told.append(what)
        self._news.set()
        self._news = trio.Event()

    def joined(self) -> None:
        """Somebody else listens from now on: nothing that the tests of what is heard look at."""

    async def until(self, count: int) -> None:
        """Wait until so many were told."""
        while len(self.told) < count:
            await self._news.wait()


@asynccontextmanager
async def listening(address: str, channel: str, ourselves: str = "us") -> AsyncIterator[Ear]:
    """A listener that has begun to listen."""
    ear = Ear()
    async with trio.open_nursery() as nursery:
        ear.listener = Listener(address, channel, ourselves, ear.heard, ear.lost, ear.joined)
        nursery.start_soon(ear.listener.run)
        await ear.until(1)
        yield ear
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def announcing(
    pool: Pool, channel: str, ourselves: str = "others", listener: Listener | None = None
) -> AsyncIterator[Announcer]:
    """An announcer at work."""
    announcer = Announcer(pool, channel, ourselves, listener)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(announcer.run)
        yield announcer
        nursery.cancel_scope.cancel()


# -- what is sent


async def test_others_hear_what_is_announced() -> None:
    """Each topic once, all that came together in one notification; those on other channels and the sender hear
    nothing of it.
    """
    channel = fresh_schema()
    async with (
        Pool(shared_url()) as pool,
        listening(shared_url(), f"{channel}/a") as ear,
        listening(shared_url(), f"{channel}/a", "others") as sender,
        listening(shared_url(), f"{channel}/A") as elsewhere,
        announcing(pool, f"{channel}/a") as announcer,
        announcing(pool, f"{channel}/a", "third") as third,
    ):
        for topic in ("turns", "instance/ä", "turns"):
            announcer.announce(topic)
        await ear.until(3)
        third.announce("end")
        await ear.until(4)
        await sender.until(2)
        assert ear.told == [None, "turns", "instance/ä", "end"]
        assert sender.told == [None, "end"]
        assert elsewhere.told == [None]


async def test_a_name_that_needs_quoting() -> None:
    """A channel is a name like any other."""
    channel = f'{fresh_schema()} "; SELECT 1'
    async with (
        Pool(shared_url()) as pool,
        listening(shared_url(), channel) as ear,
        announcing(pool, channel) as announcer,
    ):
        announcer.announce("turns")
        await ear.until(2)


async def test_many_topics_are_everything() -> None:
    """The payload then says so, and listeners take it as loss."""
    channel = fresh_schema()
    async with (
        Pool(shared_url()) as pool,
        listening(shared_url(), channel) as ear,
        announcing(pool, channel) as announcer,
    ):
        for number in range(MOST + 1):
            announcer.announce(str(number))
        await ear.until(2)
        assert ear.told == [None, None]


async def test_an_announcement_that_fails_is_forgotten() -> None:
    """It costs nobody anything, and the next one is made as if nothing had been."""
    calls: list[object] = []

    class Failing(Pool):
        async def call(self, statement: str, parameters: Sequence[object] = (), **options: Any) -> Any:
            calls.append(parameters)
            if len(calls) == 1:
                raise StoreUnavailable("on purpose")
            return await super().call(statement, parameters, **options)

    channel = fresh_schema()
    async with Failing(shared_url()) as pool, listening(shared_url(), channel) as ear:
        async with announcing(pool, channel) as announcer:
            announcer.announce("lost")
            while not calls:
                await trio.lowlevel.checkpoint()
            announcer.announce("kept")
            await ear.until(2)
    assert ear.told == [None, "kept"]
    assert calls == [(channel, "others\nlost"), (channel, "others\nkept")]


async def test_nothing_is_sent_while_nothing_happens(tcp_server: Server, mock_clock: trio.testing.MockClock) -> None:
    """An hour of silence is silent on the wire, in both directions."""
    async with open_proxy(tcp_server.port) as proxy, Pool(tcp_server.tcp(proxy.port)) as pool:
        async with listening(tcp_server.tcp(proxy.port), "quiet"), announcing(pool, "quiet"):
            before = proxy.requests.passed, proxy.answers.passed
            for _ in range(60):
                mock_clock.jump(60.0)
                await trio.testing.wait_all_tasks_blocked()
            assert (proxy.requests.passed, proxy.answers.passed) == before
            assert proxy.connections == 1


def test_topics_are_packed() -> None:
    """As few notifications as they fit into, none longer than the server takes, each with its sender."""
    topics = [f"instance/{number:0400}" for number in range(50)]
    made = payloads("us", topics)
    assert all(len(payload.encode()) <= LONGEST for payload in made)
    assert [line for payload in made for line in payload.split("\n")[1:]] == topics
    assert all(payload.startswith("us\n") for payload in made)
    assert len(made) == 3
    assert payloads("us", ["a"]) == ["us\na"]


@pytest.mark.parametrize("topic", ["two\nlines", "nul\0", "lone \ud800", "x" * LONGEST])
def test_a_topic_that_cannot_be_said(topic: str) -> None:
    """An id may hold anything: what fits into no line is said as everything."""
    assert payloads("us", ["a", topic]) == ["us\n*"]


# -- whether there is anybody to tell


async def until_alone(listener: Listener) -> None:
    """Wait until it knows that nobody else listens."""
    while not listener.is_alone:
        await trio.lowlevel.checkpoint()


async def test_nobody_is_told_where_nobody_listens() -> None:
    """Not a statement is sent. Whoever begins to listen is told that it may have missed something, and then hears."""
    channel = fresh_schema()
    async with (
        Pool(shared_url()) as pool,
        listening(shared_url(), channel, "others") as sender,
        announcing(pool, channel, listener=sender.listener) as announcer,
    ):
        sender.listener._joined = announcer.announce_everything
        await until_alone(sender.listener)
        announcer.announce("unheard")
        await trio.testing.wait_all_tasks_blocked()
        assert repr(pool).endswith("[busy 0 | idle 0 | of 8]>")
        async with listening(shared_url(), channel) as ear:
            await ear.until(2)
            assert ear.told == [None, None]
            announcer.announce("turns")
            await ear.until(3)
            assert not ear.listener.is_alone
        assert ear.told == [None, None, "turns"]


async def test_who_has_gone_is_told_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """After something was told to nobody, who listened is looked for again; one who only sends is no listener."""
    channel = fresh_schema()
    async with (
        Pool(shared_url()) as pool,
        listening(shared_url(), channel) as ear,
        announcing(pool, channel, "us", ear.listener) as announcer,
        announcing(pool, channel, "deaf") as deaf,
    ):
        async with listening(shared_url(), channel, "guest"):
            while ear.listener.is_alone:
                await trio.lowlevel.checkpoint()
        monkeypatch.setattr(_listening, "LOOK_EVERY", 0.0)
        while not ear.listener.is_alone:  # its backend takes a moment to go
            announcer.announce("turns")
            await trio.lowlevel.checkpoint()
        monkeypatch.setattr(_listening, "LOOK_EVERY", 30.0)
        told = len(ear.told)
        deaf.announce("said")
        await ear.until(told + 1)
        assert ear.told[-1] == "said"
        assert ear.listener.is_alone


# -- losing the line


async def test_a_listener_that_is_cut_off_listens_again(tcp_server: Server) -> None:
    """And says that anything may have changed meanwhile, once it does."""
    channel = fresh_schema()
    async with (
        open_proxy(tcp_server.port) as proxy,
        Pool(tcp_server.tcp()) as pool,
        listening(tcp_server.tcp(proxy.port), channel) as ear,
        announcing(pool, channel) as announcer,
    ):
        for number in range(2, 4):
            proxy.cut()
            await ear.until(number)
            assert ear.listener._failures == 0
        announcer.announce("turns")
        await ear.until(4)
        assert ear.told == [None, None, None, "turns"]


async def test_a_listener_whose_backend_is_ended_listens_again() -> None:
    """The same when the server ends it and says so."""
    channel = fresh_schema()
    async with watcher(shared_url()) as other, listening(shared_url(), channel) as ear:
        pid = await other.value(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' "
            "AND classid::bigint << 32 | objid::bigint = hashtextextended(%s, 1)",
            (channel,),
        )
        await other.terminate(pid)
        await ear.until(2)


async def test_a_server_that_is_gone_is_looked_for_patiently(autojump_clock: trio.testing.MockClock) -> None:
    """The pauses grow from a tenth of a second to five, whatever is the matter, and nothing is raised."""
    at: list[float] = []
    troubles = itertools.cycle([psycopg.OperationalError("gone"), OSError("no route")])

    class Deaf(Listener):
        async def _listen(self) -> None:
            at.append(trio.current_time())
            raise next(troubles)

    ear = Ear()
    with trio.move_on_after(20.0):
        await Deaf("", "c", "us", ear.heard, ear.lost, ear.joined).run()
    assert [round(after - before, 3) for before, after in itertools.pairwise(at)] == [0.1, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0]
    assert ear.told == []


@pytest.mark.parametrize("stage", ["connecting", "listening"])
async def test_a_server_that_does_not_answer_is_given_up(
    stage: str, tcp_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that hangs before it listens is closed in time, and the next one may listen."""
    patience = _listening.PATIENCE
    monkeypatch.setattr(_listening, "PATIENCE", 0.1)
    monkeypatch.setattr(_connection, "LAST_WORDS", 0.01)
    ear, opened, connect = Ear(), [], TrioConnection.connect

    async def connect_and_hold(conninfo: str, **options: Any) -> TrioConnection:
        connection = await connect(conninfo, **options)
        opened.append(connection)
        if len(opened) == 1 and stage == "listening":
            proxy.answers.hold()
        return connection

    monkeypatch.setattr(TrioConnection, "connect", connect_and_hold)
    async with open_proxy(tcp_server.port) as proxy, trio.open_nursery() as nursery:
        if stage == "connecting":
            proxy.answers.hold()
        nursery.start_soon(Listener(tcp_server.tcp(proxy.port), "c", "us", ear.heard, ear.lost, ear.joined).run)
        while proxy.connections < (2 if stage == "connecting" else 3):  # one asks the server to end the statement
            await trio.lowlevel.checkpoint()
        assert ear.told == []
        monkeypatch.setattr(_listening, "PATIENCE", patience)  # a server that answers may take its time
        proxy.answers.flow()
        await ear.until(1)
        nursery.cancel_scope.cancel()
    assert all(connection.closed for connection in opened)
