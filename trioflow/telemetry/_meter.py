"""The instruments of OpenTelemetry's metrics, made out of the table, and told of each measurement.

Laws: a counter is added up here, since telling the SDK each time costs ten times as much, and is shown when a reader
asks. Everything else is told a hundred at a time, which takes about half of what one by one takes between other work,
and before a reader is shown anything; each value keeps the context that it was measured in, from which the SDK takes
exemplars. Of several that are asked for by one name the SDK hears the first alone, so all who count with one meter
share what they have counted. A gauge shows the last look, whoever has taken it.

Who calls it: `_opentelemetry.py`. Read next: `_metrics.py`.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakKeyDictionary

import attrs
from opentelemetry.context import Context, get_current
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from trioflow.abc import Fact
from trioflow.telemetry._attributes import Attributes, Value
from trioflow.telemetry._metrics import METRICS, Metric, measurements

Tell = Callable[[float, Attributes, Context], None]

ENOUGH: Final = 100
"""Values that wait at most; telling them takes about a millisecond."""


class Metrics:
    """All that a meter has."""

    def __init__(self, meter: Meter, *, detail: bool) -> None:
        self._waiting = waiting = _shared.setdefault(meter, Waiting())
        self._tell = {metric: _instrument(meter, metric, waiting) for metric in METRICS if detail or not metric.detail}

    def saw(self, fact: Fact) -> None:
        """Measure it."""
        tell, values, context = self._tell, self._waiting.values, get_current()
        for metric, value, labels in measurements(fact):
            if metric in tell:
                values.append((tell[metric], value, labels, context))
        if len(values) >= ENOUGH:
            self._waiting.tell()


@attrs.define(eq=False)
class Waiting:
    """What was measured with one meter and is not told yet. Measured on the threads of runtimes, told there, too, or on
    a reader's.
    """

    values: deque[tuple[Tell, float, Attributes, Context]] = attrs.field(factory=deque)
    counts: dict[str, Count] = attrs.field(factory=dict)  # by the names of counters
    _lock: threading.Lock = attrs.field(factory=threading.Lock)  # whoever takes values holds it

    def tell(self) -> None:
        """Tell all of it."""
        contextvars.Context().run(self._tell)  # the SDK takes an empty context for none, and whatever is current here

    def _tell(self) -> None:
        with self._lock:
            for _ in range(len(self.values)):
                tell, value, labels, context = self.values.popleft()
                tell(value, labels, context)


@attrs.define(eq=False)
class Count:
    """What one counter has counted, by labels. Told by whoever tells what waits, asked on a reader's thread."""

    _waiting: Waiting
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _counted: dict[tuple[tuple[str, Value], ...], float] = attrs.field(factory=dict)

    def add(self, value: float, labels: Attributes, context: Context) -> None:
        """So much more. The same labels always come in the same order."""
        key = tuple(labels.items())
        with self._lock:
            self._counted[key] = self._counted.get(key, 0) + value

    def shown(self, options: CallbackOptions) -> Sequence[Observation]:
        """All of it since the begin, as the SDK asks for it: before it collects what it was told."""
        self._waiting.tell()
        with self._lock:
            return [Observation(value, dict(labels)) for labels, value in self._counted.items()]


_shared: Final[WeakKeyDictionary[Meter, Waiting]] = WeakKeyDictionary()


def _instrument(meter: Meter, metric: Metric, waiting: Waiting) -> Tell:
    name, unit, means = metric.name, metric.unit, metric.means
    match metric.kind:
        case "counter":
            count = waiting.counts.setdefault(name, Count(waiting))
            meter.create_observable_counter(name, [count.shown], unit, means)
            return count.add
        case "histogram":
            bounds = metric.bounds
            return meter.create_histogram(name, unit, means, explicit_bucket_boundaries_advisory=bounds).record
        case _:
            return meter.create_gauge(name, unit, means).set
