"""OpenTelemetry for workloads: the SDK as an application sets it up, but for what is exported, which goes nowhere.

Law: no span is dropped, so that each is paid for. Called by `__main__.py`, for `--telemetry`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult, SpanExporter

from tests.bench.workloads import Instruments
from trioflow.telemetry import OpenTelemetry

MOST_WAITING = 1 << 16


@contextmanager
def telemetry() -> Iterator[Instruments]:
    """Inside, who is to be told."""
    tracers, meters = TracerProvider(), MeterProvider([PeriodicExportingMetricReader(_NoMetrics())])
    tracers.add_span_processor(BatchSpanProcessor(_NoSpans(), max_queue_size=MOST_WAITING))
    yield (OpenTelemetry(tracers, meters),)
    tracers.shutdown()
    meters.shutdown()


class _NoSpans(SpanExporter):
    """Takes them."""

    def export(self, spans: object) -> SpanExportResult:
        """All is well."""
        return SpanExportResult.SUCCESS


class _NoMetrics(MetricExporter):
    """Takes them."""

    def export(self, metrics_data: object, timeout_millis: float = 0, **more: object) -> MetricExportResult:
        """All is well."""
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        """There is nothing to flush."""
        return True

    def shutdown(self, timeout_millis: float = 0, **more: object) -> None:
        """There is nothing to shut down."""
