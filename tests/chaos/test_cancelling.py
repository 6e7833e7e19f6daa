"""Cancellation across two worker processes on one SQLite file: one takes the turns, the other the activities."""

from __future__ import annotations

import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import trioflow
from tests.chaos import desk
from tests.runtime.programs import shape
from trioflow.abc import TURNS
from trioflow.history import ActivityCancelled

ROOT = pathlib.Path(__file__).parents[2]


class Worker:
    """A process that runs `desk.py`."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.said: list[str] = []  # not yet asked for
        self.lines = self._read()

    async def _read(self) -> AsyncIterator[str]:
        assert self.process.stdout is not None
        rest = b""
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line.decode()

    async def says(self, fact: str) -> None:
        """Wait for a line; others are kept."""
        while fact not in self.said:
            self.said.append(await anext(self.lines))
        self.said.remove(fact)

    async def go(self) -> None:
        """Let a body end that waits for that."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(b"go\n")

    async def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def worker(path: pathlib.Path, role: str) -> AsyncIterator[Worker]:
    """A worker process that is ready; it is killed at the end."""
    command = [sys.executable, "-m", "tests.chaos.desk", str(path), role]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment
    )
    running = Worker(process)
    try:
        await running.says("ready")
        yield running
    finally:
        with trio.CancelScope(shield=True):
            process.send_signal(signal.SIGCONT)
            await running.kill()
            await running.lines.aclose()  # type: ignore[attr-defined]
            await process.stdin.aclose()  # type: ignore[union-attr]
            await process.stdout.aclose()  # type: ignore[union-attr]


@asynccontextmanager
async def office(path: pathlib.Path) -> AsyncIterator[tuple[trioflow.Client, Worker, Worker]]:
    """A client, the process that takes turns, and the one that takes activities."""
    with trio.fail_after(120):
        async with (
            trioflow.connect(f"sqlite:{path}", desk.app) as client,
            worker(path, "turns") as turns,
            worker(path, "activities") as hands,
        ):
            yield client, turns, hands


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where the store is."""
    return tmp_path / "orders.db"


def rows(path: pathlib.Path, query: str, *values: Any) -> list[Any]:
    """What the database holds, read past the store."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()


async def until(client: trioflow.Client, condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a fact in the store: look again whenever something was written, by whomever."""
    with client.store.signals.watch(TURNS) as watch:
        while True:
            seen = watch.seen
            if await condition():
                return
            await watch.wait_beyond(seen)


async def recorded(client: trioflow.Client, handle: trioflow.Handle[Any], kind: str) -> None:
    """Wait until an event of that kind is in the history."""

    async def is_there() -> bool:
        return kind in shape(await handle.history())

    await until(client, is_there)


async def hows(handle: trioflow.Handle[Any]) -> list[str]:
    """How the cancelled activities of an instance ended."""
    return [event.how for event in await handle.history() if isinstance(event, ActivityCancelled)]


async def test_when_a_nursery_has_ended_no_activity_of_it_holds_a_lease(path: pathlib.Path) -> None:
    """The very next step looks into the database and finds none, whichever process they ran in; all bodies have
    ended.
    """
    async with office(path) as (client, _, hands):
        handle = await client.start(desk.nursery, str(path))
        for name in ("a runs 1", "b runs 1", "c runs 1", "thread runs", "fail runs"):
            await hands.says(name)
        assert len(rows(path, "SELECT event_id FROM activity WHERE lock_token IS NOT NULL")) == 5
        await hands.go()
        assert await handle.result() == []
        for name in ("a ends", "b ends", "c ends", "thread ends"):
            await hands.says(name)
        assert await hows(handle) == ["ended"] * 4


async def test_a_receipt_that_comes_after_the_cancel_is_refunded(path: pathlib.Path) -> None:
    """The charge goes through in the other process although its end was asked for before: the code gets the receipt."""
    async with office(path) as (client, turns, hands):
        handle = await client.start(desk.order, "o-1")
        await hands.says("charge runs")
        await handle.cancel("changed my mind")
        await recorded(client, handle, "ActivityCancelRequested")
        await hands.go()
        with pytest.raises(trioflow.OrchestrationCancelled, match="changed my mind"):
            await handle.result()
        await turns.says("refunded receipt for o-1")


async def test_a_cancel_reaches_a_body_in_another_process(path: pathlib.Path) -> None:
    """Long before its lease of thirty seconds is renewed, which would tell it, too."""
    async with office(path) as (client, _, hands):
        handle = await client.start(desk.waiting, "a")
        await hands.says("a runs 1")
        await handle.cancel()
        began = trio.current_time()
        await hands.says("a ends")
        assert trio.current_time() - began < 20
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result()
        assert await hows(handle) == ["ended"]


async def test_a_holder_killed_after_the_mark_is_lost(path: pathlib.Path) -> None:
    """Its death is noticed by the lock on its file, so the branch ends at once, not when the lease has run out."""
    async with office(path) as (client, _, hands):
        handle = await client.start(desk.order, "o-1")
        await hands.says("charge runs")
        await handle.cancel()
        await recorded(client, handle, "ActivityCancelRequested")
        began = trio.current_time()
        await hands.kill()
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result()
        assert trio.current_time() - began < 20
        assert await hows(handle) == ["lost"]
        assert rows(path, "SELECT * FROM activity") == []


async def test_a_holder_killed_before_the_mark_starts_nothing_again(path: pathlib.Path) -> None:
    """The item that fell free is removed by the cancel; nobody takes it."""
    async with office(path) as (client, _, hands):
        handle = await client.start(desk.waiting, "a")
        await hands.says("a runs 1")
        await hands.kill()

        async def is_free() -> bool:
            return not rows(path, "SELECT * FROM activity WHERE lock_token IS NOT NULL")

        await until(client, is_free)
        await handle.cancel()
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result()
        assert await hows(handle) == ["never_started"]


@pytest.mark.parametrize("role", [0, 1])
async def test_a_kill_in_the_middle_of_cleanup_finishes_it_elsewhere(path: pathlib.Path, role: int) -> None:
    """Shielded steps behind a deadline go on in the next process, where the last one left off."""
    async with office(path) as office_of:
        client, turns, _ = office_of
        handle = await client.start(desk.patient, 0.05)
        await turns.says(f"refunded step {role}")
        await turns.kill()
        async with worker(path, "turns") as others:
            await others.says("refunded step 2")
            assert await handle.result() == "too slow"
    assert not [line for line in others.said if line == "refunded step 0" and role]


async def test_a_deadline_that_passed_while_nobody_lived_has_passed(path: pathlib.Path) -> None:
    """The next worker finds it due at once."""
    with trio.fail_after(300):
        async with trioflow.connect(f"sqlite:{path}", desk.app) as client:
            for seconds in (1.0, 5.0, 25.0):  # where all is slow it passes while its worker lives
                handle = await client.start(desk.patient, seconds)
                async with worker(path, "turns"):
                    await recorded(client, handle, "TimerCreated")
                if "TimerFired" not in shape(await handle.history()):
                    break
            (due,) = rows(path, "SELECT wake_at FROM instance WHERE instance = ?", handle.id)[0]
            await trio.sleep(max(0.0, due - await client.store.read_clock()))
            async with worker(path, "turns"):
                assert await handle.result() == "too slow"


@pytest.mark.slow
async def test_a_stopped_holder_that_wakes_too_late_changes_nothing(path: pathlib.Path) -> None:
    """SIGSTOP for longer than the lease: the branch ends as lost after the lease; what the holder says then is
    refused.
    """
    async with office(path) as (client, turns, hands):
        handle = await client.start(desk.order, "o-1")
        await hands.says("charge runs")
        await hands.go()  # to be read once it wakes
        hands.process.send_signal(signal.SIGSTOP)
        await handle.cancel()
        await recorded(client, handle, "ActivityCancelRequested")
        began = trio.current_time()
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result()
        assert 20 < trio.current_time() - began < 32  # a lease of thirty seconds that nobody renews, and one more
        assert await hows(handle) == ["lost"]
        before = await handle.history()
        hands.process.send_signal(signal.SIGCONT)
        lost = f"activity 2 of instance {handle.id} ended here after its lease was lost; its outcome was refused"
        await hands.says(lost)
        assert await handle.history() == before
        assert not [line for line in turns.said if line.startswith("refunded")]
