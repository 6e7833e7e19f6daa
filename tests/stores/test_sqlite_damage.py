"""A byte is flipped anywhere in a SQLite file: a typed error, a parked instance, or the right result, and never a
runtime that hangs.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import trioflow
from trioflow import durable
from trioflow.errors import TrioflowError
from trioflow.stores import SqliteStore

app = trioflow.App("damage")
PAGE = 4096
WAITING, ENDED = 4, 4


@app.activity
async def work(number: int) -> str:
    """Something to record."""
    return "\N{SNOWMAN}" * 40 + str(number)


@app.orchestration
async def order(number: int) -> list[str]:
    """Two steps before an event and one behind it."""
    durable.set_status("begun")
    durable.kv["number"] = number
    done = [await work(number), await work(number + 1)]
    durable.set_status("ready")
    await durable.wait_event("go")
    return [*done, await work(number + 2)]


def expected(number: int) -> list[str]:
    """What an order returns."""
    return ["\N{SNOWMAN}" * 40 + str(number + step) for step in range(3)]


async def fill(path: Path) -> None:
    """A store with orders that wait and orders that have ended."""
    async with trioflow.open_runtime(app, SqliteStore(path, durability="fast")) as runtime:
        for number in range(WAITING + ENDED):
            handle = await runtime.client.start(order, number, id=f"order-{number}")
            if number < ENDED:
                await handle.raise_event("go")
                assert await handle.result() == expected(number)
            else:
                async for status in handle.watch():
                    if status == "ready":
                        break


class Trial:
    """What became of a damaged store."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    async def read(self, path: Path) -> None:
        """Everything that a client can read."""
        async with trioflow.connect(SqliteStore(path, durability="fast"), app) as client:
            for number in range(WAITING + ENDED):
                handle = client.handle(f"order-{number}")
                for verb in (handle.status, handle.history, handle.tree):
                    await self._typed(verb)
                await self._typed(lambda: client.get(handle.id))
                await self._typed(handle.kv)

    async def run(self, path: Path) -> None:
        """Let a runtime carry on with all of it."""
        async with (
            trioflow.open_runtime(app, SqliteStore(path, durability="fast")) as runtime,
            trio.open_nursery() as nursery,
        ):
            nursery.cancel_scope.deadline = trio.current_time() + 0.5
            for number in range(WAITING + ENDED):
                nursery.start_soon(self._typed, self._finish, runtime.client, number)

    async def _finish(self, client: trioflow.Client, number: int) -> None:
        handle = client.handle(f"order-{number}")
        if number >= ENDED:
            await handle.raise_event("go", dedupe_key="go")
        assert await handle.result() == expected(number)
        self.outcomes["right"] += 1

    async def _typed(self, call: Any, *args: Any) -> None:
        try:
            await call(*args)
        except TrioflowError as exc:
            self.outcomes[type(exc).__name__] += 1


def places(path: Path, every: int) -> Iterator[int]:
    """Offsets in every page: its head, and then throughout."""
    for page in range(path.stat().st_size // PAGE):
        yield page * PAGE
        yield from range(page * PAGE + 17 * (page + 1) % every, (page + 1) * PAGE, every)


async def flip(path: Path, copy: Path, place: int, outcomes: Counter[str]) -> None:
    """Damage a copy, and look what becomes of it."""
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    (copy / "x.db").write_bytes(content)
    trial = Trial()
    with trio.fail_after(60):
        for use in (trial.read, trial.run):
            try:
                await use(copy / "x.db")
            except* TrioflowError as group:
                trial.outcomes[type(group.exceptions[0]).__name__] += 1
            except* BaseException as group:
                group.add_note(f"byte {place}: page {place // PAGE}, offset {place % PAGE}")
                raise
    outcomes += trial.outcomes


@pytest.mark.parametrize(
    "every", [pytest.param(16000, id="a few"), pytest.param(320, id="many", marks=pytest.mark.slow)]
)
async def test_a_flipped_byte_does_no_harm(tmp_path: Path, every: int) -> None:
    """In the header, in each table and index, at the head of each page and throughout it."""
    await fill(tmp_path / "x.db")
    outcomes: Counter[str] = Counter()
    for place in places(tmp_path / "x.db", every):
        await flip(tmp_path / "x.db", tmp_path / "copy", place, outcomes)
    print(outcomes)
    assert outcomes["right"]
    assert outcomes["StoreCorrupt"]
