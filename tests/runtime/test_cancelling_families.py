"""Cancellation among parents and children: the three modes, what a parent's end does, and who is meant."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, running, shape, virtual_store
from tests.runtime.test_crashes import Clock, crash
from trioflow import State, durable
from trioflow.abc import Store
from trioflow.stores import MemoryStore
from trioflow.testing import Crash, FailpointEnv


def household(probe: Probe) -> trioflow.App:
    """A child that tidies up with an activity, a timer and a child of its own when it is cancelled, and its parent."""
    app = trioflow.App("household")

    @app.activity
    async def tidy(what: str) -> str:
        probe.calls.append(what)
        return what

    @app.activity
    async def inspect() -> list[str]:
        return list(probe.calls)

    @app.orchestration
    async def tidy_the_rest() -> str:
        return await tidy("tidied")

    @app.orchestration
    async def child() -> str:
        try:
            await durable.wait_event("finish")
        except durable.Cancelled as exc:
            with durable.CancelScope(shield=True):
                await tidy(f"heard {exc.reason}")
                await durable.sleep(2)
                await tidy_the_rest()
            raise
        return "finished"

    @app.orchestration
    async def parent(on_cancel: str) -> list[str]:
        with durable.CancelScope() as scope:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(child.options(id="the-child", on_cancel=on_cancel))  # type: ignore[arg-type]
                await durable.wait_event("enough")
                scope.cancel("enough")
        return await inspect()

    return app


async def standing(client: trioflow.Client, id: str, state: State) -> None:
    """Wait until an instance, which need not exist yet, stands in a state."""
    while True:
        try:
            if (await client.get(id)).state is state:
                return
        except trioflow.InstanceNotFound:
            pass
        await trio.sleep(0.1)


@pytest.mark.parametrize(
    ("on_cancel", "seen", "state"),
    [
        ("wait", ["heard enough", "tidied"], State.CANCELLED),
        ("request", [], State.CANCELLED),
        ("abandon", [], State.COMPLETED),
    ],
)
async def test_three_ways_to_leave_a_child(
    on_cancel: str, seen: list[str], state: State, autojump_clock: trio.testing.MockClock
) -> None:
    """What the parent sees of the child's cleanup when it goes on, and how the child ends."""
    probe = Probe()
    app = household(probe)
    async with running(app, virtual_store()) as client:
        handle = await client.start("parent", on_cancel)
        await standing(client, "the-child", State.WAITING)
        await handle.raise_event("enough")
        result = await handle.result()
        assert result[: len(seen)] == seen
        assert "tidied" not in result or seen
        if on_cancel == "abandon":
            assert (await client.get("the-child")).state is State.WAITING  # it has outlived its parent
            await client.raise_event("the-child", "finish")
        await standing(client, "the-child", state)
        assert ("tidied" in probe.calls) is (state is State.CANCELLED)


async def test_terminating_the_child_frees_a_parent_that_waits(autojump_clock: trio.testing.MockClock) -> None:
    """A child that swallows cancellation holds its parent until somebody terminates it."""
    app = trioflow.App("stubborn")

    @app.orchestration
    async def stubborn() -> None:
        with durable.CancelScope(shield=True):
            await durable.sleep_forever()

    @app.orchestration
    async def parent() -> str:
        with durable.move_on_after(1):
            try:
                await stubborn.options(id="stubborn")()
            except trioflow.ChildTerminated:
                return "it was terminated"
        return "cancelled"

    async with running(app, virtual_store()) as client:
        handle = await client.start(parent)
        await trio.sleep(100)
        assert (await handle.info()).state is State.WAITING
        assert shape(await handle.history())[-1] == "ChildCancelRequested"
        await client.terminate("stubborn")
        assert await handle.result() == "it was terminated"


async def test_an_instance_that_merely_has_the_childs_id_is_not_cancelled(store: Store) -> None:
    """A child whose id is taken is refused, and cancelling the call reaches nobody else."""
    app = trioflow.App("strangers")

    @app.orchestration
    async def stranger() -> Any:
        return await durable.wait_event("go")

    @app.orchestration
    async def child() -> None:
        await durable.sleep_forever()

    @app.orchestration
    async def parent() -> str:
        try:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(child.options(id="shared"))
                await durable.lowlevel.checkpoint()
                await durable.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        except ExceptionGroup as group:
            return str(getattr(group.exceptions[0], "type", group))
        return "cancelled"

    async with running(app, store) as client:
        innocent = await client.start(stranger, id="shared")
        assert await (await client.start(parent)).result(timeout=20) == "trioflow.InstanceExists"
        await innocent.raise_event("go", "well")
        assert await innocent.result(timeout=20) == "well"


async def test_terminating_a_suspended_parent_spares_a_stranger(autojump_clock: trio.testing.MockClock) -> None:
    """Its refusal still waits in the inbox, so the history alone does not tell that the child was never born."""
    app, clock = trioflow.App("strangers"), Clock()
    store = MemoryStore(clock=clock)

    @app.orchestration
    async def stranger() -> Any:
        return await durable.wait_event("go")

    @app.orchestration
    async def parent() -> None:
        await stranger.options(id="shared")()

    async with trioflow.connect(store, app) as client:
        innocent = await client.start(stranger, id="shared", delay=50)
        handle = await client.start(parent)
        with pytest.raises(Crash):
            async with running(app, store, env=FailpointEnv().at("turn.after_commit")):
                await trio.sleep_forever()
        assert shape(await handle.history())[-1] == "ChildScheduled"
        await handle.suspend()
        await handle.terminate()
        clock.offset += 100
        async with running(app, store):
            with pytest.raises(trioflow.OrchestrationTerminated):
                await handle.result()
            await innocent.raise_event("go", "well")
            assert await innocent.result() == "well"


# -- crashes


MOMENTS = {"wait": 44, "request": 35, "abandon": 24}  # of a run without a crash, and one more


@pytest.mark.parametrize(
    ("on_cancel", "nth"), [(mode, nth) for mode, count in MOMENTS.items() for nth in range(1, count + 1)]
)
async def test_a_crash_at_any_moment_changes_nothing(
    on_cancel: str, nth: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Whatever moment the worker dies at, child and parent end as they would have, and each is asked at most once."""
    clock, probe = Clock(), Probe()
    store, app = MemoryStore(clock=clock), household(probe)
    async with trioflow.connect(store, app) as client:
        handle = await client.start("parent", on_cancel, id="it")
        await handle.raise_event("enough")
        await crash(app, store, nth)
        clock.offset += 100
        async with running(app, store):
            result = await handle.result()
            if on_cancel == "abandon":
                await client.raise_event("the-child", "finish")
            await standing(client, "the-child", State.COMPLETED if on_cancel == "abandon" else State.CANCELLED)
        assert on_cancel != "wait" or "tidied" in result
        kinds = shape(await handle.history())
        assert kinds.count("ChildCancelRequested") == (on_cancel != "abandon")
        answers = [kind for kind in kinds if kind in ("ChildCancelled", "ChildCompleted")]
        assert answers == (["ChildCancelled"] if on_cancel == "wait" else [])


# -- what an execution that ends leaves behind


async def nursery_of(*branches: Any) -> Any:
    """A nursery that is entered and never left, with branches."""
    nursery = await durable.open_nursery().__aenter__()
    for branch in branches:
        nursery.start_soon(branch)
    return nursery


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of the generator that nobody finished
@pytest.mark.parametrize("way", ["entered by hand", "in an async generator"])
async def test_an_activity_in_a_nursery_that_was_never_left_ends_with_its_execution(way: str, store: Store) -> None:
    """Although its branch is shielded and never hears: no body goes on for an instance that has ended."""
    app, probe = trioflow.App("forgetful"), Probe()

    @app.activity
    async def forever() -> None:
        probe.door("runs").set()
        try:
            await trio.sleep_forever()
        finally:
            probe.door("ended").set()

    async def shielded() -> None:
        with durable.CancelScope(shield=True):
            await forever()

    async def generator() -> Any:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(shielded)
            yield nursery

    @app.orchestration
    async def main() -> None:
        holders = [generator()]
        if way == "entered by hand":
            await nursery_of(shielded)
        else:
            await anext(holders[0])
        await durable.wait_event("go")

    async with running(app, store) as client:
        handle = await client.start(main)
        await probe.door("runs").wait()
        await handle.raise_event("go")
        with pytest.raises(trioflow.OrchestrationFailed):
            await handle.result(timeout=20)
        with trio.fail_after(60):
            await probe.door("ended").wait()
