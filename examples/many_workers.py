"""Three worker processes share one store; one is killed in the middle; every order is done, and none is forgotten.

The store is a SQLite file in a temporary directory. To see the same over PostgreSQL, name a database:

    STORE=postgresql://user@host/database python examples/many_workers.py

Prints:
    3 workers, one of them killed after 20 of 60 orders
    60 orders done by ... workers
    each order was charged once, as far as its history tells
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import uuid

import trio

import trioflow

app = trioflow.App("orders")

ORDERS, WORKERS = 60, 3


@app.activity
async def charge(order: str) -> str:
    """Charge an order; who did it."""
    await trio.sleep(0.02)
    return os.environ["WORKER"]


@app.activity
async def ship(order: str) -> str:
    """Ship an order; who did it."""
    await trio.sleep(0.02)
    return os.environ["WORKER"]


@app.orchestration
async def process_order(order: str) -> list[str]:
    """Two steps, which may well be done by different processes."""
    return [await charge(order), await ship(order)]


async def work(store: str) -> None:
    """What a worker process does, until it is killed or told to stop. Short leases: what it held is soon taken over."""
    options = trioflow.RuntimeOptions(turn_lease=2.0, activity_lease=2.0)
    async with trioflow.open_runtime(app, store, options=options):
        await trio.sleep_forever()


def start_worker(store: str, number: int) -> subprocess.Popen[bytes]:
    """Another process with this very file."""
    return subprocess.Popen(  # noqa: S603  # this very file
        [sys.executable, __file__, store], env={**os.environ, "WORKER": f"worker {number}"}
    )


async def watch_over(store: str, workers: list[subprocess.Popen[bytes]]) -> None:
    """A client: starts all orders, kills a worker on the way, and looks at what was done."""
    run = uuid.uuid4()
    async with trioflow.connect(store, app) as client:
        orders = [f"order {number} of {run}" for number in range(ORDERS)]
        handles = [await client.start(process_order, order, id=order) for order in orders]
        did: list[str] = []
        for handle in handles:
            did += await handle.result()
            if len(did) == 2 * 20:
                workers[0].send_signal(signal.SIGKILL)
                print(f"{WORKERS} workers, one of them killed after 20 of {ORDERS} orders")
        print(f"{len(did) // 2} orders done by {len(dict.fromkeys(did))} workers")
        charged = 0
        for handle in handles:
            kinds = [type(event).__name__ for event in await handle.history()]
            charged += kinds.count("ActivityCompleted") == 2
        if charged == ORDERS:
            print("each order was charged once, as far as its history tells")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = os.environ.get("STORE", f"sqlite:{pathlib.Path(folder, 'orders.db')}")
        workers = [start_worker(store, number) for number in range(WORKERS)]
        try:
            trio.run(watch_over, store, workers)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        trio.run(work, sys.argv[1])
    else:
        main()
