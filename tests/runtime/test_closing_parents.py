"""`on_parent_close`, end to end: how a child ends when its parent is cancelled, terminated, or failed by a limit."""

from __future__ import annotations

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, running, virtual_store
from tests.runtime.test_cancelling_families import standing
from trioflow import State, durable

MODES = ("cancel", "wait", "abandon")


def household(probe: Probe) -> trioflow.App:
    """A child that waits for an event, and a parent that waits for it, and then says what it saw."""
    app = trioflow.App("household", limits=trioflow.Limits(history_events=30))

    @app.activity
    async def note(what: str) -> None:
        probe.calls.append(what)

    @app.orchestration
    async def child() -> str:
        try:
            return str(await durable.wait_event("finish"))
        except durable.Cancelled:
            with durable.CancelScope(shield=True):
                await durable.sleep(3)
                await note("the child has unwound")
            raise

    @app.orchestration
    async def parent(mode: str) -> str:
        seen = "nothing"
        async with durable.open_nursery() as nursery:
            try:
                seen = await child.options(id="the-child", on_parent_close=mode)()  # type: ignore[arg-type]
                await durable.lowlevel.checkpoint()
            finally:
                with durable.CancelScope(shield=True):
                    await note(f"the parent saw {seen}")
            nursery.cancel_scope.cancel()
        return seen

    @app.orchestration
    async def busy(mode: str) -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(child.options(id="the-child", on_parent_close=mode))  # type: ignore[arg-type]
            async for _ in durable.events("more"):
                pass

    return app


async def the_child_lives(client: trioflow.Client) -> None:
    """It has outlived its parent, hears what it waits for, and ends by itself."""
    await trio.sleep(100)
    assert (await client.get("the-child")).state is State.WAITING
    await client.raise_event("the-child", "finish", "well")
    await standing(client, "the-child", State.COMPLETED)


@pytest.mark.parametrize("mode", MODES)
async def test_a_cancelled_parent(mode: str, autojump_clock: trio.testing.MockClock) -> None:
    """It waits for the unwinding it asked for, for an end that it did not ask for, or for nothing."""
    probe = Probe()
    async with running(household(probe), virtual_store()) as client:
        handle = await client.start("parent", mode)
        await standing(client, "the-child", State.WAITING)
        await handle.cancel()
        if mode == "wait":
            await trio.sleep(100)
            assert (await handle.info()).state is State.WAITING
            await client.raise_event("the-child", "finish", "well")
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result()
        assert (
            probe.calls
            == {
                "cancel": ["the child has unwound", "the parent saw nothing"],
                "wait": ["the parent saw well"],
                "abandon": ["the parent saw nothing"],
            }[mode]
        )
        if mode == "abandon":
            await the_child_lives(client)
        else:
            assert (await client.get("the-child")).state is (State.CANCELLED if mode == "cancel" else State.COMPLETED)


@pytest.mark.parametrize("how", ["waiting", "suspended"])
@pytest.mark.parametrize("mode", MODES)
async def test_a_terminated_parent(mode: str, how: str, autojump_clock: trio.testing.MockClock) -> None:
    """It terminates the child or leaves it alone; the same where its code is not replayed for that."""
    probe = Probe()
    async with running(household(probe), virtual_store()) as client:
        handle = await client.start("parent", mode)
        await standing(client, "the-child", State.WAITING)
        if how == "suspended":
            await handle.suspend()
            await standing(client, handle.id, State.SUSPENDED)
        await handle.terminate()
        with pytest.raises(trioflow.OrchestrationTerminated):
            await handle.result()
        if mode == "cancel":
            await standing(client, "the-child", State.TERMINATED)
        else:
            await the_child_lives(client)
        assert probe.calls == []


@pytest.mark.parametrize("mode", MODES)
async def test_a_parent_that_a_limit_has_failed(mode: str, autojump_clock: trio.testing.MockClock) -> None:
    """It ends without its code, as a terminated one does."""
    async with running(household(Probe()), virtual_store()) as client:
        handle = await client.start("busy", mode)
        await standing(client, "the-child", State.WAITING)
        for number in range(30):
            try:
                await handle.raise_event("more", number)
            except trioflow.InstanceFinished:
                break
        with pytest.raises(trioflow.OrchestrationFailed, match="history_events"):
            await handle.result()
        if mode == "cancel":
            await standing(client, "the-child", State.TERMINATED)
        else:
            await the_child_lives(client)
