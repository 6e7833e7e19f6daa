"""Orchestrations run to their end: steps, branches, threads, timers, events, children, executions."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trioflow
from tests.canary import CANARY
from tests.runtime.programs import Probe, Rejected, find, running, shape, virtual_store
from trioflow import durable
from trioflow.abc import Store


@pytest.mark.parametrize(
    ("name", "given", "result"),
    [
        ("hello", 21, 42),
        ("chain", 20, 380),
        ("fan", 150, [number * 2 for number in range(150)]),
        ("thread", 1, 2),
        ("parent", 4, 9),
    ],
)
async def test_a_result_arrives(app: trioflow.App, store: Store, name: str, given: Any, result: Any) -> None:
    """Steps in sequence, in parallel, in threads and in children give what the code returns."""
    async with running(app, store) as client:
        handle = await client.start(find(app, name), given)
        assert await handle.result(timeout=20) == result


async def test_many_instances_run_beside_each_other(app: trioflow.App, store: Store, probe: Probe) -> None:
    """A hundred instances with five branches each all end, and each activity runs once."""
    async with running(app, store) as client:
        handles = [await client.start(find(app, "fan"), 5) for _ in range(100)]
        for handle in handles:
            assert await handle.result(timeout=20) == [0, 2, 4, 6, 8]
    assert len(probe.calls) == 500


async def test_work_left_by_one_runtime_is_done_by_the_next(app: trioflow.App, store: Store) -> None:
    """What was started without a runtime, or not finished by one, is finished by whoever comes next."""
    async with store, trioflow.connect(store, app) as client:
        handle = await client.start(find(app, "waiting"), "go")
        async with running(app, store):
            while (await client.get(handle.id)).state is not trioflow.State.WAITING:
                await trio.lowlevel.checkpoint()
        await handle.raise_event("go", 7)
        async with running(app, store):
            assert await handle.result(timeout=20) == 7


async def test_events_are_taken_in_order(store: Store) -> None:
    """Events wait in their mailbox, first in, first out, also those that came before the code asked."""
    app = trioflow.App("events")

    @app.orchestration
    async def collect() -> list[int]:
        return [await durable.wait_event("n", int) for _ in range(5)]

    async with running(app, store) as client:
        handle = await client.start(collect)
        for number in range(5):
            await handle.raise_event("n", number)
        assert await handle.result(timeout=20) == [0, 1, 2, 3, 4]


async def test_a_failure_comes_back_as_its_own_class(app: trioflow.App, store: Store) -> None:
    """A registered exception raised by an activity is the cause of the failure that the client sees."""
    async with running(app, store) as client:
        handle = await client.start(find(app, "failing"), 3)
        with pytest.raises(trioflow.OrchestrationFailed) as caught:
            await handle.result(timeout=20)
    assert isinstance(caught.value.__cause__, Rejected)
    assert caught.value.__cause__.args == (3, CANARY)
    assert caught.value.category == "application"


async def test_continue_as_new_goes_on_with_an_empty_history(store: Store) -> None:
    """Executions follow each other; events that arrive meanwhile and kv are carried on."""
    app = trioflow.App("loop")

    @app.orchestration
    async def loop(left: int) -> int:
        durable.kv["rounds"] = durable.kv.get("rounds", 0) + 1
        await durable.wait_event("tick")
        if left:
            durable.continue_as_new(left - 1)
        return int(durable.kv["rounds"])

    async with running(app, store) as client:
        handle = await client.start(loop, 3)
        for _ in range(4):
            await handle.raise_event("tick")
        assert await handle.result(timeout=20) == 4
        info = await handle.info()
        assert info.execution == 4
        assert shape(await client.history(handle.id, 1))[-1] == "OrchestrationContinuedAsNew"
        assert await handle.kv() == {"rounds": 4}


async def test_a_detached_instance_lives_on_its_own(store: Store) -> None:
    """`start_detached` makes a root instance; a second one with the same id is refused to its starter alone."""
    app = trioflow.App("detached")

    @app.orchestration
    async def other() -> str:
        return "other"

    @app.orchestration
    async def main() -> str:
        await durable.start_detached(other, id="other-1")
        try:
            await durable.start_detached(other, id="other-1")
        except Exception as exc:
            return type(exc).__name__
        return "started twice"

    async with running(app, store) as client:
        handle = await client.start(main)
        assert await handle.result(timeout=20) == "InstanceExists"
        assert await client.handle("other-1").result(timeout=20) == "other"


async def test_a_child_whose_id_is_taken_fails_in_its_parent(store: Store) -> None:
    """A child is refused where its id lives already, and the parent may catch that."""
    app = trioflow.App("children")

    @app.orchestration
    async def child() -> str:
        return "child"

    @app.orchestration
    async def main() -> str:
        first = await child.options(id="one")()
        try:
            await child.options(id="one")()
        except trioflow.ChildFailed as exc:
            return f"{first} {exc.type}"
        return "twice"

    async with running(app, store) as client:
        handle = await client.start(main)
        assert await handle.result(timeout=20) == "child trioflow.InstanceExists"


async def test_months_pass_in_no_time(app: trioflow.App, autojump_clock: trio.testing.MockClock) -> None:
    """On a virtual clock, timers fire at their time and never before."""
    async with running(app, virtual_store()) as client:
        handle = await client.start(find(app, "napping"), 90 * 24 * 3600)
        assert await handle.result() == pytest.approx(90 * 24 * 3600)


async def test_a_delayed_start_is_visible_and_waits(app: trioflow.App, autojump_clock: trio.testing.MockClock) -> None:
    """A delayed instance is pending until its time has come."""
    async with running(app, virtual_store()) as client:
        handle = await client.start(find(app, "hello"), 1, delay=3600)
        assert (await handle.info()).state is trioflow.State.PENDING
        began = trio.current_time()
        assert await handle.result() == 2
        assert trio.current_time() - began >= 3600


async def test_an_old_version_finishes_what_it_began(store: Store) -> None:
    """An execution stays with the version of its first turn; new instances get the newest."""
    app = trioflow.App("versions")

    @app.orchestration(name="job")
    async def old() -> str:
        await durable.wait_event("go")
        return "old"

    async with running(app, store) as client:
        first = await client.start("job", id="first")
        while (await first.info()).version is None:
            await trio.lowlevel.checkpoint()

        @app.orchestration(name="job", version="2.0")
        async def new() -> str:
            await durable.wait_event("go")
            return "new"

        second = await client.start("job", id="second")
        exact = await client.start("job", id="third", version="1.0.0")
        results = []
        for handle in (first, second, exact):
            await handle.raise_event("go")
            results.append(await handle.result(timeout=20))
    assert results == ["old", "new", "old"]


async def test_a_worker_leaves_what_it_cannot_run(app: trioflow.App, store: Store) -> None:
    """An instance of an unknown name waits for another worker and hinders nobody."""
    other = trioflow.App("other")

    @other.orchestration
    async def foreign() -> str:
        return "foreign"

    async with store:
        async with running(app, store) as client, trioflow.connect(store, other) as stranger:
            handle = await stranger.start(foreign)
            assert await (await client.start(find(app, "hello"), 1)).result(timeout=20) == 2
            assert (await handle.info()).state is trioflow.State.PENDING
        async with running(other, store) as client:
            assert await client.handle(handle.id).result(timeout=20) == "foreign"


async def test_the_runtime_tells_its_state(app: trioflow.App, probe: Probe, store: Store) -> None:
    """The repr of a runtime shows its name and how much it is doing."""
    options = trioflow.RuntimeOptions(worker="w1", turn_concurrency=8, activity_concurrency=16)
    async with trioflow.open_runtime(app, store, options=options) as runtime:
        assert repr(runtime) == "<Runtime 'w1' [turns 0/8 | activities 0/16 | sessions 0]>"
        assert runtime.name == "w1"
        handle = await runtime.client.start(find(app, "hanging"), "a")
        await probe.door("a runs").wait()
        assert "activities 1/16" in repr(runtime)
        probe.door("a").set()
        assert await handle.result(timeout=20) == "a"


async def test_serve_runs_until_cancelled(app: trioflow.App, store: Store) -> None:
    """`await nursery.start(serve, ...)` gives the runtime, which works until the nursery is cancelled."""
    async with trio.open_nursery() as nursery:
        runtime = await nursery.start(trioflow.serve, app, store)
        handle = await runtime.client.start(find(app, "hello"), 2)
        assert await handle.result(timeout=20) == 4
        nursery.cancel_scope.cancel()


async def test_orchestration_logs_once(app: trioflow.App, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """What an orchestration logs is emitted once, after the commit, however often it is replayed."""
    talking = trioflow.App("talking")

    @talking.orchestration
    async def talk() -> None:
        durable.logger.warning("first %s", "line")
        await durable.wait_event("go")
        durable.logger.warning("second", extra=["no", "mapping"])

    async with running(talking, store, cache_executions=0) as client:
        handle = await client.start(talk)
        await handle.raise_event("go")
        await handle.result(timeout=20)
    lines = [record.getMessage() for record in caplog.records if record.name == "trioflow.orchestration"]
    assert lines == ["first line"]
    assert "could not be emitted" in caplog.text
