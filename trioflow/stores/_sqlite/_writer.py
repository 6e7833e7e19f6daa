"""The thread that writes: takes everything that waits, carries it out together, wakes each trio run once.

Laws: its connection is used in this thread only; an item that was put into the queue is answered, whatever happens, the
end of the thread included; between batches the thread looks after what other processes do: their commits, and their
deaths. It starts the thread that reads, and ends it before it closes.

Must never know: what a rule means. Who calls it: `_store.py`. Read next: `_database.py`, `_reader.py`, `_gate.py`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import attrs
import outcome
import trio

from trioflow.errors import OutcomeUnknown, StoreClosed, StoreError
from trioflow.stores._sqlite._database import Database, Member
from trioflow.stores._sqlite._errors import translate
from trioflow.stores._sqlite._gate import Presence
from trioflow.stores._sqlite._jobs import Job, Jobs, Run, refuse, tell, to_the_end
from trioflow.stores._sqlite._opening import Settings
from trioflow.stores._sqlite._owners import expire_leases
from trioflow.stores._sqlite._place import Place
from trioflow.stores._sqlite._reader import Reader

log = logging.getLogger("trioflow.stores")

UNSURE = "What was being written may or may not be kept: repeat it by its request id."

BATCH = 512  # members of one transaction at most
LOOK_FOR_OTHERS = 0.25  # seconds between two looks at who else is there
LOOK_FOR_CHANGES = 0.02  # seconds between two looks at what others wrote, while there are others


@attrs.define(eq=False)
class Writer:
    """A thread, its queue, and its connection."""

    _settings: Settings
    _runs: Callable[[], list[Run]]
    _jobs: Jobs = attrs.field(factory=Jobs)
    _batch: list[Job] = attrs.field(factory=list)  # those that are being worked on
    _others: bool = False  # whether another process (or another store object) has the file open
    _looked: float = 0.0
    _blind: bool = False  # the last look at who else is there failed
    presence: Presence | None = None

    _reader: Reader | None = None  # once the file is open; in memory there is one connection only
    _place: Place = attrs.field(init=False)
    _database: Database = attrs.field(init=False)
    _thread: threading.Thread = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._place = Place(self._settings.path)
        self._database = Database(self._settings)
        self._thread = threading.Thread(target=self._main, name=f"trioflow {self._settings.path}", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it still takes jobs."""
        return self._jobs.end is None

    # -- on the side of trio

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def opened(self, run: Run) -> None:
        """Wait until the file is open. Raises why it cannot be opened."""
        await self.do(run, _nothing)

    async def call(self, run: Run, member: Member) -> Any:
        """Have a member carried out, apart from those who write if it only reads."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._reader is not None and member.reads:
            return await self._reader.call(run, member)
        self._jobs.put(Job(run, trio.lowlevel.current_task(), member=member))
        return await trio.lowlevel.wait_task_rescheduled(to_the_end)

    async def do(self, run: Run, errand: Callable[[], Any]) -> Any:
        """Have something done in the thread, outside any transaction."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._jobs.put(Job(run, trio.lowlevel.current_task(), errand=errand))
        return await trio.lowlevel.wait_task_rescheduled(to_the_end)

    async def stop(self, run: Run) -> None:
        """Have everything before this done, then close. Not interrupted by cancellation."""
        if self.alive:
            try:
                self._jobs.put(Job(run, trio.lowlevel.current_task(), errand=_nothing, ends=True))
                await trio.lowlevel.wait_task_rescheduled(to_the_end)
            except StoreError:
                pass  # it was ending by itself
        self._thread.join()

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
            self._settle_in()
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

    def _settle_in(self) -> None:
        """The file is open: say so to others, and let it be read."""
        settings = self._settings
        if not settings.in_memory:
            self.presence = Presence(settings.folder)
            self._present(lambda: self._announced(f"store/{settings.env.token()}"))
            self._place.check()
            self._look_for_others()
            reader = Reader(settings, self._place)
            reader.start()
            self._reader = reader

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
                self._fold()

    def _take(self) -> list[Job]:
        """Everything that waits; nothing if it is time to look around."""
        jobs = self._jobs.take(BATCH, self._pace())
        if not jobs:
            self._looked = 0.0  # whatever the clock says
        return jobs

    def _carry_out(self, members: list[Member]) -> None:
        if members:
            ticks = self._settings.env.ticks
            began = ticks()
            self._database.execute(members)
            for run in self._runs():
                run.tell_cost(len(members), ticks() - began)

    def _fold(self) -> None:
        """See to the log. Reads without a gap between them would let it grow for ever, so a long one gets its gap."""
        reader = self._reader
        if reader is None or not reader.waits:
            if self._database.checkpoint(idle=self._jobs.empty) and reader is not None:
                reader.hold_back()
        elif not reader.reads:
            self._database.fold()
            reader.let_go()

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
        tell(jobs, self._runs() if topics else [], topics)

    def _leave(self, end: StoreError) -> None:
        """Answer whoever still waits, and let go of everything."""
        self._jobs.close(end)
        rest = self._jobs.rest()
        for job in self._batch:
            refuse(job, OutcomeUnknown(f"{end} {UNSURE}"))
        for job in rest:
            refuse(job, end)
        if self.presence is not None:
            try:
                self.presence.withdraw_all()
            except OSError as exc:
                log.warning(
                    "SQLite store %s: %s stays behind: %s", self._settings.path, self._settings.folder, str(exc)
                )
        if self._reader is not None:
            self._reader.stop(end)  # before our connection, which is the one that may fold the log
        self._database.close()
        self._tell([*self._batch, *rest], {})

    # -- what other processes do

    def _pace(self) -> float | None:
        if self.presence is None:
            return None
        return LOOK_FOR_CHANGES if self._others else LOOK_FOR_OTHERS

    def _look_around(self) -> None:
        if self._reader is None:
            return
        self._reader.check()
        if self._others and self._database.changed_by_others():
            for run in self._runs():
                run.tell_all()
        now = self._settings.env.now()
        if not 0 <= now - self._looked < LOOK_FOR_OTHERS:
            self._looked = now
            self._place.check()
            self._look_for_others()

    def _look_for_others(self) -> None:
        """Look who else is there, if that can be seen just now."""
        assert self.presence is not None
        try:
            self.presence.restore()
            self._look()
        except OSError as exc:
            if not self._blind:
                log.warning(
                    "SQLite store %s: cannot see who else is alive (%s); going on", self._settings.path, str(exc)
                )
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


def _nothing() -> None:
    """The errand of those who wait for a beginning or an end."""
