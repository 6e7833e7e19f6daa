"""The application that the runtime's tests run, and small tools around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

import trioflow
from tests.canary import CANARY
from trioflow import durable
from trioflow.abc import Env, Store
from trioflow.history import Event
from trioflow.stores import MemoryStore

EPOCH = 1_700_000_000.0


class Rejected(Exception):
    """An exception that comes back as itself."""


@attrs.define(eq=False)
class Probe:
    """What activities of a test saw and wait for."""

    calls: list[Any] = attrs.field(factory=list)
    doors: dict[str, trio.Event] = attrs.field(factory=dict)

    def door(self, name: str) -> trio.Event:
        """An event that activities wait for or set."""
        return self.doors.setdefault(name, trio.Event())


def shop(probe: Probe) -> trioflow.App:
    """Activities and orchestrations that most tests need."""
    app = trioflow.App("shop")
    app.exception(Rejected)

    @app.activity
    async def double(number: int) -> int:
        probe.calls.append(number)
        return number * 2

    @app.activity
    def threaded(number: int) -> int:
        return number + 1

    @app.activity
    async def reject(number: int) -> int:
        raise Rejected(number, CANARY)

    @app.activity
    async def hang(name: str) -> str:
        probe.calls.append(name)
        probe.door(f"{name} runs").set()
        try:
            await probe.door(name).wait()
        except trio.Cancelled:
            probe.door(f"{name} cancelled").set()
            raise
        return name

    _orchestrations(app, double, threaded, reject, hang)
    return app


def _orchestrations(app: trioflow.App, double: Any, threaded: Any, reject: Any, hang: Any) -> None:
    @app.orchestration
    async def hello(number: int) -> int:
        return int(await double(number))

    @app.orchestration
    async def chain(count: int) -> int:
        total = 0
        for number in range(count):
            total += await double(number)
        return total

    @app.orchestration
    async def fan(count: int) -> list[int]:
        return list(await durable.gather(*[double(number) for number in range(count)]))

    @app.orchestration
    async def thread(number: int) -> int:
        return int(await threaded(number))

    @app.orchestration
    async def failing(number: int) -> int:
        return int(await reject(number))

    @app.orchestration
    async def hanging(name: str) -> str:
        return str(await hang(name))

    @app.orchestration
    async def waiting(name: str) -> Any:
        return await durable.wait_event(name)

    @app.orchestration
    async def napping(seconds: float) -> float:
        start = durable.current_time()
        await durable.sleep(seconds)
        return durable.current_time() - start

    @app.orchestration
    async def parent(number: int) -> int:
        return await hello(number) + 1


def find(app: trioflow.App, name: str) -> Any:
    """A definition by name."""
    for key, definition in app.definitions():
        if key[1] == name:
            return definition
    raise LookupError(name)


def virtual_store() -> MemoryStore:
    """A memory store on trio's clock."""
    return MemoryStore(clock=lambda: EPOCH + trio.current_time())


@asynccontextmanager
async def running(
    app: trioflow.App, store: Store, *, env: Env | None = None, **options: Any
) -> AsyncIterator[trioflow.Client]:
    """The client of a runtime."""
    async with trioflow.open_runtime(app, store, options=trioflow.RuntimeOptions(**options), env=env) as runtime:
        yield runtime.client


def shape(history: list[Event]) -> list[str]:
    """A history's kinds, in order."""
    return [type(event).__name__ for event in history]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a fact that no event tells of."""
    while not condition():
        await trio.lowlevel.checkpoint()
