"""Control of what has not begun, and of what is parked: neither waits, and neither hides why."""

from __future__ import annotations

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, find, running, shape, virtual_store
from trioflow import State, durable
from trioflow.abc import Store


def fragile(probe: Probe) -> trioflow.App:
    """An orchestration that parks as long as the probe's door is shut: it never lets time pass."""
    app = trioflow.App("fragile")

    @app.orchestration
    async def main() -> str:
        while not probe.door("repaired").is_set():
            await durable.lowlevel.checkpoint()
        return "done"

    return app


async def parked(client: trioflow.Client) -> trioflow.Handle[str]:
    """A parked instance."""
    handle: trioflow.Handle[str] = await client.start("main")
    with pytest.raises(trioflow.InstanceParked, match="SpinError"):
        await handle.result(timeout=20)
    return handle


async def test_a_result_is_waited_for_once_somebody_acted(store: Store, probe: Probe) -> None:
    """Right after `resume` or `terminate` nobody is told that the instance is parked, whoever is to carry it out."""
    app = fragile(probe)
    async with store:
        async with running(app, store, step_limit=50) as client:
            resumed, ended = await parked(client), await parked(client)
        probe.door("repaired").set()
        async with trioflow.connect(store, app) as client:
            await resumed.resume()
            await ended.terminate("no use")
            with pytest.raises(trio.TooSlowError):
                await client.handle(resumed.id).result(timeout=0)  # no worker is there yet
            async with running(app, store, step_limit=50):
                assert await client.handle(resumed.id).result(timeout=20) == "done"
                with pytest.raises(trioflow.OrchestrationTerminated):
                    await client.handle(ended.id).result(timeout=20)


async def test_suspending_a_parked_instance_leaves_it_parked(store: Store, probe: Probe) -> None:
    """What is parked stays so, tells why, and goes on when it is resumed."""
    app = fragile(probe)
    async with running(app, store, step_limit=50) as client:
        handle = await parked(client)
        await handle.suspend("a second lock")
        with pytest.raises(trioflow.InstanceParked, match="SpinError"):
            await handle.result(timeout=20)
        info = await handle.info()
        assert (info.state, info.queued, info.cancel_queued) == (State.PARKED, 1, False)  # its start
        assert info.failure is not None
        probe.door("repaired").set()
        await handle.resume()
        assert await handle.result(timeout=20) == "done"


async def test_a_delayed_start_can_be_terminated_at_once(app: trioflow.App, store: Store, probe: Probe) -> None:
    """Termination does not wait for the delay, and nothing of the code runs, not even what would end by itself."""
    async with running(app, store) as client:
        handle = await client.start(find(app, "hello"), 4, delay=3600)
        await handle.terminate("not needed")
        with pytest.raises(trioflow.OrchestrationTerminated, match="not needed"):
            await handle.result(timeout=20)
        assert shape(await handle.history()) == ["OrchestrationTerminated"]
    assert not probe.calls


@pytest.mark.parametrize("version", [None, "1.0.0"])
async def test_a_suspended_start_keeps_its_delay(
    app: trioflow.App, version: str | None, autojump_clock: trio.testing.MockClock
) -> None:
    """Suspended and resumed before its time, it begins when its delay is over; suspended past it, when resumed."""
    async with running(app, virtual_store()) as client:
        early = await client.start(find(app, "hello"), 4, delay=100, version=version)
        late = await client.start(find(app, "hello"), 5, delay=100, version=version)
        await early.suspend()
        await late.suspend()
        await trio.sleep(10)
        assert (await early.info()).state is State.SUSPENDED
        await early.resume()
        await trio.sleep(10)
        assert (await early.info()).state is State.PENDING
        assert await early.result() == 8
        assert trio.current_time() == pytest.approx(100, abs=1)
        await trio.sleep(100)
        assert (await late.info()).state is State.SUSPENDED
        await late.resume()
        assert await late.result() == 10
        assert trio.current_time() == pytest.approx(200, abs=2)


async def test_a_cancelled_start_does_not_wait_for_its_delay(
    app: trioflow.App, autojump_clock: trio.testing.MockClock
) -> None:
    """A delayed start that is cancelled ends at once: there is nothing that could unwind."""
    async with running(app, virtual_store()) as client:
        handle = await client.start(find(app, "waiting"), "never", delay=100)
        await trio.sleep(50)
        await handle.cancel("early")
        with pytest.raises(trioflow.OrchestrationCancelled, match="early"):
            await handle.result()
        assert trio.current_time() < 60
