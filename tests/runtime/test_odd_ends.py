"""What user code may raise, or leave open behind it, without hurting anybody but itself."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import running, virtual_store
from trioflow import Retry, durable
from trioflow._engine import Execution
from trioflow.testing import FaultyStore

Clock = trio.testing.MockClock


async def stale_cancelled() -> BaseException:
    """A `trio.Cancelled` of a scope that is long over, as something memoised may keep it."""
    kept: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            kept.append(exc)
            raise
    return kept.pop()


def with_neighbour(step: Any) -> trioflow.App:
    """An application whose `main` tells how its `step` ended, and whose `other` waits a while beside it."""
    app = trioflow.App("odd ends")
    act = app.activity(name="step", retry=Retry(max_attempts=2, initial=1))(step)

    @app.orchestration
    async def main() -> str:
        try:
            return str(await act())
        except trioflow.OperationFailed as exc:
            return f"{exc.type} after {exc.attempts}"
        except RuntimeError as exc:
            return str(exc).partition(":")[0]
        except BaseExceptionGroup as group:
            return ", ".join(type(each).__name__ for each in group.exceptions)

    @app.orchestration
    async def other() -> str:
        await durable.sleep(50)
        return "fine"

    return app


async def both(app: trioflow.App) -> list[Any]:
    """What `main` and `other` return on one runtime."""
    with trio.fail_after(1_000):
        async with running(app, virtual_store()) as client:
            other, main = await client.start("other"), await client.start("main")
            return [await main.result(), await other.result()]


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_cancellation_of_long_ago_is_a_failure_like_any_other(grouped: bool, autojump_clock: Clock) -> None:
    """An old `trio.Cancelled` raised again, alone or in a group, fails its activity; the runtime goes on."""
    kept = await stale_cancelled()

    async def step() -> None:
        raise BaseExceptionGroup("several", [ValueError(), kept]) if grouped else kept

    told = "ValueError, OperationFailed" if grouped else "trio.Cancelled after 2"
    assert await both(with_neighbour(step)) == [told, "fine"]


@pytest.mark.parametrize("verb", ["lock_turns", "lock_activities"])
async def test_a_runtime_never_ends_in_silence(verb: str, autojump_clock: Clock) -> None:
    """What ends the work although nobody stopped it comes out of the block as an error."""
    kept: Any = await stale_cancelled()
    faulty = FaultyStore(virtual_store()).fail(verb, kept)

    async def step() -> None: ...

    with pytest.raises(RuntimeError, match="has ended although nobody stopped or cancelled it"):
        async with running(with_neighbour(step), faulty) as client:
            await client.start("main")
            await trio.sleep(1_000)


async def test_a_nursery_left_open_fails_its_activity_alone(autojump_clock: Clock) -> None:
    """A nursery that a body leaves open is ended, with what runs in it; the body has failed, the runtime goes on."""
    left: list[AsyncIterator[None]] = []
    told: list[str] = []

    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            told.append(f"the child of attempt {len(left)} has ended")

    async def opened() -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await trio.lowlevel.checkpoint()
            yield

    async def step() -> None:
        told.append("begin")
        left.append(opened())
        await anext(left[-1])

    assert await both(with_neighbour(step)) == ["Cancel scope stack corrupted", "fine"]
    assert told == ["begin", "the child of attempt 1 has ended", "begin", "the child of attempt 2 has ended"]
    for generator in left:  # or trio logs, when it is collected, that it cannot be closed
        with pytest.raises((IndexError, RuntimeError)):
            await generator.aclose()  # type: ignore[attr-defined]


class Strange(BaseException):
    """No `Exception`, and known to nobody."""


@pytest.mark.parametrize("kind", ["custom", "durable", "stale", "group"])
async def test_a_turn_that_raises_anything_parks_its_instance(
    kind: str, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes out of a turn, though it is no `Exception`, parks that instance; the others go on."""
    kept = await stale_cancelled()
    problems = {
        "custom": Strange("x"),
        "durable": durable.Cancelled._create("explicit"),
        "stale": kept,
        "group": BaseExceptionGroup("several", [Strange("x"), kept]),
    }

    async def step() -> None: ...

    run = Execution.run

    def out_of_a_turn(self: Execution, messages: Any, now: float) -> Any:
        if "'main'" in self.label:
            raise problems[kind]
        return run(self, messages, now)

    monkeypatch.setattr(Execution, "run", out_of_a_turn)
    async with running(with_neighbour(step), virtual_store()) as client:
        other, main = await client.start("other"), await client.start("main")
        with pytest.raises(trioflow.InstanceParked):
            await main.result(timeout=100)
        assert await other.result(timeout=100) == "fine"


async def test_a_warning_never_escapes_a_dropping(autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Where warnings are errors, what a dropped orchestration is reported for is logged; the runtime goes on."""
    release: list[bool] = []

    async def step() -> None: ...

    app = with_neighbour(step)

    @app.orchestration
    async def undead() -> None:
        while not release:
            try:
                await durable.sleep(1_000)
            except BaseException:
                pass

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with running(app, virtual_store(), cache_executions=0) as client:
            await client.start("undead")
            assert await (await client.start("other")).result(timeout=100) == "fine"
    assert "was dropped, but" in caplog.text
    release.append(True)
    app.undead.pop().coro.close()  # type: ignore[attr-defined]
