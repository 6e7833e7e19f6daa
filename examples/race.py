"""A race between anything: activities, timers, events, children, plain async functions. The losers have ended.

Prints:
    mirror 1 won with package from mirror 1
    mirror 0: cancelled
    mirror 2: cancelled
    the timer won: nobody called
    the event won: Ada called
    the child won: a tree of 12 rings
    the plain function won: two steps done
"""

from typing import NoReturn

import trio

import trioflow
from trioflow import durable

app = trioflow.App("races")
log: list[str] = []


@app.activity
async def download(mirror: int) -> str:
    """One mirror answers, the others hang; losing arrives here as trio's own cancellation."""
    try:
        if mirror != 1:
            await trio.sleep_forever()
        return f"package from mirror {mirror}"
    except trio.Cancelled:
        log.append(f"mirror {mirror}: cancelled")
        raise


@app.activity
async def small_step() -> None:
    """Something quick."""


@app.orchestration
async def grow(rings: int) -> str:
    """A child."""
    for _ in range(rings):
        await durable.sleep(0.001)
    return f"a tree of {rings} rings"


@app.orchestration
async def fetch() -> tuple[int, str]:
    """The first mirror to answer wins. When `race` returns, nothing of the others runs or holds a lease."""
    return await durable.race(download(0), download(1), download(2))


@app.orchestration
async def phone(patience: float) -> str:
    """An event against a timer."""
    winner, value = await durable.race(durable.wait_event("call", str), durable.sleep(patience))
    return f"the event won: {value} called" if winner == 0 else "the timer won: nobody called"


@app.orchestration
async def nested() -> list[str]:
    """A race within a race, won by a child; then one that an async function of several steps wins."""

    async def two_steps() -> str:
        await small_step()
        await small_step()
        return "two steps done"

    async def for_ever() -> NoReturn:
        while True:
            await durable.sleep(3600)

    _, (_, child) = await durable.race(durable.race(for_ever, grow(12)), for_ever)
    _, plain = await durable.race(durable.wait_event("never", str), two_steps)
    return [f"the child won: {child}", f"the plain function won: {plain}"]


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:
        client = runtime.client
        winner, value = await (await client.start(fetch)).result()
        print(f"mirror {winner} won with {value}")
        print(*sorted(log), sep="\n")

        print(await (await client.start(phone, 0.05)).result())
        handle = await client.start(phone, 3600.0)
        await handle.raise_event("call", "Ada")
        print(await handle.result())

        print(*await (await client.start(nested)).result(), sep="\n")


if __name__ == "__main__":
    trio.run(main)
