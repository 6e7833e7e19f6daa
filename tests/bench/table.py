"""From results to tables: which figures are side by side, how many times better, and what is missing and why.

Laws: pure; a number is in one unit with its row; a ratio above 1 means that trioflow is faster; what has no figure has
a reason. Called by `__main__.py`. Next: `chart.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from tests.bench.figures import Figure, Result, medians
from tests.bench.plan import SYSTEMS

NOTHING = "-"
FOR_READERS = {
    "ms per step": "ms/step",
    "orchestrations/s": "orch./s",
    "activities/s": "act./s",
}

Group = Literal["sqlite", "postgresql"]
GROUPS: dict[Group, str] = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


class Row(NamedTuple):
    """One figure of one workload in one size, by system."""

    workload: str
    size: int
    figure: str
    higher_is_better: bool
    values: dict[str, float]

    @property
    def heading(self) -> str:
        """How it is called."""
        return f"{self.workload} {self.size:,}, {FOR_READERS.get(self.figure, self.figure)}"


def rows_of(results: Sequence[Result]) -> list[Row]:
    """One for each figure, in the order in which they were measured."""
    rows: dict[tuple[str, int, str], Row] = {}
    for result in results:
        for figure in medians(result.runs):
            key = (result.workload, result.size, figure.name)
            row = rows.setdefault(key, Row(*key, figure.higher_is_better, {}))
            row.values[result.system] = figure.value
    return sorted(rows.values(), key=lambda row: _place(results, row))


def _place(results: Sequence[Result], row: Row) -> int:
    """Figures stay with their workload and size, whichever system was the first to have one."""
    return next(i for i, result in enumerate(results) if (result.workload, result.size) == (row.workload, row.size))


def times_better(row: Row, ours: str, other: str) -> float | None:
    """How many times faster one system is than another; None where a figure is missing."""
    one, two = row.values.get(ours), row.values.get(other)
    if not one or not two:
        return None
    return one / two if row.higher_is_better else two / one


def ratios(row: Row, group: Group) -> tuple[float | None, float | None]:
    """Our store of a group against the best peer of it, and against its floor."""
    peers = [
        ratio
        for key, system in SYSTEMS.items()
        if system.kind == "peer" and system.group == group
        if (ratio := times_better(row, group, key)) is not None
    ]
    return min(peers, default=None), times_better(row, group, f"floor-{group}")


def troubles(results: Sequence[Result]) -> list[str]:
    """A line for each figure that is missing, and why; equal ones of a system are told once."""
    told: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.trouble:
            what = f"{result.workload} {result.size:,}" + (" (after some runs)" if result.runs else "")
            told.setdefault((SYSTEMS[result.system].label, result.trouble), []).append(what)
    return [f"{label}: {', '.join(what)}: {trouble}" for (label, trouble), what in told.items()]


class Table(NamedTuple):
    """Headings, and lines of as many texts, of which the first is a heading too."""

    headings: list[str]
    lines: list[list[str]]


def tables(results: Sequence[Result]) -> Iterator[Table]:
    """The figures that others have too, with ratios; then those that only our stores have, if there are any."""
    rows = rows_of(results)
    compared = [row for row in rows if any(SYSTEMS[key].kind != "ours" for key in row.values)]
    if compared:
        yield _compared(compared, [key for key in SYSTEMS if any(key in row.values for row in compared)])
    own = [row for row in rows if row not in compared]
    if own:
        keys = [key for key in SYSTEMS if any(key in row.values for row in own)]
        yield Table(["workload", *_labels(keys)], [[row.heading, *_numbers(row, keys)] for row in own])


def _compared(rows: list[Row], keys: list[str]) -> Table:
    headings, lines = ["workload", *_labels(keys)], [[row.heading, *_numbers(row, keys)] for row in rows]
    for group, name in GROUPS.items():
        for index, other in enumerate(("best peer", "floor")):
            found = [ratios(row, group)[index] for row in rows]
            if any(ratio is not None for ratio in found):
                headings.append(f"{name} / {other}")
                for line, ratio in zip(lines, found, strict=True):
                    line.append(NOTHING if ratio is None else f"{number(ratio)}x")
    return Table(headings, lines)


def _labels(keys: Sequence[str]) -> list[str]:
    return [SYSTEMS[key].label for key in keys]


def _numbers(row: Row, keys: Sequence[str]) -> list[str]:
    return [number(row.values[key]) if key in row.values else NOTHING for key in keys]


def number(value: float) -> str:
    """Three digits that mean something."""
    for least, digits in ((100.0, 0), (10.0, 1), (0.995, 2)):
        if abs(value) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.2g}" if value else "0"


def as_markdown(table: Table) -> str:
    """A table for a page."""
    rule = ["---", *["---:"] * (len(table.headings) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (table.headings, rule, *table.lines))


def as_text(table: Table) -> str:
    """A table for a terminal; a heading takes several lines where its words need them."""
    columns = list(zip(*table.lines, strict=True))
    words = [heading.replace(", ", " ").split() for heading in table.headings]
    height = max(map(len, words))
    widths = [max(len(text) for text in (*column, *of)) for column, of in zip(columns, words, strict=True)]
    heads = [[[""] * (height - len(of)) + of for of in words][i] for i in range(len(words))]
    above = [[head[line] for head in heads] for line in range(height)]
    return "\n".join(_aligned(line, widths) for line in (*above, *table.lines))


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(line, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]).rstrip()


def telling_lines(result: Result) -> Iterator[str]:
    """For each figure: without telemetry, with it, and the ratio of the speeds."""
    told = medians(result.runs, told=True)
    for off, on in zip(medians(result.runs), told, strict=True):
        yield f"{off.name:<18}{number(off.value):>12}{number(on.value):>12}{_speed(off, on):>8.2f}"


def _speed(off: Figure, on: Figure) -> float:
    return on.value / off.value if off.higher_is_better else off.value / on.value
