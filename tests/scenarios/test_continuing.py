"""Continue-as-new: chains of executions, what they carry, and that thousands of them leave nothing behind."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import running, until
from trioflow import State, activity, durable
from trioflow.abc import Store
from trioflow.history import OrchestrationContinuedAsNew, OrchestrationStarted
from trioflow.stores import SqliteStore


async def test_a_counter_over_executions(store: Store) -> None:
    """duroxide: sample_continue_as_new, continue_as_new_multiexec, continue_as_new_chain_5_iterations."""
    app = trioflow.App("counter")

    @app.orchestration
    async def count(number: int) -> str:
        if number < 5:
            durable.continue_as_new(number + 1)
        return f"final:{number}"

    async with running(app, store) as client:
        handle = await client.start(count, 0)
        assert await handle.result(timeout=20) == "final:5"  # it is that of the last execution
        assert (await handle.info()).execution == 6
        for number in range(1, 7):
            history = await handle.history(number)
            assert isinstance(history[0], OrchestrationStarted)
            assert (history[0].id, history[0].execution) == (1, number)
            assert isinstance(history[-1], OrchestrationContinuedAsNew) == (number < 6)


async def test_chains_with_activities_beside_each_other(store: Store) -> None:
    """duroxide: continue_as_new_chain_with_activities, concurrent_continue_as_new_chains."""
    app = trioflow.App("chains")

    @app.activity
    async def add(total: int, number: int) -> int:
        return total + number

    @app.orchestration
    async def chain(name: str, number: int, total: int) -> str:
        total = await add(total, number)
        if number < 5:
            durable.continue_as_new(name, number + 1, total)
        return f"{name}: {total}"

    async with running(app, store) as client:
        handles = [await client.start(chain, f"chain {number}", 1, 0) for number in range(10)]
        results = [await handle.result(timeout=20) for handle in handles]
    assert results == [f"chain {number}: 15" for number in range(10)]


async def test_an_eternal_loop_removes_its_own_past(store: Store) -> None:
    """duroxide: sample_self_pruning_eternal_orchestration: an activity prunes its own instance through its client.

    It does so while it runs and while its parent waits for it; what the executions were made for stays.
    """
    app = trioflow.App("pruning")

    @app.activity
    async def prune() -> int:
        client = activity.client()
        return await client.prune(activity.info().instance, keep=2)

    @app.orchestration
    async def loop(number: int) -> int:
        durable.kv[f"round {number}"] = number
        durable.set_status(number)
        durable.kv["pruned"] = durable.kv.get("pruned", 0) + await prune()
        if number < 12:
            durable.continue_as_new(number + 1)
        return number

    @app.orchestration
    async def main() -> int:
        return await loop.options(id="loop")(1)

    async with running(app, store) as client:
        assert await (await client.start(main)).result(timeout=20) == 12
        assert [one.execution for one in await client.executions("loop")] == [11, 12]
        values = await client.kv("loop")
        assert values.pop("pruned") == 10
        assert len(values) == await client.handle("loop").status() == 12


async def test_everything_is_carried(store: Store) -> None:
    """duroxide: of unread queue events the newest beyond 100 are dropped, positional ones and the rest are lost.

    Here unread events of all names, in order, kv, status, attributes and the id are there in the next execution.
    """
    app = trioflow.App("carry")

    @app.orchestration
    async def main(again: bool) -> list[int]:
        await durable.wait_event("go")
        if again:
            durable.kv["seen"] = 1
            durable.set_status("first chapter")
            durable.continue_as_new(False)
        assert durable.get_status() == "first chapter"
        durable.kv["seen"] += 1
        numbers = [await durable.wait_event("a", int) for _ in range(150)]
        return [*numbers, await durable.wait_event("b", int)]

    async with running(app, store) as client:
        handle = await client.start(main, True, attributes={"customer": "7"})
        await handle.raise_event("b", 1000)
        for number in range(150):
            await handle.raise_event("a", number)
        await handle.raise_event("go")
        await handle.raise_event("go")
        assert await handle.result(timeout=20) == [*range(150), 1000]
        info = await handle.info()
        assert (info.execution, info.status, dict(info.attributes)) == (2, "first chapter", {"customer": "7"})
        assert await handle.kv() == {"seen": 2}


async def test_an_event_between_two_executions_is_not_lost(store: Store) -> None:
    """duroxide: continue_as_new_event_routes_to_latest; what arrives between two executions is acked away.

    Here one that arrives while no worker lives and the next execution has not begun waits for it.
    """
    app = trioflow.App("between")

    @app.orchestration
    async def main(left: int) -> list[str]:
        if left:
            await durable.wait_event("next")
            durable.continue_as_new(left - 1)
        return [await durable.wait_event("data", str) for _ in range(3)]

    async with store, trioflow.connect(store, app) as client:
        handle = await client.start(main, 1)
        await handle.raise_event("data", "before the first turn")
        other = trioflow.App("between")  # knows the first version only: the next one is left alone
        other.orchestration(name="main")(main.fn)
        async with running(other, store):
            while (await handle.info()).state is State.PENDING:
                await trio.lowlevel.checkpoint()
        await handle.raise_event("data", "while nobody runs")
        await handle.raise_event("next")
        await handle.raise_event("data", "behind what continues")
        async with running(app, store):
            result = await handle.result(timeout=20)
    assert result == ["before the first turn", "while nobody runs", "behind what continues"]


async def test_the_next_execution_may_be_another_version(store: Store) -> None:
    """duroxide: sample_versioning_continue_as_new_upgrade: an eternal workflow moves on, exactly or to the newest."""
    app = trioflow.App("upgrade")

    @app.orchestration(name="eternal")
    async def eternal(log: list[str]) -> list[str]:
        durable.continue_as_new([*log, durable.info().version], version="1.5.0")

    @app.orchestration(name="eternal", version="1.5.0")
    async def eternal_15(log: list[str], note: str = "by default") -> list[str]:
        durable.continue_as_new([*log, durable.info().version, note])

    @app.orchestration(name="eternal", version="2.0.0")
    async def eternal_2(log: list[str]) -> list[str]:
        return [*log, durable.info().version]

    async with running(app, store) as client:
        handle = await client.start("eternal", [], version="1.0.0")
        assert await handle.result(timeout=20) == ["1.0.0", "1.5.0", "by default", "2.0.0"]


async def test_a_version_that_is_none_is_refused_where_it_is_written(store: Store) -> None:
    """The orchestration gets a typed error and goes on; it is not parked by an event that cannot be written."""
    app = trioflow.App("no version")
    nonsense: Any = 2.0

    @app.orchestration
    async def main() -> list[str]:
        errors: list[str] = []
        for ask in (lambda: durable.continue_as_new(version=nonsense), lambda: main.options(version=nonsense)):
            try:
                ask()
            except trioflow.EncodeError as exc:
                errors.append(str(exc))
        return errors

    async with running(app, store) as client:
        handle = await client.start(main)
        assert await handle.result(timeout=20) == ["version has to be a str, not float"] * 2


async def test_a_child_is_asked_for_and_the_turn_continues(store: Store) -> None:
    """duroxide: sub_orch_then_continue_as_new; other actions of such a turn are recorded and never dispatched.

    Here what was asked for in the turn that continues is cancelled and waited for, like every branch.
    """
    app = trioflow.App("same turn")

    @app.activity
    async def step() -> None: ...

    @app.orchestration
    async def child() -> None:
        await durable.sleep_forever()

    @app.orchestration
    async def main(again: bool) -> str:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(child.options(id=f"child of {durable.info().execution}"))
            nursery.start_soon(step)
            nursery.start_soon(durable.sleep, 3600)
            await durable.lowlevel.checkpoint()
            if again:
                durable.continue_as_new(False)
            nursery.cancel_scope.cancel()
        return "done"

    async with running(app, store) as client:
        handle = await client.start(main, True)
        assert await handle.result(timeout=20) == "done"
        assert (await handle.info()).execution == 2
        for number in (1, 2):
            assert (await client.get(f"child of {number}")).state is State.CANCELLED


async def test_what_is_only_asked_to_end_is_asked_in_the_turn_that_continues(store: Store) -> None:
    """duroxide: the last turn's other actions are recorded and not dispatched. Here whoever is to end hears of it."""
    app, ends = trioflow.App("asked"), list[str]()

    @app.activity(on_cancel="request")
    async def body() -> None:
        ends.append("began")
        try:
            await trio.sleep_forever()
        finally:
            ends.append("ended")

    @app.orchestration
    async def child() -> None:
        await durable.sleep_forever()

    @app.orchestration
    async def main(again: bool) -> str:
        if again:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(body)
                nursery.start_soon(child.options(id="child", on_cancel="request"))
                await durable.wait_event("go")
                durable.continue_as_new(False)
        return "done"

    async with running(app, store) as client:
        handle = await client.start(main, True)
        await until(lambda: ends == ["began"])
        await handle.raise_event("go")
        assert await handle.result(timeout=20) == "done"
        with pytest.raises(trioflow.OrchestrationCancelled):
            await client.handle("child").result(timeout=20)
        await until(lambda: ends == ["began", "ended"])


async def test_it_is_not_swallowed_by_what_catches_exceptions(store: Store) -> None:
    """duroxide: continue_as_new_without_await: it takes effect, awaited or not, caught or not."""
    app = trioflow.App("unwinds")

    @app.orchestration
    async def main(again: bool) -> str:
        try:
            if again:
                durable.continue_as_new(False)
        except Exception:
            return "swallowed"
        return "done"

    async with running(app, store) as client:
        handle = await client.start(main, True)
        assert await handle.result(timeout=20) == "done"
        assert (await handle.info()).execution == 2


async def test_a_cancel_reaches_the_second_execution(store: Store) -> None:
    """duroxide: cancel_continue_as_new_second_exec."""
    app = trioflow.App("second")

    @app.orchestration
    async def main(again: bool) -> None:
        if again:
            durable.continue_as_new(False)
        await durable.sleep_forever()

    async with running(app, store) as client:
        handle = await client.start(main, True)
        await handle.cancel("enough")  # before the first turn, between the two, or in the second
        with pytest.raises(trioflow.OrchestrationCancelled, match="enough"):
            await handle.result(timeout=20)


@pytest.mark.slow
async def test_thousands_of_generations_leave_nothing_behind(tmp_path: Path) -> None:
    """duroxide: a map of current executions that never shrinks. Here generation 3,000 holds what generation 200 held.

    Counted are Python's objects in a process whose store is a file: what is past is there and nowhere else.
    """
    app, counts = trioflow.App("generations"), dict[int, int]()

    @app.activity
    async def look(generation: int) -> None:
        if generation in (200, 3000):
            gc.collect()
            counts[generation] = len(gc.get_objects())

    @app.orchestration
    async def main(generation: int) -> int:
        durable.kv["generation"] = generation
        with durable.move_on_after(3600):
            await durable.gather(look(generation), look(0))
        if generation < 3000:
            durable.continue_as_new(generation + 1)
        return generation

    async with running(app, SqliteStore(tmp_path / "generations.db", durability="fast")) as client:
        handle = await client.start(main, 1)
        assert await handle.result() == 3000
        assert (await handle.info()).execution == 3000
    # trio itself clears away deadlines that are past in lots of a thousand, each with its scope.
    assert counts[3000] < counts[200] + 2_500, counts
