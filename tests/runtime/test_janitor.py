"""What nobody else looks after: instances without a worker, activities that nobody takes, what ended long ago."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock

import trioflow
from tests.runtime.programs import running, virtual_store
from trioflow import State, durable
from trioflow.abc import DeleteInstances
from trioflow.errors import InstanceNotFound, InstanceParked
from trioflow.testing import FaultyStore


def shop() -> trioflow.App:
    """An app that knows what the other does not."""
    app = trioflow.App("shop")

    @app.orchestration
    async def sell(seconds: float = 0.0) -> str:
        await durable.sleep(seconds)
        return "sold"

    @app.orchestration
    async def count(number: int) -> int:
        if number:
            durable.continue_as_new(number - 1)
        return number

    return app


EMPTY = trioflow.App("empty")


# -- nobody has its orchestration


async def test_an_instance_that_nobody_can_run_is_parked(autojump_clock: MockClock) -> None:
    """After five minutes without any worker that has its orchestration it is parked, which whoever waits is told."""
    store = virtual_store()
    async with trioflow.connect(store, shop()) as client, running(EMPTY, store):
        handle = await client.start("sell")
        with pytest.raises(InstanceParked, match="none has orchestration 'sell'"):
            await handle.result()
        assert 300 <= trio.current_time() < 400
        info = await handle.info()
        assert info.failure is not None
        assert info.failure.type == "trioflow.UnregisteredError"


async def test_it_goes_on_when_it_is_resumed(autojump_clock: MockClock) -> None:
    """A worker that has the orchestration, deployed later, runs it from the start."""
    store = virtual_store()
    async with trioflow.connect(store, shop()) as client, running(EMPTY, store):
        handle = await client.start("sell")
        with pytest.raises(InstanceParked):
            await handle.result()
        async with running(shop(), store):
            await handle.resume()
            assert await handle.result() == "sold"


async def test_a_resumed_one_that_still_nobody_can_run_is_parked_again(autojump_clock: MockClock) -> None:
    """Any worker lets it go on, and each time it has five minutes."""
    store = virtual_store()
    async with trioflow.connect(store, shop()) as client, running(EMPTY, store):
        handle = await client.start("sell")
        for _ in range(2):
            with pytest.raises(InstanceParked):
                await handle.result()
            await handle.resume()
        assert trio.current_time() >= 600


async def test_a_version_that_nobody_has_is_parked(autojump_clock: MockClock) -> None:
    """Workers with another version of the orchestration leave it to others, and then say so."""
    store, newer = virtual_store(), trioflow.App("newer")

    @newer.orchestration(version="2.0.0")
    async def sell(seconds: float = 0.0) -> str:
        return "sold again"

    async with trioflow.connect(store, shop()) as client, running(newer, store):
        handle = await client.start("sell", version="1.0.0")
        with pytest.raises(InstanceParked, match=r"orchestration 'sell' 1\.0\.0"):
            await handle.result()
        assert await (await client.start("sell")).result() == "sold again"


async def test_a_runtime_that_has_just_begun_does_not_judge(autojump_clock: MockClock) -> None:
    """After a long outage of everybody, the first runtime leaves the others the time to come, too."""
    store = virtual_store()
    async with trioflow.connect(store, shop()) as client:
        handle = await client.start("sell")
        await trio.sleep(10_000)
        async with running(EMPTY, store):
            await trio.sleep(200)
            assert (await handle.info()).state is State.PENDING
            async with running(shop(), store):
                assert await handle.result() == "sold"


async def test_a_backlog_is_not_parked(autojump_clock: MockClock) -> None:
    """Instances that wait for long because their workers are busy are not mistaken for unknown ones."""
    store = virtual_store()
    async with running(shop(), store) as client:
        handle = await client.start("sell", 1.0)
        await client.suspend(handle.id)
        await trio.sleep(1000)
        await client.resume(handle.id)
        assert await handle.result() == "sold"


async def test_one_that_was_cancelled_before_it_began_ends(autojump_clock: MockClock) -> None:
    """A parent that gives up a child which nobody can run is told that it never began."""
    store, app = virtual_store(), trioflow.App("parent")

    @app.orchestration
    async def main() -> str:
        with durable.move_on_after(10):
            await helper()
        return "went on"

    other = trioflow.App("other")

    @other.orchestration
    async def helper() -> None: ...

    app.include(other)
    only_main = trioflow.App("only main")
    only_main.orchestration(name="main")(main.fn)
    async with running(app, store, turn_concurrency=1) as client:
        handle = await client.start(main)
        assert await handle.result() == "went on"


async def test_a_child_that_nobody_can_run_does_not_hold_its_cancelled_parent(autojump_clock: MockClock) -> None:
    """A cancelled call of a child that has not begun returns at once: whoever comes first ends it."""
    store, app = virtual_store(), trioflow.App("parent")

    @app.orchestration(name="helper", version="1.0.0")
    async def helper() -> None: ...

    @app.orchestration
    async def main() -> str:
        with durable.move_on_after(10):
            await helper.options(version="9.0.0")()
        return "went on"

    async with running(app, store) as client:
        handle = await client.start(main)
        assert await handle.result() == "went on"
        assert trio.current_time() < 20


async def test_what_nobody_can_run_can_be_terminated(autojump_clock: MockClock) -> None:
    """Control needs no code, so any worker carries it out at once."""
    store = virtual_store()
    async with trioflow.connect(store, shop()) as client:
        async with running(shop(), store):
            begun = await client.start("sell", 100.0)
            await trio.sleep(1)
        fresh = await client.start("sell")
        async with running(EMPTY, store):
            await fresh.suspend()
            while (await fresh.info()).state is not State.SUSPENDED:
                await trio.sleep(0.1)
            for handle in (begun, fresh):
                await handle.terminate("no more")
                with pytest.raises(trioflow.OrchestrationTerminated, match="no more"):
                    await handle.result()
        assert trio.current_time() < 60


async def test_waiting_for_ever_can_be_chosen(autojump_clock: MockClock) -> None:
    """Without `unclaimed_after` nothing is parked for want of a worker."""
    store = virtual_store()
    async with trioflow.connect(store, shop()) as client, running(EMPTY, store, unclaimed_after=None):
        handle = await client.start("sell")
        await trio.sleep(10_000)
        assert (await handle.info()).state is State.PENDING


# -- activities that nobody takes


async def test_work_that_nobody_takes_is_over_in_time(autojump_clock: MockClock) -> None:
    """`schedule_timeout` ends an activity of a tag that no runtime takes, at that very time."""
    store, app = virtual_store(), trioflow.App("pool")

    @app.activity(tag="gpu", schedule_timeout=60)
    async def render() -> None: ...

    @app.orchestration
    async def main() -> str:
        try:
            await render()
        except trioflow.ActivityTimedOut as exc:
            return exc.message
        return "rendered"

    async with running(app, store) as client:
        handle = await client.start(main)
        assert await handle.result() == "activity 'render' was not taken within 60 s"
        assert 60 <= trio.current_time() < 61


async def test_work_that_is_taken_in_time_may_take_its_time(autojump_clock: MockClock) -> None:
    """`schedule_timeout` says nothing of an activity that was begun, nor of its retries."""
    store, app, calls = virtual_store(), trioflow.App("pool"), list[float]()

    @app.activity(schedule_timeout=60, retry=trioflow.Retry(max_attempts=3, initial=100.0, jitter=0))
    async def render() -> None:
        calls.append(trio.current_time())
        await trio.sleep(100)
        if len(calls) < 3:
            raise ValueError

    @app.orchestration
    async def main() -> None:
        await render()

    async with running(app, store) as client:
        await (await client.start(main)).result()
    assert len(calls) == 3


# -- what ended long ago


async def test_what_ended_long_ago_is_deleted(autojump_clock: MockClock) -> None:
    """`retention` deletes ended instances by their age, and leaves those that go on."""
    store = virtual_store()
    async with running(shop(), store, retention=3600.0) as client:
        old = [await client.start("sell") for _ in range(25)]
        for handle in old:
            await handle.result()
        await trio.sleep(3000)
        young, running_on = await client.start("sell"), await client.start("sell", 100_000.0)
        await young.result()
        await trio.sleep(1000)
        for handle in old:
            with pytest.raises(InstanceNotFound):
                await handle.info()
        assert (await young.info()).state is State.COMPLETED
        assert (await running_on.info()).state is State.WAITING


async def test_what_cannot_be_deleted_stops_nothing(autojump_clock: MockClock) -> None:
    """A family of which one member goes on stays, and those behind it are deleted."""
    store, app = virtual_store(), shop()

    @app.orchestration
    async def main() -> str:
        with durable.move_on_after(1):
            await sell.options(id="goes on", on_cancel="abandon")(100_000.0)
        return "over"

    sell = app.find_orchestration("sell")
    async with running(app, store, retention=3600.0) as client:
        before = await client.start("sell")
        await before.result()
        family = await client.start(main)
        assert await family.result() == "over"
        await trio.sleep(10_000)
        with pytest.raises(InstanceNotFound):
            await before.info()
        assert (await family.info()).state is State.COMPLETED
        assert (await client.get("goes on")).state is State.WAITING


async def test_what_was_begun_anew_is_not_old(autojump_clock: MockClock) -> None:
    """An instance that begins again after it was found, and has ended again, is not deleted for what it was before."""
    app = shop()

    class BegunAnew(FaultyStore):
        async def delete_instances(self, request: DeleteInstances) -> int:
            """Somebody begins it again right before."""
            await (await client.restart("old")).result()
            return await super().delete_instances(request)

    store = BegunAnew(virtual_store())
    async with running(app, store) as client:
        await (await client.start("sell", id="old")).result()
        await trio.sleep(4000)
        async with running(app, store, retention=3600.0):
            await trio.sleep(100)
        info = await client.get("old")
        assert (info.execution, info.state) == (2, State.COMPLETED)


async def test_so_many_executions_are_kept(autojump_clock: MockClock) -> None:
    """`keep_executions` prunes histories as an instance continues as new."""
    store = virtual_store()
    async with running(shop(), store, keep_executions=3) as client:
        handle = await client.start("count", 20)
        assert await handle.result() == 0
        kept = [record.execution for record in await store.read_executions(handle.id)]
        assert kept == [19, 20, 21]


async def test_rounds_are_rare(autojump_clock: MockClock) -> None:
    """An idle runtime asks for things to look after once a minute."""
    store, asked = virtual_store(), list[str]()

    class Counted(FaultyStore):
        async def _through(self, verb, call):  # type: ignore[no-untyped-def]
            asked.append(verb)
            return await super()._through(verb, call)

    async with running(shop(), Counted(store), retention=3600.0, poll_interval=math.inf):
        await trio.sleep(6000)
    assert asked.count("list_instances") <= 101
    assert asked.count("lock_turns") <= 105
