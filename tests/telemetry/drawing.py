"""A picture of one trace, as trace viewers draw it: `python -m tests.telemetry.drawing` makes the one in the docs.

It runs examples/with_observability.py against a receiver of its own and draws what arrived, as SVG. Times of a process
that was killed and of its successor lie apart, so gaps in which nothing happens are cut short.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

from tests.telemetry.receiver import ReceivedSpan, Receiver

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "trace.svg"
ROW, LEFT, WIDTH, GAP = 20, 330, 560, 40_000_000  # pixels; a gap is shown as so many ns at most
COLOURS = {"failed": "#c0392b", "cancelled": "#d68910", "mark": "#7f8c8d", "turn": "#85929e", "else": "#2e86c1"}


def run_example(name: str, endpoint: str) -> None:
    """Run an example that sends what it does to a collector."""
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, str(ROOT / "examples" / name)], cwd=folder, env=surroundings, check=True)


def received() -> list[ReceivedSpan]:
    """Run the example of an order and return the spans that it sent."""
    with Receiver() as receiver:
        run_example("with_observability.py", receiver.url)
        return receiver.spans


def rows(spans: list[ReceivedSpan]) -> list[tuple[int, ReceivedSpan]]:
    """The spans of a tree from top to bottom, with their depth."""
    children: dict[str | None, list[ReceivedSpan]] = {}
    for span in spans:
        children.setdefault(span.parent_id, []).append(span)
    found: list[tuple[int, ReceivedSpan]] = []

    def walk(parent: str | None, depth: int) -> None:
        for span in sorted(children.get(parent, []), key=lambda one: (one.start, one.end, one.name)):
            found.append((depth, span))
            walk(span.span_id, depth + 1)

    walk(None, 0)
    return found


def squeezed(spans: list[ReceivedSpan]) -> dict[int, float]:
    """Where each moment is drawn: gaps in which nothing begins or ends are cut short."""
    moments = sorted({moment for span in spans for moment in (span.start, span.end)})
    at, placed = 0.0, {moments[0]: 0.0}
    for before, after in itertools.pairwise(moments):
        at += min(after - before, GAP)
        placed[after] = at
    return {moment: where / max(at, 1) * WIDTH for moment, where in placed.items()}


def colour(span: ReceivedSpan) -> str:
    """Errors stand out, marks and turns step back."""
    if span.status == 2:  # STATUS_CODE_ERROR
        return COLOURS["failed"]
    if span.attributes.get("trioflow.cancelled"):
        return COLOURS["cancelled"]
    if span.start == span.end:
        return COLOURS["mark"]
    return COLOURS["turn"] if span.name == "turn" else COLOURS["else"]


def label(span: ReceivedSpan) -> str:
    """What is written beside a span."""
    attempt = span.attributes.get("trioflow.attempt", 1)
    return span.name if attempt == 1 else f"{span.name} (attempt {attempt})"


def resumed(spans: list[ReceivedSpan]) -> int:
    """When the second process did its first work."""
    turns = sorted((span for span in spans if "trioflow.worker" in span.attributes), key=lambda one: one.start)
    first = turns[0].attributes["trioflow.worker"]
    return next(span.start for span in turns if span.attributes["trioflow.worker"] != first)


def svg(spans: list[ReceivedSpan]) -> str:
    """The picture."""
    places, lines = squeezed(spans), rows(spans)
    height = ROW * len(lines) + 10
    box = f"0 0 {LEFT + WIDTH + 20} {height}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for number, (depth, span) in enumerate(lines):
        y = 5 + number * ROW
        if number % 2:
            parts.append(f'<rect y="{y}" width="100%" height="{ROW}" fill="#f4f6f7"/>')
        x, wide = LEFT + places[span.start], max(places[span.end] - places[span.start], 0)
        parts.append(f'<text x="{8 + depth * 14}" y="{y + 14}" fill="#1b2631">{escape(label(span))}</text>')
        if span.start == span.end:
            parts.append(f'<circle cx="{x:.1f}" cy="{y + 10}" r="3.5" fill="{colour(span)}"/>')
        else:
            parts.append(
                f'<rect x="{x:.1f}" y="{y + 5}" width="{max(wide, 2):.1f}" height="10" rx="2" fill="{colour(span)}"/>'
            )
    x = LEFT + places[resumed(spans)]
    parts.append(f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height}" stroke="#884ea0" stroke-dasharray="4 3"/>')
    parts.append(
        f'<text x="{x - 5:.1f}" y="{height - 30}" text-anchor="end" fill="#884ea0">resumed by another process</text>'
    )
    return "\n".join([*parts, "</svg>", ""])


def order_of(spans: list[ReceivedSpan]) -> list[ReceivedSpan]:
    """Those of the largest trace: the order's."""
    sizes: dict[str, int] = {}
    for span in spans:
        sizes[span.trace_id] = sizes.get(span.trace_id, 0) + 1
    largest = max(sizes, key=lambda one: sizes[one])
    return [span for span in spans if span.trace_id == largest]


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg(order_of(received())))
    print(f"{PICTURE.relative_to(ROOT)} is made")
