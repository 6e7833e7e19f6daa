"""Traces and metrics through OpenTelemetry: the API here, the SDK and where everything goes in the application's hands.

Laws: the ids and decisions of our own spans are durable, those of everybody else's are left alone; without an SDK
there are no spans, and that is said once. Nothing is exported here, so nothing here waits.

Who calls it: `trioflow._open`, users. Read next: `_spans.py`, `_metrics.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Final, final

from opentelemetry.metrics import MeterProvider, get_meter_provider
from opentelemetry.trace import TracerProvider, get_tracer_provider

from trioflow.abc import Attempt, Fact, Instrument, Start, Subject
from trioflow.telemetry._meter import Metrics
from trioflow.telemetry._pen import Pen
from trioflow.telemetry._spans import Spans

log: Final = logging.getLogger("trioflow.telemetry")

SCOPE: Final = "trioflow"


@final
class OpenTelemetry(Instrument):
    """Tells OpenTelemetry what runtimes and clients do. One may serve any number of them.

    Spans need a tracer provider of the SDK, since theirs are ids that outlive a process: with another one there are no
    spans, and a warning says so. Payloads are in no span and no metric.

    Args:
        tracer_provider: gets the spans; if not given, the process's own.
        meter_provider: gets the metrics; if not given, the process's own.
        traces: whether there are to be spans.
        metrics: whether there are to be metrics.
        messages: whether spans tell messages of exceptions and reasons of cancellations, which may hold anything that
            the program has at hand.
        detail: whether each turn is drawn, not only one that replayed a history or was taken more than once, and the
            commits of turns are measured apart.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        traces: bool = True,
        metrics: bool = True,
        messages: bool = False,
        detail: bool = False,
    ) -> None:
        self._spans = None
        if traces:
            self._spans = _spans(tracer_provider or get_tracer_provider(), messages=messages, detail=detail)
        self._measures, self._meters, self._detail = metrics, meter_provider, detail

    @cached_property
    def _metrics(self) -> Metrics | None:
        """Made when the first fact is told: by then the process has its provider, or will not be measured."""
        meters = self._meters or get_meter_provider()
        return Metrics(meters.get_meter(SCOPE, _release()), detail=self._detail) if self._measures else None

    def headers(self, start: Start) -> Mapping[str, str]:
        """A trace context, which is stored with the execution."""
        return {} if self._spans is None else self._spans.starts.headers(start)

    def activity_headers(self, subject: Subject, within: str) -> Mapping[str, str]:
        """A trace context, which is stored with the activity."""
        return {} if self._spans is None else self._spans.activity_headers(subject, within)

    def inside(self, attempt: Attempt) -> AbstractContextManager[object]:
        """Inside, the attempt's span is current."""
        return nullcontext() if self._spans is None else self._spans.attempts.inside(attempt)

    def saw(self, fact: Fact) -> None:
        """Draw and measure it."""
        if self._metrics is not None:
            self._metrics.saw(fact)
        if self._spans is not None:
            self._spans.saw(fact)


def configured() -> bool:
    """Whether this process has set a tracer or meter provider for all its libraries; those of the API do nothing."""
    return any(
        not type(provider).__module__.startswith(("opentelemetry.trace", "opentelemetry.metrics"))
        for provider in (get_tracer_provider(), get_meter_provider())
    )


def _spans(provider: TracerProvider, *, messages: bool, detail: bool) -> Spans | None:
    tracer = provider.get_tracer(SCOPE, _release())
    if not hasattr(tracer, "span_processor") or not hasattr(tracer, "sampler"):
        log.warning("there will be no spans: %s gives no tracer of OpenTelemetry's SDK", type(provider).__qualname__)
        return None
    from trioflow.telemetry._sdk import maker_for

    pen = Pen(tracer, maker_for(tracer, SCOPE, _release(), messages=messages), messages)
    return Spans(pen, detail)


def _release() -> str | None:
    """Of trioflow; None where it is not installed."""
    try:
        return version("trioflow")
    except PackageNotFoundError:
        return None
