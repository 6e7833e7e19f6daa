"""The part of a page that is made: what stands between two markers, and nothing else of it.

Laws: `replaced` is pure; a page without its markers is an error, so that nothing is lost. Called by `__main__.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.bench.chart import chart
from tests.bench.figures import Result
from tests.bench.table import as_markdown, rows_of, tables, troubles

DOCS = Path(__file__).parents[2] / "docs"
BEGIN = "<!-- figures: made by `nox -s bench -- --peers`, from here -->"
END = "<!-- figures: to here -->"


def replaced(page: str, inside: str) -> str:
    """The page with something else between its markers. Raises ValueError if it does not have each of them once."""
    for marker in (BEGIN, END):
        if page.count(marker) != 1:
            raise ValueError(f"the page has to have the line {marker!r} once")
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the line {END!r} has to come after {BEGIN!r}")
    return f"{before}{BEGIN}\n\n{inside.strip()}\n\n{END}{after}"


def figures(machine: dict[str, str], results: Sequence[Result]) -> str:
    """What is between the markers: the machine, the tables, and what is missing."""
    about = "\n".join(f"* {name}: {fact}" for name, fact in machine.items())
    made = "\n\n".join(as_markdown(table) for table in tables(results))
    missing = "\n".join(f"* {line}" for line in troubles(results))
    return f"{about}\n\n{made}" + (f"\n\nWhat is missing:\n\n{missing}" if missing else "")


def write(machine: dict[str, str], results: Sequence[Result], docs: Path = DOCS) -> None:
    """Make the chart and the page's part anew."""
    page = docs / "performance.md"
    page.write_text(replaced(page.read_text("utf-8"), figures(machine, results)), "utf-8")
    (docs / "images" / "performance.svg").write_text(chart(rows_of(results)), "utf-8")
