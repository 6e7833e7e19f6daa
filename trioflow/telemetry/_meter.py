"""The instruments of OpenTelemetry's metrics, made out of the table, and told of each measurement.

Law: a gauge shows the last look, whoever of a process's runtimes has taken it; so its instrument is one that is told,
not one that asks: of two that ask by one name, the SDK hears the first alone.

Who calls it: `_opentelemetry.py`. Read next: `_metrics.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.metrics import Meter

from trioflow.abc import Fact
from trioflow.telemetry._attributes import Attributes
from trioflow.telemetry._metrics import METRICS, Metric, measurements

Tell = Callable[[float, Attributes], None]


class Metrics:
    """All that a meter has."""

    def __init__(self, meter: Meter) -> None:
        self._tell = {metric.name: _instrument(meter, metric) for metric in METRICS}

    def saw(self, fact: Fact) -> None:
        """Measure it."""
        for measured in measurements(fact):
            self._tell[measured.metric.name](measured.value, measured.labels)


def _instrument(meter: Meter, metric: Metric) -> Tell:
    name, unit, means = metric.name, metric.unit, metric.means
    match metric.kind:
        case "counter":
            return meter.create_counter(name, unit, means).add
        case "histogram":
            bounds = metric.bounds
            return meter.create_histogram(name, unit, means, explicit_bucket_boundaries_advisory=bounds).record
        case _:
            return meter.create_gauge(name, unit, means).set
