"""The instruments of OpenTelemetry's metrics, made out of the table, and told of each measurement.

Laws: a counter is added up here, since telling the SDK each time costs ten times as much, and is shown when a reader
asks. Of several that are asked for by one name the SDK hears the first alone, so all who count with one meter share
what they have counted. A gauge shows the last look, whoever has taken it; so it is told.

Who calls it: `_opentelemetry.py`. Read next: `_metrics.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakKeyDictionary

import attrs
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from trioflow.abc import Fact
from trioflow.telemetry._attributes import Attributes, Value
from trioflow.telemetry._metrics import METRICS, Metric, measurements

Tell = Callable[[float, Attributes], None]


class Metrics:
    """All that a meter has."""

    def __init__(self, meter: Meter, *, detail: bool) -> None:
        counts = _shared.setdefault(meter, {})
        self._tell = {metric: _instrument(meter, metric, counts) for metric in METRICS if detail or not metric.detail}

    def saw(self, fact: Fact) -> None:
        """Measure it."""
        tell = self._tell
        for metric, value, labels in measurements(fact):
            if metric in tell:
                tell[metric](value, labels)


@attrs.define(eq=False)
class Count:
    """What one counter has counted, by labels. Told on the threads of runtimes, asked on a reader's."""

    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _counted: dict[tuple[tuple[str, Value], ...], float] = attrs.field(factory=dict)

    def add(self, value: float, labels: Attributes) -> None:
        """So much more. The same labels always come in the same order."""
        key = tuple(labels.items())
        with self._lock:
            self._counted[key] = self._counted.get(key, 0) + value

    def shown(self, options: CallbackOptions) -> Sequence[Observation]:
        """All of it since the begin, as the SDK asks for it."""
        with self._lock:
            return [Observation(value, dict(labels)) for labels, value in self._counted.items()]


_shared: Final[WeakKeyDictionary[Meter, dict[str, Count]]] = WeakKeyDictionary()


def _instrument(meter: Meter, metric: Metric, counts: dict[str, Count]) -> Tell:
    name, unit, means = metric.name, metric.unit, metric.means
    match metric.kind:
        case "counter":
            count = counts.setdefault(name, Count())
            meter.create_observable_counter(name, [count.shown], unit, means)
            return count.add
        case "histogram":
            bounds = metric.bounds
            return meter.create_histogram(name, unit, means, explicit_bucket_boundaries_advisory=bounds).record
        case _:
            return meter.create_gauge(name, unit, means).set
