"""Readers apart: a thread and a connection of their own, which wait for no writer, hold up none, and cannot write."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from tests.stores.sqlite_helpers import Faults, subject
from trioflow.errors import StoreClosed, StoreCorrupt, StoreUnavailable
from trioflow.stores import SqliteStore
from trioflow.stores._rules import SteadyClock
from trioflow.stores._sqlite import _database
from trioflow.stores._sqlite._jobs import Job, Jobs
from trioflow.stores._sqlite._opening import Settings, connect_to_read

PATIENCE = 60.0  # seconds until something that does not happen is a failure


def meeting(act: Callable[[str], object]) -> Callable[..., sqlite3.Connection]:
    """Opens files so that each statement of the reader, and none of the writer, is shown to `act` first."""

    class Connection(sqlite3.Connection):
        def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
            act(text)
            return super().execute(text, *values)

    def connect(*args: Any, uri: bool = False, **kwargs: Any) -> sqlite3.Connection:
        return sqlite3.connect(*args, uri=uri, factory=Connection if uri else sqlite3.Connection, **kwargs)

    return connect


class Halt:
    """Stops the reader at a statement until it is let go."""

    def __init__(self, contains: str) -> None:
        self._contains = contains
        self.met, self.go = threading.Event(), threading.Event()

    def __call__(self, text: str) -> None:
        if self._contains in text:
            self.met.set()
            assert self.go.wait(PATIENCE)


async def until_met(halt: Halt) -> None:
    """Wait until the reader stands."""
    assert await trio.to_thread.run_sync(halt.met.wait, PATIENCE)


async def test_a_long_read_holds_up_nobody_who_writes(tmp_path: Path) -> None:
    """While a read goes on others commit, and it shows the state of the moment at which it began."""
    halt, rows = Halt("COMMIT"), []
    async with SqliteStore(tmp_path / "x.db", connect=meeting(halt)) as store:
        s = subject(store)

        async def read() -> None:
            rows.append(await store.read_instance("a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await until_met(halt)
            await s.start("a")
            assert not rows
            halt.go.set()
        assert rows == [None]
        assert await store.read_instance("a") is not None


async def test_a_read_waits_for_nobody_who_writes(tmp_path: Path) -> None:
    """While the writing thread is busy, reads are answered."""
    async with SqliteStore(tmp_path / "x.db") as store:
        run, writer = store._here()
        go = threading.Event()
        await subject(store).start("a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.do, run, lambda: go.wait(PATIENCE))
            await trio.testing.wait_all_tasks_blocked()
            assert await store.read_instance("a") is not None
            go.set()


async def test_what_was_answered_is_seen(tmp_path: Path) -> None:
    """A read that is asked for after a write was answered sees it, through any store on the file."""
    async with SqliteStore(tmp_path / "x.db") as one, SqliteStore(tmp_path / "x.db") as two:
        for number in range(20):
            await subject(one if number % 2 else two).start(f"i{number}", request_id=f"r{number}")
            assert await one.read_instance(f"i{number}") is not None
            assert await two.read_instance(f"i{number}") is not None


async def test_those_who_wait_share_a_transaction(tmp_path: Path) -> None:
    """Reads that come while another goes on are done in one go, in order, without asking for the right to write."""
    seen: list[str] = []
    halt = Halt("COMMIT")
    async with (
        SqliteStore(tmp_path / "x.db", connect=meeting(lambda text: (seen.append(text), halt(text)))) as store,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(store.read_kv, "first")
        await until_met(halt)
        seen.clear()
        for name in ("a", "b", "c"):
            nursery.start_soon(store.read_kv, name)
        await trio.testing.wait_all_tasks_blocked()
        halt.go.set()
    assert [text.split()[0] for text in seen] == ["BEGIN", "SELECT", "SELECT", "SELECT", "COMMIT"]
    assert seen[0] == "BEGIN"


async def test_no_transaction_stays_open(tmp_path: Path) -> None:
    """Between reads nothing keeps the log from being folded and cut off, whatever came of the last read."""
    faults = Faults()
    async with SqliteStore(tmp_path / "x.db", connect=faults.connect) as store:
        await subject(store).start("a")
        other = sqlite3.connect(tmp_path / "x.db", timeout=0, isolation_level=None)
        for table in ("no failure", "FROM instance", "FROM status", "FROM kv"):
            faults.fail(table, "SQLITE_IOERR")
            for read in (store.read_instance, store.read_kv):
                try:
                    await read("a")
                except StoreUnavailable:
                    pass
                assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        other.close()


async def test_reads_without_a_gap_do_not_make_the_log_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While each read outlasts several commits, and the next one is waiting already, the log is still begun anew."""
    monkeypatch.setattr(_database, "CHECKPOINT_BATCHES", 1)
    monkeypatch.setattr(_database, "LONG_LOG", 30)
    written = threading.Semaphore(0)

    def outlast(text: str) -> None:
        if text == "COMMIT":
            for _ in range(3):
                written.acquire(timeout=PATIENCE)

    async with SqliteStore(tmp_path / "x.db", durability="fast", connect=meeting(outlast)) as store:
        s = subject(store)

        async def read() -> None:
            while True:
                await store.read_instance("i0")

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(read)
            for number in range(400):
                await s.start(f"i{number}", request_id=f"r{number}")
                written.release()
            nursery.cancel_scope.cancel()
            written.release(100)
        assert (tmp_path / "x.db-wal").stat().st_size < 1200 * 4096, "half of what was written"


async def test_its_connection_can_neither_write_nor_fold(tmp_path: Path) -> None:
    """A connection for reading is refused all that writes, and leaves the log as it is when it is closed last."""
    async with SqliteStore(tmp_path / "x.db") as store:
        settings: Settings = store._settings
        reader = connect_to_read(settings)
        await subject(store).start("a")
        assert reader.execute("SELECT count(*) FROM instance").fetchone() == (1,)
        for text in ("DELETE FROM instance", "PRAGMA user_version = 7", "PRAGMA wal_checkpoint(PASSIVE)"):
            with pytest.raises(sqlite3.OperationalError, match=r"readonly|disk I/O error"):
                reader.execute(text).fetchall()
    before = (tmp_path / "x.db").read_bytes(), (tmp_path / "x.db-wal").read_bytes()
    reader.close()
    assert ((tmp_path / "x.db").read_bytes(), (tmp_path / "x.db-wal").read_bytes()) == before
    assert before[1]
    async with SqliteStore(tmp_path / "x.db") as store:
        assert await store.read_instance("a") is not None


async def test_the_reader_leaves_first(tmp_path: Path) -> None:
    """When a store is closed its own reader does not keep the log from being folded, and no thread is left."""
    async with SqliteStore(tmp_path / "x.db") as store:
        await subject(store).start("a")
        await store.read_instance("a")
        assert [thread for thread in threading.enumerate() if str(tmp_path) in thread.name]
    assert not (tmp_path / "x.db-wal").exists()
    assert not [thread for thread in threading.enumerate() if str(tmp_path) in thread.name]


@pytest.mark.parametrize("statement", ["BEGIN", "PRAGMA application_id", "FROM kv"])
@pytest.mark.parametrize(("error", "cls"), [("SQLITE_IOERR", StoreUnavailable), ("SQLITE_CORRUPT", StoreCorrupt)])
async def test_a_connection_that_met_an_error_is_given_up(
    tmp_path: Path, statement: str, error: str, cls: type[Exception]
) -> None:
    """Whoever met the error is told by its class; the next read opens the file anew, and writers notice nothing."""
    faults = Faults()
    async with SqliteStore(tmp_path / "x.db", connect=faults.connect) as store:
        faults.fail(statement, error)
        with pytest.raises(cls):
            await store.read_kv("a")
        assert await store.read_kv("a") == {}
        assert faults.opened == 3
        await subject(store).start("a")
        assert faults.opened == 3


async def test_an_end_that_fails_costs_nobody_an_answer(tmp_path: Path) -> None:
    """What was read is true, whatever comes of the end of its transaction; the connection is given up."""
    faults = Faults()
    async with SqliteStore(tmp_path / "x.db", connect=faults.connect) as store:
        faults.fail("COMMIT", "SQLITE_IOERR")
        assert await store.read_kv("a") == {}
        assert faults.opened == 2
        assert await store.read_kv("a") == {}
        assert faults.opened == 3


async def test_the_thread_does_not_die_alone(tmp_path: Path) -> None:
    """If the reading thread dies, all who wait for it are told, the store ends, and opening it again helps."""
    halt, errors = Halt("FROM kv"), []

    def die(text: str) -> None:
        halt(text)
        if "FROM kv" in text:
            raise SystemExit

    store = SqliteStore(tmp_path / "x.db", connect=meeting(die))

    async def read() -> None:
        with pytest.raises(StoreClosed, match="has died") as caught:
            await store.read_kv("a")
        errors.append(caught.value)

    async with store:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await until_met(halt)
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            halt.go.set()
        with pytest.raises(StoreClosed, match="Open the store again"):
            await store.read_clock()
        assert errors[0] is not errors[1]
        with trio.fail_after(PATIENCE), pytest.raises(StoreClosed, match="Open the store again"):
            while True:
                await subject(store).lock_turns()
    async with store:
        await subject(store).start("a")


@pytest.mark.parametrize("replaced", [False, True])
async def test_reads_end_with_the_file(tmp_path: Path, replaced: bool) -> None:
    """Whoever only reads hears, too, that the file was removed or replaced."""
    path = tmp_path / "x.db"
    async with SqliteStore(path) as store:
        await store.read_kv("a")
        path.rename(tmp_path / "old.db")
        if replaced:
            path.touch()
        with (
            trio.fail_after(PATIENCE),
            pytest.raises(StoreClosed, match="was replaced" if replaced else "was removed"),
        ):
            while True:
                await store.read_kv("a")


async def test_another_file_is_not_read(tmp_path: Path) -> None:
    """A reader that opens the file anew does not read what has taken its place meanwhile."""
    path = tmp_path / "x.db"
    async with SqliteStore(tmp_path / "y.db") as other:
        await subject(other).start("a")
    async with SqliteStore(path) as store:
        run, writer = store._here()
        begun, go = threading.Event(), threading.Event()

        def keep_busy() -> None:  # it would notice, sooner or later
            begun.set()
            assert go.wait(PATIENCE)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.do, run, keep_busy)
            assert await trio.to_thread.run_sync(begun.wait, PATIENCE)
            path.rename(tmp_path / "old.db")
            (tmp_path / "y.db").rename(path)
            with pytest.raises(StoreClosed, match="was replaced"):
                await store.read_instance("a")
            go.set()


def test_the_end_of_a_queue_stays() -> None:
    """Whoever takes the last jobs is told at once that no more will come, however many there were."""
    jobs, taken = Jobs(), []
    jobs._queue.put(cast(Job, "a job"))
    jobs.close(StoreClosed("closed"))
    thread = threading.Thread(target=lambda: taken.extend((jobs.take(64), jobs.take(64), jobs.rest())), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert taken == [["a job"], [], []]


async def test_two_trio_runs_read_through_one_object(tmp_path: Path) -> None:
    """Each run is woken in its own thread, and closing in one leaves the other's reads alone."""
    async with SqliteStore(tmp_path / "x.db") as store:
        await subject(store).start("a")

        async def elsewhere() -> None:
            async with store:
                for _ in range(100):
                    assert await store.read_instance("a") is not None

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, trio.run, elsewhere)
            for _ in range(100):
                assert await store.read_instance("a") is not None
        assert await store.read_instance("a") is not None


async def test_a_cancelled_reader_still_gets_its_answer(tmp_path: Path) -> None:
    """A read that was handed to the thread is waited for; one that was cancelled before is not."""
    halt, answers = Halt("FROM kv"), []
    async with SqliteStore(tmp_path / "x.db", connect=meeting(halt)) as store:

        async def read() -> None:
            answers.append(await store.read_kv("a"))
            await store.read_kv("a")
            raise AssertionError

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await until_met(halt)
            nursery.cancel_scope.cancel()
            halt.go.set()
    assert answers == [{}]


def test_a_clock_that_two_threads_read_never_goes_back() -> None:
    """Whoever is in the middle of reading it is not overtaken."""
    other = threading.Thread(target=lambda: clock())

    class Slow(float):
        def __lt__(self, than: float) -> bool:
            other.start()
            other.join(0.05)  # as long as it needs, if nothing keeps it
            return float(self) < than

    times = [1.0, Slow(1.5), 2.0, 1.6]
    clock = SteadyClock(lambda: times.pop(0), None)
    assert clock() == 1.0
    assert clock() == 1.5
    other.join()
    assert clock() == 2.0
