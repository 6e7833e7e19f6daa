"""Write `store-0001.sql`: a SQLite store of this release with instances in every state, as text.

    python -m tests.histories.make

Run once, before the first release; what is written is never written again. A later release that keeps things in another
way gets a store of its own beside it, with programs of its own.
"""

from __future__ import annotations

import pathlib
import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Callable

import trio

import trioflow
from tests.histories import programs_0001 as programs
from tests.histories.programs_0001 import ITEM, app
from trioflow.abc import LockTurns, State
from trioflow.stores import SqliteStore

TARGET = pathlib.Path(__file__).with_name("store-0001.sql")
OPTIONS = trioflow.RuntimeOptions(worker="maker", grace=0.0, cache_executions=0)


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    with trio.fail_after(60):
        while not await holds():
            await trio.sleep(0.01)


async def fill(store: SqliteStore) -> None:
    """Bring instances into every state there is."""
    async with trioflow.open_runtime(app, store, options=OPTIONS) as runtime:
        client = runtime.client

        async def start(id: str, program: object, price: int = 30) -> trioflow.Handle[object]:
            return await client.start(program, programs.Item(ITEM.name, price), id=id)  # type: ignore[call-overload]

        async def in_state(id: str, state: State, length: int) -> None:
            async def reached() -> bool:
                record = await store.read_instance(id)  # a child is not there from the beginning
                return (
                    record is not None
                    and record.state is state
                    and record.history_length >= length
                    and (not record.queued or state is State.PARKED)
                )

            await _until(reached)

        await (await start("completed", programs.completes)).result()
        await start("failed", programs.fails)
        for name in ("waiting", "mailed", "suspended", "cancelled", "terminated", "locked"):
            await start(name, programs.waits)
        await start("sleeping", programs.sleeps)
        await start("queued", programs.queues)
        await start("undoing", programs.undoes)
        await start("parent", programs.has_children)
        await start("renewed", programs.renews, 3)
        await start("parked", programs.unstable)
        await start("shielding", programs.shields)
        for name in ("waiting", "mailed", "suspended", "cancelled", "terminated", "locked"):
            await in_state(name, State.WAITING, 5)
        await in_state("failed", State.FAILED, 4)
        await in_state("sleeping", State.WAITING, 2)
        await in_state("queued", State.WAITING, 4)
        await in_state("undoing", State.WAITING, 2)
        await in_state("child", State.WAITING, 5)
        await in_state("parked", State.WAITING, 4)
        await in_state("shielding", State.WAITING, 2)
        await in_state("renewed", State.WAITING, 3)
        await client.raise_event("renewed", "go", 1)
        await _until(lambda: _executed(client, "renewed", 2))
        await in_state("renewed", State.WAITING, 3)
        await client.suspend("suspended", reason="lunch")
        await in_state("suspended", State.SUSPENDED, 6)
        await client.cancel("cancelled", reason="not wanted")
        await in_state("cancelled", State.CANCELLED, 7)
        await client.terminate("terminated", reason="at once")
        await in_state("terminated", State.TERMINATED, 6)
        await client.cancel("shielding")
        await in_state("shielding", State.WAITING, 4)
        programs.changed = True
        await client.raise_event("parked", "other")
        await in_state("parked", State.PARKED, 0)  # what it could not read is kept in its inbox
        programs.changed = False
    async with trioflow.connect(store, app) as client:
        await client.start(programs.completes, ITEM, id="pending")
        await client.start(programs.completes, ITEM, id="delayed", delay=2.0)
        await client.raise_event("mailed", "go", 1)
        await client.raise_event("locked", "other", 1)
        await store.lock_turns(LockTurns(worker="somebody who died", limit=50, lease=1.0))


async def _executed(client: trioflow.Client, id: str, execution: int) -> bool:
    return (await client.read(id)).execution == execution


async def _make(path: pathlib.Path) -> None:
    async with SqliteStore(path) as store:
        await fill(store)


def main() -> None:
    if TARGET.exists():
        sys.exit(f"{TARGET.name} is there; it is never written again")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "golden.db")
        trio.run(_make, path)
        with sqlite3.connect(path) as db:
            # Errors name files; where this tree lies is nobody's affair.
            for table, column in (("event", "data"), ("message", "data")):
                change = f"UPDATE {table} SET {column} = CAST(replace(CAST({column} AS TEXT), ?, '') AS BLOB)"
                db.execute(change, (f"{pathlib.Path(__file__).parents[2]}/",))
            head = [
                f"PRAGMA {name} = {db.execute(f'PRAGMA {name}').fetchone()[0]};"
                for name in ("application_id", "user_version")
            ]
            TARGET.write_text("\n".join([*head, *db.iterdump(), ""]))


if __name__ == "__main__":
    main()
