"""Over the wire: what a collector gets from the examples, and what one that is down costs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import trioflow
from tests.telemetry.drawing import PICTURE, label, order_of, received, rows
from tests.telemetry.receiver import ReceivedSpan, Receiver, tree
from trioflow.telemetry import open_otlp

ROOT = Path(__file__).parents[2]
EXPORTER = 9.0
"""Seconds: a little less than OpenTelemetry's exporter by itself waits for a collector."""
ORDER = """\
start process_order
  process_order
    process_order: completed
    reserve
    reserve
    reserve
    start billing
      billing
        billing: completed
        charge
          ask the bank
        charge
          ask the bank
    deadline
      deadline: timed out
      look_for_offers
    branch call_courier
      call_courier: cancelled
      wait courier is free
    pack
    turn
    ship
"""


def test_an_order_of_two_processes_is_one_tree() -> None:
    """Fan-out, retry, child, time-out, cancellation, crash, resumption: nothing twice, nothing without its parent."""
    check_order(received())


def check_order(spans: list[ReceivedSpan]) -> None:
    """What has to be true of the example's spans, whoever received them."""
    order = order_of(spans)
    lines = tree(order)
    assert list(dict.fromkeys(lines)) == list(dict.fromkeys(ORDER.splitlines()))
    for name in ("reserve", "charge", "pack", "ship", "look_for_offers"):
        assert lines.count(f"    {name}") + lines.count(f"      {name}") + lines.count(f"        {name}") == {
            "reserve": 3,
            "charge": 2,
        }.get(name, 1)
    by_name = {span.name: span for span in order}
    assert by_name["look_for_offers"].attributes["trioflow.cancelled"] is True
    assert by_name["pack"].attributes["trioflow.attempt"] == 2
    workers = {span.attributes["trioflow.worker"] for span in order if "trioflow.attempt" in span.attributes}
    assert len(workers) == 2
    whole = by_name["process_order: completed"]
    assert all(whole.start <= span.start and span.end <= whole.end for span in order if span.name in ("pack", "ship"))
    retries = [span for span in order if span.name == "charge"]
    first, second = sorted(retries, key=lambda span: span.start)
    assert (first.status, second.status) == (2, 0)
    assert second.links == ((first.trace_id, first.span_id),)


def test_the_picture_in_the_docs_is_that_of_the_example() -> None:
    """It names each span of the tree that the example yields."""
    drawn = PICTURE.read_text()
    assert [span.name for _, span in rows(order_of(received())) if f">{label(span)}</text>" not in drawn] == []


async def test_metrics_arrive(tmp_path: Path) -> None:
    """At the end of the block at the latest."""
    app = trioflow.App("counted")

    @app.orchestration
    async def nothing() -> None:
        """Ends at once."""

    with Receiver() as receiver:
        async with (
            open_otlp("counted", endpoint=receiver.url, patience=60.0, for_all=False) as otel,
            trioflow.open_runtime(app, f"sqlite:{tmp_path}/s.db", instruments=[otel]) as runtime,
        ):
            await (await runtime.client.start(nothing)).result(timeout=20)
        ((labels, point),) = receiver.metrics["trioflow.orchestration.starts"]
    assert labels["trioflow.name"] == "nothing"
    assert point.as_int == 1
    assert {span.service for span in receiver.spans} == {"counted"}
    assert "trioflow.store.commit" in {name.rsplit(".", 1)[0] for name in receiver.metrics} | receiver.metrics.keys()


@pytest.mark.parametrize("how", ["refuses", "hangs", "is not there"])
async def test_a_dead_collector_delays_the_end_by_little(how: str) -> None:
    """What cannot be sent is given up when patience is over, and nothing waits for it before."""
    app = trioflow.App("unseen")

    @app.activity
    async def step(number: int) -> int:
        return number

    @app.orchestration
    async def order(number: int) -> int:
        return await step(number)

    with Receiver(refuse=how == "refuses", stall=how == "hangs") as receiver:
        url = "http://127.0.0.1:1" if how == "is not there" else receiver.url
        async with open_otlp("unseen", endpoint=url, every=0.01, patience=0.2, for_all=False) as otel:
            async with trioflow.open_runtime(app, "memory:", instruments=[otel]) as runtime:
                for number in range(20):
                    assert await (await runtime.client.start(order, number)).result(timeout=20) == number
            began = time.monotonic()
        assert time.monotonic() - began < EXPORTER
        assert receiver.spans == []


def test_a_process_with_a_dead_collector_ends_in_time(tmp_path: Path) -> None:
    """Nothing is waited for at the exit of the interpreter either."""
    program = (
        "import trio, time\n"
        "from trioflow import telemetry\n"
        "async def main():\n"
        "    async with telemetry.open_otlp('x', endpoint='http://127.0.0.1:1'):\n"
        "        from opentelemetry import trace\n"
        "        trace.get_tracer('x').start_span('lost').end()\n"
        "trio.run(main)\n"
        "print(time.monotonic())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert time.monotonic() - float(done.stdout) < EXPORTER
