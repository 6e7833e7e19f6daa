"""What user code raises where only a log can tell of it, is told without its message, unless an option lets it out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

import trioflow
from tests.canary import CANARY
from tests.telemetry.net import Bird, Net, careless
from trioflow import durable
from trioflow.abc import AttemptEnded, Fact, Instrument
from trioflow.stores import MemoryStore


class Parrot(Instrument):
    """Raises what it is told."""

    def saw(self, fact: Fact) -> None:
        """Repeat it."""
        if isinstance(fact, AttemptEnded):
            raise RuntimeError(CANARY, fact)


class Deaf(logging.Handler):
    """Refuses what it is given."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise it."""
        raise RuntimeError(CANARY, record)


def noisy() -> trioflow.App:
    """A program that makes trioflow log exceptions of its own code."""
    app = trioflow.App("birds")

    async def songs() -> Any:
        try:
            yield CANARY
        finally:
            raise Bird

    @app.activity
    async def sing(song: str) -> str:
        return song

    @app.orchestration
    async def main(song: str) -> None:
        durable.DurableLogger("deaf").warning("not heard")
        async for _ in songs():
            break
        await sing(song)

    return app


SAID = (
    "an instrument failed and is not told anything any more: Parrot: RuntimeError",
    "a log record of an orchestration could not be emitted: RuntimeError",
    "Exception ignored during finalization of async generator 'songs': Bird",
)


@pytest.fixture
def deaf() -> Iterator[None]:
    """A handler that always raises."""
    handler, logger = Deaf(), logging.getLogger("deaf")
    logger.addHandler(handler)
    logger.propagate = False
    yield
    logger.propagate = True
    logger.removeHandler(handler)


async def run_noisy(net: Net, **options: Any) -> None:
    """To its end."""
    instruments = [Parrot(), net.instrument]
    settings = trioflow.RuntimeOptions(**options)
    async with trioflow.open_runtime(noisy(), MemoryStore(), options=settings, instruments=instruments) as runtime:
        await (await runtime.client.start("main", CANARY)).result(timeout=20)


async def test_errors_of_instruments_handlers_and_generators(net: Net, deaf: None) -> None:
    """They are told by class and line."""
    await run_noisy(net)
    for text in SAID:
        assert f"{text} (at " in net.logs, text


async def test_an_option_lets_messages_into_logs(deaf: None) -> None:
    """Then they are told whole, with their tracebacks; so the canary can be heard, where it is let out."""
    with Net() as net:
        await run_noisy(net, log_exception_messages=True)
    for text in SAID:
        assert f"{text}: " in net.logs, text
    told = [line for line in net.said if any(text in line for text in SAID)]
    assert len(told) == 3
    assert all(line.count(CANARY) >= 2 and "Traceback" in line for line in told)
    rest = net.everything()
    assert CANARY not in rest["spans"] + rest["metrics"]


async def test_an_option_lets_messages_about_payloads_into_logs() -> None:
    """Of what parks an instance, too."""
    app = trioflow.App("birds")

    @app.orchestration
    async def main(number: int) -> None: ...

    with Net() as net:
        async with trioflow.open_runtime(
            app, "memory:", options=trioflow.RuntimeOptions(log_exception_messages=True)
        ) as runtime:
            async with trioflow.connect(runtime.store, careless()) as client:
                handle = await client.start("main", CANARY)
                with pytest.raises(trioflow.InstanceParked):
                    await handle.result(timeout=20)
    assert "cannot go on: DecodeError: the arguments of orchestration 'main'" in net.logs
