"""A process that holds a SQLite file: what others want of it has to wait.

Usage: python sqlite_holding.py PATH write|gate|whole

write: a transaction that writes, by a program that knows nothing of trioflow. gate: the lock that writers of trioflow
take before. whole: nobody else may even read. It says ``held``, waits for a line, lets go, and says ``free``.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from trioflow.stores._sqlite._gate import Gate


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """As long as this lasts."""
    if what == "gate":
        gate = Gate.at(Path(f"{path}.workers"), 60.0)
        with gate.held():
            yield
        gate.close()
        return
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60.0)) as db:
        if what == "whole":
            db.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


if __name__ == "__main__":
    with held(Path(sys.argv[1]), sys.argv[2]):
        print("held", flush=True)
        sys.stdin.readline()
    print("free", flush=True)
