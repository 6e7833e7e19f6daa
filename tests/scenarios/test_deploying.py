"""What docs/deploying.md says of changes to code that runs: each instance is begun by one release, ended by another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import running, virtual_store
from trioflow import State, durable
from trioflow.abc import Store

Clock = trio.testing.MockClock
LIVING = [state for state in State if not state.ended]


def release(body: Callable[[trioflow.App], Any], version: str = "1.0.0") -> trioflow.App:
    """An application with the orchestration "job", whose code `body` makes."""
    app = trioflow.App("job")

    @app.activity
    async def step(number: int) -> int:
        return number

    @app.activity
    async def other(number: int) -> int:
        return number * 100

    app.orchestration(name="job", version=version)(body(app))
    return app


def found(app: trioflow.App, name: str) -> Any:
    """An activity of the app."""
    return app.registry.activities[name]


async def replayed(before: trioflow.App, after: trioflow.App, store: Store) -> Any:
    """The result of an instance that one release began, up to its wait, and another one finished."""
    async with trioflow.connect(store, after) as client:
        async with running(before, store) as old:
            handle = await old.start("job")
            await standing(old, handle.id)
        await client.raise_event(handle.id, "go", 1)
        async with running(after, store):
            return await client.handle(handle.id).result(timeout=50)


async def standing(client: trioflow.Client, *ids: str) -> None:
    """Wait until instances have had their turn and wait."""
    for each in ids:
        while (info := await client.get(each)).state is not State.WAITING or info.queued:
            await trio.sleep(0.01)


def simple(app: trioflow.App) -> Any:
    """A step, an event, a step."""
    step = found(app, "step")

    async def job() -> list[int]:
        durable.set_status("begun")
        durable.kv["one"] = 1
        first = await step(1)
        told = await durable.wait_event("go", int)
        return [first, told, await step(2)]

    return job


async def test_options_of_an_activity_may_be_changed(autojump_clock: Clock) -> None:
    """Tag, session, retries and timeouts are no part of what a replay compares."""

    def moved(app: trioflow.App) -> Any:
        step = found(app, "step").options(session="s", retry=trioflow.Retry(max_attempts=3), timeout=9.0)

        async def job() -> list[int]:
            first = await step.options(tag="gpu")(1)
            told = await durable.wait_event("go", int)
            return [first, told, await step(2)]

        return job

    assert await replayed(release(simple), release(moved), virtual_store()) == [1, 1, 2]


async def test_what_asks_for_nothing_may_be_changed(autojump_clock: Clock) -> None:
    """Status, values, log lines and random draws; beyond the end of the history everything."""

    def chatty(app: trioflow.App) -> Any:
        step, other = found(app, "step"), found(app, "other")

        async def job() -> list[int]:
            durable.logger.info("begun")
            durable.random()
            durable.kv["two"] = 2
            first = await step(1)
            durable.set_status("waits")
            told = await durable.wait_event("go", int)
            return [first, told, *await durable.gather(other(3), other(4))]

        return job

    assert await replayed(release(simple), release(chatty), virtual_store()) == [1, 1, 300, 400]


def gated(app: trioflow.App) -> Any:
    """Another activity first, for those that come to the gate."""
    step, other = found(app, "step"), found(app, "other")

    async def job() -> list[int]:
        first = await other(1) if durable.patched("other first") else await step(1)
        told = await durable.wait_event("go", int)
        return [first, told, await step(2)]

    return job


def ungated(app: trioflow.App) -> Any:
    """The gate and its old side are gone."""
    step, other = found(app, "step"), found(app, "other")

    async def job() -> list[int]:
        first = await other(1)
        told = await durable.wait_event("go", int)
        return [first, told, await step(2)]

    return job


async def test_a_gate_has_an_old_side_a_new_side_and_an_end(autojump_clock: Clock) -> None:
    """What had passed stays old, what comes is new; once nothing old is left the gate may go."""
    old, gate, new = release(simple), release(gated), release(ungated)
    assert await replayed(old, gate, virtual_store()) == [1, 1, 2]
    assert await replayed(gate, gate, virtual_store()) == [100, 1, 2]
    assert await replayed(gate, new, virtual_store()) == [100, 1, 2]


@pytest.mark.parametrize(("before", "after"), [(gated, simple), (simple, ungated)])
async def test_a_gate_that_comes_too_late_or_goes_too_early_parks(
    autojump_clock: Clock, before: Any, after: Any
) -> None:
    """An old worker that gets what a new one took through the gate, and a new one without the old side, both see it.

    Nothing is lost: with the right code, `resume_all` lets all of them finish.
    """
    store = virtual_store()
    with pytest.raises(trioflow.InstanceParked, match="NondeterminismError"):
        await replayed(release(before), release(after), store)
    async with running(release(gated), store) as client:
        parked = [info async for info in client.list(states="parked")]
        assert [info.failure is not None and "Nondeterminism" in info.failure.type for info in parked] == [True]
        assert await client.resume_all() == 1
        assert await client.handle(parked[0].id).result() == [100 if before is gated else 1, 1, 2]


def both(in_use: str | None) -> trioflow.App:
    """The second release of a loop, with both versions, and which of them it uses."""
    app = release(_loop)
    app.orchestration(name="job", version="2.0.0")(_loop(app))
    app.use_version("job", in_use)
    return app


def _loop(app: trioflow.App) -> Any:
    async def job() -> str:
        if await durable.wait_event("go", str) == "next":
            durable.continue_as_new()
        return durable.info().version

    return job


async def versions(client: trioflow.Client) -> dict[str | None, int]:
    """How many that have not ended run which version."""
    counted: dict[str | None, int] = {}
    async for info in client.list(name="job", states=LIVING):
        counted[info.version] = counted.get(info.version, 0) + 1
    return counted


async def test_a_version_is_brought_everywhere_before_it_is_used(autojump_clock: Clock) -> None:
    """While a worker of the old release is there, `use_version` keeps all that begins on the old version.

    When none is left, what begins and what continues as new takes the new one, without another deployment.
    """
    store, new = virtual_store(), both("1.0.0")
    async with running(new, store) as client:
        async with running(release(_loop), store):
            for number in range(20):
                await client.start("job", id=f"i{number}")
            await standing(client, *(f"i{number}" for number in range(20)))
            assert await versions(client) == {"1.0.0": 20}
        new.use_version("job", None)
        await client.start("job", id="late")
        await standing(client, "late")
        for number in range(5):
            await client.raise_event(f"i{number}", "go", "next")
        while (await versions(client)).get("2.0.0") != 6:
            await trio.sleep(1)
        assert await versions(client) == {"1.0.0": 15, "2.0.0": 6}


async def test_nobody_runs_the_old_version_any_more(autojump_clock: Clock) -> None:
    """A list by version and states tells what is left; when it is empty, the code may go.

    What has ended needs none; what has not begun has no version yet, and takes what its worker has.
    """
    store = virtual_store()

    async def left() -> int:
        return len([info async for info in client.list(name="job", version="1.0.0", states=LIVING)])

    async with running(both("1.0.0"), store) as client:
        handles = [await client.start("job", id=f"i{number}") for number in range(4)]
        await standing(client, *(handle.id for handle in handles))
        await client.start("job", id="delayed", delay=1000)
        await handles[0].suspend()
        assert await left() == 4
    async with running(both(None), store) as client:
        await client.resume("i0")
        for number, word in enumerate(["end", "end", "next", "next"]):
            await client.raise_event(f"i{number}", "go", word)
        while await left():
            await trio.sleep(1)
        assert await versions(client) == {"2.0.0": 2, None: 1}
    newest = trioflow.App("job")
    newest.orchestration(name="job", version="2.0.0")(_loop(newest))
    async with running(newest, store) as client:
        await client.raise_event("delayed", "go", "end")
        assert await client.handle("delayed").result() == "2.0.0"
        for each in ("i2", "i3"):
            await client.raise_event(each, "go", "end")
            assert await client.handle(each).result() == "2.0.0"


async def test_code_that_is_gone_too_early_is_waited_for(autojump_clock: Clock) -> None:
    """What runs a version that no worker has any more is not touched, parked after a while, and resumed in bulk."""
    store, only_new = virtual_store(), trioflow.App("job")
    only_new.orchestration(name="job", version="2.0.0")(_loop(only_new))
    async with running(release(_loop), store) as client:
        await client.start("job", id="old")
        await standing(client, "old")
    async with running(only_new, store) as client:
        await client.raise_event("old", "go", "end")
        with pytest.raises(trioflow.InstanceParked, match=r"none has orchestration 'job' 1\.0\.0"):
            await client.handle("old").result()
        async with running(both(None), store):
            assert await client.resume_all(name="job", version="1.0.0") == 1
            assert await client.handle("old").result() == "1.0.0"
