"""Suspended, resumed, terminated, parked: what is done to an instance without running it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import attrs
import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, find, running, shape, virtual_store
from trioflow import State, durable
from trioflow._engine import Execution
from trioflow.abc import EventRow, InstanceRecord, Store
from trioflow.stores import MemoryStore
from trioflow.testing import Crash, FailpointEnv, FaultyStore


async def settled(client: trioflow.Client, id: str, *states: State) -> trioflow.InstanceInfo:
    """Wait until an instance stands in one of these states."""
    while True:
        info = await client.get(id)
        if info.state in states:
            return info
        await trio.lowlevel.checkpoint()


def two_generations(later: Callable[..., Coroutine[Any, Any, Any]]) -> tuple[trioflow.App, trioflow.App]:
    """An app, and the same after a deploy that changed what its orchestration does after its first step."""
    before, after = trioflow.App("shop"), trioflow.App("shop")
    for app in (before, after):

        @app.activity
        async def step(name: str) -> str:
            return name

    @before.orchestration(name="main")
    async def old() -> str:
        await find(before, "step")("first")
        await durable.wait_event("go")
        return "old"

    after.orchestration(name="main")(later)
    return before, after


async def stopped_at_its_wait(client: trioflow.Client, handle: trioflow.Handle[Any]) -> None:
    """Wait until the old code has nothing to do but to wait for its event: whoever comes next finds no work."""
    while "EventWaited" not in shape(await handle.history()):
        await trio.lowlevel.checkpoint()
    await settled(client, handle.id, State.WAITING)


async def changed() -> str:
    """Asks for something else than the old code did."""
    await durable.sleep(1)
    return "new"


async def test_a_suspended_instance_waits_until_it_is_resumed(app: trioflow.App, store: Store) -> None:
    """Suspension keeps what arrives; resuming delivers it."""
    async with running(app, store) as client:
        handle = await client.start(find(app, "waiting"), "go")
        await settled(client, handle.id, State.WAITING)
        await handle.suspend("for a while")
        await settled(client, handle.id, State.SUSPENDED)
        await handle.raise_event("go", 5)
        await handle.cancel()
        info = await client.get(handle.id)
        assert (info.state, info.queued) == (State.SUSPENDED, 2)
        await handle.resume()
        assert await handle.result(timeout=20) == 5
        kinds = shape(await handle.history())
    assert kinds[2:4] == ["Suspended", "Resumed"]


async def test_suspension_does_not_stop_the_clock(app: trioflow.App, autojump_clock: trio.testing.MockClock) -> None:
    """A timer that fell due while suspended fires at once when resumed."""
    async with running(app, virtual_store()) as client:
        handle = await client.start(find(app, "napping"), 100)
        await settled(client, handle.id, State.WAITING)
        await handle.suspend()
        await trio.sleep(1000)
        assert (await handle.info()).state is State.SUSPENDED
        await handle.resume()
        began = trio.current_time()
        assert await handle.result() >= 100
        assert trio.current_time() == pytest.approx(began)


async def test_an_instance_can_be_suspended_before_it_began(app: trioflow.App, store: Store) -> None:
    """Suspended at once, it has run nothing; resumed, it begins."""
    async with store, trioflow.connect(store, app) as client:
        handle = await client.start(find(app, "hello"), 4)
        await handle.suspend()
        async with running(app, store):
            await settled(client, handle.id, State.SUSPENDED)
            await handle.resume()
            assert await handle.result(timeout=20) == 8


@pytest.mark.parametrize("state", [State.SUSPENDED, State.PARKED])
async def test_a_held_instance_can_be_terminated(store: Store, state: State) -> None:
    """Termination needs no replay: it works on what is suspended or parked, and lists the events nobody took."""
    before, after = two_generations(changed)
    async with store:
        async with running(before, store) as client:
            handle = await client.start("main")
            await stopped_at_its_wait(client, handle)
        async with running(after, store) as client:
            handle = client.handle(handle.id)
            if state is State.SUSPENDED:
                await handle.suspend()
            else:
                await handle.raise_event("other", 1)
            await settled(client, handle.id, state)
            await handle.raise_event("late", 2)
            await handle.terminate("no use")
            with pytest.raises(trioflow.OrchestrationTerminated, match="no use"):
                await handle.result(timeout=20, wait_parked=True)
            names = [event.name for event in (await handle.info()).unread_events]
            assert names == (["late"] if state is State.SUSPENDED else ["other", "late"])


async def test_what_cannot_be_replayed_is_parked_and_goes_on_after_a_fix(store: Store) -> None:
    """Code that disagrees with the history parks its instance alone; the right code and `resume` let it finish."""
    before, after = two_generations(changed)

    @after.orchestration
    async def healthy() -> str:
        return str(await find(after, "step")("healthy"))

    async with store:
        async with running(before, store) as client:
            await stopped_at_its_wait(client, await client.start("main", id="order"))
        async with running(after, store) as client:
            await client.raise_event("order", "go")
            with pytest.raises(trioflow.InstanceParked, match="NondeterminismError"):
                await client.handle("order").result(timeout=20)
            info = await client.get("order")
            assert info.failure is not None
            assert info.failure.category == "configuration"
            assert await (await client.start(healthy)).result(timeout=20) == "healthy"
            with pytest.raises(trio.TooSlowError):
                await client.handle("order").result(timeout=0, wait_parked=True)
        async with running(before, store) as client:
            await client.resume("order")
            assert await client.handle("order").result(timeout=20, wait_parked=True) == "old"


async def test_an_option_fails_it_instead(store: Store) -> None:
    """With `on_nondeterminism="fail"` the instance ends as failed."""
    before, after = two_generations(changed)
    async with store:
        async with running(before, store) as client:
            handle = await client.start("main")
            await stopped_at_its_wait(client, handle)
        async with running(after, store, on_nondeterminism="fail") as client:
            await client.raise_event(handle.id, "go")
            with pytest.raises(trioflow.OrchestrationFailed) as caught:
                await client.handle(handle.id).result(timeout=20)
    assert caught.value.type.endswith("NondeterminismError")


async def test_terminating_what_cannot_be_replayed_tells_everybody(store: Store) -> None:
    """A parent whose history does not fit is terminated all the same, and its child with it."""
    before, after = trioflow.App("family"), trioflow.App("family")
    for app in (before, after):

        @app.orchestration
        async def child() -> None:
            await durable.wait_event("never")

    @before.orchestration(name="parent")
    async def old() -> None:
        await find(before, "child").options(id="child")()

    @after.orchestration(name="parent")
    async def new() -> None:
        await durable.sleep(5)

    async with store:
        async with running(before, store) as client:
            await client.start("parent", id="parent")
            while not await exists(client, "child"):
                await trio.lowlevel.checkpoint()
        async with running(after, store) as client:
            await client.terminate("parent")
            with pytest.raises(trioflow.OrchestrationTerminated):
                await client.handle("parent").result(timeout=20)
            with pytest.raises(trioflow.OrchestrationTerminated):
                await client.handle("child").result(timeout=20)


async def exists(client: trioflow.Client, id: str) -> bool:
    """Whether an instance is there."""
    return await client.store.read_instance(id) is not None


async def test_a_terminated_child_tells_its_parent(store: Store) -> None:
    """However a child ends, its parent hears of it: here suspended and then terminated."""
    app = trioflow.App("family")

    @app.orchestration
    async def child() -> None:
        await durable.wait_event("never")

    @app.orchestration
    async def parent() -> str:
        try:
            await child.options(id="child")()
        except trioflow.ChildTerminated as exc:
            return str(exc)
        return "it ended"

    async with running(app, store) as client:
        handle = await client.start(parent)
        while not await exists(client, "child"):
            await trio.lowlevel.checkpoint()
        await client.suspend("child")
        await settled(client, "child", State.SUSPENDED)
        await client.terminate("child", reason="poor thing")
        assert "poor thing" in await handle.result(timeout=20)


async def test_a_child_that_is_failed_by_policy_tells_its_parent(store: Store) -> None:
    """A child whose history grew beyond the limit fails, and its parent may catch that."""
    app = trioflow.App("long", limits=trioflow.Limits(history_events=20, warn_events=10))

    @app.orchestration
    async def child() -> None:
        while True:
            await durable.wait_event("more")

    @app.orchestration
    async def parent() -> str:
        try:
            await child.options(id="child")()
        except Exception as exc:
            return f"{type(exc).__name__}: {exc}"
        return "it ended"

    async with running(app, store) as client:
        handle = await client.start(parent)
        while not await exists(client, "child"):
            await trio.lowlevel.checkpoint()
        with pytest.raises((trioflow.InstanceFinished, trioflow.MailboxFull)):
            while True:
                await client.raise_event("child", "more")
        assert "history_events" in await handle.result(timeout=20)


async def test_an_instance_that_kills_its_workers_is_parked(autojump_clock: trio.testing.MockClock) -> None:
    """Taken again and again without a commit, an instance is parked as poison."""
    app, store = trioflow.App("poison"), virtual_store()

    @app.orchestration
    async def deadly() -> None:
        await durable.wait_event("never")

    async with trioflow.connect(store, app) as client:
        handle = await client.start(deadly)
        for _ in range(3):
            with pytest.raises(Crash):
                async with running(app, store, env=FailpointEnv().at("turn.before_commit")):
                    await trio.sleep_forever()
            await trio.sleep(60)
        async with running(app, store, max_attempts=3):
            with pytest.raises(trioflow.InstanceParked, match="3 times"):
                await handle.result()
            info = await handle.info()
            assert info.failure is not None
            assert info.failure.category == "poison"
            await handle.resume()
            await settled(client, handle.id, State.WAITING)


async def test_an_orchestration_that_spins_is_parked(store: Store) -> None:
    """A loop that never lets time pass is stopped after the step limit and parked, the runtime unharmed."""
    app = trioflow.App("spin")

    @app.orchestration
    async def spin() -> None:
        while True:
            await durable.lowlevel.checkpoint()

    async with running(app, store, step_limit=500) as client:
        handle = await client.start(spin)
        with pytest.raises(trioflow.InstanceParked, match="SpinError"):
            await handle.result(timeout=20)


async def test_arguments_that_no_longer_fit_park_the_instance(store: Store) -> None:
    """An instance started with other parameters than today's code has is parked, not failed."""
    before, after = trioflow.App("before"), trioflow.App("after")

    @before.orchestration(name="main")
    async def old(number: int) -> int:
        return number

    @after.orchestration(name="main")
    async def new(text: str, more: str) -> str:
        return text + more

    async with store, trioflow.connect(store, before) as client:
        handle = await client.start(old, 1)
        async with running(after, store):
            with pytest.raises(trioflow.InstanceParked, match="DecodeError"):
                await handle.result(timeout=20)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
async def test_what_is_no_error_of_the_code_goes_to_the_host(store: Store, error: type[BaseException]) -> None:
    """KeyboardInterrupt and MemoryError out of a turn commit nothing and reach the host; the next one tries again."""
    app, probe = trioflow.App("host"), Probe()

    @app.orchestration
    async def main() -> str:
        probe.calls.append(1)
        if len(probe.calls) == 1:
            raise error
        return "second time"

    async with store, trioflow.connect(store, app) as client:
        handle = await client.start(main)
        with pytest.raises(error):
            async with running(app, store):
                await trio.sleep_forever()
        assert await client.history(handle.id) == []
        async with running(app, store):
            assert await handle.result(timeout=20) == "second time"


class Damaged(FaultyStore):
    """A store whose histories hold a row that nobody can read, and whose records lie once."""

    lies = 0

    async def read_history(
        self, instance: str, execution: int, *, after: int = 0, limit: int | None = None
    ) -> tuple[EventRow, ...]:
        """With one bad row about a child."""
        rows = await super().read_history(instance, execution, after=after, limit=limit)
        return (*rows, EventRow(len(rows) + 1, 0.0, "ChildScheduled", b"{"))

    async def read_instance(self, instance: str) -> InstanceRecord | None:
        """The first record is one commit old."""
        record = await super().read_instance(instance)
        if record is not None and self.lies:
            self.lies -= 1
            return attrs.evolve(record, revision=record.revision - 1)
        return record


async def test_a_history_that_nobody_can_read_can_be_ended() -> None:
    """Termination reads what it can of a damaged history: children that answered are left alone, others are ended."""
    app, store = trioflow.App("family"), MemoryStore()

    @app.orchestration
    async def child(name: str) -> None:
        if name != "quick":
            await durable.wait_event("never")

    @app.orchestration
    async def parent() -> None:
        await child.options(id="quick")("quick")
        await child.options(id="patient")("patient")

    async with store, trioflow.connect(store, app) as client:
        async with running(app, store):
            await client.start(parent, id="parent")
            while not await exists(client, "patient"):
                await trio.lowlevel.checkpoint()
        await client.terminate("parent")
        damaged = Damaged(store)
        damaged.lies = 1
        async with running(app, damaged):
            with pytest.raises(trioflow.OrchestrationTerminated):
                await client.handle("parent").result(timeout=20, wait_parked=True)
            with pytest.raises(trioflow.OrchestrationTerminated):
                await client.handle("patient").result(timeout=20, wait_parked=True)
            assert await client.handle("quick").result(timeout=20) is None


async def test_a_bug_of_one_instance_parks_that_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw parks the instance it happened in, and the worker goes on."""
    app, store = trioflow.App("bug"), MemoryStore()

    @app.orchestration
    async def main(name: str) -> str:
        return name

    real = Execution.run

    def broken(self: Execution, messages: Any, now: float) -> Any:
        if messages[0].event.instance == "unlucky":
            raise ZeroDivisionError("a bug")
        return real(self, messages, now)

    monkeypatch.setattr(Execution, "run", broken)
    async with running(app, store) as client:
        unlucky = await client.start(main, "a", id="unlucky")
        lucky = await client.start(main, "b", id="lucky")
        assert await lucky.result(timeout=20) == "b"
        with pytest.raises(trioflow.InstanceParked, match="a bug"):
            await unlucky.result(timeout=20)
