"""A process of a release with two more migrations; the tests decide when it goes on, and whether.

Usage: python sqlite_migrating.py PATH NAME NTH

It says ``ready`` and waits for a line, then opens the file. If it is the one that migrates it says ``at`` with the NTH
statement of what is new, before that one is carried out (behind the last comes ``the end``), and waits for a line.
Open, it says ``migrated`` or ``found``; it starts an instance and runs its turn, says ``done``, and ends.
"""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

import trio

from tests.stores.sqlite_helpers import subject
from tests.stores.test_sqlite_migrations import NEW
from trioflow.stores import SqliteStore
from trioflow.stores._sqlite import _opening

PATIENCE = 120.0  # seconds; nobody is to give up because this machine is slow


def say(fact: str) -> None:
    """Tell the test."""
    print(fact, flush=True)


class Watched:
    """Makes connections whose migration stops at a statement until a line comes."""

    def __init__(self, nth: int) -> None:
        self.nth, self.seen = nth, 0

    def connect(self, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        """What the store opens its file with."""
        watched = self

        class Connection(sqlite3.Connection):
            def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
                watched.meet(text)
                found = super().execute(text, *values)
                if text == "COMMIT":
                    watched.meet("the end")
                return found

        return sqlite3.connect(*args, factory=Connection, **kwargs)

    def meet(self, text: str) -> None:
        """Count statements, from the first new one on."""
        if self.seen or "CREATE TABLE later" in text:
            self.seen += 1
            if self.seen == self.nth:
                say(f"at {text.strip().splitlines()[-1]}")
                sys.stdin.readline()


async def main(path: str, name: str, nth: int) -> None:
    """Open, and work."""
    say("ready")
    await trio.to_thread.run_sync(sys.stdin.readline)
    watched = Watched(nth)
    say("opening")
    async with SqliteStore(path, patience=PATIENCE, connect=watched.connect) as store:
        say("migrated" if watched.seen else "found")
        s = subject(store)
        await s.start(name, request_id=f"start {name}", name=name)
        await s.commit((await s.lock_turns(limit=1)).turns[0], "Started", request_id=f"commit {name}")
    say("done")


if __name__ == "__main__":
    _opening.migrations = lambda: NEW
    trio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
