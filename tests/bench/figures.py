"""What is measured and what comes of it, as plain records, and how a measuring process and its parent speak.

Laws: nothing but the standard library, since the processes of peers import this in environments of their own; a process
gets one `Job` as a JSON text and prints one line of JSON for each `Run`, whatever else it may print between; records go
through JSON and come back equal. Called by everything in this folder. Next: `plan.py`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

MARK = "measured "
"""What a line with a run begins with."""


class Figure(NamedTuple):
    """One measured number, such as 0.8 "ms per step"; rates are better when they are higher, times are not."""

    name: str
    value: float
    higher_is_better: bool = False


Measure = Callable[[int], Sequence[Figure]]
"""Runs a workload of a size and has its figures."""


def latencies(times: Sequence[float]) -> list[Figure]:
    """What is told of many durations, given in seconds."""
    ordered = sorted(times)
    late = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return [Figure("p50 ms", statistics.median(ordered) * 1000), Figure("p99 ms", late * 1000)]


class Run(NamedTuple):
    """One run of a workload: its figures, and the seconds that it took; `told`: OpenTelemetry was told of it."""

    figures: tuple[Figure, ...]
    seconds: float
    told: bool = False


class Job(NamedTuple):
    """What a process is to measure.

    `where`: what the system needs to be told, such as the address of a server; `patience`: seconds after which a
    workload is not run again; `telemetry`: each run without and with it, by turns.
    """

    workload: str
    size: int
    store: str = "memory"
    where: str = ""
    warm_up: int = 0
    runs: int = 1
    patience: float = 30.0
    telemetry: bool = False


class Result(NamedTuple):
    """What became of a workload of one size on one system: runs, or else what came in between."""

    system: str
    workload: str
    size: int
    runs: tuple[Run, ...] = ()
    trouble: str | None = None


def repeat(job: Job, once: Measure, told: Measure | None = None) -> None:
    """Warm up, then run and print until there are enough runs; `told` is a run that OpenTelemetry is told of."""
    turns = (once, told) if job.telemetry and told else (once,)
    for turn in turns if job.warm_up else ():
        turn(job.warm_up)
    spent, done = 0.0, 0
    while not is_enough(done, job.runs, spent, job.patience):
        for turn in turns:
            began = time.perf_counter()
            figures = tuple(turn(job.size))
            seconds = time.perf_counter() - began
            spent += seconds
            print(MARK + json.dumps(Run(figures, seconds, turn is not once)), flush=True)
        done += 1


def is_enough(done: int, wanted: int, spent: float, patience: float) -> bool:
    """Whether no further run is worth its time: there is one at least, and as many as wanted unless they take long."""
    return done >= wanted or (done > 0 and spent > patience)


def asked_for() -> Job:
    """What this process was started for."""
    return Job(**json.loads(sys.argv[1]))


def as_argument(job: Job) -> str:
    """The job as the process gets it."""
    return json.dumps(job._asdict())


def runs_in(printed: str) -> Iterator[Run]:
    """The runs among the lines that a process printed; one that was cut short is none."""
    for line in printed.splitlines(keepends=True):
        if line.startswith(MARK) and line.endswith("\n"):
            yield _run(json.loads(line.removeprefix(MARK)))


def _run(record: list[Any]) -> Run:
    figures, seconds, told = record
    return Run(tuple(Figure(*figure) for figure in figures), seconds, told)


def as_json(machine: dict[str, str], results: Sequence[Result]) -> str:
    """All of a measurement as a text, to be kept."""
    return json.dumps({"machine": machine, "results": results}, indent=1)


def from_json(text: str) -> tuple[dict[str, str], list[Result]]:
    """What was kept, as it was."""
    kept = json.loads(text)
    results = [
        Result(system, workload, size, tuple(_run(run) for run in runs), trouble)
        for system, workload, size, runs, trouble in kept["results"]
    ]
    return kept["machine"], results


def medians(runs: Sequence[Run], *, told: bool = False) -> list[Figure]:
    """For each figure its median; of the runs that OpenTelemetry was told of, or of the others."""
    columns = zip(*(run.figures for run in runs if run.told is told), strict=True)
    return [
        column[0]._replace(value=statistics.median(figure.value for figure in column)) for column in map(list, columns)
    ]
