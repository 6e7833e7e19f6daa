"""New settings for a loop that runs: they come through a mailbox, are taken between two rounds, and none is lost.

Prints:
    polled, next in 60 s
    polled, next in 30 s
    polled, next in 5 s
    4 settings applied: 60, 30, 10, 5
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


def apply(settings: Settings) -> Settings:
    """Whatever new settings mean; here they are noted for clients to read."""
    durable.kv["applied"] = [*durable.kv.get("applied", []), settings.interval]
    return settings


@app.orchestration
async def poller(settings: Settings) -> NoReturn:
    """Rounds for ever. New settings end the pause; of several, the last counts for the next round."""
    if "applied" not in durable.kv:
        apply(settings)
    for _ in range(CHAPTER):
        await poll(settings)
        with durable.move_on_after(settings.interval):
            settings = apply(await durable.wait_event("settings", Settings))
            while True:
                try:
                    settings = apply(durable.wait_event_nowait("settings", Settings))
                except durable.WouldBlock:
                    break
    durable.continue_as_new(settings)  # settings that are not read yet go along


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:
        handle = await runtime.client.start(poller, Settings())
        while not (await handle.info()).wake_at:
            await trio.sleep(0.01)  # until it pauses, for a minute
        await handle.suspend("so that all three are there when it goes on")
        for interval in (30, 10, 5):
            await handle.raise_event("settings", Settings(interval))
        await handle.resume()
        while len((await handle.kv())["applied"]) < 4 or not (await handle.info()).wake_at:
            await trio.sleep(0.01)
        applied = (await handle.kv())["applied"]
        print(f"{len(applied)} settings applied: {', '.join(map(str, applied))}")
        await handle.cancel("enough polled")


if __name__ == "__main__":
    trio.run(main)
