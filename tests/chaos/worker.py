"""A worker process for the kill tests: opens a runtime on a SQLite file and says what its activities do.

Usage: python -m tests.chaos.worker PATH [OPTION...]; each option of the runtime that is named is turned off.

Lines on standard output: ``ready``, then ``run <instance> <step>`` at the beginning of each activity. Ends when its
standard input is closed.
"""

from __future__ import annotations

import sys

import trio

import trioflow
from trioflow import activity, durable

app = trioflow.App("chaos")


@app.activity
async def step(order: int, name: str) -> str:
    """Do a step, and say so before it can end."""
    info = activity.info()
    sys.stdout.write(f"run {info.instance} {name}\n")
    sys.stdout.flush()
    await trio.lowlevel.checkpoint()
    return f"{name} of {order}"


@app.activity
def blocking_step(order: int) -> int:
    """A step in a thread."""
    return order * order


@app.orchestration
async def order(number: int) -> list[str]:
    """A chain, a fan, a timer, an event, a race and a thread: every kind of step."""
    done = [await step(number, "reserve")]
    done += await durable.gather(step(number, "pack"), step(number, "label"), step(number, "bill"))
    await durable.sleep(0.05)
    approved = await durable.wait_event("approved", int)
    index, winner = await durable.race(step(number, "ship"), durable.wait_event("never", str))
    square = await blocking_step(number)
    return [*done, f"approved {approved}", f"{index} {winner}", str(square)]


def expected(number: int) -> list[str]:
    """What order `number` must return."""
    steps = [f"{name} of {number}" for name in ("reserve", "pack", "label", "bill")]
    return [*steps, f"approved {number}", f"0 ship of {number}", str(number * number)]


async def main(path: str, *without: str) -> None:
    """Work until standard input is closed."""
    options = trioflow.RuntimeOptions(**dict.fromkeys(without, False))  # type: ignore[arg-type]
    async with trioflow.open_runtime(app, f"sqlite:{path}", options=options):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
