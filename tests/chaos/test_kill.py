"""Worker processes are killed with SIGKILL at random moments; every instance finishes with the right result all the
same.

The moments are facts, not times: a worker is killed after it has said a random number of lines.
"""

from __future__ import annotations

import os
import pathlib
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import pytest
import trio

import trioflow
from tests.chaos import worker
from trioflow.history import ActivityCompleted, ActivityScheduled

ROOT = pathlib.Path(__file__).parents[2]


async def _one_life(worker_arguments: Sequence[str], lines: int | None, runs: Counter[str], done: trio.Event) -> None:
    """A worker process from start to SIGKILL after `lines` lines (None: until everything is done)."""
    command = [sys.executable, "-m", "tests.chaos.worker", *worker_arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment
    )
    assert process.stdout is not None
    assert process.stdin is not None
    said, rest = 0, b""
    try:
        async with trio.open_nursery() as nursery:

            async def end_when_done() -> None:
                await done.wait()
                assert process.stdin is not None
                await process.stdin.aclose()

            nursery.start_soon(end_when_done)
            async for chunk in process.stdout:
                *whole, rest = (rest + chunk).split(b"\n")
                runs.update(line.decode() for line in whole if line.startswith(b"run "))
                said += len(whole)
                if lines is not None and said > lines:
                    process.send_signal(signal.SIGKILL)
            nursery.cancel_scope.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()
            await process.stdin.aclose()


async def _workers(worker_arguments: Sequence[str], kills: list[int], runs: Counter[str], done: trio.Event) -> None:
    """One slot of workers: killed and started again, the last one works until all is done."""
    for lines in kills:
        if not done.is_set():
            await _one_life(worker_arguments, lines, runs, done)
    if not done.is_set():
        await _one_life(worker_arguments, None, runs, done)


async def kill_run(
    path: pathlib.Path,
    *,
    instances: int,
    kills: int,
    workers: int,
    seed: int,
    without: Sequence[str] = (),
    longest: int | None = None,
) -> Counter[str]:
    """Start `instances` orders, let them be worked on by workers that are killed and do `without` these options, and
    check every result and history. `longest`: lines that a worker says before it is killed, at most.
    """
    longest = longest or max(2, 5 * instances // max(1, kills))
    rng = random.Random(seed)
    runs: Counter[str] = Counter()
    done = trio.Event()
    async with trioflow.connect(f"sqlite:{path}", worker.app) as client, trio.open_nursery() as nursery:
        handles = []
        for number in range(instances):
            handle = await client.start(worker.order, number, id=f"order-{number}")
            await handle.raise_event("approved", number)
            handles.append(handle)
        for _ in range(workers):
            share = kills // workers
            moments = [rng.randrange(1, longest) for _ in range(share)]
            nursery.start_soon(_workers, [str(path), *without], moments, runs, done)
        for number, handle in enumerate(handles):
            assert await handle.result() == worker.expected(number)
        for handle in handles:
            history = await handle.history()
            scheduled = [event.id for event in history if isinstance(event, ActivityScheduled)]
            completed = [event.answers for event in history if isinstance(event, ActivityCompleted)]
            assert sorted(completed) == sorted(scheduled)
        done.set()
    return runs


async def test_a_few_kills(tmp_path: pathlib.Path) -> None:
    """Two workers, four kills, twenty instances: part of the fast suite."""
    with trio.fail_after(60):
        runs = await kill_run(tmp_path / "orders.db", instances=20, kills=4, workers=2, seed=7)
    assert len(runs) == 20 * 5  # each step of each order began at least once


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_many_kills(tmp_path: pathlib.Path, seed: int) -> None:
    """Three workers, thirty kills, two hundred instances."""
    with trio.fail_after(300):
        runs = await kill_run(tmp_path / "orders.db", instances=200, kills=30, workers=3, seed=seed)
    assert len(runs) == 200 * 5


@pytest.mark.slow
@pytest.mark.parametrize("without", [("fuse",), ("born_leased",), ("fuse", "born_leased")], ids="-and-".join)
async def test_many_kills_of_workers_that_take_the_long_way(tmp_path: pathlib.Path, without: Sequence[str]) -> None:
    """Where outcomes are settled on their own, or activities fetched from the queue, nothing is lost either.

    Who fetches begins all of them at once, and says so before any can end: workers live for up to two such waves, since
    work whose holders die again and again is left alone for longer and longer.
    """
    path = tmp_path / "orders.db"
    with trio.fail_after(300):
        runs = await kill_run(path, instances=60, kills=12, workers=3, seed=4, without=without, longest=120)
    assert len(runs) == 60 * 5
