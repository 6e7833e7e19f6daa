"""Failpoints, faulty stores and replay checks."""

from __future__ import annotations

import pytest

import trioflow
from trioflow import durable
from trioflow.errors import StoreUnavailable
from trioflow.history import Event
from trioflow.stores import MemoryStore
from trioflow.testing import Crash, FailpointEnv, FaultyStore, check_replay


def test_a_failpoint_acts_at_its_moment() -> None:
    """A plan names a moment and which time; None counts all; without an action it crashes."""
    seen: list[str] = []
    env = FailpointEnv().at("b", lambda: seen.append("b"), nth=2).at(None, lambda: seen.append("third"), nth=3).at("c")
    for moment in ("a", "b", "b", "b"):
        env.reached(moment)
    assert seen == ["b", "third"]
    with pytest.raises(Crash):
        env.reached("c")
    assert env.trace == ["a", "b", "b", "b", "c"]


async def test_a_faulty_store_lies_where_it_was_told() -> None:
    """It raises before or after carrying out, at the nth call, and is the given store otherwise."""
    inner = MemoryStore()
    store = (
        FaultyStore(inner)
        .fail("read_clock", ValueError("once"), nth=2)
        .fail("read_kv", ValueError("after"), when="after")
    )
    async with store:
        await store.read_clock()
        with pytest.raises(ValueError, match="once"):
            await store.read_clock()
        with pytest.raises(ValueError, match="after"):
            await store.read_kv("x")
        assert await store.read_kv("x") == {}
        store.dead = True
        with pytest.raises(StoreUnavailable):
            await store.read_history("x", 1)
    assert store.signals is inner.signals
    assert store.calls == {"read_clock": 2, "read_kv": 2, "read_history": 1}


async def history_of(app: trioflow.App) -> list[Event]:
    """Run `main` and read what happened."""
    async with trioflow.open_runtime(app, MemoryStore()) as runtime:
        handle = await runtime.client.start("main")
        await handle.result(timeout=5)
        return await handle.history()


async def test_a_replay_is_checked() -> None:
    """The code that made a history agrees with it; other code does not, and is told where."""
    before, after = trioflow.App("before"), trioflow.App("after")

    @before.orchestration(name="main")
    async def old() -> None:
        await durable.sleep(0.001)

    @after.orchestration(name="main")
    async def new() -> None:
        await durable.wait_event("go")

    history = await history_of(before)
    check_replay(before, history)
    with pytest.raises(trioflow.NondeterminismError, match="expected"):
        check_replay(after, history)
    with pytest.raises(trioflow.UnregisteredError):
        check_replay(after, history, version="7.0")
    with pytest.raises(trioflow.HistoryError, match="begins with"):
        check_replay(before, [])
