"""An activity that is asked for and given up in one turn never runs, however activities are started."""

from __future__ import annotations

from typing import Any

import pytest

import trioflow
from trioflow import durable
from trioflow.abc import Store
from trioflow.history import ActivityCancelled

OPTIONS = [trioflow.RuntimeOptions(), trioflow.RuntimeOptions(born_leased=False), trioflow.RuntimeOptions(fuse=False)]


def _app(calls: list[str]) -> trioflow.App:
    app = trioflow.App("never started")

    @app.activity
    async def charge() -> str:
        calls.append("charge")
        return "receipt"

    @app.orchestration
    async def after_an_event() -> str:
        await durable.wait_event("go")
        return await charge()

    @app.orchestration
    async def in_one_segment() -> str:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(charge)
            await durable.lowlevel.checkpoint()
            await durable.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        return "gave up"

    return app


async def _cancelled_event(handle: Any) -> list[str]:
    return [event.how for event in await handle.history() if isinstance(event, ActivityCancelled)]


@pytest.mark.parametrize("options", OPTIONS, ids=["default", "not born leased", "not fused"])
async def test_a_cancel_in_the_same_turn_is_in_time(store: Store, options: trioflow.RuntimeOptions) -> None:
    """An event and a cancel that wait for a worker are one turn to it: what is between them is not begun."""
    calls: list[str] = []
    app = _app(calls)
    async with trioflow.connect(store, app) as client:
        handle = await client.start("after_an_event")
        await handle.raise_event("go")
        await handle.cancel("too late")
        async with trioflow.open_runtime(app, store, options=options):
            with pytest.raises(trioflow.OrchestrationCancelled):
                await handle.result(timeout=20)
        assert await _cancelled_event(handle) == ["never_started"]
    assert calls == []


@pytest.mark.parametrize("options", OPTIONS, ids=["default", "not born leased", "not fused"])
async def test_a_branch_that_is_cancelled_at_once_does_not_begin_its_activity(
    store: Store, options: trioflow.RuntimeOptions
) -> None:
    """Asked for and cancelled in one segment."""
    calls: list[str] = []
    app = _app(calls)
    async with trioflow.open_runtime(app, store, options=options) as runtime:
        handle = await runtime.client.start("in_one_segment")
        assert await handle.result(timeout=20) == "gave up"
        assert await _cancelled_event(handle) == ["never_started"]
    assert calls == []
