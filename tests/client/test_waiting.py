"""Waiting for a status or a value: woken at once, typed, and never for what cannot come."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

import trioflow
from tests.client.managed import make_yard, until_state
from tests.runtime.programs import running, virtual_store
from trioflow import State, durable
from trioflow.abc import Store
from trioflow.testing import FaultyStore


@attrs.frozen
class Progress:
    """How far it is."""

    step: int


def make_app() -> trioflow.App:
    """A server that answers requests in its kv, and tells in its status how many it has answered."""
    app = trioflow.App("server")

    @app.orchestration
    async def serve(requests: int) -> None:
        for number in range(requests):
            name = await durable.wait_event("request", str)
            durable.kv[name] = name.upper()
            durable.set_status(Progress(number + 1))

    return app


async def test_request_and_response_through_kv(store: Store) -> None:
    """Who asked waits for the answer under its own key; a predicate waits for a certain one."""
    async with running(make_app(), store) as client:
        handle = await client.start("serve", 3)
        answers: list[str] = []

        async def ask(name: str) -> None:
            await handle.raise_event("request", name)
            answers.append(await handle.wait_kv(name, timeout=20))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "a")
            nursery.start_soon(ask, "b")
        assert sorted(answers) == ["A", "B"]
        assert await handle.wait_kv("a", lambda value: value == "A", type=str, timeout=20) == "A"
        assert await handle.wait_status(lambda status: status["step"] == 2, timeout=20) == {"step": 2}
        await handle.raise_event("request", "c")
        last = await handle.wait_status(lambda progress: progress.step == 3, type=Progress, timeout=20)
        assert last == Progress(3)


async def test_a_wait_is_woken_by_hints(autojump_clock: MockClock) -> None:
    """A value is seen when it is written, not at the next poll; nothing is asked while nothing happens."""
    store = FaultyStore(virtual_store())
    async with running(make_app(), store) as client:
        handle = await client.start("serve", 1)
        seen: list[float] = []

        async def wait(how: Any) -> None:
            await how()
            seen.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, lambda: handle.wait_kv("a"))
            nursery.start_soon(wait, handle.wait_status)
            await trio.sleep(1000.5)
            store.calls.clear()
            await trio.sleep(1000)
            assert store.calls.get("read_kv", 0) == 0
            await handle.raise_event("request", "a")
        assert seen == pytest.approx([2000.5, 2000.5], abs=0.01)


async def test_a_timeout_is_kept(store: Store) -> None:
    """`timeout` raises trio's TooSlowError; a predicate that never agrees keeps nobody longer."""
    async with running(make_app(), store) as client:
        handle = await client.start("serve", 2)
        await handle.raise_event("request", "a")
        await handle.wait_kv("a", timeout=20)
        for wait in (handle.wait_kv("b", timeout=0), handle.wait_kv("a", lambda _: False, timeout=0.01)):
            with pytest.raises(trio.TooSlowError):
                await wait
        with pytest.raises(trio.TooSlowError):
            await handle.wait_status(lambda status: False, timeout=0.01)


async def test_what_cannot_come_is_not_waited_for(store: Store) -> None:
    """Once an instance has ended the last value counts; if it is not the one, that is an error."""
    async with running(make_app(), store) as client, trio.open_nursery() as nursery:
        handle = await client.start("serve", 1)

        async def wait_in_vain() -> None:
            with pytest.raises(trioflow.InstanceFinished, match="kv value 'b'"):
                await handle.wait_kv("b")
            with pytest.raises(trioflow.InstanceFinished, match="status"):
                await handle.wait_status(lambda status: status["step"] == 2)

        nursery.start_soon(wait_in_vain)
        await until_state(handle, State.WAITING)
        await handle.raise_event("request", "a")
        await handle.result(timeout=20)
        assert await handle.wait_kv("a") == "A"
        assert await handle.wait_status() == {"step": 1}
        for wait in (client.handle("nobody").wait_kv("a"), client.handle("nobody").wait_status()):
            with pytest.raises(trioflow.InstanceNotFound):
                await wait


async def test_who_waits_for_a_deleted_instance_is_told(store: Store) -> None:
    """Nobody waits for ever for a value of an instance that is gone."""
    async with running(make_app(), store) as client, trio.open_nursery() as nursery:
        handle = await client.start("serve", 1)
        await until_state(handle, State.WAITING)

        async def wait_in_vain() -> None:
            with pytest.raises(trioflow.InstanceNotFound):
                await handle.wait_kv("a", timeout=20)

        nursery.start_soon(wait_in_vain)
        await trio.testing.wait_all_tasks_blocked()
        await handle.delete(force=True)


async def test_a_parked_instance_is_not_waited_for(store: Store) -> None:
    """As for a result: it cannot go on until somebody acts."""
    yard = make_yard()
    async with running(yard.app, store) as client:
        handle = await client.start("fragile")
        await handle.raise_event("go")
        while (await handle.info()).history_length < 4:
            await trio.lowlevel.checkpoint()
    yard.changed = True
    async with running(yard.app, store) as client:
        await client.raise_event(handle.id, "more")
        with pytest.raises(trioflow.InstanceParked, match="Nondeterminism"):
            await client.handle(handle.id).wait_status(timeout=20)


async def test_status_and_values_have_types(store: Store) -> None:
    """Status and values are plain data, or what is asked for; what does not fit is a DecodeError."""
    async with running(make_app(), store) as client:
        handle = await client.start("serve", 1)
        assert await handle.status(Progress) is None
        await handle.raise_event("request", "a")
        await handle.result(timeout=20)
        assert await handle.status() == {"step": 1}
        assert await handle.status(Progress) == Progress(1)
        assert await handle.kv_value("a") == await client.kv_value(handle.id, "a", str) == "A"
        with pytest.raises(KeyError, match="b"):
            await handle.kv_value("b")
        with pytest.raises(KeyError):
            await client.kv_value("nobody", "a")
        with pytest.raises(trioflow.LimitExceeded):
            await handle.kv_value("")
        for wrong in (
            handle.status(int),
            handle.kv_value("a", int),
            handle.wait_kv("a", type=int),
            handle.wait_status(type=str),
        ):
            with pytest.raises(trioflow.DecodeError):
                await wrong
