"""Deadlines: durable timers with trio's scopes. One passes while no process lives, and is kept all the same.

Prints:
    waiting for the supplier
    nobody works here now, and the deadline passes
    no answer in time: the second supplier
    the search stopped with what it had: True
    the report was too slow, and its activity has ended
"""

import pathlib
import tempfile

import trio

import trioflow
from trioflow import durable

app = trioflow.App("deadlines")
ended: list[str] = []


@app.activity
async def look_up(page: int) -> str:
    """Each page takes a while."""
    await trio.sleep(0.05)
    return f"page {page}"


@app.activity
async def make_report() -> str:
    """Takes far too long. The deadline of whoever called it arrives here as trio's own cancellation."""
    try:
        await trio.sleep(600)
        return "report"
    finally:
        ended.append("report")


@app.orchestration
async def order_parts(patience: float) -> str:
    """Wait for a supplier's answer, and go on without it when the deadline has come."""
    durable.set_status("waiting")
    with durable.move_on_after(patience):
        return await durable.wait_event("answer", str)
    return "no answer in time: the second supplier"


@app.orchestration
async def search(patience: float) -> list[str]:
    """Keep what was found until the deadline."""
    found: list[str] = []
    with durable.move_on_after(patience):
        while True:
            found.append(await look_up(len(found) + 1))
    return found


@app.orchestration
async def report(patience: float) -> str:
    """`fail_after` raises behind a block that was too slow, once everything in the block has ended."""
    try:
        with durable.fail_after(patience):
            return await make_report()
    except durable.TooSlowError:
        return "the report was too slow"


async def work(store: str) -> None:
    async with trioflow.open_runtime(app, store) as runtime:
        handle = await runtime.client.start(order_parts, 0.5, id="parts")
        async for status in handle.watch():
            if status == "waiting":  # recorded in one transaction with the deadline
                break
        print("waiting for the supplier")

    print("nobody works here now, and the deadline passes")
    await trio.sleep(0.6)

    async with trioflow.open_runtime(app, store) as runtime:
        client = runtime.client
        print(await client.handle("parts").result())  # at once: the deadline is where it was
        found = await (await client.start(search, 0.4)).result()
        print("the search stopped with what it had:", found == [f"page {n}" for n in range(1, len(found) + 1)])
        text = await (await client.start(report, 0.1)).result()
        print(f"{text}, and its activity has {'ended' if ended else 'not ended'}")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        await work(f"sqlite:{pathlib.Path(folder, 'deadlines.db')}")


if __name__ == "__main__":
    trio.run(main)
