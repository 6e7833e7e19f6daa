"""Run the workloads and print a table: `nox -s bench`, or `python -m tests.bench chain --size 1000 --runs 5`.
With `--telemetry` each workload runs without and with OpenTelemetry, by turns, and the ratio of speeds is printed.

Laws: every run has a fresh store on a real file, the first run of a workload is small and not counted, a figure is the
median of several runs. What is compared is measured in one go on one machine. Next: `workloads.py`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import trio

from tests.bench.workloads import WORKLOADS, Figure, Workload


def _arguments() -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description="Measure trioflow on the field's workloads.")
    parser.add_argument("workload", nargs="*", help=f"one or more of: {', '.join(WORKLOADS)} (all if none is named)")
    parser.add_argument("--size", type=int, help="instead of the sizes each workload has")
    parser.add_argument("--runs", type=int, default=3, help="how many runs the median is taken of (3)")
    parser.add_argument("--telemetry", action="store_true", help="without and with OpenTelemetry, and the ratio")
    parser.add_argument("--store", help="a store's address; a new SQLite file for each run if none is given")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.workload if name not in WORKLOADS]
    if unknown:
        parser.error(f"no such workload: {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return arguments


def _run_once(workload: Workload, size: int, store: str | None, *, told: bool = False) -> list[Figure]:
    """One run on an empty store; `told`: OpenTelemetry is told of it."""
    with tempfile.TemporaryDirectory(prefix="trioflow-bench-") as folder:
        address = store or f"sqlite:{Path(folder, 'bench.db')}"
        if not told:
            return trio.run(workload.run, address, size, ())
        from tests.bench.telling import telemetry  # only who asks for it needs the SDK

        with telemetry() as instruments:
            return trio.run(workload.run, address, size, instruments)


def _ratio(off: float, on: float, *, rate: bool) -> float:
    """The speed with telemetry, by the speed without."""
    return on / off if rate else off / on


def _medians(runs: list[list[Figure]]) -> list[tuple[str, float, float]]:
    """For each figure its name, its median, and the best of the runs."""
    columns = list(zip(*runs, strict=True))
    return [
        (
            column[0].name,
            statistics.median(figure.value for figure in column),
            (max if column[0].higher_is_better else min)(figure.value for figure in column),
        )
        for column in columns
    ]


def main() -> None:
    """Print one line for each figure of each size of each workload."""
    arguments = _arguments()
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores, {sys.platform}"
    )
    ratio = f"{'told':>12}{'ratio':>8}" if arguments.telemetry else ""
    print(f"{'workload':<12}{'size':>8}  {'figure':<18}{'median':>12}{'best':>12}{ratio}")
    for name in arguments.workload or WORKLOADS:
        workload = WORKLOADS[name]
        _run_once(workload, workload.warm_up, arguments.store, told=arguments.telemetry)
        for size in (arguments.size,) if arguments.size else workload.sizes:
            for line in _lines(workload, size, arguments):
                print(f"{name:<12}{size:>8}  {line}", flush=True)


def _lines(workload: Workload, size: int, arguments: argparse.Namespace) -> Iterator[str]:
    """One for each figure; by turns without and with telemetry, since a machine's speed changes as it goes."""
    runs: list[list[Figure]] = []
    told: list[list[Figure]] = []
    for _ in range(arguments.runs):
        runs.append(_run_once(workload, size, arguments.store))
        if arguments.telemetry:
            told.append(_run_once(workload, size, arguments.store, told=True))
    with_telemetry = _medians(told) if told else []
    for index, (figure, median, best) in enumerate(_medians(runs)):
        line = f"{figure:<18}{median:>12,.2f}{best:>12,.2f}"
        if with_telemetry:
            on = with_telemetry[index][1]
            line += f"{on:>12,.2f}{_ratio(median, on, rate=runs[0][index].higher_is_better):>8.2f}"
        yield line


if __name__ == "__main__":
    main()
