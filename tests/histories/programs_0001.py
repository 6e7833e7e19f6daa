"""The programs whose instances are in `store-0001.sql`. Never edited: an instance that runs could not be, either.

`wanted` says how each of them ends once the store is worked off by a later release.
"""

from __future__ import annotations

from typing import Any

import attrs

import trioflow
from trioflow import durable

app = trioflow.App("golden-store")
changed = False  # whether `unstable` is the code that its history does not fit


@attrs.frozen
class Item:
    """What the programs work on."""

    name: str
    price: int


class SoldOut(Exception):
    """Comes back as itself."""


app.exception(SoldOut)


@app.activity
async def note(item: Item) -> str:
    """Done at once."""
    return f"noted {item.name}"


@app.activity(tag="later")
async def deliver(item: Item) -> int:
    """Nobody takes its tag until the store is worked off."""
    return item.price


@app.activity(retry=trioflow.Retry(max_attempts=1))
async def sell(item: Item) -> str:
    """Fails."""
    raise SoldOut(item.name)


@app.orchestration
async def completes(item: Item) -> str:
    """Ends in its first turns."""
    durable.set_status({"item": item.name})
    durable.kv["seen"] = 1
    durable.kv["gone"] = 2
    del durable.kv["gone"]
    return await note(item)


@app.orchestration
async def fails(item: Item) -> str:
    """Ends by an exception of its own class."""
    return await sell(item)


@app.orchestration
async def waits(item: Item) -> list[Any]:
    """Waits for an event with a deadline that is far away; random things are of the history."""
    got: list[Any] = [durable.random() < 1, await durable.record(int, "5"), durable.patched("since-then")]
    with durable.move_on_after(100 * 365 * 24 * 3600):
        got.append(await durable.wait_event("go", int))
    return [*got, await note(item)]


@app.orchestration
async def sleeps(item: Item) -> str:
    """Its time has come when the store is opened again."""
    await durable.sleep(1)
    return await note(item)


@app.orchestration
async def queues(item: Item) -> list[int]:
    """Three activities that nobody has taken."""
    return list(await durable.gather(*(deliver(attrs.evolve(item, price=price)) for price in (1, 2, 3))))


@app.orchestration
async def undoes(item: Item) -> str:
    """A saga that is in the middle of what it has to do."""
    async with durable.saga() as saga:
        saga.on_failure(note, item)
        await durable.wait_event("go", int)
        raise SoldOut(item.name)


@app.orchestration
async def has_children(item: Item) -> list[Any]:
    """One child that has ended, one that waits, one detached, and one whose id was taken."""
    got: list[Any] = [await completes(item)]
    got.append(await durable.start_detached(completes, item, id="detached"))
    try:
        await durable.start_detached(completes, item, id="completed")
    except trioflow.errors.InstanceExists:
        got.append("taken")
    got.append(await waits.options(id="child")(item))
    return got


@app.orchestration
async def renews(item: Item) -> int:
    """Each event begins a new execution, until there were five."""
    durable.kv["rounds"] = durable.kv.get("rounds", 0) + 1
    if item.price < 5:
        await durable.wait_event("go", int)
        durable.continue_as_new(attrs.evolve(item, price=item.price + 1))
    return durable.kv["rounds"]


@app.orchestration
async def unstable(item: Item) -> str:
    """What it does first depends on which code is running."""
    await note(attrs.evolve(item, name="other") if changed else item)
    await durable.wait_event("go", int)
    return await note(item)


@app.orchestration
async def shields(item: Item) -> str:
    """Was asked to end, and cleans up behind a shield."""
    try:
        await durable.wait_event("go", int)
    finally:
        with durable.CancelScope(shield=True):
            await deliver(item)
    return "not reached"


ITEM = Item("lamp", 30)
GO = ("waiting", "undoing", "child", "renewed", "suspended", "parked", "locked")
"""Who waits for an event."""

WANTED: dict[str, Any] = {
    "completed": "noted lamp",
    "failed": SoldOut,
    "waiting": [True, 5, True, 7, "noted lamp"],
    "mailed": [True, 5, True, 1, "noted lamp"],
    "sleeping": "noted lamp",
    "queued": [1, 2, 3],
    "undoing": SoldOut,
    "parent": ["noted lamp", "detached", "taken", [True, 5, True, 7, "noted lamp"]],
    "child": [True, 5, True, 7, "noted lamp"],
    "detached": "noted lamp",
    "renewed": 3,
    "parked": "noted lamp",
    "suspended": [True, 5, True, 7, "noted lamp"],
    "shielding": trioflow.errors.OrchestrationCancelled,
    "cancelled": trioflow.errors.OrchestrationCancelled,
    "terminated": trioflow.errors.OrchestrationTerminated,
    "pending": "noted lamp",
    "delayed": "noted lamp",
    "locked": [True, 5, True, 7, "noted lamp"],
}
