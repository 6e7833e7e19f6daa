"""What must not grow with a history: the price of a step, and of an outcome in a wide fan, in calls of functions."""

from __future__ import annotations

import cProfile
from collections.abc import Awaitable, Callable

import trio.testing

import trioflow
from trioflow import durable
from trioflow.stores import MemoryStore


def calls_of(profile: cProfile.Profile) -> int:
    """How many calls of functions were made so far, in Python and in C."""
    return sum(entry.callcount for entry in profile.getstats())


async def profiled(app: trioflow.App, profile: cProfile.Profile, orchestration: str, size: int) -> int:
    """Run an orchestration in memory; returns the calls that all of it took, runtime and store included."""
    async with trioflow.open_runtime(app, MemoryStore()) as runtime:
        profile.enable()
        try:
            await (await runtime.client.start(orchestration, size)).result()
        finally:
            profile.disable()
    return calls_of(profile)


def workloads(at_step: Callable[[int], Awaitable[None]]) -> trioflow.App:
    """A chain and a fan; `at_step` is told of each activity."""
    app = trioflow.App("growth")

    @app.activity
    async def echo(value: int) -> int:
        await at_step(value)
        return value

    @app.orchestration
    async def chain(steps: int) -> None:
        for step in range(steps):
            await echo(step)

    @app.orchestration
    async def fan(width: int) -> None:
        await durable.gather(*(echo(number) for number in range(width)))

    return app


async def test_a_step_of_a_live_chain_costs_the_same_however_long_it_is(mock_clock: trio.testing.MockClock) -> None:
    """Steps 990 to 1,000 take as many calls as steps 10 to 20: a turn costs what is new, not what has been."""
    profile, seen = cProfile.Profile(), dict[int, int]()

    async def at_step(number: int) -> None:
        if number in (10, 20, 990, 1_000):
            profile.disable()
            seen[number] = calls_of(profile)
            profile.enable()

    await profiled(workloads(at_step), profile, "chain", 1_010)
    early, late = seen[20] - seen[10], seen[1_000] - seen[990]
    assert early > 0
    assert late <= early * 1.02, (early, late)


async def test_a_fan_twice_as_wide_costs_twice_as_much(mock_clock: trio.testing.MockClock) -> None:
    """From a thousand activities at once to two thousand: the calls at most double, and a twentieth."""

    async def at_step(number: int) -> None:
        pass

    app = workloads(at_step)
    thousand = await profiled(app, cProfile.Profile(), "fan", 1_000)
    two_thousand = await profiled(app, cProfile.Profile(), "fan", 2_000)
    assert two_thousand <= 2.1 * thousand, (thousand, two_thousand)
