"""One process of a crowd: a worker, or a client.

Usage: python -m tests.chaos.crowd_process worker|client URL LEDGER LIFE [--option figure ...]

A worker works until its standard input is closed; it ends itself by SIGKILL at the named moment of that number
(``--die-after``) or of that name (``--die-at``), or stops itself by SIGSTOP at the first of a name (``--stop-at``). A
client visits the instances numbered ``--first``, ``--first`` + ``--stride``, ..., ``--count`` of them or until its
standard input is closed, and ends. Each says ``ready`` first, and then what it logs.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import trio

import trioflow
from tests.chaos import crowd
from trioflow.abc import Env, Store
from trioflow.errors import StoreUnavailable
from trioflow.stores import open_store


@attrs.define(eq=False)
class Fate(Env):
    """The real world, in which this process dies, or stops for a while, at a moment that was decided before."""

    die_after: int = 0  # moments; 0 is never
    die_at: str | None = None
    stop_at: str | None = None
    moments: int = 0

    def reached(self, moment: str) -> None:
        """It is time."""
        assert crowd.ledger is not None
        self.moments += 1
        if self.moments == self.die_after or moment == self.die_at:
            crowd.ledger.note("died", crowd.life, moment)
            os.kill(os.getpid(), signal.SIGKILL)
        if moment == self.stop_at:
            self.stop_at = None
            crowd.ledger.note("stopped", crowd.life, moment)
            os.kill(os.getpid(), signal.SIGSTOP)


class Refusals(logging.Handler):
    """Notes in the ledger what this worker says that it lost: an attempt, or a turn with all that it would settle."""

    def emit(self, record: logging.LogRecord) -> None:
        """Look whether it is about that; the words are those of the runtime."""
        assert crowd.ledger is not None
        assert isinstance(record.args, tuple)
        first, instance = (*record.args, None, None)[:2]
        if "ended here after its lease was lost" in record.msg:
            crowd.ledger.note("lost", crowd.life, instance, first)  # an event id
        elif "was stopped: its lease is lost" in record.msg:
            crowd.ledger.note("lost", crowd.life, instance, "all")  # it tells the activity's name
        elif record.msg.startswith("a turn of instance %s was dropped"):
            crowd.ledger.note("lost", crowd.life, first, "all")


async def work(url: str, fate: Fate, lease: float, concurrency: int) -> None:
    """A worker's life."""
    options = trioflow.RuntimeOptions(
        worker=crowd.life, turn_lease=lease, activity_lease=lease, grace=1.0, activity_concurrency=concurrency
    )
    store = open_store(url, env=fate)
    async with patiently(store), trioflow.open_runtime(crowd.app, store, options=options, env=fate):
        assert crowd.ledger is not None
        crowd.ledger.note("ready", crowd.life)
        await until_told()


@asynccontextmanager
async def patiently(store: Store) -> AsyncIterator[None]:
    """Open it and keep it open, as a supervisor would by starting us again: somebody may stand still in a write."""
    async with AsyncExitStack() as stack:
        for _ in range(5):
            try:
                await stack.enter_async_context(store)
                break
            except StoreUnavailable:
                await trio.sleep(0.5)
        yield


async def until_told() -> None:
    """Say that we are ready; return when standard input is closed."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    async for _ in trio.lowlevel.FdStream(os.dup(0)):
        pass


async def ask(url: str, first: int, stride: int, count: int, width: int) -> None:
    """A client's life."""
    numbers = itertools.count(first, stride) if not count else range(first, first + count * stride, stride)
    room, over = trio.CapacityLimiter(width), trio.Event()
    async with trioflow.connect(url, crowd.app) as client, trio.open_nursery() as nursery:

        async def listen() -> None:
            await until_told()
            over.set()

        async def visit(number: int) -> None:
            try:
                await crowd.visit(client, number)
            finally:
                room.release_on_behalf_of(number)

        async with trio.open_nursery() as visits:
            nursery.start_soon(listen)
            for number in numbers:
                await room.acquire_on_behalf_of(number)
                if over.is_set():
                    break
                visits.start_soon(visit, number)
        nursery.cancel_scope.cancel()


def main(arguments: list[str]) -> None:
    """Live."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("worker", "client"))
    parser.add_argument("url")
    parser.add_argument("ledger")
    parser.add_argument("life")
    parser.add_argument("--die-after", type=int, default=0)
    parser.add_argument("--die-at")
    parser.add_argument("--stop-at")
    parser.add_argument("--lease", type=float, default=5.0)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--width", type=int, default=20)
    args = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("trioflow.runtime").addHandler(Refusals())
    crowd.ledger, crowd.life = crowd.Ledger(args.ledger), args.life
    if args.role == "worker":
        fate = Fate(die_after=args.die_after, die_at=args.die_at, stop_at=args.stop_at)
        trio.run(work, args.url, fate, args.lease, args.concurrency)
    else:
        trio.run(ask, args.url, args.first, args.stride, args.count, args.width)


if __name__ == "__main__":
    main(sys.argv[1:])
