"""A worker process for the tests of cancellation across processes: it says what happens in it, one line a fact.

Usage: python -m tests.chaos.desk PATH turns|activities

The one takes turns and the activities tagged "desk", the other takes the other activities. ``ready`` is its first line;
a line on standard input lets the bodies end that wait for one. Ends when its standard input is closed.
"""

from __future__ import annotations

import logging
import sqlite3
import sys

import trio

import trioflow
from trioflow import activity, durable

bodies = trioflow.App("bodies")
app = trioflow.App("orders")
go = trio.Event()


def say(fact: str) -> None:
    """A line on standard output."""
    print(fact, flush=True)


@bodies.activity
async def obedient(name: str) -> str:
    """Run until cancelled."""
    say(f"{name} runs {activity.info().attempt}")
    try:
        await trio.sleep_forever()
    finally:
        say(f"{name} ends")
    return name


@bodies.activity
async def charge(order: str) -> str:
    """Go through, whoever cancels."""
    say("charge runs")
    with trio.CancelScope(shield=True):
        await go.wait()
    return f"receipt for {order}"


@bodies.activity
async def fail_when_told() -> None:
    """Raise, once told to."""
    say("fail runs")
    await go.wait()
    raise ValueError("told to")


@bodies.activity
def blocking(name: str) -> None:
    """A plain function: it asks whether it was cancelled."""
    say(f"{name} runs")
    try:
        while True:
            trio.from_thread.check_cancelled()
            trio.from_thread.run(trio.sleep, 0.01)
    finally:
        say(f"{name} ends")


@app.activity(tag="desk")
async def leased(path: str) -> list[int]:
    """The event ids of this execution's activities that somebody holds a lease on, but for this one."""
    info = activity.info()
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute(
            "SELECT event_id FROM activity WHERE instance = ? AND lock_token IS NOT NULL AND event_id != ?",
            (info.instance, info.event_id),
        ).fetchall()
    finally:
        connection.close()
    return [row[0] for row in rows]


@app.activity(tag="desk")
async def refund(receipt: str) -> None:
    """Say what is refunded."""
    say(f"refunded {receipt}")


app.include(bodies)


@app.orchestration
async def nursery(path: str) -> list[int]:
    """Branches whose activities run elsewhere; one fails. What is still leased when the block has ended?"""
    try:
        async with durable.open_nursery() as branches:
            for name in ("a", "b", "c"):
                branches.start_soon(obedient, name)
            branches.start_soon(blocking, "thread")
            branches.start_soon(fail_when_told)
    except ExceptionGroup:
        pass
    return await leased(path)


@app.orchestration
async def order(name: str) -> str:
    """A charge that is refunded if the order does not go through."""
    receipt = await charge(name)
    try:
        await durable.lowlevel.checkpoint()
    finally:
        with durable.CancelScope(shield=True):
            await refund(receipt)
    return receipt


@app.orchestration
async def waiting(name: str) -> str:
    """One body that runs until it is cancelled."""
    return await obedient(name)


@app.orchestration
async def patient(seconds: float) -> str:
    """A deadline around a wait, and cleanup in three steps behind it."""
    try:
        with durable.fail_after(seconds):
            await durable.wait_event("never")
    except durable.TooSlowError:
        with durable.CancelScope(shield=True):
            for number in range(3):
                await refund(f"step {number}")
                await durable.sleep(0.05)
        return "too slow"
    return "never"


async def main(path: str, role: str) -> None:
    """Work until standard input is closed; what is logged is said, too."""
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(message)s")
    turns = role == "turns"
    options = trioflow.RuntimeOptions(untagged=not turns, tags=("desk",) if turns else (), grace=0.5)
    async with trioflow.open_runtime(app if turns else bodies, f"sqlite:{path}", options=options):
        say("ready")
        async for _ in trio.lowlevel.FdStream(0):
            go.set()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
