"""What telling costs, counted in function calls of our own and in what the SDK is asked for: no clock is read.

Laws: calls within the SDK are not counted, since releases differ; bounds are a fifth above what was counted when they
were set, since Pythons differ, too. Who fails here has made telemetry dearer; how long it takes is another question:
see `tests/bench`.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
import trio.testing
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import trioflow
from tests.guards.workloads import app, run_one, run_twenty
from trioflow.abc import Instrument
from trioflow.stores import MemoryStore
from trioflow.telemetry import OpenTelemetry

TOLD = {
    "telemetry": ("trioflow/telemetry/", "trioflow.telemetry."),
    "instruments": ("trioflow/abc/_instruments", "trioflow/_runtime/_telling", "trioflow/_runtime/_headers"),
    "facts": ("trioflow.abc._facts.", "trioflow/abc/_facts"),
    "trace": ("trioflow/_engine/_tracing", "trioflow._engine._tracing.", "trioflow._ambient._spans."),
}
"""Parts of us that only they need who are told, by what is in the names of their files; attrs makes files, too."""

EACH = 20


def count_calls(patch: pytest.MonkeyPatch, kind: type, method: str, counts: Counter[str]) -> None:
    """Count the calls of one method."""
    plain = getattr(kind, method)

    def counting(self: object, *args: object, **more: object) -> object:
        counts[method] += 1
        return plain(self, *args, **more)

    patch.setattr(kind, method, counting)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Inside, calls are counted by part, those of this thread."""
    counts: Counter[str] = Counter()
    parts: dict[str, str | None] = {}

    def tell(frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        name = frame.f_code.co_filename
        if name not in parts:
            parts[name] = next((part for part, marks in TOLD.items() if any(mark in name for mark in marks)), None)
        part = parts[name]
        if part is not None:
            counts[part] += 1

    before = sys.getprofile()
    gc.collect()
    sys.setprofile(tell)
    try:
        yield counts
    finally:
        sys.setprofile(before)


async def told(*instruments: Instrument) -> dict[str, float]:
    """The calls that an orchestration of five activities takes, by part; one of twenty."""
    async with trioflow.open_runtime(app, MemoryStore(), instruments=instruments) as runtime:
        await run_one(runtime.client, "fan", 5, "first")  # what is made at its first use
        await trio.testing.wait_all_tasks_blocked()
        with counted() as counts:
            await run_twenty(runtime.client, "fan", 5)
    return {part: counts[part] / EACH for part in TOLD}


async def test_nothing_is_made_where_nobody_is_told(mock_clock: trio.testing.MockClock) -> None:
    """No fact, no trace, no header: whoever could tell finds that nobody listens, three times for an attempt."""
    assert await told() == {"telemetry": 0, "facts": 0, "trace": 0, "instruments": pytest.approx(18, abs=4)}


async def test_telling_costs_no_more_calls(mock_clock: trio.testing.MockClock) -> None:
    """Our own calls, with OpenTelemetry's SDK as most have it: all is recorded, and exported in batches. No span is
    begun, since each is made when it is over.
    """
    meters, tracers, exporter = MeterProvider([InMemoryMetricReader()]), TracerProvider(), InMemorySpanExporter()
    tracers.add_span_processor(BatchSpanProcessor(exporter))
    asked = Counter[str]()
    with pytest.MonkeyPatch.context() as patch:
        count_calls(patch, Span, "start", asked)
        count_calls(patch, Histogram, "record", asked)
        counts = await told(OpenTelemetry(tracers, meters))
    tracers.shutdown()
    meters.shutdown()
    for part, most in {"telemetry": 438, "instruments": 79, "facts": 29, "trace": 97}.items():
        assert most / 2 < counts[part] < most, counts
    assert len(exporter.get_finished_spans()) == 8 * (EACH + 1)
    assert asked["record"] <= 11 * (EACH + 1)
    assert not asked["start"]
