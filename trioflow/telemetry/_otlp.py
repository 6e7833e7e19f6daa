"""OpenTelemetry's SDK, set up to send to a collector, for programs that have no set-up of their own.

Laws: the standard environment variables count (`OTEL_EXPORTER_OTLP_*`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
`OTEL_TRACES_SAMPLER`); sending happens in threads that nobody waits for, so a collector that is down or hangs slows
nothing; what is left at the end is sent in a few seconds, or given up.

Needs the extra `otel`. Who calls it: users, the command line. Read next: `_opentelemetry.py`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from trioflow.errors import ConfigurationError
from trioflow.telemetry._opentelemetry import OpenTelemetry, configured

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

QUEUE: Final = 65_536
"""Spans that may wait for a collector; what comes beyond that is dropped by the SDK, with a warning."""


@asynccontextmanager
async def open_otlp(
    service: str,
    *,
    endpoint: str | None = None,
    every: float = 1.0,
    patience: float = 2.0,
    attributes: Mapping[str, str] | None = None,
    messages: bool = False,
    detail: bool = False,
    for_all: bool = True,
) -> AsyncIterator[OpenTelemetry]:
    """Traces and metrics go to a collector, over OTLP/HTTP, for as long as the block lasts.

    Write ``async with telemetry.open_otlp("shop") as otel``, and give ``instruments=[otel]`` to `open_runtime`. A
    collector that cannot be reached costs nothing but its spans.

    Args:
        service: the name to appear under; the environment variable OTEL_SERVICE_NAME goes first.
        endpoint: the collector's base URL; OTEL_EXPORTER_OTLP_ENDPOINT, or http://localhost:4318, if not given.
        every: seconds between two exports of spans; a process that is killed loses what it has not sent.
        patience: seconds that leaving the block may take, for what is not sent yet.
        attributes: of the resource, such as ``{"deployment.environment": "test"}``.
        messages: let the messages of exceptions into spans; they may show what is in payloads.
        detail: draw each turn, and measure the commits of turns; see `OpenTelemetry`.
        for_all: if this process has no tracer and meter provider yet, make these its own, for good, so that the spans
            of other libraries, and those that activities make, are sent, too.

    Raises:
        ConfigurationError: the extra `otel` is not installed.
    """
    tracers, meters = _providers(service, endpoint, every, attributes or {})
    if for_all and not configured():
        _for_all_libraries(tracers, meters)
    try:
        yield OpenTelemetry(tracers, meters, messages=messages, detail=detail)
    finally:
        with trio.move_on_after(patience, shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_shut_down, tracers.shutdown)
                nursery.start_soon(_shut_down, meters.shutdown)


async def _shut_down(shutdown: Callable[[], Any]) -> None:
    """In a thread, which is left behind if it takes too long."""
    await trio.to_thread.run_sync(shutdown, abandon_on_cancel=True)


def _providers(
    service: str, endpoint: str | None, every: float, attributes: Mapping[str, str]
) -> tuple[TracerProvider, MeterProvider]:
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as exc:
        raise ConfigurationError(
            "telemetry.open_otlp needs OpenTelemetry's SDK and OTLP exporter: pip install 'trioflow[otel]'"
        ) from exc
    resource = Resource.create({**attributes, "service.name": os.environ.get("OTEL_SERVICE_NAME") or service})
    base = None if endpoint is None else endpoint.rstrip("/")
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)  # at exit it would wait for a dead collector
    tracers.add_span_processor(
        BatchSpanProcessor(
            OTLPSpanExporter(base and f"{base}/v1/traces"),
            max_queue_size=QUEUE,
            schedule_delay_millis=every * 1000,
        )
    )
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(base and f"{base}/v1/metrics"))
    return tracers, MeterProvider([reader], resource=resource, shutdown_on_exit=False)


def _for_all_libraries(tracers: TracerProvider, meters: MeterProvider) -> None:
    from opentelemetry import metrics, trace

    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
