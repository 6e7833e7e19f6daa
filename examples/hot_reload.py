"""New settings for a loop that runs: they come through a mailbox, are taken between two rounds, and none is lost.

Prints:
    polled, next in 60 s
    polled, next in 30 s
    polled, next in 5 s
    the rounds had 60, 30, 5 s
"""

from typing import NoReturn

import attrs
import trio

import trioflow
from trioflow import durable

app = trioflow.App("poller")

CHAPTER = 2  # rounds after which the history begins afresh; a real one might take a thousand


@attrs.frozen
class Settings:
    """What may change while it runs."""

    interval: int = 60


@app.activity
async def poll(settings: Settings) -> None:
    """The work."""
    print(f"polled, next in {settings.interval} s")


@app.orchestration
async def poller(settings: Settings) -> NoReturn:
    """Rounds for ever. New settings end the pause; of several, the last counts for the next round."""
    for _ in range(CHAPTER):
        await poll(settings)
        durable.set_status([*(durable.get_status() or []), settings.interval])
        with durable.move_on_after(settings.interval):
            settings = await durable.wait_event("settings", Settings)
            while True:
                try:
                    settings = durable.wait_event_nowait("settings", Settings)
                except durable.WouldBlock:
                    break
    durable.continue_as_new(settings)  # settings that are not read yet go along


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:
        handle = await runtime.client.start(poller, Settings())
        rounds = handle.watch()
        await anext(rounds)
        await handle.suspend("so that all three are there when it goes on")
        for interval in (30, 10, 5):
            await handle.raise_event("settings", Settings(interval))
        await handle.resume()
        async for intervals in rounds:
            if intervals[-1] == 5:
                break
        print(f"the rounds had {', '.join(map(str, intervals))} s")
        await handle.cancel("enough polled")


if __name__ == "__main__":
    trio.run(main)
