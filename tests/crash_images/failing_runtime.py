"""A process with a runtime whose disk fails for a while, again and again: its orders end as they should.

Usage, on the shim: python -m tests.crash_images.failing_runtime FOLDER EIO|ENOSPC TIMES
"""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path

import trio

import trioflow
from tests.chaos import worker
from tests.crash_images.failing_disk import ERRORS, Disk
from tests.crash_images.orders import OPTIONS
from trioflow.stores import SqliteStore
from trioflow.stores._sqlite import _database

ORDERS = 3
FAILURES = 12  # calls that fail before the disk is healthy again


async def trouble(path: Path, disk: Disk, k: int) -> int:
    """Orders on a disk that fails from the k-th call on, for a while; how many calls have failed."""
    async with trioflow.open_runtime(worker.app, SqliteStore(path), options=OPTIONS) as runtime:
        handles = []
        for number in range(ORDERS):
            handle = await runtime.client.start(worker.order, number, id=f"order-{number}")
            await handle.raise_event("approved", number)
            handles.append(handle)
        disk.fail(k)
        failed = 0
        with trio.move_on_after(5):  # a disk that nobody asks any more cannot fail so often
            while failed < FAILURES:
                await trio.sleep(0.002)
                failed = disk.calls() - k + 1
        disk.heal()
        for number, handle in enumerate(handles):
            assert await handle.result() == worker.expected(number)
    return failed


async def main(folder: Path, kind: str, times: int) -> None:
    """Failures at ever later calls."""
    disk = Disk(ERRORS[kind], on=True)
    hit = 0
    for k in range(1, 8 * times, 8):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with trio.fail_after(60):
            hit += await trouble(folder / "x.db", disk, k) > 0
    print(f"{kind}: {times} runtimes, {hit} of them met failures")


if __name__ == "__main__":
    logging.disable()  # of what they say there is a lot
    _database.CHECKPOINT_BATCHES, _database.CHECKPOINT_ROWS = 1, 1
    trio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
