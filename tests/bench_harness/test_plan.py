"""What is run in which order, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.__main__ import arguments, is_whole, jobs, progress
from tests.bench.figures import Figure, Result, Run
from tests.bench.plan import STORES, SYSTEMS, WORKLOADS, Workload, chosen_systems, sizes_of, why_not
from tests.bench.workloads import MEASURES

ROOT = Path(__file__).parents[2]


def test_every_system_can_run() -> None:
    """Its program is there, its workloads are known, and those of our own have their functions."""
    for key, system in SYSTEMS.items():
        assert (ROOT / system.module.replace(".", "/")).with_suffix(".py").is_file(), key
        assert set(system.workloads) <= set(WORKLOADS)
    assert set(WORKLOADS) == {*MEASURES, "replay", "asleep"}


def test_each_store_brings_its_floor_and_its_peers() -> None:
    """In the order of the table; what needs no store comes along."""
    assert list(chosen_systems(("sqlite",), peers=True)) == [
        "sqlite", "floor-sqlite", "duroxide", "dbos", "restate", "replay"
    ]  # fmt: skip
    assert list(chosen_systems(("memory",), peers=True)) == ["memory", "replay"]
    assert list(chosen_systems(("postgresql",), peers=False)) == ["postgresql", "floor-postgresql", "replay"]
    assert list(chosen_systems(("postgresql",), peers=False, floor=False)) == ["postgresql", "replay"]
    assert chosen_systems(STORES, peers=True) == SYSTEMS


def test_sizes() -> None:
    """Those of every day, all, tiny ones, or the one that was asked for."""
    workload = Workload((10, 20), (30,), quick=(1,))
    assert sizes_of(workload, size=None, quick=False, whole=False) == (10, 20)
    assert sizes_of(workload, size=None, quick=False, whole=True) == (10, 20, 30)
    assert sizes_of(workload, size=None, quick=True, whole=True) == (1,)
    assert sizes_of(workload, size=7, quick=True, whole=True) == (7,)


def test_what_would_take_minutes_is_not_run() -> None:
    """Going by the slowest run of a smaller size of the same workload on the same system, and of no other."""
    before = [
        Result("dbos", "chain", 100, (Run((Figure("ms", 1.0),), 1.0), Run((Figure("ms", 1.0),), 30.0))),
        Result("restate", "chain", 100, (), "it failed"),
    ]
    assert why_not("dbos", "chain", 600, before) is None
    assert why_not("dbos", "chain", 1_000, before) == "not run, since it would take 5 minutes or more"
    assert why_not("dbos", "fan", 1_000, before) is None
    assert why_not("sqlite", "chain", 1_000, before) is None
    assert why_not("restate", "chain", 1_000, before) == "not run, since a smaller one failed"


def test_what_replays_all_for_each_completion_is_expected_to_take_the_square() -> None:
    """Ten times as much takes it a hundred times as long."""
    before = [Result("duroxide", "fan", 1_000, (Run((Figure("activities/s", 155.0, True),), 6.5),))]
    assert why_not("duroxide", "fan", 10_000, before) == "not run, since it would take 11 minutes or more"
    assert why_not("duroxide", "fan", 2_000, before) is None
    steps = [Result("duroxide", "chain", 100, (Run((Figure("ms per step", 103.0),), 10.3),))]
    assert why_not("duroxide", "chain", 1_000, steps) is None  # at this length it waits far longer than it replays


def test_the_nearest_smaller_size_tells_how_long_it_takes() -> None:
    """What each run takes besides its work weighs less the larger it is."""
    sizes = ((2_000, 9.0), (10_000, 13.0))
    before = [Result("sqlite", "asleep", size, (Run((Figure("bytes each", 1.0),), took),)) for size, took in sizes]
    assert why_not("sqlite", "asleep", 100_000, before) is None


def test_what_is_compared_is_measured_close_together() -> None:
    """One size of one workload on all systems, then the next; a warm-up is never larger than what it warms up for."""
    chosen = arguments(["chain", "replay", "--store", "sqlite", "--store", "memory", "--runs", "2"])
    planned = [(key, job.workload, job.size, job.warm_up, job.runs) for key, job in jobs(chosen)]
    assert planned == [
        *((key, "chain", 100, 20, 2) for key in ("memory", "sqlite", "floor-sqlite")),
        *((key, "chain", 1_000, 20, 2) for key in ("memory", "sqlite", "floor-sqlite")),
        ("replay", "replay", 1_000, 20, 2),
    ]
    assert {job.warm_up for _, job in jobs(arguments(["hello", "--quick"]))} == {5}


def test_telemetry_is_measured_on_a_file() -> None:
    """If no store is named; the floor has nothing to tell."""
    assert [(key, job.telemetry) for key, job in jobs(arguments(["fan5", "--telemetry"]))] == [("sqlite", True)]


@pytest.mark.parametrize("narrowed", [["fan"], ["--size", "5"], ["--quick"], ["--store", "sqlite"], ["--telemetry"]])
def test_the_docs_are_made_from_a_whole_run_only(narrowed: list[str]) -> None:
    """With the peers, and nothing left out."""
    assert is_whole(arguments(["--peers"]))
    assert not is_whole(arguments(["--peers", *narrowed]))
    assert not is_whole(arguments([]))


def test_progress_tells_figures_and_troubles() -> None:
    """Whichever there are."""
    run = Run((Figure("p50 ms", 2.5), Figure("p99 ms", 30.0)), 1.0)
    late = Result("sqlite", "hello", 1_000, (run,), "took longer than 400 seconds")
    assert progress(late) == ("hello 1,000 on trioflow, SQLite: 2.50 p50 ms, 30.0 p99 ms; took longer than 400 seconds")
    assert progress(late._replace(runs=())) == "hello 1,000 on trioflow, SQLite: took longer than 400 seconds"


def test_an_unknown_workload_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """And the known ones are named."""
    with pytest.raises(SystemExit):
        arguments(["chian"])
    assert "no such workload: chian; there are hello, chain" in capsys.readouterr().err
