"""How many statements work costs on a real file: each gives the interpreter up and has to get it back, so they are few.

The figures are counted, not timed; they hold on any machine, however busy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import trioflow
from tests.bench.workloads import app, chain, fan, five, hello
from trioflow import Client
from trioflow.stores import SqliteStore


class Counted:
    """Counts the statements of the connection that writes."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def connect(self, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        """What the store opens its file with."""
        db = sqlite3.connect(*args, **kwargs)
        if "uri" not in kwargs:
            db.set_trace_callback(self.seen.append)
        return db


async def a_hello(client: Client) -> None:
    """One orchestration with one activity."""
    await (await client.start(hello, 1)).result()


async def a_chain(client: Client) -> None:
    """Fifty activities one after another."""
    await (await client.start(chain, 50)).result()


async def a_fan(client: Client) -> None:
    """A hundred activities at once."""
    await (await client.start(fan, 100)).result()


async def fans_of_five(client: Client) -> None:
    """Twenty orchestrations with five activities each."""

    async def one() -> None:
        await (await client.start(five, 1)).result()

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(one)


# Measured: 29; 421; 68; 97 to 171. With one statement for each row it was 35; 476; 668; 1,070.
@pytest.mark.parametrize(("workload", "most"), [(a_hello, 32), (a_chain, 435), (a_fan, 200), (fans_of_five, 400)])
async def test_work_costs_few_statements(
    tmp_path: Path, workload: Callable[[Client], Awaitable[None]], most: int
) -> None:
    """Rows of one kind are read and written together, and none is read or written that need not be."""
    counted = Counted()
    async with trioflow.open_runtime(app, SqliteStore(tmp_path / "x.db", connect=counted.connect)) as runtime:
        await a_hello(runtime.client)  # whatever is done once
        counted.seen.clear()
        await workload(runtime.client)
        seen = list(counted.seen)
    assert seen.count("COMMIT") >= 2
    assert len(seen) <= most, seen
