"""Calls that wait for a connection at the same moment go together, as one transaction: who with whom, in which order,
and that each of them is carried out once, or told what is known of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.postgres_server import fresh_schema, shared_url
from tests.stores.postgres_drill import Watcher, watcher
from trioflow.errors import OutcomeUnknown, StoreClosed, StoreError, StoreUnavailable
from trioflow.stores._postgres._asking import Question
from trioflow.stores._postgres._connection import TrioConnection
from trioflow.stores._postgres._line import MOST_TOGETHER
from trioflow.stores._postgres._pool import Pool

Row = tuple[Any, ...]
FIRST, LATER = 61, 62  # locks that make a statement wait: the one that holds the connection, and those behind it


@attrs.define(eq=False)
class Crowd:
    """Calls that write a line each, on a pool with one connection."""

    pool: Pool
    other: Watcher
    table: str
    ends: dict[str, object] = attrs.field(factory=dict)

    async def write(self, name: str, *, key: str | None = "k", divisor: int = 1, waits: int | None = None) -> None:
        """Write a line with one over a number in it, after waiting for a lock; keep what came of it."""
        statement = (
            f"INSERT INTO {self.table} (name, n) SELECT %s, 1 / %s::integer FROM (SELECT pg_advisory_xact_lock(%s)) w "
            "RETURNING pg_current_xact_id()::text"
        )
        try:
            ((transaction,),) = await self.pool.call(statement, (name, divisor, waits or -1), key=key)
        except StoreError as exc:
            self.ends[name] = type(exc)
        else:
            self.ends[name] = transaction

    async def read(self, name: str) -> None:
        """Read something, under a key; keep it."""
        self.ends[name] = await self.pool.call("SELECT %s", (name,), reads=True, key=name)

    async def lines(self) -> list[str]:
        """The names that were written, in order."""
        return [name for (name,) in await self.other.ask(f"SELECT name FROM {self.table} WHERE n > 0 ORDER BY id")]

    def together(self, *names: str) -> bool:
        """Whether these were written in one transaction, and nothing else was."""
        transactions = {name: end for name, end in self.ends.items() if end == self.ends[names[0]]}
        return sorted(transactions) == sorted(names)

    @asynccontextmanager
    async def held_up(self) -> AsyncIterator[trio.Nursery]:
        """One call holds the connection until the block ends; who is started in it has then ended."""
        await self.other.ask("SELECT pg_advisory_lock(%s), pg_advisory_lock(%s)", (FIRST, LATER))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: self.write("first", waits=FIRST))
            await self.other.waiting_for(FIRST)
            self.ends.clear()
            yield nursery
            await trio.testing.wait_all_tasks_blocked()
            await self.other.ask("SELECT pg_advisory_unlock_all()")

    async def send(self) -> None:
        """Let those who wait be sent, to wait for the lock."""
        await trio.testing.wait_all_tasks_blocked()
        await self.other.ask("SELECT pg_advisory_unlock(%s)", (FIRST,))
        await self.other.waiting_for(LATER)


@asynccontextmanager
async def crowd(**options: Any) -> AsyncIterator[Crowd]:
    """A crowd whose statements the server keeps."""
    async with watcher(shared_url()) as other, Pool(shared_url(), size=1, **options) as pool:
        table = fresh_schema()
        await other.ask(f"CREATE UNLOGGED TABLE {table} (id bigserial, name text, n integer)")
        made = Crowd(pool, other, table)
        for _ in range(2):
            await made.write("warm", divisor=-1)
            await made.read("warm")
        yield made


def writing(made: Crowd, name: str, **options: Any) -> Callable[[], Any]:
    """A task that writes a line."""
    return lambda: made.write(name, **options)


async def test_those_who_wait_go_together() -> None:
    """In the order of their keys, as one transaction; who locks more than rows of its key goes alone."""
    async with crowd() as made:
        async with made.held_up() as nursery:
            for name, key in (("c", "3"), ("alone", None), ("a", "1"), ("b", "2")):
                nursery.start_soon(writing(made, name, key=key))
                await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(made.read, "0")
        assert await made.lines() == ["first", "a", "b", "c", "alone"]
        assert made.together("a", "b", "c")
        assert made.ends["0"] == [("0",)]


async def test_not_too_many_go_together() -> None:
    """The rest go in the next transaction."""
    async with crowd() as made:
        async with made.held_up() as nursery:
            for number in range(MOST_TOGETHER + 1):
                nursery.start_soon(writing(made, f"{number:02}", key=f"{number:02}"))
        assert len(set(made.ends.values())) == 3  # with the first
        assert len(await made.lines()) == MOST_TOGETHER + 2


async def test_what_is_said_before_goes_along() -> None:
    """Each call finds what was said before it, and not what was said before another."""
    async with crowd() as made:
        async with made.held_up() as nursery:
            answers: dict[str, list[Row]] = {}

            async def ask(name: str) -> None:
                before = Question("SELECT set_config('a.b', %s, false)", (name,))
                statement = "SELECT current_setting('a.b'), pg_current_xact_id()::text"
                answers[name] = await made.pool.call(statement, before=before, key=name)

            for name in "abcdef":
                nursery.start_soon(ask, name)
        assert [answers[name][0][0] for name in "abcdef"] == [*"abcdef"]
        assert len({answers[name][0][1] for name in "abcdef"}) == 3  # two alone, until the server keeps the statement


async def test_one_that_is_refused_harms_no_other() -> None:
    """What went together is undone, and then each goes alone: the fault is told to whom it belongs."""
    async with crowd() as made:
        async with made.held_up() as nursery:
            for name, divisor in (("a", 1), ("bad", 0), ("c", 1)):
                nursery.start_soon(writing(made, name, key=name, divisor=divisor))
        assert sorted(await made.lines()) == ["a", "c", "first"]
        assert made.ends["bad"] is StoreError
        assert made.ends["a"] != made.ends["c"]


async def test_one_that_cannot_be_sent_harms_no_other() -> None:
    """A text that is none is noticed before anything is sent."""
    async with crowd() as made:
        async with made.held_up() as nursery:
            for name in ("a", "nul\0", "half \ud800", "d"):
                nursery.start_soon(writing(made, name, key="k"))
        assert sorted(await made.lines()) == ["a", "d", "first"]
        assert made.ends["nul\0"] is made.ends["half \ud800"] is StoreError


async def test_when_the_line_breaks_nobody_knows() -> None:
    """Each who wrote is told so; who only reads asks again."""
    async with crowd() as made:
        async with made.held_up() as nursery:
            for name in "ab":
                nursery.start_soon(writing(made, name, key=name, waits=LATER))
            nursery.start_soon(made.read, "c")
            await made.send()
            (sent,) = await made.other.waiting_for(LATER)  # the one connection that there is
            await made.other.terminate(sent)
        assert made.ends["a"] is made.ends["b"] is OutcomeUnknown
        assert made.ends["c"] == [("c",)]
        assert await made.lines() == ["first"]


async def test_cancelled_before_and_after_it_is_sent() -> None:
    """Who is cancelled while it waits is not sent; who went along is carried out, and gets its answer."""
    async with crowd() as made:
        async with made.held_up() as nursery:
            scopes = {name: trio.CancelScope() for name in "abc"}

            async def write(name: str) -> None:
                with scopes[name]:
                    await made.write(name, key=name, waits=LATER if name == "b" else None)

            for name in "abc":
                nursery.start_soon(write, name)
            await trio.testing.wait_all_tasks_blocked()
            scopes["a"].cancel()
            await made.send()
            scopes["b"].cancel()
            scopes["c"].cancel()
        assert await made.lines() == ["first", "b", "c"]
        assert made.together("b", "c")


async def test_what_takes_too_long_together_is_ended(mock_clock: trio.testing.MockClock) -> None:
    """Nothing of it is done. Who sent it is told, and those who went along go alone."""
    async with crowd(limit=10.0) as made:
        async with made.held_up() as nursery:
            for name in "ab":
                nursery.start_soon(writing(made, name, key=name, waits=LATER if name == "a" else None))
                await trio.testing.wait_all_tasks_blocked()
            await made.send()
            mock_clock.jump(10.0)
            while "b" not in made.ends:
                await trio.lowlevel.checkpoint()
        assert made.ends["a"] is StoreUnavailable
        assert await made.lines() == ["first", "b"]


async def test_an_interrupt_reaches_those_who_went_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stops the one who sends, such as Ctrl-C, leaves nobody waiting: they are told that nobody knows."""

    def interrupt(*args: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrioConnection, "ask_together", interrupt)
    async with crowd() as made:
        with pytest.RaisesGroup(KeyboardInterrupt):
            async with made.held_up() as nursery:
                for name in "ab":
                    nursery.start_soon(writing(made, name, key=name))
                    await trio.testing.wait_all_tasks_blocked()
        assert made.ends["b"] is OutcomeUnknown


async def test_closing_meets_those_who_wait() -> None:
    """They are told, and nothing of theirs is sent."""
    async with crowd() as made:
        async with made.held_up() as nursery:
            for name in "ab":
                nursery.start_soon(writing(made, name, key=name))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(made.pool.__aexit__, None, None, None)
        await made.pool.__aenter__()  # to be closed again
        assert made.ends["a"] is made.ends["b"] is StoreClosed
        assert await made.lines() == ["first"]


async def test_nobody_goes_along_through_a_pooler() -> None:
    """Where the server keeps no statements each goes alone."""
    async with crowd(prepare=False) as made:
        async with made.held_up() as nursery:
            for name in "ab":
                nursery.start_soon(writing(made, name, key=name))
        assert len(set(made.ends.values())) == 3
