"""The thread that owns the connection: takes everything that waits, carries it out together, wakes each trio run once.

Laws: the connection is used in this thread only; an item that was put into the queue is answered, whatever happens, the
end of the thread included; between batches the thread looks after what other processes do: their commits, and their
deaths.

Must never know: what a rule means. Who calls it: `_store.py`. Read next: `_database.py`, `_gate.py`.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import attrs
import outcome
import trio

from trioflow.abc import Signals
from trioflow.errors import OutcomeUnknown, StoreClosed, StoreError
from trioflow.stores._sqlite._database import Database, Member
from trioflow.stores._sqlite._errors import translate
from trioflow.stores._sqlite._gate import Presence
from trioflow.stores._sqlite._opening import Settings
from trioflow.stores._sqlite._owners import expire_leases

log = logging.getLogger("trioflow.stores")

BATCH = 512  # members of one transaction at most
LOOK_FOR_OTHERS = 0.25  # seconds between two looks at who else is there
LOOK_FOR_CHANGES = 0.02  # seconds between two looks at what others wrote, while there are others


@attrs.define(eq=False)
class Run:
    """A trio run that has the store open."""

    token: trio.lowlevel.TrioToken
    signals: Signals = attrs.field(factory=Signals)
    users: int = 0  # guarded by the store's lock

    def tell(self, jobs: list[Job], topics: dict[str, None]) -> None:
        """From the thread: wake these tasks and bump these topics."""
        try:
            self.token.run_sync_soon(self._hear, jobs, topics)
        except trio.RunFinishedError:
            pass  # nobody is left to hear it

    def tell_all(self) -> None:
        """From the thread: anything may have changed."""
        try:
            self.token.run_sync_soon(self.signals.bump_all)
        except trio.RunFinishedError:
            pass

    def _hear(self, jobs: list[Job], topics: dict[str, None]) -> None:
        for job in jobs:
            assert job.answer is not None
            trio.lowlevel.reschedule(job.task, job.answer)
        for topic in topics:
            self.signals.bump(topic)


@attrs.define(eq=False)
class Job:
    """Something that a task waits for: a member of a transaction, or an errand beside them."""

    run: Run
    task: trio.lowlevel.Task
    member: Member | None = None
    errand: Callable[[], Any] | None = None
    answer: outcome.Outcome[Any] | None = None
    ends: bool = False  # the last one: the thread ends once it is answered


@attrs.define(eq=False)
class Writer:
    """A thread, its queue, and its connection."""

    _settings: Settings
    _runs: Callable[[], list[Run]]
    _queue: queue.SimpleQueue[Job] = attrs.field(factory=queue.SimpleQueue)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)  # around "is it alive?" and "put it into the queue"
    _end: StoreError | None = None  # why nothing is taken any more
    _batch: list[Job] = attrs.field(factory=list)  # those that are being worked on
    _others: bool = False  # whether another process (or another store object) has the file open
    _looked: float = 0.0
    _file: tuple[int, int] | None = None  # device and inode of the database
    _blind: bool = False  # the last look at who else is there failed
    presence: Presence | None = None

    _database: Database = attrs.field(init=False)
    _thread: threading.Thread = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._database = Database(self._settings)
        self._thread = threading.Thread(target=self._main, name=f"trioflow {self._settings.path}", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it still takes jobs."""
        return self._end is None

    # -- on the side of trio

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def call(self, run: Run, member: Member) -> Any:
        """Have a member carried out."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self._wait(Job(run, trio.lowlevel.current_task(), member=member))

    async def do(self, run: Run, errand: Callable[[], Any]) -> Any:
        """Have something done in the thread, outside any transaction."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self._wait(Job(run, trio.lowlevel.current_task(), errand=errand))

    async def stop(self, run: Run) -> None:
        """Have everything before this done, then close. Not interrupted by cancellation."""
        if self.alive:
            try:
                await self._wait(Job(run, trio.lowlevel.current_task(), errand=_nothing, ends=True))
            except StoreError:
                pass  # it was ending by itself
        self._thread.join()

    async def _wait(self, job: Job) -> Any:
        with self._lock:
            if self._end is not None:
                raise same(self._end)
            self._queue.put(job)
        # Once it is in the queue it will be carried out, so its answer is waited for.
        return await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    # -- on the side of the thread

    def announce_worker(self, worker: str) -> bool:
        """An errand: see `Presence.announce`. In memory nobody else is there to look."""
        return bool(self._present(lambda: self._announced(worker)))

    def withdraw_worker(self, worker: str) -> None:
        """An errand: see `Presence.withdraw`."""
        presence = self.presence
        if presence is not None:
            self._present(lambda: presence.withdraw(worker))

    def _announced(self, owner: str) -> bool:
        return self.presence is None or self.presence.announce(owner)

    def _present(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except OSError as exc:
            raise translate(exc, self._settings.path, "saying who is alive") from exc

    def _main(self) -> None:
        end: StoreError = StoreClosed(f"SQLite store {self._settings.path} is closed. Open it again.")
        opened = False
        try:
            self._database.open()
            self._announce()
            opened = True
            self._serve()
        except StoreError as exc:
            end = StoreClosed(str(exc)) if opened else exc  # whoever tries again would try for ever
            end.__cause__ = exc.__cause__
        except BaseException as exc:
            end = StoreClosed(f"The thread of SQLite store {self._settings.path} has died: {exc!r}. Open it again.")
            end.__cause__ = exc
        finally:
            self._leave(end)

    def _announce(self) -> None:
        settings = self._settings
        if not settings.in_memory:
            self.presence = Presence(settings.folder)
            self._present(lambda: self._announced(f"store/{settings.env.token()}"))
            self._check_file()
            self._look_for_others()

    def _serve(self) -> None:
        ends = False
        while not ends:
            self._batch = self._take()
            for job in self._batch:
                if job.errand is not None:
                    job.answer = outcome.capture(job.errand)
            self._carry_out([job.member for job in self._batch if job.member is not None])
            ends = any(job.ends for job in self._batch)
            self._tell_batch()
            if not ends:
                self._look_around()
                self._database.checkpoint(idle=self._queue.empty())

    def _take(self) -> list[Job]:
        """Everything that waits; nothing if it is time to look around."""
        try:
            jobs = [self._queue.get(timeout=self._pace())]
        except queue.Empty:
            self._looked = 0.0  # whatever the clock says
            return []
        while len(jobs) < BATCH:
            try:
                jobs.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return jobs

    def _carry_out(self, members: list[Member]) -> None:
        if members:
            self._database.execute(members)

    def _tell_batch(self) -> None:
        """Wake every task of the batch, and whoever waits for what the batch has changed."""
        batch = [job for job in self._batch if not job.ends]
        self._batch = [job for job in self._batch if job.ends]  # told when the file is closed
        topics: dict[str, None] = {}
        for job in batch:
            if job.member is not None:
                job.answer = job.member.answer
                topics.update(dict.fromkeys(job.member.hints))
        self._tell(batch, topics)

    def _tell(self, jobs: list[Job], topics: dict[str, None]) -> None:
        by_run: dict[Run, list[Job]] = {run: [] for run in self._runs()} if topics else {}
        for job in jobs:
            by_run.setdefault(job.run, []).append(job)
        for run, its_jobs in by_run.items():
            run.tell(its_jobs, topics)

    def _leave(self, end: StoreError) -> None:
        """Answer whoever still waits, and let go of everything."""
        with self._lock:
            self._end = end
        unsure = OutcomeUnknown(f"{end} What was being written may or may not be kept: repeat it by its request id.")
        waiting: list[tuple[Job, StoreError]] = [(job, unsure) for job in self._batch]
        while True:
            try:
                waiting.append((self._queue.get_nowait(), end))
            except queue.Empty:
                break
        for job, error in waiting:
            if job.answer is None:  # an errand may have been done before the end came
                job.answer = outcome.Value(None) if job.ends else outcome.Error(same(error))
        if self.presence is not None:
            try:
                self.presence.withdraw_all()
            except OSError as exc:
                log.warning("SQLite store %s: %s stays behind: %s", self._settings.path, self._settings.folder, exc)
        self._database.close()
        self._tell([job for job, _ in waiting], {})

    # -- what other processes do

    def _pace(self) -> float | None:
        if self.presence is None:
            return None
        return LOOK_FOR_CHANGES if self._others else LOOK_FOR_OTHERS

    def _look_around(self) -> None:
        if self.presence is None:
            return
        if self._others and self._database.changed_by_others():
            for run in self._runs():
                run.tell_all()
        now = self._settings.env.now()
        if not 0 <= now - self._looked < LOOK_FOR_OTHERS:
            self._looked = now
            self._check_file()
            self._look_for_others()

    def _check_file(self) -> None:
        """End the store if its file is no longer the one at its path: what is written now would be lost."""
        path = self._settings.path
        try:
            found = os.stat(path)
        except FileNotFoundError:
            raise StoreClosed(f"SQLite store {path}: the file was removed while it was open. Restore it.") from None
        except OSError:
            return  # it cannot be looked at just now
        if self._file not in (None, (found.st_dev, found.st_ino)):
            raise StoreClosed(f"SQLite store {path}: the file was replaced while it was open. Open it again.")
        self._file = (found.st_dev, found.st_ino)

    def _look_for_others(self) -> None:
        """Look who else is there, if that can be seen just now."""
        assert self.presence is not None
        try:
            self.presence.restore()
            self._look()
        except OSError as exc:
            if not self._blind:
                log.warning("SQLite store %s: cannot see who else is alive (%s); going on", self._settings.path, exc)
            self._blind = True
        else:
            self._blind = False

    def _look(self) -> None:
        """Who else is there? Those who have died: their leases expire now."""
        assert self.presence is not None
        others = False
        for _, dead in self.presence.others():
            if dead is None:
                others = True
                continue
            member = Member(expire_leases, dead.owner)
            self._database.execute([member])
            if isinstance(member.answer, outcome.Value):
                dead.bury()
                self._tell([], dict.fromkeys(member.hints))
            else:
                dead.leave()
        if others and not self._others:
            self._database.changed_by_others()  # what they wrote from now on is news
            for run in self._runs():
                run.tell_all()
        self._others = others


def same(error: StoreError) -> StoreError:
    """An error of one's own that says the same: an exception is raised in one task only."""
    copy = type(error)(str(error))
    copy.__cause__ = error.__cause__
    return copy


def _nothing() -> None:
    """The errand of the last job."""
