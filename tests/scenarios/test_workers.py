"""Who does what: tags and pools of workers, and a runtime that shares its one thread with everything else."""

from __future__ import annotations

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, running, virtual_store
from trioflow import durable
from trioflow.abc import Store

Clock = trio.testing.MockClock


def pools() -> trioflow.App:
    """Activities for several kinds of machines; each says who did it."""
    app = trioflow.App("pools")

    @app.activity
    async def work(item: str) -> str:
        return f"{item} by {trioflow.activity.info().tag}"

    @app.orchestration
    async def pipeline() -> list[str]:
        return list(
            await durable.gather(work("parse"), work.options(tag="gpu")("train"), work.options(tag="cpu")("compress"))
        )

    @app.orchestration
    async def with_patience(seconds: float) -> str:
        with durable.move_on_after(seconds):
            return await work.options(tag="gpu")("train")
        return "nobody had a gpu"

    return app


async def test_pools_of_different_machines(store: Store) -> None:
    """duroxide: sample_heterogeneous_workers_with_tags: gpu, cpu and generalist workers share a store."""
    app = pools()
    async with store:
        async with (
            running(app, store, tags=("gpu",), untagged=False) as gpu,
            running(app, store, tags=("cpu", "small"), untagged=False),
            running(app, store, tags=()),
        ):
            handle = await gpu.start("pipeline")
            assert await handle.result(timeout=20) == ["parse by None", "train by gpu", "compress by cpu"]


async def test_an_orchestrator_and_a_gpu_worker(store: Store) -> None:
    """duroxide: sample_dual_runtime_tag_cooperation: one runtime decides and one has the machine."""
    app = pools()
    async with store, running(app, store, tags=("cpu",)) as client, running(app, store, tags=("gpu",), untagged=False):
        assert await (await client.start("with_patience", 1000)).result(timeout=20) == "train by gpu"


async def test_a_tag_that_nobody_takes_does_not_starve(autojump_clock: Clock) -> None:
    """duroxide: sample_starvation_safe_tagged_activity: a deadline around it, and its item is gone when it passes."""
    app, store = pools(), virtual_store()
    async with running(app, store) as client:
        handle = await client.start("with_patience", 30.0)
        assert await handle.result() == "nobody had a gpu"
        async with running(app, store, tags=None):
            await trio.sleep(100)  # nothing is left for whoever comes later
            kinds = [type(event).__name__ for event in await handle.history()]
    assert kinds.count("ActivityCancelled") == 1


@pytest.mark.parametrize(
    ("tags", "untagged", "does"),
    [
        ((), True, {None}),
        (("gpu",), False, {"gpu"}),
        (("gpu",), True, {None, "gpu"}),
        (None, True, {None, "gpu", "cpu"}),
        ((), False, set()),
    ],
)
async def test_the_five_filters(
    autojump_clock: Clock, tags: tuple[str, ...] | None, untagged: bool, does: set[str | None]
) -> None:
    """duroxide: DefaultOnly, Tags, DefaultAnd, Any, None."""
    app, store, done = trioflow.App("filters"), virtual_store(), list[str | None]()

    @app.activity
    async def work() -> None:
        done.append(trioflow.activity.info().tag)

    @app.orchestration
    async def main() -> None:
        await durable.gather(work(), work.options(tag="gpu")(), work.options(tag="cpu")())

    async with running(app, store, tags=tags, untagged=untagged) as client:
        await client.start(main)
        await trio.sleep(60)
    assert set(done) == does
    assert len(done) == len(does)


async def test_one_slot_is_enough(autojump_clock: Clock) -> None:
    """duroxide: single_thread: basic, sequential, timer, continue-as-new and concurrent on one slot each.

    Everything here lives in one thread anyway: trio's.
    """
    app, store = trioflow.App("single"), virtual_store()

    @app.activity
    async def step(text: str) -> str:
        await trio.sleep(1)
        return text

    @app.orchestration
    async def child(text: str) -> str:
        await durable.sleep(3600)
        return await step(text)

    @app.orchestration
    async def main(again: bool) -> list[str]:
        await step("first")
        results = await durable.gather(step("a"), child("b"), child("c"))
        if again:
            durable.continue_as_new(False)
        return list(results)

    async with running(app, store, turn_concurrency=1, activity_concurrency=1) as client:
        handles = [await client.start(main, True) for _ in range(5)]
        for handle in handles:
            assert await handle.result() == ["a", "b", "c"]


async def test_a_cooperative_body_ends_when_asked_and_a_runaway_is_left(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """duroxide: single_thread: cooperative cancel, runaway activity aborted: a body that shields itself is waited for.

    With `on_cancel="request"` the orchestration goes on at once; the runtime stops after its grace all the same.
    """
    app, store, probe = trioflow.App("runaway"), virtual_store(), Probe()

    @app.activity
    async def cooperative() -> None:
        try:
            await trio.sleep_forever()
        finally:
            probe.calls.append("cooperative ended")

    @app.activity(on_cancel="request")
    async def runaway() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(900)
        probe.calls.append("runaway ended")

    @app.orchestration
    async def main() -> str:
        with durable.move_on_after(10):
            await durable.gather(cooperative(), runaway())
        return "went on"

    async with running(app, store) as client:
        assert await (await client.start(main)).result() == "went on"
        assert trio.current_time() == pytest.approx(10, abs=1)
    assert probe.calls == ["cooperative ended", "runaway ended"]


async def test_many_actors_with_timers(autojump_clock: Clock) -> None:
    """duroxide: instance_actor_pattern_stress_test: a health check for each of many resources, for many rounds."""
    app, store, checks = trioflow.App("actors"), virtual_store(), list[str]()

    @app.activity
    async def check(resource: str) -> bool:
        checks.append(resource)
        return len(checks) % 7 > 0

    @app.orchestration
    async def watch_over(resource: str, rounds: int, failures: int) -> int:
        failures += not await check(resource)
        with durable.move_on_after(30):
            await durable.wait_event("check now")
        if rounds > 1:
            durable.continue_as_new(resource, rounds - 1, failures)
        return failures

    async with running(app, store) as client:
        handles = [await client.start(watch_over, f"resource {number}", 10, 0) for number in range(20)]
        for handle in handles:
            await handle.raise_event("check now")
        assert sum([await handle.result() for handle in handles]) == 200 // 7
    assert len(checks) == 200
