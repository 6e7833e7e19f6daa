"""The store in a SQLite file: many runtimes and clients of one process share an object, many processes share the file.

Laws: the first to open the object starts its thread, the last to leave ends it; each trio run that has it open has its
own hints; a verb that was handed to the thread is answered even if its caller is cancelled meanwhile.

Must never know: SQL. Who calls it: runtimes and clients. Read next: `_writer.py`, `_backup.py`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self, TypeVar, final

import trio

from trioflow.abc import Env, Signals
from trioflow.errors import ConfigurationError, StoreError
from trioflow.stores._refusals import check_seconds, worker_in_use
from trioflow.stores._rules import Rule, SteadyClock
from trioflow.stores._sqlite._backup import back_up
from trioflow.stores._sqlite._database import Member
from trioflow.stores._sqlite._jobs import Run
from trioflow.stores._sqlite._opening import Settings
from trioflow.stores._sqlite._writer import Writer
from trioflow.stores._verbs import Answer, StoreVerbs

R = TypeVar("R")
A = TypeVar("A")
Durability = Literal["full", "fast"]


@final
class SqliteStore(StoreVerbs):
    """A store in a file, or, with the path ":memory:", in a database that lives while the object is open.

    Args: path: the file; it is created if it is not there. Locks are kept in a folder of that name with ".workers"
    added. durability: "full" survives power loss, "fast" may then lose the last moments; both survive any crash of a
    process. clock: the store's clock, seconds since the Unix epoch; the environment's wall time if not given. env: the
    world that tokens and time come from. patience: seconds to wait for other processes before `StoreUnavailable` is
    raised. connect: what to open the file with, for tests.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        clock: Callable[[], float] | None = None,
        env: Env | None = None,
        patience: float = 5.0,
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect,
    ) -> None:
        if durability not in ("full", "fast"):
            raise ConfigurationError(f'durability is {durability!r}; it has to be "full" or "fast".')
        check_seconds("patience", patience)
        env = Env() if env is None else env
        text = os.fspath(path)
        if "\0" in text:
            raise ConfigurationError(f"The store's path {text!r} has a NUL character in it. Choose another path.")
        self._settings = Settings(
            path=text if text == ":memory:" else os.path.abspath(text),
            durability=durability,
            clock=SteadyClock(env.now, env.ticks) if clock is None else SteadyClock(clock, None),
            env=env,
            patience=patience,
            connect=connect,
        )
        self._lock = threading.Lock()  # around the two below: several trio runs may open and leave at once
        self._writer: Writer | None = None
        self._runs: dict[trio.lowlevel.TrioToken, Run] = {}

    @property
    def signals(self) -> Signals:
        """Hints that something changed, for the trio run that asks."""
        return self._here()[0].signals

    def _here(self) -> tuple[Run, Writer]:
        run = self._runs.get(trio.lowlevel.current_trio_token())
        if run is None or self._writer is None:
            raise StoreError(f"SQLite store {self._settings.path} is not open here. Use it inside `async with store:`.")
        return run, self._writer

    async def __aenter__(self) -> Self:
        run, writer = self._enter()
        try:
            await writer.opened(run)
        except BaseException:
            await self._leave(run)
            raise
        return self

    def _enter(self) -> tuple[Run, Writer]:
        token = trio.lowlevel.current_trio_token()
        with self._lock:
            if self._writer is None or not self._writer.alive:
                self._writer = Writer(self._settings, self._list_runs)
                self._writer.start()
            run = self._runs.setdefault(token, Run(token))
            run.users += 1
            return run, self._writer

    def _list_runs(self) -> list[Run]:
        with self._lock:
            return list(self._runs.values())

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._leave(self._here()[0])

    async def _leave(self, run: Run) -> None:
        with self._lock:
            run.users -= 1
            if not run.users:
                del self._runs[run.token]
            writer, last = self._writer, not self._runs
            if last:
                self._writer = None
        if last and writer is not None:
            await writer.stop(run)

    def _call(self, rule: Rule[R, A], request: R) -> Answer[A]:
        run, writer = self._here()
        return writer.call(run, Member(rule, request))

    async def register_worker(self, worker: str) -> None:
        """Hold the worker's file: when this process dies, others see it at once."""
        run, writer = self._here()
        if not await writer.do(run, lambda: writer.announce_worker(worker)):
            raise worker_in_use(worker)

    async def unregister_worker(self, worker: str) -> None:
        """Let go of the worker's file."""
        run, writer = self._here()
        await writer.do(run, lambda: writer.withdraw_worker(worker))

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the store into a new file while it is in use.

        The copy holds everything that was committed before the call, and of what is committed meanwhile all up to some
        moment. It is on the disk, complete, when this returns; until then, or if it is cancelled or fails, there is no
        file at `path`. Nobody waits for it; the log of the store grows until it is done. What the copy knows as leased
        is free once those leases run out.

        A checkpoint. Raises `ConfigurationError` if `path` exists or the store is in memory, `StoreError` if the disk
        fails.
        """
        self._here()
        await back_up(self._settings, path)

    def __repr__(self) -> str:
        users = sum(run.users for run in self._runs.values())
        return f"<SqliteStore {self._settings.path!r} {self._settings.durability} [open {users}]>"
