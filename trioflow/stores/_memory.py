"""The store in memory: for tests, for trying things out, and as the reference that other stores are measured by.

Laws: `apply` is synchronous and atomic: when it raises, nothing has changed; the async verbs call it inline, in the
task of whoever asks; several runtimes and clients of one process may share one object; nothing survives the process.

Must never know: a file, a thread. Who calls it: runtimes, clients, tests. Read next: `_rules/_turns.py` for what the
verbs mean, `_memory_tables.py` for where rows are kept, then `_sqlite`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar, final

import attrs
import trio

from trioflow.abc import Env, Signals
from trioflow.stores._memory_tables import MemoryTables
from trioflow.stores._refusals import worker_in_use
from trioflow.stores._rules import READS, Rule, SteadyClock, Tidying, Work
from trioflow.stores._verbs import StoreVerbs

R = TypeVar("R")
A = TypeVar("A")


@final
@attrs.define(eq=False, repr=False)
class MemoryStore(StoreVerbs):
    """A store that lives as long as the object.

    Args:
        clock: the store's clock, seconds since the Unix epoch; the environment's wall time if not given.
        env: the world that tokens and time come from.
    """

    _clock: Callable[[], float] | None = attrs.field(default=None, alias="clock")
    _env: Env = attrs.field(factory=Env, kw_only=True, alias="env")
    _signals: Signals = attrs.field(factory=Signals, init=False)
    _tables: MemoryTables = attrs.field(factory=MemoryTables, init=False)
    _tidying: Tidying = attrs.field(factory=Tidying, init=False)
    _steady: SteadyClock = attrs.field(init=False)
    _workers: dict[str, None] = attrs.field(factory=dict, init=False)  # that are alive
    _users: int = attrs.field(default=0, init=False)  # how many have it open; it is never really closed

    def __attrs_post_init__(self) -> None:
        own = self._clock is not None
        self._steady = SteadyClock(self._clock or self._env.now, None if own else self._env.ticks)

    @property
    def signals(self) -> Signals:
        """Hints that something changed."""
        return self._signals

    async def __aenter__(self) -> Self:
        self._users += 1
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._users -= 1

    async def register_worker(self, worker: str) -> None:
        """See `Store`. A worker cannot die without this store, so whoever has not said goodbye is alive."""
        await trio.lowlevel.checkpoint()
        if worker in self._workers:
            raise worker_in_use(worker)
        self._workers[worker] = None

    async def unregister_worker(self, worker: str) -> None:
        """See `Store`."""
        self._workers.pop(worker, None)  # first: who says goodbye may be cancelled
        await trio.lowlevel.checkpoint()

    async def _call(self, rule: Rule[R, A], request: R) -> A:
        await trio.lowlevel.checkpoint()
        return self.apply(rule, request)

    def apply(self, rule: Rule[R, A], request: R) -> A:
        """Run a rule in one transaction, here and now."""
        now = self._steady()
        work = Work(self._tables, now, self._env.token)
        try:
            answer = rule(work, request)
            work.finish()
            if rule not in READS:
                self._tidying.run(self._tables, now)
        except BaseException:
            self._tables.rollback()
            raise
        self._tables.commit()
        for topic in work.hints:
            self._signals.bump(topic)
        return answer

    def __repr__(self) -> str:
        return f"<MemoryStore [open {self._users}]>"
