"""Detached starts: a new root instance, never lost, whatever else the turn does that asks for it."""

from __future__ import annotations

from typing import Any

import pytest

import trioflow
from tests.runtime.programs import running
from trioflow import State, durable
from trioflow.abc import Store

starters = trioflow.App("starters")


@starters.activity
async def step(text: str) -> str:
    """A step."""
    return text


@starters.orchestration
async def other(name: str) -> str:
    """What is started."""
    return await step(name)


async def start(name: str) -> None:
    """Start one of this execution's own."""
    await durable.start_detached(other, name, id=f"{name} {durable.info().execution}")


@starters.orchestration
async def completes() -> str:
    """Start one, and complete."""
    await start("other")
    return "done"


@starters.orchestration
async def fails() -> None:
    """Start one, and fail."""
    await start("other")
    raise ValueError("afterwards")


@starters.orchestration
async def continues(left: int) -> str:
    """Start one, and continue as new."""
    await start("other")
    if left:
        durable.continue_as_new(left - 1)
    return "done"


@starters.orchestration
async def beside_the_end(how: str) -> str:
    """Start one, and end in the very turn that asks for it."""
    async with durable.open_nursery() as nursery:
        nursery.start_soon(start, "other")
        await durable.lowlevel.checkpoint()  # now it is asked for, and the answer is yet to come
        if how == "continues" and durable.info().execution == 1:
            durable.continue_as_new(how)
        if how == "fails":
            raise ValueError("at once")
        if how == "cancels":
            nursery.cancel_scope.cancel()
    return "done"


@starters.orchestration
async def goes_on() -> str:
    """Start one, and do something else."""
    await start("other")
    return await step("after")


@pytest.mark.parametrize("what", ["completes", "fails", "goes_on"])
async def test_a_detached_start_is_an_instance_of_its_own(store: Store, what: str) -> None:
    """duroxide: sample_detached_orchestration_scheduling, sample_detached_then_activity: replay-safe, no parent."""
    async with running(starters, store, cache_executions=0) as client:
        handle = await client.start(what)
        if what == "fails":
            with pytest.raises(trioflow.OrchestrationFailed, match="afterwards"):
                await handle.result(timeout=20)
        else:
            await handle.result(timeout=20)
        assert await client.handle("other 1").result(timeout=20) == "other"
        assert (await client.get("other 1")).parent is None


async def test_each_execution_of_a_chain_starts_one(store: Store) -> None:
    """duroxide: a detached start is lost if its turn ends in continue-as-new. Here five executions start five."""
    async with running(starters, store) as client:
        assert await (await client.start("continues", 4)).result(timeout=20) == "done"
        for number in range(1, 6):
            assert await client.handle(f"other {number}").result(timeout=20) == "other"


@pytest.mark.parametrize("how", ["continues", "fails", "cancels", "returns"])
async def test_the_very_turn_that_asks_may_end_everything(store: Store, how: str) -> None:
    """duroxide: detached start and continue-as-new (or a cancel) in one turn lose the start."""
    async with running(starters, store) as client:
        handle = await client.start("beside_the_end", how)
        if how == "fails":
            with pytest.raises(trioflow.OrchestrationFailed, match="at once"):
                await handle.result(timeout=20)
        else:
            assert await handle.result(timeout=20) == "done"
        assert await client.handle("other 1").result(timeout=20) == "other"


async def test_a_cancel_in_the_same_turn_loses_no_start(store: Store) -> None:
    """A cancel that waits in the inbox together with the start cancels the starter, not what it started."""
    async with store, trioflow.connect(store, starters) as client:
        handle = await client.start("goes_on")
        await handle.cancel()
        async with running(starters, store):
            with pytest.raises(trioflow.OrchestrationCancelled):
                await handle.result(timeout=20)
            assert await client.handle("other 1").result(timeout=20) == "other"


async def test_terminating_the_starter_spares_what_it_started(store: Store) -> None:
    """A detached instance is nobody's child: no end of its starter reaches it."""
    app = trioflow.App("apart")

    @app.orchestration
    async def other() -> Any:
        return await durable.wait_event("go")

    @app.orchestration
    async def main() -> None:
        await durable.start_detached(other, id="other")
        durable.set_status("started")
        await durable.sleep_forever()

    async with running(app, store) as client:
        handle = await client.start(main)
        async for status in handle.watch():
            if status == "started":
                break
        await handle.terminate()
        with pytest.raises(trioflow.OrchestrationTerminated):
            await handle.result(timeout=20)
        assert (await client.get("other")).state in (State.PENDING, State.WAITING)
        await client.raise_event("other", "go", "alive")
        assert await client.handle("other").result(timeout=20) == "alive"


async def test_a_start_by_name_and_a_start_twice(store: Store) -> None:
    """duroxide: a detached start of an id that lives is dropped silently. Here its starter is told."""
    app = trioflow.App("names")

    @app.orchestration
    async def other(number: int) -> int:
        return number

    @app.orchestration
    async def main() -> str:
        first = await durable.start_detached("other", 1, id="twice")
        try:
            await durable.start_detached("other", 2, id="twice")
        except trioflow.InstanceExists:
            return first
        return "twice"

    async with running(app, store) as client:
        assert await (await client.start(main)).result(timeout=20) == "twice"
        assert await client.handle("twice").result(timeout=20) == 1
