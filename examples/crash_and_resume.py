"""A worker is killed with SIGKILL in the middle of an order; a second one finishes it. No completed step runs again.

The first process runs steps one and two and is killed while step three is under way. The second opens the same file
with the default options, notices at once that the owner of the work is dead, replays what is recorded, and goes on with
step three.

Prints:
    first process: reserve
    first process: charge
    first process: pack (killed here)
    second process: pack
    second process: ship
    second process: notify
    result: order o-1 is done: reserve, charge, pack, ship, notify
    no completed step ran again
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import trio

import trioflow

app = trioflow.App("orders")

STEPS = ("reserve", "charge", "pack", "ship", "notify")


@app.activity
async def step(order: str, name: str) -> str:
    """Do one step of an order. The first process never gets beyond `pack`: its master kills it there."""
    say(f"begin {name}")
    if name == "pack" and os.environ.get("TRIOFLOW_EXAMPLE_HANG"):
        await trio.sleep_forever()
    say(f"end {name}")
    return name


@app.orchestration
async def process_order(order: str) -> str:
    """Five steps, one after another; each is recorded when it is done."""
    done = [await step(order, name) for name in STEPS]
    return f"order {order} is done: {', '.join(done)}"


def say(line: str) -> None:
    """Tell the master what happens, as it happens."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def work(path: str) -> None:
    """What a worker process does: the same in both."""
    async with trioflow.open_runtime(app, f"sqlite:{path}") as runtime:
        handle = await runtime.client.start(process_order, "o-1", id="order-o-1", if_exists="attach")
        say(f"result: {await handle.result()}")


def worker(path: pathlib.Path, **environment: str) -> subprocess.Popen[str]:
    """Start a worker process on the store."""
    command = [sys.executable, __file__, str(path)]
    return subprocess.Popen(  # noqa: S603  # this very file
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def main() -> None:
    completed: list[str] = []
    again: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "orders.db")

        with worker(path, TRIOFLOW_EXAMPLE_HANG="1") as first:
            assert first.stdout is not None
            for line in first.stdout:
                what, _, name = line.strip().partition(" ")
                if what == "end":
                    completed.append(name)
                    print("first process:", name)
                elif name == "pack":
                    print("first process: pack (killed here)")
                    first.send_signal(signal.SIGKILL)

        with worker(path) as second:
            assert second.stdout is not None
            for line in second.stdout:
                what, _, name = line.strip().partition(" ")
                if what == "begin" and name in completed:
                    again.append(name)
                elif what == "end":
                    print("second process:", name)
                elif what == "result:":
                    print(line.strip())

    print("no completed step ran again" if not again else f"ran again: {again}")
    sys.exit(bool(again) or second.returncode != 0)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        trio.run(work, sys.argv[1])
    else:
        main()
