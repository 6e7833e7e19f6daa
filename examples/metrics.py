"""What a runtime measures: how much began and ended, how long it took, how much waits.

Here the numbers are read in this very process and printed. `telemetry.open_otlp("shop")`, as in with_observability.py,
sends them to a collector instead; any other reader or exporter of OpenTelemetry's SDK does as well. Needs
``pip install 'trioflow[otel]'``.

Prints:
    trioflow.orchestration.starts: 21
    trioflow.orchestration.ends: 20 completed, 1 failed
    trioflow.activity.attempts: 40 completed, 1 failed, 20 retried
"""

import trio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

import trioflow
from trioflow import activity, telemetry

app = trioflow.App("shop")


@app.activity(retry=trioflow.Retry(max_attempts=2, initial=0.01))
async def charge(order: int) -> str:
    """Its first attempt fails."""
    if activity.info().attempt == 1:
        raise ConnectionError("the bank does not answer")
    return f"receipt for {order}"


@app.activity
async def ship(order: int) -> None:
    """Refuses one order."""
    if order == 0:
        raise ValueError("there is no order 0")


@app.orchestration
async def process_order(order: int) -> None:
    """Two steps, or one."""
    if order:
        await charge(order)
    await ship(order)


def show(reader: InMemoryMetricReader, name: str, by: str | None = None) -> None:
    """Print a counter, added up by one of its labels."""
    totals: dict[str, int] = {}
    data = reader.get_metrics_data()
    assert data is not None
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name == name:
                    for point in metric.data.data_points:
                        assert isinstance(point, NumberDataPoint)  # of a counter
                        label = str((point.attributes or {}).get(by, "")) if by else ""
                        totals[label] = totals.get(label, 0) + int(point.value)
    print(f"{name}: " + ", ".join(f"{total} {label}".strip() for label, total in sorted(totals.items())))


async def main() -> None:
    reader = InMemoryMetricReader()
    otel = telemetry.OpenTelemetry(meter_provider=MeterProvider([reader]), traces=False)
    async with trioflow.open_runtime(app, "memory:", instruments=[otel]) as runtime:
        handles = [await runtime.client.start(process_order, order) for order in range(21)]
        for handle in handles:
            try:
                await handle.result()
            except trioflow.OrchestrationFailed:
                pass
    show(reader, "trioflow.orchestration.starts")
    show(reader, "trioflow.orchestration.ends", "trioflow.outcome")
    show(reader, "trioflow.activity.attempts", "trioflow.outcome")


if __name__ == "__main__":
    trio.run(main)
