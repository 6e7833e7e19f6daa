"""The chart, and the part of a page that is made."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench.chart import chart, lengths
from tests.bench.page import BEGIN, DOCS, END, replaced, write
from tests.bench.table import Row, rows_of
from tests.bench_harness.given import GIVEN

SVG = "{http://www.w3.org/2000/svg}"


def test_the_chart_draws_every_system() -> None:
    """It is well-formed, has a background of its own, and a bar and a number for each system of each group."""
    root = ElementTree.fromstring(chart(rows_of(GIVEN)))
    background, *rectangles = root.iter(f"{SVG}rect")
    assert background.get("width") == background.get("height") == "100%"
    assert len(rectangles) == 3 + 4 + 2 + 2  # the legend; hello and fan on a file; fan on a server
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts.count("trioflow") == 1 + 3
    assert {"On a file", "On PostgreSQL", "fan-out of 1,000: activities", "8,000 /s", "2.50 ms"} <= set(texts)
    height = float(str(root.get("viewBox")).split()[-1])
    assert all(0 <= float(str(bar.get("y"))) + 12 <= height for bar in rectangles)


def test_a_chart_without_figures_is_a_chart() -> None:
    """Nothing but the legend."""
    assert len(list(ElementTree.fromstring(chart([])).iter(f"{SVG}rect"))) == 4


def test_longer_is_better() -> None:
    """Times and rates alike; the best has the whole length, and the slowest still a bar."""
    times = Row("hello", 1, "p50 ms", False, {"sqlite": 1.0, "dbos": 10.0, "restate": 100.0})
    best, middle, slowest = lengths(times, list(times.values))
    assert best == 1.0
    assert best > middle > slowest > 0.1
    assert best - middle == pytest.approx(middle - slowest)  # logarithmic
    rates = times._replace(higher_is_better=True)
    assert lengths(rates, list(rates.values)) == pytest.approx([slowest, middle, best])
    alone = Row("hello", 1, "p50 ms", False, {"sqlite": 1.0})
    assert lengths(alone, ["sqlite"]) == [1.0]


def test_only_what_is_between_the_markers_is_made() -> None:
    """Whatever was there before, and the same again for the same figures."""
    page = f"before\n{BEGIN}\n\nold\n\n{END}\nafter\n"
    new = replaced(page, "new\n")
    assert new == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert replaced(new, "new") == new


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_a_page_without_its_markers_is_left_alone(page: str) -> None:
    """It is an error, which names a marker."""
    with pytest.raises(ValueError, match="<!-- figures"):
        replaced(page, "new")


def test_the_page_of_the_docs_can_be_made(tmp_path: Path) -> None:
    """It has its markers, shows the chart, and is the same before and behind; machine, tables and reasons are in it."""
    (tmp_path / "images").mkdir()
    page = tmp_path / "performance.md"
    shutil.copy(DOCS / "performance.md", page)
    before = page.read_text("utf-8")
    write({"Python": "9.9"}, GIVEN, tmp_path)
    made = page.read_text("utf-8")
    assert made.partition(BEGIN)[0] == before.partition(BEGIN)[0]
    assert made.partition(END)[2] == before.partition(END)[2]
    assert {"* Python: 9.9", "| fan 1,000, act./s | 8,000 | - | 400 | - | 3,000 | 300 | 20.0x | - | 10.0x |"} <= set(
        made.splitlines()
    )
    assert "* duroxide, SQLite: hello 200, fan 1,000: the registry said no" in made
    assert "(images/performance.svg)" in made
    assert (tmp_path / "images" / "performance.svg").read_text("utf-8") == chart(rows_of(GIVEN))
