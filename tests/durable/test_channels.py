"""Memory channels and `as_safe_channel`: what trio's own tests do not look at."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncGenerator
from math import inf
from typing import Any

import pytest

from tests.engine.driving import Driven
from tests.kernel.helpers import World, finish
from trioflow import durable
from trioflow.app import App
from trioflow.errors import NotInOrchestration

app = App("channels")


@app.activity
async def step(value: int) -> int:
    """Never runs here."""
    return value


def test_a_channel_is_made_inside_an_orchestration() -> None:
    """Outside there is none that it could belong to."""
    with pytest.raises(NotInOrchestration):
        durable.open_memory_channel(1)


def test_another_orchestration_cannot_use_a_channel() -> None:
    """Neither end, in any way."""
    ends: list[Any] = []

    async def owner() -> None:
        ends.extend(durable.open_memory_channel[int](1))
        await durable.sleep_forever()

    async def thief() -> None:
        send, receive = ends
        for use in (lambda: send.send_nowait(1), send.clone, send.close, receive.receive_nowait, receive.close):
            with pytest.raises(RuntimeError, match="this channel belongs to instance test and was used from"):
                use()

    World(owner).run()
    finish(thief)
    assert ends[0].statistics().open_send_channels == 1


def test_looks() -> None:
    """A repr tells the state, never an address."""

    async def main() -> list[str]:
        send, receive = durable.open_memory_channel[int](inf)
        send.send_nowait(1)
        looks = [repr(send), repr(receive)]
        receive.close()
        return [*looks, repr(receive)]

    assert finish(main) == [
        "<durable.MemorySendChannel, 1/inf buffered>",
        "<durable.MemoryReceiveChannel, 1/inf buffered>",
        "<durable.MemoryReceiveChannel, closed>",
    ]


def test_workers_on_a_channel_replay() -> None:
    """Values go from activities in one branch to activities in others, the same in every replay."""

    async def program() -> list[int]:
        got: list[int] = []
        send, receive = durable.open_memory_channel[int](0)

        async def worker() -> None:
            async for value in receive:
                result = await step(10 * value)
                got.append(result)

        async with durable.open_nursery() as nursery, send:
            nursery.start_soon(worker)
            nursery.start_soon(worker)
            for value in range(3):
                await send.send(await step(value))
        return got

    driven = Driven(program, app=app)
    driven.start()
    done = 0
    while driven.kinds[-1] != "OrchestrationCompleted":
        event = driven.scheduled[done]
        done += 1
        value = driven.app.codec.decode(event.payload, dict[str, int], what="test")["value"]
        driven.complete(event, value)
    assert driven.result() == [0, 10, 20]
    driven.close()


def test_dropping_who_waits_at_a_channel_leaves_nothing() -> None:
    """No value moves while the kernel is dropped, and nothing is left for the cyclic collector."""
    seen: list[weakref.ref[Any]] = []

    async def main() -> None:
        send, receive = durable.open_memory_channel[int](0)
        full, drain = durable.open_memory_channel[int](0)
        seen.extend([weakref.ref(send), weakref.ref(drain)])
        async with durable.open_nursery() as nursery:
            with send, receive, full, drain:
                nursery.start_soon(receive.receive)
                nursery.start_soon(full.send, 1)
                await durable.sleep_forever()

    gc.collect()
    gc.disable()
    try:
        world = World(main)
        world.run()
        world.kernel.close()
        del world
        World.made.clear()
        assert [ref() for ref in seen] == [None, None]
    finally:
        gc.enable()


def test_a_safe_channel_replays() -> None:
    """A generator with a scope and durable steps in it, iterated step by step; cancelled when the block ends."""

    @durable.as_safe_channel
    async def pages() -> AsyncGenerator[int, None]:
        with durable.move_on_after(100):
            for number in range(10):
                yield await step(number)

    async def program() -> list[int]:
        got: list[int] = []
        async with pages() as values:
            async for value in values:
                got.append(value)
                if value == 2:
                    break
        return got

    driven = Driven(program, app=app)
    driven.start()
    for number in range(3):
        driven.complete(driven.scheduled[number], number)
    assert driven.result() == [0, 1, 2]
    assert len(driven.scheduled) == 3
    driven.close()


def test_dropping_a_safe_channel_closes_its_generator() -> None:
    """Its plain `finally` runs, its durable steps do not, and nobody warns."""
    log: list[str] = []

    @durable.as_safe_channel
    async def pages() -> AsyncGenerator[int, None]:
        try:
            yield await step(1)
        finally:
            log.append("closed")
            await step(2)
            log.append("never")

    async def main() -> None:
        async with pages() as values:
            async for _ in values:
                await durable.sleep_forever()

    driven = Driven(main, app=app)
    driven.start()
    driven.complete(driven.scheduled[0], 1)
    driven.live.close()
    assert log[-1] == "closed"
    assert "never" not in log
    assert len(driven.scheduled) == 1


def test_a_safe_channel_is_a_resource() -> None:
    """It may be closed early, in `async with` too; then nothing more is received."""

    @durable.as_safe_channel
    async def numbers() -> AsyncGenerator[int, None]:
        yield 1
        yield 2

    async def main() -> list[int]:
        async with numbers() as values:
            async with values:
                first = await values.receive()
            with pytest.raises(durable.ClosedResourceError):
                await values.receive()
        return [first]

    assert finish(main) == [1]


def test_a_nursery_in_a_generator_is_left_by_closing_it() -> None:
    """The GeneratorExit that closes it comes out in a group, as from any nursery, and is nobody's failure."""
    log: list[str] = []

    @durable.as_safe_channel
    async def numbers() -> AsyncGenerator[int, None]:
        try:
            async with durable.open_nursery():
                yield 1
        except BaseExceptionGroup as group:
            log.append(type(group.exceptions[0]).__name__)
            raise

    async def main() -> None:
        async with numbers() as values:
            await values.receive()

    finish(main)
    assert log == ["GeneratorExit"]
