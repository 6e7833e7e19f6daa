"""The thread that reads: a connection of its own, so that a long read holds up nobody who writes.

Laws: reads are carried out in the order in which they were asked for; those that wait share a transaction, which begins
after they were asked for and has ended before they are answered, so none is open while nobody reads; the connection can
neither write nor fold the log; one that has met an error is given up, and the next read opens another; a reader ends
before the writer's connection is closed, and a store whose reader has died ends. Between two transactions it may be
held back for a moment, so that the log is folded.

Must never know: what a rule means, the gate. Who calls it: `_writer.py`. Read next: `_opening.py`.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import attrs
import outcome
import trio

from trioflow.errors import StoreClosed, StoreError
from trioflow.stores._rules import Work
from trioflow.stores._sqlite._database import Member
from trioflow.stores._sqlite._errors import translate
from trioflow.stores._sqlite._jobs import Job, Jobs, Run, refuse, tell, to_the_end
from trioflow.stores._sqlite._opening import Settings, check_ours, connect_to_read
from trioflow.stores._sqlite._place import Place
from trioflow.stores._sqlite._tables import SqliteTables

BATCH = 64  # reads that share a transaction at most: those in front are answered with the last
GAP = 0.1  # seconds that a read waits at most for a log that has grown long


@attrs.define(eq=False)
class Reader:
    """A thread, its queue, and its connection."""

    _settings: Settings
    _place: Place
    _jobs: Jobs = attrs.field(factory=Jobs)
    _batch: list[Job] = attrs.field(factory=list)  # those that are being worked on
    _db: sqlite3.Connection | None = None
    _tables: SqliteTables | None = None
    _inside: bool = False
    _free: threading.Event = attrs.field(factory=threading.Event)  # not set: let the log be folded first
    _thread: threading.Thread = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._free.set()
        self._thread = threading.Thread(target=self._main, name=f"trioflow reads {self._settings.path}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def call(self, run: Run, member: Member) -> Any:
        """Have a member carried out that only reads."""
        self._jobs.put(Job(run, trio.lowlevel.current_task(), member=member))
        return await trio.lowlevel.wait_task_rescheduled(to_the_end)

    def check(self) -> None:
        """Raise why it has ended, if it has."""
        if self._jobs.end is not None:
            raise self._jobs.end

    def stop(self, end: StoreError) -> None:
        """From the writer's thread: have everything before this done, then close."""
        self._jobs.close(end)
        self._thread.join()

    def hold_back(self) -> None:
        """From the writer's thread: begin no read for a moment."""
        self._free.clear()

    def let_go(self) -> None:
        """From the writer's thread: the log is folded."""
        self._free.set()

    @property
    def waits(self) -> bool:
        """Whether it is held back."""
        return not self._free.is_set()

    @property
    def reads(self) -> bool:
        """Whether a transaction may be open."""
        return self._inside

    # -- in the thread

    def _main(self) -> None:
        end = StoreClosed(f"SQLite store {self._settings.path} is closed. Open it again.")
        try:
            while self._serve():
                pass
        except BaseException as exc:
            end = StoreClosed(f"The reading thread of {self._settings.path} has died: {exc!r}. Open the store again.")
            end.__cause__ = exc
        finally:
            self._leave(end)

    def _serve(self) -> bool:
        """Do what waits; False if no more will come."""
        batch = self._batch = self._jobs.take(BATCH)
        self._free.wait(GAP)
        self._inside = True
        for job in batch:
            job.answer = self._attempt(job)
        self._finish()
        self._inside = False
        self._batch = []
        tell(batch, [], {})
        return bool(batch)

    def _leave(self, end: StoreError) -> None:
        """Answer whoever still waits, and let go of the file."""
        self._jobs.close(end)
        self._drop()
        jobs = [*self._batch, *self._jobs.rest()]
        for job in jobs:
            refuse(job, end)
        tell(jobs, [], {})

    def _attempt(self, job: Job) -> outcome.Outcome[Any]:
        member = job.member
        assert member is not None
        try:
            return outcome.Value(self._read(member))
        except Exception as exc:
            self._drop()
            error = translate(exc, self._settings.path, getattr(member.rule, "__name__", "a rule"))
            return outcome.Error(error)

    def _read(self, member: Member) -> Any:
        settings = self._settings
        db = self._db or self._open()
        if not db.in_transaction:
            db.execute("BEGIN")
        assert self._tables is not None
        return member.rule(Work(self._tables, settings.clock(), settings.env.token), member.request)

    def _finish(self) -> None:
        """End the transaction: an open one keeps the log from being folded. What was read is not in doubt."""
        if self._db is not None and self._db.in_transaction:
            try:
                self._db.execute("COMMIT")
            except sqlite3.Error:
                self._drop()

    def _open(self) -> sqlite3.Connection:
        try:
            db = self._db = connect_to_read(self._settings)
            check_ours(db, self._settings.path)
        finally:
            self._place.check()  # no other file than the one that is written to
        self._tables = SqliteTables(db)
        return db

    def _drop(self) -> None:
        """Give the connection up."""
        db, self._db, self._tables = self._db, None, None
        if db is not None:
            try:
                db.close()
            except sqlite3.Error:
                pass  # it is forgotten either way
