"""One order, seen as one trace, although it was retried, timed out, cancelled, and finished by another process.

The first process is killed with SIGKILL in the middle of the order; the second resumes it. What both send to an
OpenTelemetry collector is one tree: the fan-out, the attempt that failed and the one that followed, the offer that came
too late, the courier who was called off, and the work of both processes.

To look at it, start a collector with a trace viewer first, run this, and search for the trace id that it prints:

    docker run --rm -p 16686:16686 -p 4318:4318 jaegertracing/jaeger     # then open http://localhost:16686
    npx @elastic/mockotlpserver --ui                                     # then open http://localhost:8080

Any OTLP/HTTP collector will do; OTEL_EXPORTER_OTLP_ENDPOINT says where it is. Without one the order is done all the
same, and nobody waits for it. Needs ``pip install 'trioflow[otel]'``.

Prints:
    first process: reserve
    first process: charge
    first process: pack (killed here)
    second process: pack
    second process: ship
    result: order o-1 is on its way
    trace id: ...
"""

import logging
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import trioflow
from trioflow import activity, durable, telemetry
from trioflow.history import OrchestrationStarted

app = trioflow.App("shop")
EVERY = 0.2  # seconds between two exports: what a process that is killed has not sent is lost


@app.activity
async def reserve(item: str) -> str:
    """Runs once for each item, all at the same time."""
    return item


@app.activity(retry=trioflow.Retry(max_attempts=3, initial=0.1))
async def charge(order: str) -> str:
    """Its first attempt fails. The span that it makes of its own is within that of the attempt."""
    with trace.get_tracer("payment").start_as_current_span("ask the bank"):
        if activity.info().attempt == 1:
            raise ConnectionError("the bank does not answer")
    return f"receipt for {order}"


@app.activity
async def look_for_offers(order: str) -> None:
    """Takes longer than anybody waits for it."""
    await trio.sleep_forever()


def send_all() -> None:
    """Send what has not been sent yet, however busy this machine is."""
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    provider.force_flush()


@app.activity
async def pack(order: str) -> None:
    """The first process never gets beyond this."""
    if os.environ.get("TRIOFLOW_EXAMPLE_HANG"):
        await trio.sleep(2 * EVERY)
        with trio.move_on_after(2):  # there may be no collector
            await trio.to_thread.run_sync(send_all, abandon_on_cancel=True)
        say("begin pack")
        await trio.sleep_forever()


@app.activity
async def ship(order: str) -> None:
    """The last step."""


@app.orchestration
async def billing(order: str) -> str:
    """A child: its spans are part of its parent's trace."""
    return await charge(order)


async def call_courier(order: str) -> None:
    """A branch that waits until it is called off."""
    await durable.wait_event("courier is free")


@app.orchestration
async def process_order(order: str) -> str:
    """Reserve everything at once, bill, look for a better offer for a moment, pack, ship."""
    await durable.map(reserve, ["tea", "cups", "spoons"])
    say_once("end reserve")
    await billing(order)
    say_once("end charge")
    with durable.move_on_after(0.3):
        await look_for_offers(order)
    async with durable.open_nursery() as nursery:
        nursery.start_soon(call_courier, order)
        await pack(order)
        nursery.cancel_scope.cancel("it goes by mail")
    say_once("end pack")
    await ship(order)
    say_once("end ship")
    return f"order {order} is on its way"


def say(line: str) -> None:
    """Tell the master what happens, as it happens."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say_once(line: str) -> None:
    """The same from an orchestration, whose code is run again by each replay."""
    if not durable.info().is_replaying:
        say(line)


async def work(path: str) -> None:
    """What a worker process does: the same in both."""
    async with (
        telemetry.open_otlp("shop", every=EVERY) as otel,
        trioflow.open_runtime(app, f"sqlite:{path}", instruments=[otel]) as runtime,
    ):
        handle = await runtime.client.start(process_order, "o-1", id="order-o-1", if_exists="attach")
        say(f"result: {await handle.result()}")
        started = (await handle.history())[0]
        assert isinstance(started, OrchestrationStarted)
        say(f"trace id: {started.headers['traceparent'].split('-')[1]}")


def worker(path: pathlib.Path, **environment: str) -> subprocess.Popen[str]:
    """Start a worker process on the store."""
    command = [sys.executable, __file__, str(path)]
    return subprocess.Popen(  # noqa: S603  # this very file
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "orders.db")

        with worker(path, TRIOFLOW_EXAMPLE_HANG="1") as first:
            assert first.stdout is not None
            for line in first.stdout:
                what, _, name = line.strip().partition(" ")
                if what == "end":
                    print("first process:", name)
                elif name == "pack":
                    print("first process: pack (killed here)")
                    first.send_signal(signal.SIGKILL)

        with worker(path) as second:
            assert second.stdout is not None
            for line in second.stdout:
                what, _, name = line.strip().partition(" ")
                print(f"second process: {name}" if what == "end" else line.strip())

    sys.exit(second.returncode)


if __name__ == "__main__":
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # there may be no collector
    if len(sys.argv) > 1:
        trio.run(work, sys.argv[1])
    else:
        main()
