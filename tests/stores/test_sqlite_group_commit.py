"""Transactions that are shared: failures stay apart, nobody is answered early, nobody is left waiting."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.stores.sqlite_helpers import Faults, subject
from trioflow.abc import Env
from trioflow.errors import InstanceExists, OutcomeUnknown, StoreClosed, StoreFull, StoreUnavailable, TrioflowError
from trioflow.stores import SqliteStore
from trioflow.testing._store_contract import Subject


async def start_many(s: Subject, *names: str) -> dict[str, type[BaseException] | None]:
    """Start instances so that they share a transaction; what each was answered: None or an error's class."""
    answers: dict[str, type[BaseException] | None] = {}

    async def start(name: str) -> None:
        try:
            await s.start(name, request_id=f"request of {name}")
            answers[name] = None
        except TrioflowError as exc:
            answers[name] = type(exc)

    run, writer = s.store._here()  # type: ignore[attr-defined]
    ready, begun = threading.Event(), trio.Event()

    def keep_busy() -> None:
        run.token.run_sync_soon(begun.set)
        ready.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.do, run, keep_busy)  # until all are in the thread's queue
        await begun.wait()
        for name in names:
            nursery.start_soon(start, name)
            await trio.testing.wait_all_tasks_blocked()
        ready.set()
    return answers


async def names_of(s: Subject) -> list[str]:
    """The instances that are there."""
    return sorted(turn.lock.instance for turn in (await s.lock_turns(limit=100)).turns)


async def test_those_who_wait_share_a_transaction(tmp_path: Path) -> None:
    """Requests that arrive while the thread is busy are committed together, and their rows are written together."""
    faults = Faults()
    async with SqliteStore(tmp_path / "x.db", connect=faults.connect) as store:
        s = subject(store)
        faults.seen.clear()
        await start_many(s, "a", "b", "c")
        assert faults.seen.count("COMMIT") == 1
        for table in ("instance", "message", "request"):
            # Three are two and one.
            assert sum(f"INTO {table} " in text for text in faults.seen) == 2


async def test_a_refusal_is_undone_alone(tmp_path: Path) -> None:
    """One member that is refused does not disturb the others of its batch."""
    async with SqliteStore(tmp_path / "x.db") as store:
        s = subject(store)
        await s.start("taken")
        answers = await start_many(s, "a", "taken", "b")
        assert answers == {"a": None, "taken": InstanceExists, "b": None}
        assert await names_of(s) == ["a", "b", "taken"]


async def test_an_error_inside_the_transaction_costs_whoever_meets_it_alone(tmp_path: Path) -> None:
    """What is written for all and fails is tried again for each: only the member that fails then is told."""
    faults = Faults()
    async with SqliteStore(tmp_path / "x.db", connect=faults.connect) as store:
        s = subject(store)
        faults.fail("INTO message", "SQLITE_FULL")
        faults.fail("INTO message", "SQLITE_FULL")
        assert await start_many(s, "a", "b", "c") == {"a": StoreFull, "b": None, "c": None}
        assert await names_of(s) == ["b", "c"]
        assert faults.seen.count("COMMIT") >= 2


@pytest.mark.parametrize("error", ["SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM"])
async def test_an_error_that_ends_the_transaction_voids_the_batch(tmp_path: Path, error: str) -> None:
    """When SQLite has rolled everything back, each member runs again alone: nothing is lost, nothing is doubled."""
    faults = Faults()
    async with SqliteStore(tmp_path / "x.db", connect=faults.connect) as store:
        s = subject(store)
        faults.fail("INTO request", error, voids=True)
        assert await start_many(s, "a", "b", "c") == {"a": None, "b": None, "c": None}
        assert await names_of(s) == ["a", "b", "c"]
        assert faults.seen.count("COMMIT") >= 3


async def test_a_member_that_always_voids_fails_alone(tmp_path: Path) -> None:
    """A member that voids the batch and fails again alone is the only one that fails."""
    faults = Faults()
    async with SqliteStore(tmp_path / "x.db", connect=faults.connect) as store:
        s = subject(store)
        faults.fail("INTO message", "SQLITE_FULL", voids=True)
        faults.fail("INTO message", "SQLITE_FULL", voids=True)
        assert await start_many(s, "a", "b", "c") == {"a": StoreFull, "b": None, "c": None}
        assert await names_of(s) == ["b", "c"]


async def test_a_real_full_disk_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    """With real pages running out, each member is either there and answered, or not there and refused."""
    async with SqliteStore(tmp_path / "x.db") as store:
        s = subject(store)
        run, writer = store._here()

        def limit(pages: int) -> None:
            writer._database._connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

        await writer.do(run, lambda: limit(40))
        names = [f"i{number:02}" + "x" * 400 for number in range(40)]
        answers = await start_many(s, *names)
        await writer.do(run, lambda: limit(100_000))
        assert {*answers.values()} == {None, StoreFull}
        assert await names_of(s) == sorted(name for name in names if answers[name] is None)


@pytest.mark.parametrize("voids", [False, True])
async def test_a_look_ahead_that_fails_costs_nobody_anything(tmp_path: Path, voids: bool) -> None:
    """If rows cannot be read together each member reads its own; in a transaction of its own if this one has ended."""
    faults = Faults()
    async with SqliteStore(tmp_path / "x.db", connect=faults.connect) as store:
        s = subject(store)
        await s.start("taken")
        for name, other, answer in (("a", "b", None), ("c", "taken", InstanceExists)):
            faults.seen.clear()
            faults.fail("FROM instance WHERE instance IN", "SQLITE_IOERR", voids=voids)
            assert await start_many(s, name, other) == {name: None, other: answer}
            assert faults.seen.count("BEGIN IMMEDIATE") == (3 if voids else 1)
        assert await names_of(s) == ["a", "b", "c", "taken"]


async def test_a_beginning_that_fails_refuses_all(tmp_path: Path) -> None:
    """If no transaction can be begun everybody is told, and the next ones succeed."""
    faults = Faults()
    async with SqliteStore(tmp_path / "x.db", connect=faults.connect) as store:
        s = subject(store)
        faults.fail("BEGIN IMMEDIATE", "SQLITE_BUSY")
        assert await start_many(s, "a", "b") == {"a": StoreUnavailable, "b": StoreUnavailable}
        assert await start_many(s, "c") == {"c": None}


@pytest.mark.parametrize("names", [("a",), ("a", "b", "taken")])
async def test_a_failing_commit_is_unknown(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Whoever wrote in a transaction whose COMMIT failed cannot know; a repeat by request id settles it."""
    faults = Faults()
    async with SqliteStore(tmp_path / "x.db", connect=faults.connect) as store:
        s = subject(store)
        await s.start("taken")
        faults.fail("COMMIT", "SQLITE_IOERR")
        answers = await start_many(s, *names)
        assert answers == {name: InstanceExists if name == "taken" else OutcomeUnknown for name in names}
        again = await start_many(s, *names)
        assert again == {name: InstanceExists if name == "taken" else None for name in names}
        assert faults.opened == 2  # what a failed sync has kept is anybody's guess: the connection was given up


@pytest.mark.parametrize("path", ["x.db", ":memory:"])
async def test_who_wrote_nothing_may_try_again(tmp_path: Path, path: str) -> None:
    """Whoever was part of a failed transaction without writing is not left in doubt."""
    faults = Faults()
    async with SqliteStore(path if path == ":memory:" else tmp_path / path, connect=faults.connect) as store:
        faults.fail("COMMIT", "SQLITE_IOERR")
        with pytest.raises(StoreUnavailable, match="Try again"):
            await subject(store).lock_turns()
        assert await names_of(subject(store)) == []


async def test_a_connection_that_cannot_be_reopened_is_tried_again(tmp_path: Path) -> None:
    """While the file cannot be opened again requests are refused; then all is well."""
    faults = Faults()
    async with SqliteStore(tmp_path / "x.db", connect=faults.connect) as store:
        s = subject(store)
        faults.fail("COMMIT", "SQLITE_IOERR")
        assert await start_many(s, "a") == {"a": OutcomeUnknown}
        faults.fail("PRAGMA application_id", "SQLITE_IOERR")
        assert await start_many(s, "b") == {"b": StoreUnavailable}
        assert await start_many(s, "a", "b") == {"a": None, "b": None}


class Deadly(Env):
    """A world in which the thread dies at a moment."""

    def __init__(self, moment: str) -> None:
        super().__init__()
        self.moment, self.armed = moment, False

    def reached(self, moment: str) -> None:
        if self.armed and moment == self.moment:
            self.armed = False
            raise SystemExit


@pytest.mark.parametrize("moment", ["sqlite.before_commit", "sqlite.after_commit"])
async def test_the_thread_does_not_die_alone(tmp_path: Path, moment: str) -> None:
    """If the thread dies everybody who waits is answered, the store refuses more, and opening again helps."""
    env = Deadly(moment)
    store = SqliteStore(tmp_path / "x.db", env=env)
    async with store:
        s = subject(store)
        env.armed = True
        assert await start_many(s, "a", "b") == {"a": OutcomeUnknown, "b": OutcomeUnknown}
        with pytest.raises(StoreClosed, match="Open it again"):
            await store.read_clock()
    async with store:
        there = await names_of(subject(store))
        assert there == ([] if moment == "sqlite.before_commit" else ["a", "b"])


async def test_a_cancelled_caller_still_gets_its_answer(tmp_path: Path) -> None:
    """A request that was handed to the thread is waited for, so its answer is not lost."""
    async with SqliteStore(tmp_path / "x.db") as store:
        run, writer = store._here()
        ready = threading.Event()
        answers = []

        async def start() -> None:
            answers.append(await subject(store).start("a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.do, run, ready.wait)
            nursery.start_soon(start)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            ready.set()
        assert [answer.created for answer in answers] == [True]


async def test_many_at_once_are_carried_out_in_few_transactions(tmp_path: Path) -> None:
    """The cost of a commit is shared by those who wait for it."""
    faults = Faults()
    async with SqliteStore(tmp_path / "x.db", connect=faults.connect) as store:
        s = subject(store)
        faults.seen.clear()
        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(s.start, f"i{number}")
        assert faults.seen.count("COMMIT") < 100
