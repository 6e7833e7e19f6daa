"""An instance that is cancelled before it began ends at once where nobody is about to begin it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trioflow
from tests.runtime.programs import running, virtual_store
from trioflow import State, durable
from trioflow.abc import Store
from trioflow.errors import InstanceParked, OrchestrationCancelled, OrchestrationFailed, OrchestrationTerminated

CHILD = "the child"


def family() -> trioflow.App:
    """A parent that calls a child of a version that no worker has."""
    app = trioflow.App("family")

    @app.orchestration(version="1.0.0")
    async def helper() -> str:
        await durable.wait_event("go")
        return "helped"

    @app.orchestration
    async def main() -> str:
        return await helper.options(version="9.0.0", id=CHILD)()

    return app


async def reached(handle: Any, state: State) -> None:
    """Come back once an instance is in that state."""
    while (await handle.info()).state is not state:
        await trio.sleep(0.1)


async def ends_cancelled(handle: Any) -> None:
    """It ends soon, cancelled, with nothing in its history that tells of a beginning."""
    with pytest.raises(OrchestrationCancelled, match="no more"):
        await handle.result(timeout=20)
    kinds = [type(event).__name__ for event in await handle.history()]
    assert "OrchestrationStarted" not in kinds
    assert kinds[-1] == "OrchestrationCancelled"


async def test_a_parent_is_not_held_by_a_parked_child_that_never_began(autojump_clock: MockClock) -> None:
    """A parent that is cancelled after its child was parked for want of a worker ends, and so does the child."""
    app = family()
    async with running(app, virtual_store()) as client:
        parent = await client.start("main")
        while await client.store.read_instance(CHILD) is None:
            await trio.sleep(0.1)
        child = client.handle(CHILD)
        await reached(child, State.PARKED)
        await parent.cancel("no more")
        with pytest.raises(OrchestrationCancelled, match="no more"):
            await parent.result(timeout=20)
        await ends_cancelled(child)


async def test_a_parent_is_not_held_by_a_child_that_nobody_has(autojump_clock: MockClock) -> None:
    """Whoever comes first says that it never began; nobody waits until it is known to belong to no worker."""
    app = family()
    async with running(app, virtual_store()) as client:
        parent = await client.start("main")
        await trio.sleep(1)
        await parent.cancel("no more")
        with pytest.raises(OrchestrationCancelled, match="no more"):
            await parent.result(timeout=20)
        await ends_cancelled(client.handle(CHILD))


async def test_a_child_that_is_held_and_has_begun_is_waited_for(autojump_clock: MockClock) -> None:
    """What has begun has something to unwind: its cancellation is kept, and termination is the way out."""
    app, store = family(), virtual_store()

    @app.orchestration(version="2.0.0")
    async def main() -> str:
        helper: Any = app.find_orchestration("helper")
        return await helper.options(version="1.0.0", id=CHILD)()

    async with running(app, store) as client:
        parent = await client.start("main")
        await trio.sleep(1)
        child = client.handle(CHILD)
        await child.suspend()
        await reached(child, State.SUSPENDED)
        await parent.cancel("no more")
        with pytest.raises(trio.TooSlowError):
            await parent.result(timeout=1000)
        info = await child.info()
        assert (info.state, info.cancel_queued) == (State.SUSPENDED, True)
        await child.terminate("the way out")
        with pytest.raises(OrchestrationFailed, match="ChildTerminated"):
            await parent.result(timeout=20)


@pytest.mark.parametrize("held", ["suspended", "delayed", "unknown"])
async def test_who_waits_for_something_before_it_begins_ends_at_once(store: Store, held: str) -> None:
    """One that is held back, or whose start is delayed, is cancelled without being begun, by any worker."""
    app, stranger = family(), trioflow.App("stranger")
    async with trioflow.connect(store, app) as client, trioflow.open_runtime(stranger, store):
        delay = 10_000.0 if held == "delayed" else None
        handle = await client.start("helper", delay=delay)
        if held == "suspended":
            await handle.suspend()
            await reached(handle, State.SUSPENDED)
        await handle.cancel("no more")
        await ends_cancelled(handle)


async def test_who_cannot_be_begun_ends(autojump_clock: MockClock) -> None:
    """One that its worker cannot begin, since its input does not fit, is parked; cancelled, it ends."""
    app, store = trioflow.App("shop"), virtual_store()

    @app.orchestration(name="sell")
    async def old(order: str) -> None: ...

    newer = trioflow.App("newer")

    @newer.orchestration(name="sell")
    async def new(order: list[int]) -> None: ...

    async with trioflow.connect(store, app) as client, running(newer, store):
        handle = await client.start(old, "o-1")
        with pytest.raises(InstanceParked):
            await handle.result()
        await handle.cancel("no more")
        await ends_cancelled(handle)


def chapters() -> trioflow.App:
    """A story whose second chapter no worker has, and somebody who waits for its end."""
    app = trioflow.App("chapters")

    @app.orchestration(version="1.0.0")
    async def story() -> None:
        with durable.CancelScope(shield=True):
            await durable.wait_event("turn the page")
        durable.continue_as_new(version="2.0.0")

    @app.orchestration
    async def reader() -> None:
        await story.options(id=CHILD)()

    return app


async def test_a_cancellation_that_was_carried_on_ends_what_cannot_begin(autojump_clock: MockClock) -> None:
    """The next execution is not parked with a cancellation that nobody will hear of, while its parent waits."""
    app = chapters()
    async with running(app, virtual_store()) as client:
        parent = await client.start("reader")
        await trio.sleep(1)
        child = client.handle(CHILD)
        await parent.cancel("no more")
        await trio.sleep(1)
        await child.raise_event("turn the page")
        with pytest.raises(OrchestrationCancelled, match="no more"):
            await parent.result(timeout=1000)
        assert (await child.info()).execution == 2
        await ends_cancelled(child)


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
async def test_events_that_were_carried_on_are_told_at_the_end(store: Store, verb: str) -> None:
    """What an execution left to the next is listed if that never begins, before what came since."""
    app = chapters()
    async with running(app, store) as client:
        handle = await client.start("story")
        await handle.raise_event("word", 1)
        await handle.raise_event("word", 2)
        await handle.raise_event("turn the page")
        while (await handle.info()).execution == 1:
            await trio.sleep(0.01)
        await handle.raise_event("word", 3)
        await (handle.cancel() if verb == "cancel" else handle.terminate())
        with pytest.raises(OrchestrationCancelled if verb == "cancel" else OrchestrationTerminated):
            await handle.result(timeout=20)
        assert [event.value for event in (await handle.info()).unread_events] == [1, 2, 3]


async def test_a_known_one_that_is_due_begins_all_the_same(store: Store) -> None:
    """A cancellation that finds an instance about to begin reaches its code, which may have something to say."""
    app = trioflow.App("shop")

    @app.orchestration
    async def swallow() -> str:
        try:
            await durable.sleep_forever()
        except durable.Cancelled:
            return "had the last word"

    async with trioflow.connect(store, app) as client:
        handle = await client.start(swallow)
        await handle.cancel("no more")
        async with trioflow.open_runtime(app, store):
            assert await handle.result(timeout=20) == "had the last word"
