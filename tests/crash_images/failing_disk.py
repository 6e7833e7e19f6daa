"""A process whose disk fails when told to: every call in turn, once or from then on, and what a store makes of it.

Usage, on the shim: python -m tests.crash_images.failing_disk FOLDER EIO|ENOSPC|short once|on

For each k a fresh store is worked through its verbs while the k-th call of the operating system fails. Whatever a verb
raises has to be a `StoreError`, and what it answered has to be there. Then the disk is healthy, the same is asked for
by the same ids, and all of it has to be there, each thing once. The last line says for how many k that was so.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.crash_images.account import Fact, examine
from tests.crash_images.workload import Marks, Task
from trioflow.errors import StoreError
from trioflow.stores import SqliteStore
from trioflow.stores._sqlite import _database
from trioflow.stores._verbs import StoreVerbs
from trioflow.testing._store_contract import Clock

ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "short": 0}
LEASE = 30.0
ROUNDS = 1


class Disk:
    """The shim in this process."""

    def __init__(self, error: int, *, on: bool) -> None:
        self._shim = ctypes.CDLL(None)
        self._error, self._on = error, on

    def fail(self, k: int) -> None:
        """The k-th call from now fails; any call may report EIO, only some need room."""
        self._shim.shim_fail(k, self._error, int(self._on), int(self._error == errno.EIO))

    def calls(self) -> int:
        """How many calls there were since."""
        return int(self._shim.shim_calls())

    def heal(self) -> int:
        """All is well again; how many calls there were."""
        calls = self.calls()
        self._shim.shim_fail(0, 0, 0, 0)
        return calls


class Answers(Marks):
    """Keeps what was answered."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    @asynccontextmanager
    async def around(self, *fact: object) -> AsyncIterator[None]:
        """A verb that raises says nothing."""
        yield
        self.facts.append(fact)


class Insistent(StoreVerbs):
    """A store each of whose failed calls is made again, unchanged, as a caller would."""

    def __init__(self, store: SqliteStore, failures: list[StoreError], tries: int) -> None:
        self._store, self._failures, self._tries = store, failures, tries

    async def _call(self, rule: Any, request: Any) -> Any:
        return await insist(lambda: self._store._call(rule, request), self._failures, self._tries)


async def insist(call: Callable[[], Awaitable[Any]], failures: list[StoreError], tries: int) -> Any:
    """Make a call, again if it fails."""
    for _ in range(tries - 1):
        try:
            return await call()
        except StoreError as exc:
            failures.append(exc)
    return await call()


async def work(path: Path, clock: Clock, answers: Answers, failures: list[StoreError], *, tries: int) -> None:
    """A round in one life of a store, then its close."""
    store = SqliteStore(path, clock=clock, patience=0.5)
    await insist(store.__aenter__, failures, tries)
    try:
        insistent = Insistent(store, failures, tries)
        for number in range(ROUNDS):
            await Task(insistent, answers, "t0", LEASE).round(number)
            assert await insistent.read_instance(f"t0/{number}"), "it was started"
    finally:
        await store.__aexit__(None, None, None)


async def trial(path: Path, disk: Disk, k: int, *, once: bool) -> bool:
    """Let the k-th call fail; False if there was none."""
    clock, answers = Clock(), Answers()
    failures: list[StoreError] = []
    disk.fail(k)
    try:
        await work(path, clock, answers, failures, tries=2)
    except StoreError as exc:
        failures.append(exc)
        if once:
            raise AssertionError("what failed once fails again") from exc
    if disk.heal() < k:
        assert not failures, failures
        return False
    found = await examine(path, clock)
    assert not found.problems, found.problems
    assert all(map(found.holds, answers.facts)), answers.facts
    # What was taken and never given back runs out; then everything is asked for again.
    clock.now += LEASE + 1
    await work(path, clock, answers, failures, tries=1)
    found = await examine(path, clock)
    assert not found.problems, found.problems
    assert found.requests == {
        request
        for number in range(ROUNDS)
        for request in (f"start t0/{number}", f"note t0/{number} 1", f"note t0/{number} 2")
    }
    assert len(found.settled) == ROUNDS
    return True


async def main(folder: Path, kind: str, mode: str) -> None:
    """Every k, until no call fails."""
    disk = Disk(ERRORS[kind], on=mode == "on")
    k = 0
    going = True
    while going:
        k += 1
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with trio.fail_after(60):
            try:
                going = await trial(folder / "x.db", disk, k, once=mode == "once")
            except BaseException as exc:
                disk.heal()
                exc.add_note(f"call {k} failed with {kind}, {mode}")
                raise
    print(f"{kind} {mode}: {k - 1} calls failed, one at a time")


if __name__ == "__main__":
    logging.disable()  # of what the stores say there is a lot
    _database.CHECKPOINT_BATCHES, _database.CHECKPOINT_ROWS = 1, 1
    trio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3])
