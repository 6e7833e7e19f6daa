"""What is known of each execution of an instance."""

from __future__ import annotations

import attrs
import pytest
from trio.testing import MockClock

import trioflow
from tests.client.managed import make_yard, until_info, until_state
from tests.runtime.programs import EPOCH, running, virtual_store
from trioflow import ExecutionEnd, State
from trioflow._client import _executions
from trioflow.abc import ExecutionRecord, Store
from trioflow.stores import MemoryStore
from trioflow.testing import FaultyStore


async def test_executions_tell_how_they_ended(store: Store) -> None:
    """Each execution has its number, version, times and end; replacements and restarts count on."""
    yard = make_yard()
    async with running(yard.app, store) as client:
        handle = await client.start("count", 1, id="x")
        await handle.result(timeout=20)
        handle = await client.start("fail", "bad", id="x", if_exists="replace_finished")
        with pytest.raises(trioflow.OrchestrationFailed):
            await handle.result(timeout=20)
        for end in ("cancel", "terminate"):
            handle = await client.start("wait", id="x", if_exists="replace_finished")
            await until_state(handle, State.WAITING)
            await getattr(handle, end)()
            await until_info(handle, lambda info: info.state.ended)
        handle = await client.start("wait", id="x", if_exists="replace_finished", delay=3600)
        found = await handle.executions()
        assert found == await client.executions("x")
        history = await handle.history(2)
    assert [(one.execution, one.end) for one in found] == [
        (1, ExecutionEnd.CONTINUED_AS_NEW),
        (2, ExecutionEnd.COMPLETED),
        (3, ExecutionEnd.FAILED),
        (4, ExecutionEnd.CANCELLED),
        (5, ExecutionEnd.TERMINATED),
        (6, None),
    ]
    assert [one.version for one in found] == ["1.0.0"] * 5 + [None]
    assert [one.failure and one.failure.message for one in found] == [None, None, "bad", None, None, None]
    assert found[1].history_length == len(history)
    assert found[1].history_bytes > 0
    assert (found[1].started_at, found[1].ended_at) == (history[0].at, history[-1].at)
    assert found[5] == trioflow.ExecutionInfo(
        execution=6,
        version=None,
        started_at=None,
        ended_at=None,
        end=None,
        history_length=0,
        history_bytes=0,
        failure=None,
    )


async def test_executions_that_go_on(autojump_clock: MockClock) -> None:
    """What waits has no end; what is parked tells why."""
    yard = make_yard()
    async with running(yard.app, virtual_store()) as client:
        handle = await client.start("fragile")
        await handle.raise_event("go")
        await until_info(handle, lambda info: info.state is State.WAITING and info.history_length == 4)
    yard.changed = True
    async with running(yard.app, client.store) as client:
        handle = client.handle(handle.id)
        (waiting,) = await handle.executions()
        await handle.raise_event("more")
        await until_state(handle, State.PARKED)
        (parked,) = await handle.executions()
    assert (waiting.end, waiting.ended_at, waiting.failure) == (None, None, None)
    assert waiting.started_at == pytest.approx(EPOCH, abs=60)
    assert (parked.end, parked.ended_at, parked.version) == (None, None, "1.0.0")
    assert parked.failure is not None
    assert "Nondeterminism" in parked.failure.type


async def test_many_executions_are_read_in_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, each is told of once, in order."""
    monkeypatch.setattr(_executions, "AT_ONCE", 2)
    async with running(make_yard().app, store) as client:
        for times in (3, 4):
            handle = await client.start("count", times)
            await handle.result(timeout=20)
            assert [one.execution for one in await handle.executions()] == list(range(1, times + 2))


class Damaged(FaultyStore):
    """A store whose first and last events cannot be read."""

    async def read_executions(
        self, instance: str, *, after: int = 0, limit: int | None = None
    ) -> tuple[ExecutionRecord, ...]:
        """The damaged records."""
        return tuple(
            attrs.evolve(
                record,
                first=record.first and attrs.evolve(record.first, data=b"{"),
                last=record.last and attrs.evolve(record.last, kind="Odd"),
            )
            for record in await super().read_executions(instance, after=after, limit=limit)
        )


async def test_executions_that_cannot_be_read_are_told_of(autojump_clock: MockClock) -> None:
    """Damaged events do not keep anybody from seeing what there is."""
    async with running(make_yard().app, Damaged(MemoryStore())) as client:
        handle = await client.start("echo")
        await handle.result()
        (one,) = await handle.executions()
    assert (one.execution, one.history_length, one.version, one.end, one.failure) == (1, 2, None, None, None)
    assert one.started_at is not None
