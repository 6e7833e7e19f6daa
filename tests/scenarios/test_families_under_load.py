"""Many families at once, on three workers that keep nothing in memory: whatever is cancelled, terminated, continued or
failed, every instance comes to an end, and nothing that was asked for is lost.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import running
from trioflow import durable
from trioflow.abc import Store

ROOTS, DEPTH, CHAPTERS = 20, 2, 2


def luck(*parts: object) -> float:
    """A number in [0, 1), always the same for the same parts."""
    return hashlib.sha256(repr(parts).encode()).digest()[0] / 256


app = trioflow.App("families")


@app.activity
async def step(number: int) -> int:
    """Fails now and then."""
    if luck("step", number) < 0.1:
        raise KeyError(number)
    return number


@app.orchestration
async def postcard(sender: str) -> str:
    """What each chapter sends off."""
    return sender


@app.orchestration
async def member(number: int, depth: int, chapters: int) -> int:
    """Chapters with a branch that works and one that has a child, cut short; at last, children of its own."""
    fortune, me = luck(number, depth, chapters), durable.info()
    if chapters:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(step, number * 31 + chapters)
            with durable.move_on_after(0.001 if fortune < 0.3 else 5):
                await durable.gather(*[forgiven(number + 1, depth - 1) for _ in range(depth)])
            nursery.cancel_scope.cancel()
        await durable.start_detached(postcard, me.instance, id=f"postcard of {me.instance}, {me.execution}")
        durable.continue_as_new(number, depth, chapters - 1)
    if fortune > 0.9:
        raise RuntimeError("bad luck")
    return sum(await durable.gather(*[forgiven(number * 2 + child, depth - 1) for child in range(3 if depth else 0)]))


async def forgiven(number: int, depth: int) -> int:
    """A child, whatever becomes of it."""
    try:
        return await member(number, depth, 1) + 1
    except Exception:
        return 0


@pytest.mark.slow
async def test_every_member_of_every_family_comes_to_an_end(store: Store) -> None:
    """Nothing waits for ever: roots, children and postcards have ended, and each chapter's postcard is there."""
    async with (
        store,
        running(app, store, cache_executions=0),
        running(app, store, cache_executions=0, fuse=False),
        running(app, store) as client,
    ):
        roots = [await client.start(member, number, DEPTH, CHAPTERS, id=f"root {number}") for number in range(ROOTS)]
        await trio.sleep(0.3)
        for number, root in enumerate(roots):
            try:
                if number % 4 == 0:
                    await root.cancel("the family is dissolved")
                elif number % 7 == 1:
                    await root.terminate("the family is no more")
            except trioflow.InstanceFinished:
                pass
        for root in roots:
            assert await ended(root)
        for root in roots:
            await all_postcards(client, root.id)
            for event in await every_event(client, root.id):
                if type(event).__name__ == "ChildScheduled":
                    assert await ended(client.handle(event.instance))


async def every_event(client: trioflow.Client, instance: str) -> list[Any]:
    """All that happened to an instance, in all its executions."""
    last = (await client.get(instance)).execution
    return [event for number in range(1, last + 1) for event in await client.history(instance, number)]


async def all_postcards(client: trioflow.Client, instance: str) -> None:
    """Each chapter that is over has sent one off, and it has arrived."""
    for chapter in range(1, (await client.get(instance)).execution):
        handle = client.handle(f"postcard of {instance}, {chapter}")
        assert await handle.result(timeout=30) == instance


async def ended(handle: trioflow.Handle[Any]) -> bool:
    """Wait for an end, of whatever kind."""
    try:
        await handle.result(timeout=60)
    except (trioflow.OrchestrationFailed, trioflow.OrchestrationCancelled, trioflow.OrchestrationTerminated):
        pass
    return True


@pytest.mark.slow
async def test_a_stream_of_events_through_many_executions(store: Store) -> None:
    """Events sent while executions follow each other, on three workers, arrive once each and in their order."""
    streams = trioflow.App("streams")

    @streams.activity
    async def note(number: int) -> int:
        return number

    @streams.orchestration
    async def collect(seen: list[int]) -> list[int]:
        seen += [await note(await durable.wait_event("n", int)) for _ in range(3)]
        if len(seen) < 150:
            durable.continue_as_new(seen)
        return seen

    async with (
        store,
        running(streams, store, cache_executions=0),
        running(streams, store, cache_executions=0, fuse=False),
        running(streams, store) as client,
    ):
        handle = await client.start(collect, [])
        for number in range(150):
            await handle.raise_event("n", number)
            if number % 13 == 0:
                await trio.sleep(0.01)
        assert await handle.result(timeout=60) == list(range(150))
        assert (await handle.info()).execution == 50
