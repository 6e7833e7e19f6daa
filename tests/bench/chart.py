"""From rows to a chart: bars side by side for each workload, on a logarithmic scale, as SVG text.

Laws: pure; a longer bar is always better, so times are drawn as rates; it brings its own background, so that it can be
read on a light page and on a dark one. Called by `__main__.py`. Read first: `table.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from tests.bench.plan import SYSTEMS
from tests.bench.table import Row, number

SHOWN = (
    ("hello", "p50 ms", "hello: start to result, p50"),
    ("chain", "ms per step", "chain of {size}: one step"),
    ("fan", "activities/s", "fan-out of {size}: activities"),
    ("fan5", "orchestrations/s", "{size} orchestrations of 5 activities"),
    ("fan5/10ms", "orchestrations/s", "the same, 10 ms each, 20 in flight"),
)
UNITS = {"p50 ms": "ms", "ms per step": "ms", "activities/s": "/s", "orchestrations/s": "/s"}
COLOURS = {"ours": "#2471a3", "floor": "#aab7b8", "peer": "#ca6f1e"}
LEGEND = {"ours": "trioflow", "floor": "the same writes without an engine", "peer": "others"}
GROUPS = {"sqlite": "On a file", "postgresql": "On PostgreSQL"}

INK, PALE, PAPER = "#1b2631", "#566573", "#ffffff"
WIDTH, MARGIN, LABELS, NUMBERS = 760, 16, 150, 90
LINE, BAR = 18, 12
LONGEST = WIDTH - 2 * MARGIN - LABELS - NUMBERS


def chart(rows: Sequence[Row]) -> str:
    """The whole picture; of a workload with several sizes the one that most systems have, the larger of equals."""
    parts: list[str] = []
    y = _legend(parts, MARGIN)
    for group, title in GROUPS.items():
        panels = [panel for shown in SHOWN if (panel := _panel(rows, group, *shown))]
        if not panels:
            continue
        y += 30
        parts.append(_text(MARGIN, y, title, size=15, weight="bold"))
        for heading, row, keys in panels:
            y = _bars(parts, y + 26, heading, row, keys)
    return _document(parts, y + MARGIN)


def _panel(
    rows: Sequence[Row], group: str, workload: str, figure: str, heading: str
) -> tuple[str, Row, list[str]] | None:
    """What is drawn of one workload; None if nobody has a figure."""
    found = [
        (row, keys)
        for row in rows
        if (row.workload, row.figure) == (workload, figure)
        if (keys := [key for key, system in SYSTEMS.items() if system.group == group and row.values.get(key)])
    ]
    if not found:
        return None
    row, keys = max(found, key=lambda one: (len(one[1]), one[0].size))
    return heading.format(size=f"{row.size:,}"), row, keys


def lengths(row: Row, keys: Sequence[str]) -> list[float]:
    """From 0 to 1: how fast each is, on a logarithmic scale on which the slowest still has a bar."""
    rates = [row.values[key] if row.higher_is_better else 1.0 / row.values[key] for key in keys]
    least = math.log10(min(rates)) - 0.3
    span = math.log10(max(rates)) - least
    return [(math.log10(rate) - least) / span for rate in rates]


def _bars(parts: list[str], y: float, heading: str, row: Row, keys: Sequence[str]) -> float:
    parts.append(_text(MARGIN, y, heading, weight="bold"))
    for key, length in zip(keys, lengths(row, keys), strict=True):
        y += LINE
        width = length * LONGEST
        fill = COLOURS[SYSTEMS[key].kind]
        parts.append(_text(MARGIN + LABELS - 8, y, SYSTEMS[key].label.partition(",")[0], anchor="end"))
        parts.append(
            f'<rect x="{MARGIN + LABELS}" y="{y - 10}" width="{width:.1f}" height="{BAR}" rx="2" fill="{fill}"/>'
        )
        parts.append(_text(MARGIN + LABELS + width + 6, y, f"{number(row.values[key])} {UNITS[row.figure]}", fill=PALE))
    return y


def _legend(parts: list[str], y: float) -> float:
    x = float(MARGIN)
    for kind, text in LEGEND.items():
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" rx="2" fill="{COLOURS[kind]}"/>')
        parts.append(_text(x + 18, y + 10, text))
        x += 18 + 7 * len(text) + 24
    parts.append(_text(WIDTH - MARGIN, y + 10, "longer is better; logarithmic", fill=PALE, anchor="end"))
    return y + 12


def _text(
    x: float, y: float, text: str, *, size: int = 12, weight: str = "normal", fill: str = INK, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{fill}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def _document(parts: Sequence[str], height: float) -> str:
    box = f'viewBox="0 0 {WIDTH} {height:.0f}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif">',
            f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>',
            *parts,
            "</svg>\n",
        )
    )
