"""From figures to tables, side by side, with ratios and with reasons."""

from __future__ import annotations

import pytest

from tests.bench.figures import Figure, Result, Run
from tests.bench.table import (
    Row,
    as_markdown,
    as_text,
    number,
    ratios,
    rows_of,
    tables,
    telling_lines,
    times_better,
    troubles,
)
from tests.bench_harness.given import GIVEN, one


def test_a_row_for_each_figure() -> None:
    """With all systems that have it; the figures of one workload stay together."""
    rows = rows_of([*GIVEN, one("memory", "hello", 200, Figure("p90 ms", 1.0))])
    assert [(row.workload, row.size, row.figure) for row in rows] == [
        ("hello", 200, "p50 ms"),
        ("hello", 200, "p99 ms"),
        ("hello", 200, "p90 ms"),
        ("fan", 1_000, "activities/s"),
        ("asleep", 10, "bytes each"),
        ("asleep", 10, "idle CPU, s/s"),
    ]
    assert rows[0].values == {"sqlite": 2.5, "floor-sqlite": 1.0, "dbos": 7.5, "restate": 5.0}
    assert rows[3].heading == "fan 1,000, act./s"


def test_faster_is_above_one() -> None:
    """Whether a figure is a time or a rate."""
    time = Row("hello", 1, "ms", False, {"sqlite": 2.0, "dbos": 8.0})
    rate = Row("fan", 1, "n/s", True, {"sqlite": 8.0, "dbos": 2.0})
    assert times_better(time, "sqlite", "dbos") == times_better(rate, "sqlite", "dbos") == 4.0
    assert times_better(time, "sqlite", "restate") is None


def test_the_best_peer_is_the_measure() -> None:
    """Of the same group: what is on a file is not measured by what is on a server."""
    hello, _, fan, *_ = rows_of(GIVEN)
    assert ratios(hello, "sqlite") == (2.0, 0.4)
    assert ratios(hello, "postgresql") == (None, None)
    assert ratios(fan, "sqlite") == (20.0, None)
    assert ratios(fan, "postgresql") == (10.0, None)


def test_the_table_is_as_it_is_printed() -> None:
    """What others do, too, with ratios; then what only our stores do."""
    compared, own = tables(GIVEN)
    headings, *lines = as_markdown(compared).splitlines()
    assert headings == (
        "| workload | trioflow, SQLite | floor, SQLite | DBOS, SQLite | Restate | trioflow, PostgreSQL "
        "| DBOS, PostgreSQL | SQLite / best peer | SQLite / floor | PostgreSQL / best peer |"
    )
    assert lines == [
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| hello 200, p50 ms | 2.50 | 1.00 | 7.50 | 5.00 | - | - | 2.00x | 0.4x | - |",
        "| hello 200, p99 ms | 5.00 | 2.00 | 20.0 | 50.0 | - | - | 4.00x | 0.4x | - |",
        "| fan 1,000, act./s | 8,000 | - | 400 | - | 3,000 | 300 | 20.0x | - | 10.0x |",
    ]
    assert as_text(own).splitlines() == [
        "                          trioflow",
        "workload                    memory",
        "asleep 10, bytes each          912",
        "asleep 10, idle CPU, s/s         0",
    ]


def test_nothing_is_missing_in_silence() -> None:
    """What has no figure has a reason, told once for all that have the same."""
    late = Result("sqlite", "chain", 100, (Run((Figure("ms per step", 1.0),), 1.0),), "took longer than 400 seconds")
    assert troubles([*GIVEN, late]) == [
        "duroxide, SQLite: hello 200, fan 1,000: the registry said no",
        "trioflow, SQLite: chain 100 (after some runs): took longer than 400 seconds",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12_345.6, "12,346"),
        (100, "100"),
        (99.94, "99.9"),
        (1.234, "1.23"),
        (0.4567, "0.46"),
        (0.0021, "0.0021"),
        (0, "0"),
    ],
)
def test_three_digits(value: float, text: str) -> None:
    """As many as mean something, for large and for small."""
    assert number(value) == text


def test_telemetry_is_told_as_a_ratio_of_speeds() -> None:
    """Below one where it costs something, for rates and for times."""
    runs = (
        Run((Figure("n/s", 100.0, True), Figure("ms", 2.0)), 1.0),
        Run((Figure("n/s", 60.0, True), Figure("ms", 4.0)), 1.0, told=True),
    )
    assert [line.split() for line in telling_lines(Result("sqlite", "fan5", 9, runs))] == [
        ["n/s", "100", "60.0", "0.60"],
        ["ms", "2.00", "4.00", "0.50"],
    ]
