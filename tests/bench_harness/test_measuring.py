"""The workloads and the floor run, in sizes that show that they do."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

import trioflow
from tests.bench import child, commits, floor
from tests.bench.commits import Commit
from tests.bench.figures import Figure, Job
from tests.bench.floor_sqlite import sqlite_writer
from tests.bench.machine import facts, sync_time
from tests.bench.plan import OF_THE_FLOOR, ON_STORES
from tests.bench.replaying import decoded, replay
from tests.bench.stores import fresh_store
from tests.bench.workloads import app, chain, fan
from tests.postgres_server import shared_url
from trioflow.errors import NondeterminismError
from trioflow.history import ActivityScheduled

DOZING = ("fan5/10ms", "asleep")


def check(figures: list[Figure]) -> None:
    """There are some, and each is a number that can be."""
    assert figures
    assert all(figure.value >= 0 for figure in figures)
    assert all(figure.value > 0 for figure in figures if figure.higher_is_better)


@pytest.mark.parametrize("workload", [*ON_STORES, "replay"])
async def test_a_workload_runs_in_memory(workload: str, autojump_clock: trio.testing.MockClock) -> None:
    """It ends and has its figures."""
    with fresh_store("memory", "") as address:
        check(await child.ALL[workload](address, 3, ()))


@pytest.mark.parametrize("store", ["sqlite", "sqlite-fast"])
@pytest.mark.parametrize("workload", [name for name in ON_STORES if name not in DOZING])
async def test_a_workload_runs_on_a_file(workload: str, store: str) -> None:
    """It ends and has its figures, and its store is gone afterwards."""
    with fresh_store(store, "") as address:
        file = Path(address.removeprefix("sqlite:").partition("?")[0])
        check(await child.ALL[workload](address, 3, ()))
        assert file.exists()
    assert not file.parent.exists()


@pytest.mark.parametrize("store", ["sqlite", "sqlite-fast", "postgresql"])
@pytest.mark.parametrize("workload", OF_THE_FLOOR)
async def test_the_floor_runs(workload: str, store: str) -> None:
    """It has the same figures as the workload has on a store of ours."""
    where = shared_url() if store == "postgresql" else ""
    figures = await floor.run(Job(workload, 3, store, where), 3)
    check(figures)
    with fresh_store("memory", "") as address:
        ours = await child.ALL[workload](address, 3, ())
    assert [(one.name, one.higher_is_better) for one in figures] == [(one.name, one.higher_is_better) for one in ours]


@pytest.mark.parametrize(
    ("orchestration", "planned", "size"),
    [(chain, commits.chain, 1), (chain, commits.chain, 4), (fan, commits.fan, 5), (fan, commits.fan, 130)],
)
async def test_the_floor_writes_what_we_write(
    orchestration: object, planned: object, size: int, autojump_clock: trio.testing.MockClock
) -> None:
    """The same events, in the same order and under the same ids; every activity that is asked for is settled once."""
    plan: list[Commit] = list(planned("one", size))  # type: ignore[operator]
    async with trioflow.open_runtime(app, "memory:") as runtime:
        handle = await runtime.client.start(orchestration, size, id="one")  # type: ignore[call-overload]
        await handle.result()
        rows = await runtime.store.read_history("one", 1)
    assert [event for commit in plan for event in commit.events] == [(row.id, row.kind) for row in rows]
    asked = [ask for commit in plan for ask in commit.asks]
    assert asked == [ask for commit in plan for ask in commit.settles]
    assert len(asked) == size
    assert Counter((commit.begins, commit.takes, commit.reads, commit.ends) for commit in plan[:3]) == Counter(
        [(True, False, False, False), (False, True, False, False), (False, False, True, False)]
    )
    assert [commit.ends for commit in plan[3:]] == [*[False] * (len(plan) - 4), True]


async def test_what_the_floor_writes_is_in_the_file(tmp_path: Path) -> None:
    """Two at once: all their events, no item that is left, both ended."""
    path = tmp_path / "floor.db"
    async with sqlite_writer(path, full=True) as write, trio.open_nursery() as nursery:
        for name in ("a", "b"):
            nursery.start_soon(floor.carry_out, commits.fan(name, 3), write)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT instance, state FROM instance").fetchall() == [("a", "ended"), ("b", "ended")]
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("event", "request")]
        assert counts == [16, 2]
        for table in ("activity", "message"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    connection.close()


async def test_a_floor_that_fails_says_so(tmp_path: Path) -> None:
    """An instance that is begun twice is an error where it was written, and not a figure."""
    async with sqlite_writer(tmp_path / "floor.db", full=True) as write:
        await write(Commit("a", begins=True))
        with pytest.raises(sqlite3.IntegrityError):
            await write(Commit("a", begins=True))


async def test_a_replay_evaluates_the_whole_history(autojump_clock: trio.testing.MockClock) -> None:
    """One that asks for something else at its last step is noticed, so what is measured is really compared."""
    async with trioflow.open_runtime(app, "memory:") as runtime:
        await (await runtime.client.start(chain, 3, id="recorded")).result()
        history = decoded(await runtime.store.read_history("recorded", 1))
    replay(history)
    last = max(event.id for event in history if isinstance(event, ActivityScheduled))
    with pytest.raises(NondeterminismError):
        replay([attrs.evolve(event, name="doze") if event.id == last else event for event in history])


def test_the_machine_is_described() -> None:
    """Its cores, its disk, and the versions that matter."""
    assert sync_time(3) > 0
    told = facts(3)
    assert list(told) == ["machine", "load before the run", "one sync of the disk", "Python", "SQLite", "trio"]
    assert "cores" in told["machine"]
    assert told["SQLite"] == sqlite3.sqlite_version
