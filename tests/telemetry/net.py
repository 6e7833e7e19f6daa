"""Hears everything that one test emits: log records at DEBUG, warnings, spans, metrics."""

from __future__ import annotations

import logging
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Self

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import trioflow
from tests.canary import CANARY, rendered
from tests.runtime.programs import virtual_store
from trioflow.abc import Store
from trioflow.telemetry import CorrelationFilter, OpenTelemetry


class Net(logging.Handler):
    """Log records at DEBUG, warnings, spans and metrics, for as long as the block lasts."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.addFilter(CorrelationFilter())
        self.said: list[str] = []  # what was logged, as text
        self.tell: Callable[[str], object] = lambda text: None  # is given each text
        self._spans, self._metrics = InMemorySpanExporter(), InMemoryMetricReader()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.instrument = OpenTelemetry(provider, MeterProvider([self._metrics]))
        self._warnings: list[warnings.WarningMessage] = []
        self._stack = ExitStack()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, as it is now."""
        self.said.append(rendered(record))
        self.tell(self.said[-1])

    def __enter__(self) -> Self:
        root = logging.getLogger()
        self._stack.callback(root.setLevel, root.level)
        root.setLevel(logging.DEBUG)
        root.addHandler(self)
        self._stack.callback(root.removeHandler, self)
        caught = self._stack.enter_context(warnings.catch_warnings(record=True))
        assert caught is not None
        self._warnings = caught
        warnings.simplefilter("always")
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def logs(self) -> str:
        """What was logged."""
        return "\n".join(self.said)

    @property
    def spans(self) -> list[str]:
        """The spans that have ended, whole."""
        return [f"{span.to_json()} {span.status.description}" for span in self._spans.get_finished_spans()]

    def everything(self) -> dict[str, str]:
        """All that was emitted, by where it came out."""
        measured = self._metrics.get_metrics_data()
        return {
            "logs": self.logs,
            "warnings": "\n".join(str(warning) for warning in self._warnings),
            "spans": "\n".join(self.spans),
            "metrics": "" if measured is None else measured.to_json(),
        }


@asynccontextmanager
async def running(
    app: trioflow.App, net: Net, store: Store | None = None, *, env: Any = None, **options: Any
) -> AsyncIterator[trioflow.Client]:
    """A runtime whose logs, spans and metrics are heard."""
    settings = trioflow.RuntimeOptions(worker="w1", **options)
    opened = trioflow.open_runtime(
        app, store or virtual_store(), options=settings, env=env, instruments=[net.instrument]
    )
    async with opened as runtime:
        yield runtime.client


class Bird(Exception):
    """Tells the canary in every way that an exception has."""

    def __init__(self, song: str = CANARY) -> None:
        super().__init__(song, {"song": song})
        self.add_note(f"note: {song}")
        self.song = song


def careless() -> trioflow.App:
    """A client's application that takes everything."""
    app = trioflow.App("careless")

    @app.orchestration
    async def main(number: Any) -> Any: ...

    return app
