"""What tasks hand to a thread, and how they hear of it: each trio run is woken in its own way.

Laws: what was put into the queue is answered, whatever happens, the end of the thread included; once a thread has ended
nothing is taken any more; an answer that waits is not lost to cancellation.

Must never know: what a job is about. Who calls it: `_writer.py`, `_reader.py`, `_store.py`. Read next: `_writer.py`.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import outcome
import trio

from trioflow.abc import Signals
from trioflow.errors import StoreError
from trioflow.stores._sqlite._database import Member


@attrs.define(eq=False)
class Run:
    """A trio run that has the store open."""

    token: trio.lowlevel.TrioToken
    signals: Signals = attrs.field(factory=Signals)
    users: int = 0  # guarded by the store's lock

    def tell(self, jobs: list[Job], topics: dict[str, None]) -> None:
        """From a thread: wake these tasks and bump these topics."""
        try:
            self.token.run_sync_soon(self._hear, jobs, topics)
        except trio.RunFinishedError:
            pass  # nobody is left to hear it

    def tell_all(self) -> None:
        """From a thread: anything may have changed."""
        try:
            self.token.run_sync_soon(self.signals.bump_all)
        except trio.RunFinishedError:
            pass

    def tell_cost(self, operations: int, seconds: float) -> None:
        """From a thread: a transaction has become durable. Costs nothing while nobody listens."""
        if self.signals.on_commit:
            try:
                self.token.run_sync_soon(self.signals.committed, operations, seconds)
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
class Jobs:
    """The jobs that wait for one thread, in the order in which they came."""

    _queue: queue.SimpleQueue[Job | None] = attrs.field(factory=queue.SimpleQueue)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)  # around "is it alive?" and "put it into the queue"
    _end: StoreError | None = None

    @property
    def end(self) -> StoreError | None:
        """Why nothing is taken any more; None while jobs are taken."""
        return self._end

    @property
    def empty(self) -> bool:
        """Whether nobody waits."""
        return self._queue.empty()

    def put(self, job: Job) -> None:
        """From the job's task, which then waits with `to_the_end`: have it done. Raises why it cannot be done."""
        with self._lock:
            if self._end is not None:
                raise same(self._end)
            self._queue.put(job)

    def take(self, limit: int, timeout: float | None = None) -> list[Job]:
        """From the thread: what waits, waiting for it. Nothing if the time is up (seconds), or if no more will come."""
        jobs: list[Job] = []
        try:
            while len(jobs) < limit:
                job = self._queue.get_nowait() if jobs else self._queue.get(timeout=timeout)
                if job is None:
                    self._queue.put(None)  # it stays the last: whoever comes again finds it
                    break
                jobs.append(job)
        except queue.Empty:
            pass
        return jobs

    def close(self, end: StoreError) -> None:
        """Take no more: what waits already is the last. The first who says why is right."""
        with self._lock:
            if self._end is None:
                self._end = end
                self._queue.put(None)

    def rest(self) -> list[Job]:
        """Those that still wait behind a thread that has closed its queue."""
        return self.take(sys.maxsize, 0)


def to_the_end(_: object) -> trio.lowlevel.Abort:
    """What is in the queue will be carried out, so its answer is waited for: that is no cancel point."""
    return trio.lowlevel.Abort.FAILED


def tell(jobs: Iterable[Job], runs: Iterable[Run], topics: dict[str, None]) -> None:
    """Wake the tasks of these jobs, and bump these topics in these runs: each trio run hears once."""
    by_run: dict[Run, list[Job]] = {run: [] for run in runs}
    for job in jobs:
        by_run.setdefault(job.run, []).append(job)
    for run, its_jobs in by_run.items():
        run.tell(its_jobs, topics)


def refuse(job: Job, error: StoreError) -> None:
    """Answer a job that was not done, and will not be."""
    if job.answer is None:  # an errand may have been done before the end came
        job.answer = outcome.Value(None) if job.ends else outcome.Error(same(error))


def same(error: StoreError) -> StoreError:
    """An error of one's own that says the same: an exception is raised in one task only."""
    copy = type(error)(str(error))
    copy.__cause__ = error.__cause__
    return copy
