"""Timers, events and races between them."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

import trioflow
from tests.runtime.programs import running, shape, virtual_store
from trioflow import durable
from trioflow.abc import Store

Clock = trio.testing.MockClock


async def test_an_activity_against_a_timer(autojump_clock: Clock) -> None:
    """duroxide: sample_timeout_with_timer_race."""
    app, cancelled, store = trioflow.App("timeouts"), list[str](), virtual_store()

    @app.activity
    async def slow() -> str:
        try:
            await trio.sleep(500)
        except trio.Cancelled:
            cancelled.append("the loser has ended")
            raise
        return "slow"

    @app.orchestration
    async def main() -> str:
        with durable.move_on_after(100):
            return await slow()
        return "timeout"

    async with running(app, store) as client:
        assert await (await client.start(main)).result() == "timeout"
    assert cancelled


@pytest.mark.parametrize("first", ["event", "activity"])
async def test_an_activity_against_an_event(autojump_clock: Clock, first: str) -> None:
    """duroxide: sample_select2_activity_vs_external: the index says who won."""
    app, store = trioflow.App("races"), virtual_store()

    @app.activity
    async def work() -> str:
        await trio.sleep(10 if first == "activity" else 1000)
        return "worked"

    @app.orchestration
    async def main() -> tuple[int, str]:
        return await durable.race(work(), durable.wait_event("go", str))

    async with running(app, store) as client:
        handle = await client.start(main)
        await trio.sleep(50)
        if first == "event":
            await handle.raise_event("go", "raised")
        assert await handle.result() == ((0, "worked") if first == "activity" else (1, "raised"))


async def test_the_first_of_many(autojump_clock: Clock) -> None:
    """duroxide: race of exactly two in Python, no nesting. Here any number of anything, races within races."""
    app, store = trioflow.App("many"), virtual_store()

    @app.activity
    async def step(text: str) -> str:
        return text

    async def two_steps() -> str:
        return await step(await step("two steps"))

    @app.orchestration
    async def main() -> Any:
        naps = [durable.sleep(1000 + number) for number in range(20)]
        inner = durable.race(durable.sleep_forever, durable.sleep(5000))
        return await durable.race(*naps, durable.wait_event("never"), inner, two_steps)

    async with running(app, store) as client:
        assert await (await client.start(main)).result() == [22, "two steps"]


@pytest.mark.parametrize("width", [40, 1024])
async def test_a_wide_fan_in(autojump_clock: Clock, width: int) -> None:
    """In duroxide (#18, #19) joins of more than 30, such as 1024, hung for ever."""
    app, store = trioflow.App("wide"), virtual_store()

    @app.activity
    async def double(number: int) -> int:
        return number * 2

    @app.orchestration
    async def main() -> int:
        return sum(await durable.gather(*[double(number) for number in range(width)]))

    async with running(app, store) as client:
        assert await (await client.start(main)).result() == width * (width - 1)


async def test_timers_fire_in_order(autojump_clock: Clock) -> None:
    """duroxide: single_timer_fires, multiple_timers_fire_in_order, zero_duration_timer, timer_with_activity."""
    app, store = trioflow.App("timers"), virtual_store()

    @app.activity
    async def note(seconds: float) -> float:
        return seconds

    @app.orchestration
    async def main() -> list[float]:
        fired: list[float] = []

        async def after(seconds: float) -> None:
            await durable.sleep(seconds)
            fired.append(await note(seconds))

        async with durable.open_nursery() as nursery:
            for seconds in (30.0, 0.0, 20.0, 10.0):
                nursery.start_soon(after, seconds)
        return fired

    async with running(app, store) as client:
        assert await (await client.start(main)).result() == [0.0, 10.0, 20.0, 30.0]


async def test_a_timer_counts_from_where_it_was_asked_for(autojump_clock: Clock) -> None:
    """duroxide: timer_fires_at_correct_time_regression, timer_fires_at_correct_time_after_previous_timer."""
    app, store = trioflow.App("clock"), virtual_store()

    @app.orchestration
    async def main() -> list[float]:
        times = [durable.current_time()]
        for seconds in (60, 3600):
            await durable.sleep(seconds)
            times.append(durable.current_time())
        return [times[1] - times[0], times[2] - times[1]]

    async with running(app, store, cache_executions=0) as client:
        first, second = await (await client.start(main)).result()
    assert first == pytest.approx(60, abs=0.1)
    assert second == pytest.approx(3600, abs=0.1)


@pytest.mark.parametrize("down", [30, 300])
async def test_a_timer_outlives_its_worker(autojump_clock: Clock, down: float) -> None:
    """duroxide: timer_recovery_after_crash_before_fire and after_fire: due meanwhile, it fires at once."""
    app, store = trioflow.App("recovery"), virtual_store()

    @app.orchestration
    async def main() -> str:
        await durable.gather(durable.sleep(100), durable.sleep(90))
        return "fired"

    async with trioflow.connect(store, app) as client:
        handle = await client.start(main)
        with trio.move_on_after(10):
            async with running(app, store):
                await trio.sleep_forever()
        await trio.sleep(down)
        async with running(app, store):
            assert await handle.result() == "fired"
    assert trio.current_time() == pytest.approx(max(100, 10 + down), abs=1)


@attrs.frozen
class Approval:
    """What an approver says."""

    by: str


async def test_an_event_has_a_type(store: Store) -> None:
    """duroxide: sample_typed_event, raise_event_typed_round_trip, enqueue_event_typed_round_trip.

    duroxide: typed_event_decode_error ends the run as a panic; here it is an error that may be caught.
    """
    app = trioflow.App("typed")

    @app.orchestration
    async def main() -> list[str]:
        said = []
        for _ in range(2):
            try:
                said.append((await durable.wait_event("approved", Approval)).by)
            except trioflow.EventTypeError as exc:
                said.append(f"not an approval: {exc.value}")
        return said

    async with running(app, store) as client:
        handle = await client.start(main)
        await handle.raise_event("approved", 7)
        await handle.raise_event("approved", Approval("Ada"))
        assert await handle.result(timeout=20) == ["not an approval: 7", "Ada"]


async def test_nobody_has_to_wait_before_an_event_comes(store: Store) -> None:
    """duroxide: an event raised before its wait is dropped. Here it waits in its mailbox, and losers take nothing."""
    app = trioflow.App("early")

    @app.orchestration
    async def main() -> list[str]:
        await durable.wait_event("begin")
        with durable.move_on_after(0):
            await durable.wait_event("data")  # cancelled before it waits: consumes nothing
        return [await durable.wait_event("data", str), await durable.wait_event("data", str)]

    async with running(app, store) as client:
        handle = await client.start(main)
        await handle.raise_event("data", "first")
        await handle.raise_event("data", "second")
        await handle.raise_event("begin")
        assert await handle.result(timeout=20) == ["first", "second"]
        assert shape(await handle.history()).count("EventReceived") == 3
