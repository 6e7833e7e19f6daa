"""Processes that measure, and what becomes of those that do not; the whole command."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import environments
from tests.bench.environments import Environment, Unavailable
from tests.bench.figures import Figure, Job, from_json
from tests.bench.plan import SYSTEMS
from tests.bench.running import ROOT, Runner, run_process
from tests.house.source import imported, parse, python_files

PEERS = python_files("tests/bench/peers")
PROGRAM = "tests.bench_harness.programs"


def test_a_process_is_read_to_its_end() -> None:
    """Its runs, whatever else it printed."""
    result = run_process("sqlite", PROGRAM, Job("measures", 7, runs=2))
    assert (result.system, result.workload, result.size, result.trouble) == ("sqlite", "measures", 7, None)
    assert [run.figures[1] for run in result.runs] == [Figure("sizes/s", 7, True)] * 2


def test_a_process_that_fails_is_a_result() -> None:
    """With its last words."""
    result = run_process("sqlite", PROGRAM, Job("fails", 7))
    assert (result.runs, result.trouble) == ((), "ValueError: no such thing")


def test_a_process_without_a_figure_is_a_result() -> None:
    """It says so, where it seems to be all right."""
    result = run_process("sqlite", PROGRAM, Job("silent", 7))
    assert (result.runs, result.trouble) == ((), "printed no figure")


@pytest.mark.slow
def test_a_process_that_hangs_is_ended() -> None:
    """What it had measured counts, and the line that it was about to print does not."""
    result = run_process("sqlite", PROGRAM, Job("hangs", 7), limit=1.5)
    assert len(result.runs) == 1
    assert result.trouble == "took longer than 2 seconds"


def test_a_peer_that_cannot_be_had_is_named() -> None:
    """With the reason, for each workload; it is tried once only."""
    tried: list[str] = []

    def prepare(peer: str) -> Environment:
        tried.append(peer)
        raise Unavailable(f"no {peer} for this machine")

    with Runner(prepare) as runner:
        results = [runner.measure("duroxide", Job(workload, 7)) for workload in ("hello", "fan")]
        assert runner.versions == {}
    assert [result.trouble for result in results] == ["no duroxide for this machine"] * 2
    assert tried == ["duroxide"]


def test_a_peer_runs_in_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the Python that was prepared; its version is told."""
    monkeypatch.setitem(SYSTEMS, "dbos", SYSTEMS["dbos"]._replace(module=PROGRAM))
    with Runner(lambda peer: Environment(sys.executable, "9.9")) as runner:
        result = runner.measure("dbos", Job("hello", 7))
        assert runner.versions == {"dbos": "9.9"}
    assert (len(result.runs), result.trouble) == (1, None)


def test_sleepers_have_a_process_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """What measures the process itself is not run twice in one."""
    monkeypatch.setitem(SYSTEMS, "memory", SYSTEMS["memory"]._replace(module=PROGRAM))
    with Runner() as runner:
        result = runner.measure("memory", Job("asleep", 7, runs=2))
        first, second = (run.figures[0].value for run in result.runs)
        assert first != second
        same = runner.measure("memory", Job("hello", 7, runs=2))
        assert len({run.figures[0].value for run in same.runs}) == 1


def test_peers_need_nothing_of_ours_that_needs_more() -> None:
    """What their programs import of this project is each other, and files that import the standard library alone."""
    shared = {"tests.bench.figures", "tests.bench.stores", "tests.postgres_server", "tests.bench.peers.on_asyncio"}
    ours = {name.rpartition(".")[0] for path in PEERS for name in imported(parse(path)) if name.startswith("tests.")}
    assert ours == shared
    for module in sorted(shared - {"tests.bench.peers.on_asyncio"}):
        top = ast.Module([node for node in parse(ROOT / f"{module.replace('.', '/')}.py").body if _imports(node)], [])
        assert {name.partition(".")[0] for name in imported(top)} <= sys.stdlib_module_names, module


def _imports(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def test_an_installer_that_fails_is_quoted() -> None:
    """Its last line is the reason; a program that is not there is one, too."""
    with pytest.raises(Unavailable, match=r"no such package$"):
        environments._call(sys.executable, "-c", "raise SystemExit('looking\\nno such package')")
    with pytest.raises(Unavailable, match="No such file"):
        environments._call("/nowhere/python", "-m", "venv")


def command(*options: str) -> str:
    """What it prints."""
    program = (sys.executable, "-m", "tests.bench", *options)
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_the_whole_command(tmp_path: Path) -> None:
    """All workloads in tiny sizes, in memory and on a file: nothing fails, and the results are kept."""
    kept = tmp_path / "results.json"
    printed = command(*["--quick", "--runs", "1", "--store", "memory", "--store", "sqlite", "--json"], str(kept))
    machine, results = from_json(kept.read_text())
    assert all(result.runs and not result.trouble for result in results)
    assert {result.system for result in results} == {"memory", "sqlite", "floor-sqlite", "replay"}
    assert machine["one sync of the disk"] in printed
    assert "asleep 5, bytes each" in printed


@pytest.mark.slow
def test_telemetry_by_turns() -> None:
    """The command prints the figure without, the figure with, and the ratio."""
    printed = command(*["fan5", "--quick", "--runs", "1", "--telemetry"])
    (line,) = (line for line in printed.splitlines() if line.startswith("fan5"))
    *_, off, on, ratio = line.split()
    assert float(ratio) == pytest.approx(float(on.replace(",", "")) / float(off.replace(",", "")), abs=0.02)


@pytest.mark.slow
def test_a_real_peer(tmp_path: Path) -> None:
    """DBOS, installed into a new folder and then found there."""
    first = environments.prepare("dbos", tmp_path)
    assert environments.prepare("dbos", tmp_path) == first
    with Runner(lambda peer: first) as runner:
        result = runner.measure("dbos", Job("hello", 3))
    assert (len(result.runs), result.trouble) == (1, None)
