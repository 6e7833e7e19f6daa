"""What another process asked for is heard soon where the store tells of other processes, and never later than by a
renewal.

The other process is another runtime here; the runtime that is tested has a store whose hints are its own, so it hears
only what `bump_all` tells it, as of a file to which others write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

import trioflow
from tests.runtime.programs import Probe, find, running, virtual_store
from trioflow.abc import Signals
from trioflow.errors import StoreUnavailable
from trioflow.testing import FaultyStore


@attrs.define(eq=False)
class Apart(FaultyStore):
    """A store seen from a process of its own."""

    own: Signals = attrs.field(factory=Signals)

    @property
    def signals(self) -> Signals:
        """What this process hears."""
        return self.own


@asynccontextmanager
async def two_processes(app: trioflow.App, probe: Probe) -> AsyncIterator[tuple[Apart, Any]]:
    """An instance whose turns run in one process while its activity runs in the other, for a minute already."""
    only = trioflow.App("activities")
    only.activity(name="hang")(find(app, "hang").fn)
    store = virtual_store()
    apart = Apart(store)
    async with running(app, store, untagged=False) as client, running(only, apart, poll_interval=1.0):
        handle = await client.start(find(app, "hanging"), "x")
        await probe.door("x runs").wait()
        await trio.sleep(60)
        yield apart, handle
        await probe.door("x cancelled").wait()


async def heard_after(probe: Probe) -> float:
    """Seconds until the body is cancelled."""
    began = trio.current_time()
    await probe.door("x cancelled").wait()
    return trio.current_time() - began


async def test_a_body_hears_soon_after_others_have_written(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """A look at the instance shows that it has gone on; its lease is renewed before its time, and that tells."""
    async with two_processes(app, probe) as (apart, handle):
        await handle.cancel()
        await trio.sleep(0.01)
        apart.own.bump_all()
        assert await heard_after(probe) < 0.1


async def test_without_a_hint_the_renewal_tells(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """Within one renewal of the lease."""
    async with two_processes(app, probe) as (_, handle):
        await handle.cancel()
        assert 5 < await heard_after(probe) <= 25


async def test_an_instance_that_has_not_gone_on_costs_a_look_and_no_write(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """The first time its lease is renewed, since it is not known what was said before; then it is only looked at, once
    a second at most.
    """
    async with two_processes(app, probe) as (apart, handle):
        apart.own.bump_all()
        await trio.sleep(2)
        renewals, reads = apart.calls["renew_activities"], apart.calls["read_instance"]
        for _ in range(50):
            apart.own.bump_all()
            await trio.sleep(0.1)
        assert apart.calls["renew_activities"] == renewals
        assert 4 <= apart.calls["read_instance"] - reads <= 6
        await handle.cancel()
        await trio.sleep(0.01)
        apart.own.bump_all()
        assert await heard_after(probe) < 1.1


async def test_a_request_that_waits_for_its_turn_is_looked_for_again_at_once(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """Others write twice, the client and then the worker that takes the turn: the second time counts as well."""
    async with two_processes(app, probe) as (apart, handle):
        await handle.suspend()
        await handle.cancel()
        await trio.sleep(0.01)
        apart.own.bump_all()
        await trio.sleep(0.05)
        await handle.resume()
        await trio.sleep(0.01)
        apart.own.bump_all()
        assert await heard_after(probe) < 0.1


async def test_a_look_that_fails_is_no_loss(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """The renewal tells."""
    async with two_processes(app, probe) as (apart, handle):
        apart.fail("read_instance", StoreUnavailable("busy"), nth=1)
        await handle.cancel()
        await trio.sleep(0.01)
        apart.own.bump_all()
        assert 5 < await heard_after(probe) <= 25
        assert apart.calls["read_instance"] == 1


async def test_a_body_whose_instance_was_terminated_hears_too(
    app: trioflow.App, probe: Probe, autojump_clock: trio.testing.MockClock
) -> None:
    """It has gone on as well: to its end."""
    async with two_processes(app, probe) as (apart, handle):
        await handle.terminate()
        await trio.sleep(0.01)
        apart.own.bump_all()
        assert await heard_after(probe) < 0.1
