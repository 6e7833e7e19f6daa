"""Run the workloads and print a table: `nox -s bench`, or `python -m tests.bench chain --size 1000 --store sqlite`.

With `--peers` all sizes and all systems; a whole run of that kind also makes the figures of docs/performance.md anew.
With `--telemetry` each run is made without and with OpenTelemetry, by turns, and the ratio of speeds is printed.

Laws: what is compared is measured in one go on one machine, one process after another; a figure is the median of
several runs. Next: `plan.py`, then `running.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench import page
from tests.bench.figures import Job, Result, as_json, from_json, medians
from tests.bench.machine import facts
from tests.bench.plan import STORES, SYSTEMS, WORKLOADS, chosen_systems, sizes_of, why_not
from tests.bench.running import Runner
from tests.bench.table import as_text, number, tables, telling_lines, troubles


def arguments(given: list[str]) -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description="Measure trioflow on the field's workloads.")
    parser.add_argument("workload", nargs="*", help=f"one or more of: {', '.join(WORKLOADS)} (all if none is named)")
    parser.add_argument("--store", action="append", choices=STORES, help="this one; may be given several times")
    parser.add_argument("--size", type=int, help="instead of the sizes each workload has")
    parser.add_argument("--runs", type=int, default=3, help="how many runs the median is taken of (3)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--peers", action="store_true", help="all sizes, and the peers; a whole run writes the docs")
    parser.add_argument("--telemetry", action="store_true", help="without and with OpenTelemetry, and the ratio")
    parser.add_argument("--json", type=Path, help="a file to keep the results in")
    parser.add_argument("--from-json", type=Path, help="measure nothing: print what was kept, and write the docs")
    chosen = parser.parse_args(given)
    unknown = [name for name in chosen.workload if name not in WORKLOADS]
    if unknown:
        parser.error(f"no such workload: {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return chosen


def is_whole(chosen: argparse.Namespace) -> bool:
    """Whether nothing is left out, so that the docs may be made from it."""
    narrowed = chosen.workload or chosen.store or chosen.size or chosen.quick or chosen.telemetry
    return chosen.peers and not narrowed


def jobs(chosen: argparse.Namespace) -> Iterator[tuple[str, Job]]:
    """What to measure on which system, so that what is compared is measured close together."""
    stores = tuple(chosen.store or (("sqlite",) if chosen.telemetry else STORES))
    systems = chosen_systems(stores, peers=chosen.peers, floor=not chosen.telemetry)
    for name in chosen.workload or WORKLOADS:
        workload = WORKLOADS[name]
        for size in sizes_of(workload, size=chosen.size, quick=chosen.quick, whole=chosen.peers):
            for key, system in systems.items():
                if name in system.workloads:
                    warm_up = min(workload.warm_up, size)
                    yield (
                        key,
                        Job(name, size, warm_up=warm_up, runs=chosen.runs, telemetry=chosen.telemetry),
                    )


def measured(chosen: argparse.Namespace, machine: dict[str, str]) -> list[Result]:
    """Run them all, tell how it goes on, and keep what there is, so that a run that is broken off is not lost."""
    results: list[Result] = []
    with Runner() as runner:
        for key, job in jobs(chosen):
            reason = why_not(key, job.workload, job.size, results)
            results.append(Result(key, job.workload, job.size, (), reason) if reason else runner.measure(key, job))
            machine |= runner.versions
            print(progress(results[-1]), file=sys.stderr, flush=True)
            if chosen.json:
                chosen.json.write_text(as_json(machine, results), "utf-8")
    return results


def progress(result: Result) -> str:
    """One result in one line."""
    told = ", ".join(f"{number(figure.value)} {figure.name}" for figure in medians(result.runs))
    said = "; ".join(part for part in (told, result.trouble) if part)
    return f"{result.workload} {result.size:,} on {SYSTEMS[result.system].label}: {said}"


def shown(machine: dict[str, str], results: list[Result], *, telemetry: bool) -> str:
    """Everything as a text for a terminal."""
    parts = ["\n".join(f"{name}: {fact}" for name, fact in machine.items())]
    if telemetry:
        lines = [
            f"{result.workload:<12}{result.size:>8,}  {SYSTEMS[result.system].label:<24}{line}"
            for result in results
            for line in telling_lines(result)
        ]
        parts.append("\n".join([f"{'':<46}{'':<18}{'without':>12}{'with':>12}{'ratio':>8}", *lines]))
    else:
        parts += [as_text(table) for table in tables(results)]
    return "\n\n".join([*parts, "\n".join(troubles(results))]).rstrip()


def main(given: list[str]) -> None:
    """Measure, or read what was measured; print it, keep it, and make the docs from it if it is whole."""
    chosen = arguments(given)
    if chosen.from_json:
        machine, results = from_json(chosen.from_json.read_text("utf-8"))
    else:
        machine = facts()
        results = measured(chosen, machine)
    print(shown(machine, results, telemetry=chosen.telemetry))
    if chosen.from_json or is_whole(chosen):
        page.write(machine, results)
        print("\ndocs/performance.md and docs/images/performance.svg were made anew.")


if __name__ == "__main__":
    main(sys.argv[1:])
