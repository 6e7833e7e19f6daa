"""Empty stores: one for each run, on a real file, in memory, or in a schema of its own on a server.

Laws: what is made here is removed when the run is over; a file is where temporary files are, so that `TMPDIR` chooses
the disk. Called by `child.py` and `floor.py`.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NUMBERS = itertools.count(1)


@contextmanager
def fresh_file() -> Iterator[Path]:
    """The path of a file that is not there, in a folder that goes with the block."""
    with tempfile.TemporaryDirectory(prefix="trioflow-bench-") as folder:
        yield Path(folder, "bench.db")


@contextmanager
def fresh_schema(server: str) -> Iterator[str]:
    """The name of a schema that is not there; what is made under it goes with the block."""
    import psycopg

    name = f"bench_{os.getpid()}_{next(NUMBERS)}"
    try:
        yield name
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"SET client_min_messages = error; DROP SCHEMA IF EXISTS {name} CASCADE")


@contextmanager
def fresh_store(store: str, server: str) -> Iterator[str]:
    """The address of an empty store; `server`: where PostgreSQL is."""
    if store in ("memory", "none"):
        yield "memory:"
    elif store == "postgresql":
        with fresh_schema(server) as schema:
            yield f"{server}{'&' if '?' in server else '?'}schema={schema}"
    else:
        with fresh_file() as path:
            yield f"sqlite:{path}" + ("?durability=fast" if store == "sqlite-fast" else "")
