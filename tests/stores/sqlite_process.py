"""A process that works a SQLite store and says what it does, one line a fact; the tests talk to it through pipes.

Usage: python sqlite_process.py PATH TASK
"""

from __future__ import annotations

import sys

import trio

from tests.stores.sqlite_helpers import subject
from trioflow.abc import SessionClaim
from trioflow.stores import SqliteStore
from trioflow.testing._store_contract._subject import an_item

PATIENCE = 60.0  # seconds; nobody is to give up because this machine is slow


PATIENCE = 60.0  # seconds; nobody is to give up because this machine is slow


def say(fact: str) -> None:
    print(fact, flush=True)


async def hold(path: str) -> None:
    """Lease a turn, an item and its session for an hour, mark another item, and wait for ever."""
    async with SqliteStore(path, patience=PATIENCE) as store:
        s = subject(store)
        await store.register_worker("worker")
        for name in ("turn", "item"):
            await s.start(name, request_id=f"start {name}")
        one, two = (await s.lock_turns(lease=3600.0)).turns
        item = one if one.lock.instance == "item" else two
        activities = (an_item(1, session="s"), an_item(2))
        await s.commit(item, "Scheduled", "Scheduled", request_id="c1", activities=activities)
        claim = SessionClaim(lease=3600.0, limit=1)
        assert len((await s.lock_items(lease=3600.0, sessions=claim)).activities) == 2
        await s.post("item", request_id="p1")
        turn = (await s.lock_turns(lease=3600.0)).turns[0]
        await s.commit(turn, request_id="c2", cancel_activities=(2,))
        say("holding")
        await trio.sleep_forever()


async def write(path: str) -> None:
    """Start many instances and run their turns, each in a transaction of its own."""
    name = sys.argv[3]
    async with SqliteStore(path, patience=PATIENCE) as store:
        s = subject(store)
        await store.register_worker(f"worker {name}")
        say("open")
        await trio.to_thread.run_sync(sys.stdin.readline)
        for number in range(60):
            instance = f"{name}/{number}"
            await s.start(instance, request_id=f"start {instance}", name=name)
            turn = (await s.lock_turns(limit=1)).turns[0]
            await s.commit(turn, "Started", request_id=f"commit {name}/{number}")
    say("done")


async def watch(path: str) -> None:
    """Wait until an instance of a given name appears, without looking again unless told to."""
    async with SqliteStore(path, patience=PATIENCE) as store:
        say("open")
        with store.signals.watch("turns") as waiting:
            while True:
                seen = waiting.seen
                if await store.read_instance("awaited") is not None:
                    break
                say("waiting")
                await waiting.wait_beyond(seen)
    say("found")


if __name__ == "__main__":
    trio.run({"hold": hold, "write": write, "watch": watch}[sys.argv[2]], sys.argv[1])
