"""Waiting orchestrations that a runtime drops: evicted, at its stop, with a lost lock. Their cleanup does nothing."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

import trioflow
from tests.runtime.programs import running, shape, until, virtual_store
from trioflow import durable
from trioflow.abc import Store
from trioflow.errors import LockLost
from trioflow.testing import FaultyStore


@attrs.define
class Seen:
    """What the cleanup of a program has tried."""

    refunds: list[str] = attrs.field(factory=list)
    dropped: int = 0
    kernels: list[weakref.ref[Any]] = attrs.field(factory=list)


def workload(seen: Seen) -> trioflow.App:
    """An orchestration that waits, in branches, and cleans up in every way."""
    app = trioflow.App("dropping")

    @app.activity
    async def refund(what: str) -> str:
        seen.refunds.append(what)
        return what

    async def clean_up(what: str) -> None:
        for act in (lambda: durable.logger.warning("cleanup"), lambda: durable.set_status(what)):
            try:
                act()
            except durable.Cancelled:
                raise
            except BaseException:
                seen.dropped += 1
        with durable.CancelScope(shield=True):
            await refund(what)

    @asynccontextmanager
    async def managed() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await clean_up("managed")

    async def branch(task_status: Any = durable.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        try:
            await durable.sleep(10_000)
        finally:
            await clean_up("branch")

    @app.orchestration
    async def main() -> str:
        seen.kernels.append(weakref.ref(durable.lowlevel.current_task()))
        async with managed(), durable.open_nursery() as nursery:
            await nursery.start(branch)
            nursery.start_soon(lambda: durable.gather(branch(), branch))
            result = await durable.wait_event("go", str)
            nursery.cancel_scope.cancel()
        return result

    return app


@pytest.fixture(autouse=True)
def no_noise(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Any:
    """Nothing of a dropped orchestration is logged, and nothing is left to the collector of cycles."""
    caplog.set_level(logging.DEBUG)
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def begun(app: trioflow.App, client: trioflow.Client) -> None:
    """It waits."""
    await client.start("main", id="it")
    while "EventWaited" not in shape(await client.history("it")):
        await trio.sleep(0.01)


async def by_eviction(app: trioflow.App, store: Store) -> None:
    """There is no room to keep it."""
    async with running(app, store, cache_executions=0) as client:
        await begun(app, client)


async def by_leaving(app: trioflow.App, store: Store) -> None:
    """The runtime stops."""
    async with running(app, store) as client:
        await begun(app, client)


async def by_cancellation(app: trioflow.App, store: Store) -> None:
    """The host cancels the runtime."""
    with trio.CancelScope() as scope:
        async with running(app, store) as client:
            await begun(app, client)
            scope.cancel()
            await trio.lowlevel.checkpoint()


async def by_a_lost_lock(app: trioflow.App, store: Store) -> None:
    """The turn that follows may not be written."""
    faulty = FaultyStore(store)
    async with running(app, faulty) as client:
        await begun(app, client)
        for nth in range(faulty.calls["commit_turn"] + 1, faulty.calls["commit_turn"] + 20):
            faulty.fail("commit_turn", LockLost("somebody else has it"), nth=nth)
        commits = faulty.calls["commit_turn"]
        await client.raise_event("it", "other")
        await until(lambda: faulty.calls["commit_turn"] > commits)


@pytest.mark.parametrize("drop", [by_eviction, by_leaving, by_cancellation, by_a_lost_lock])
async def test_a_dropped_orchestration_does_and_says_nothing(
    drop: Any, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """No step, no status, no log; no object is left; and the next runtime finishes it, with its cleanup done once."""
    seen = Seen()
    app, store = workload(seen), virtual_store()
    await drop(app, store)
    assert seen.dropped >= 6  # two verbs, in the branches that had begun and the context manager
    assert seen.refunds == []
    assert [ref() for ref in seen.kernels if ref() is not None] == []
    assert app.undead == []
    async with trioflow.connect(store, app) as client:
        assert shape(await client.history("it"))[-1] != "StatusSet"
        assert await client.handle("it").status() is None
    assert not [record for record in caplog.records if record.name == "trioflow.orchestration"]

    await trio.sleep(100)  # whatever lease is left runs out
    async with running(app, store) as client:
        await client.raise_event("it", "go", "gone")
        assert await client.handle("it").result() == "gone"
        assert shape(await client.history("it")).count("ActivityCompleted") == 4
    assert sorted(seen.refunds) == ["branch", "branch", "branch", "managed"]
    logged = [record for record in caplog.records if record.name == "trioflow.orchestration"]
    assert len(logged) == 4


async def test_branches_that_swallow_everything_are_kept_and_reported_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The runtime goes on; the app holds what could not be ended, so that no collector runs its code."""
    app = trioflow.App("undead")
    release: list[bool] = []

    @app.orchestration
    async def main() -> None:
        while not release:
            try:
                await durable.sleep(1_000)
            except BaseException:
                pass

    async def evict() -> None:
        async with running(app, virtual_store(), cache_executions=0) as client:
            await client.start(main, id="it")
            while "TimerCreated" not in shape(await client.history("it")):
                await trio.sleep(0.01)

    with pytest.warns(RuntimeWarning, match="was dropped, but") as warned:
        await evict()
    assert len(warned) == 1
    assert len(app.undead) == 1
    release.append(True)
    app.undead.pop().coro.close()  # type: ignore[attr-defined]
