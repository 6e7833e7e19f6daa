"""The metrics agree with the histories: both are counted, after a day of everything."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import trioflow
from trioflow import activity, durable, telemetry
from trioflow.abc import Store
from trioflow.history import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    Event,
    OrchestrationCancelled,
    OrchestrationCompleted,
    OrchestrationContinuedAsNew,
    OrchestrationFailed,
    OrchestrationStarted,
    OrchestrationTerminated,
)
from trioflow.stores import MemoryStore, SqliteStore
from trioflow.telemetry._attributes import ATTRIBUTES
from trioflow.telemetry._metrics import METRICS

app = trioflow.App("recount")
ENDS: dict[type[Event], str] = {
    OrchestrationCompleted: "completed",
    OrchestrationFailed: "failed",
    OrchestrationCancelled: "cancelled",
    OrchestrationTerminated: "terminated",
    OrchestrationContinuedAsNew: "continued as new",
}
ANSWERS: dict[type[Event], str] = {
    ActivityCompleted: "completed",
    ActivityFailed: "failed",
    ActivityCancelled: "cancelled",
}


@app.activity(retry=trioflow.Retry(max_attempts=2, initial=0.01))
async def shaky(number: int) -> int:
    """Fails at first; for every third number, always."""
    if activity.info().attempt == 1 or not number % 3:
        raise ValueError(number)
    return number


@app.activity
async def slow() -> None:
    """Does not end by itself."""
    await trio.sleep_forever()


@app.orchestration
async def leaf(number: int) -> int:
    """Fails for every third number."""
    return await shaky(number)


@app.orchestration
async def round_about(rounds: int) -> int:
    """Continues as new, with a child and a cancelled activity in each round."""
    with durable.move_on_after(0.02):
        await slow()
    try:
        await leaf(rounds)
    except ValueError:
        pass
    if rounds:
        durable.continue_as_new(rounds - 1)
    return 0


@app.orchestration
async def waiting() -> None:
    """Until somebody ends it."""
    await durable.sleep_forever()


def points(reader: InMemoryMetricReader, name: str) -> list[Any]:
    """The data points of a metric."""
    data = reader.get_metrics_data()
    assert data is not None
    return [
        point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]


def total(reader: InMemoryMetricReader, name: str, *labels: str) -> Counter[Any]:
    """A counter by some of its labels."""
    found: Counter[Any] = Counter()
    for point in points(reader, name):
        key = tuple(point.attributes.get(label) for label in labels)
        found[key[0] if len(key) == 1 else key] += point.value
    return found


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Any) -> Store:
    """An empty store of each kind."""
    return MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "s.db")


async def test_metrics_are_what_the_histories_say(store: Store) -> None:
    """Starts, ends and answers of activities, counted in both; each execution has a duration and a length."""
    reader = InMemoryMetricReader()
    otel = telemetry.OpenTelemetry(meter_provider=MeterProvider([reader]), traces=False)
    async with trioflow.open_runtime(app, store, instruments=[otel]) as runtime:
        client = runtime.client
        for number in range(9):
            await client.start(leaf, number, id=f"leaf-{number}")
        for number in range(3):
            await client.start(round_about, 3, id=f"round-{number}")
        for number in range(4):
            await client.start(waiting, id=f"waiting-{number}")
        for number in range(4):
            await (client.cancel if number % 2 else client.terminate)(f"waiting-{number}")
        events: list[tuple[str, Event]] = []
        names = [info.id async for info in client.list()]
        for name in names:
            try:
                await client.handle(name).result(timeout=30)
            except trioflow.TrioflowError:
                pass
        async for info in client.list():
            for execution in await client.executions(info.id):
                history = await client.history(info.id, execution.execution)
                events += [(info.name, event) for event in history]
    starts = Counter(name for name, event in events if isinstance(event, OrchestrationStarted))
    ends = Counter((name, ENDS[type(event)]) for name, event in events if type(event) in ENDS)
    answers = Counter(ANSWERS[type(event)] for _, event in events if type(event) in ANSWERS)
    assert total(reader, "trioflow.orchestration.starts", "trioflow.name") == starts
    assert total(reader, "trioflow.orchestration.ends", "trioflow.name", "trioflow.outcome") == ends
    attempts = total(reader, "trioflow.activity.attempts", "trioflow.outcome")
    assert {how: attempts[how] for how in answers} == dict(answers)
    assert attempts["retried"] == sum(total(reader, "trioflow.activity.retries", "trioflow.activity").values())
    for histogram in ("trioflow.orchestration.duration", "trioflow.orchestration.history"):
        assert sum(point.count for point in points(reader, histogram)) == sum(ends.values())
    assert sum(point.sum for point in points(reader, "trioflow.orchestration.history")) == len(events)
    assert set(total(reader, "trioflow.client.starts", "trioflow.outcome")) == {"created"}


def test_the_tables_in_the_documentation_are_those_of_the_code() -> None:
    """Each metric with its unit, meaning and labels, and each attribute, on a line of its own."""
    page = Path(__file__).parents[2].joinpath("docs", "telemetry.md").read_text("utf-8")
    tables = page[page.index("## Attributes") : page.index("## Logs")]
    lines = [line for line in tables.splitlines() if line.startswith("| `")]
    expected = [f"| `{name}` | {means} |" for name, means in ATTRIBUTES.items()]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
        expected.append(f"| `{metric.name}` | {metric.kind} | `{metric.unit}` | {metric.means} | {labels} |")
    assert lines == expected
