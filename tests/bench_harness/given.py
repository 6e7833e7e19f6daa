"""Figures that nobody measured, for tests of what is made of figures."""

from __future__ import annotations

from tests.bench.figures import Figure, Result, Run


def one(system: str, workload: str, size: int, *figures: Figure) -> Result:
    """A system that ran once."""
    return Result(system, workload, size, (Run(figures, 1.0),))


GIVEN = [
    one("sqlite", "hello", 200, Figure("p50 ms", 2.5), Figure("p99 ms", 5.0)),
    one("floor-sqlite", "hello", 200, Figure("p50 ms", 1.0), Figure("p99 ms", 2.0)),
    one("dbos", "hello", 200, Figure("p50 ms", 7.5), Figure("p99 ms", 20.0)),
    one("restate", "hello", 200, Figure("p50 ms", 5.0), Figure("p99 ms", 50.0)),
    Result("duroxide", "hello", 200, (), "the registry said no"),
    one("sqlite", "fan", 1_000, Figure("activities/s", 8_000.0, True)),
    one("dbos", "fan", 1_000, Figure("activities/s", 400.0, True)),
    Result("duroxide", "fan", 1_000, (), "the registry said no"),
    one("postgresql", "fan", 1_000, Figure("activities/s", 3_000.0, True)),
    one("dbos-postgresql", "fan", 1_000, Figure("activities/s", 300.0, True)),
    one("memory", "asleep", 10, Figure("bytes each", 912.4), Figure("idle CPU, s/s", 0.0)),
]
