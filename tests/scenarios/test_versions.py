"""Versions: several of a name at once, workers of different releases beside each other, histories of other releases."""

from __future__ import annotations

import attrs
import pytest
import trio

import trioflow
from tests.runtime.programs import EPOCH, running, virtual_store
from trioflow import State, durable
from trioflow.abc import EventRow, Store
from trioflow.stores import MemoryStore

Clock = trio.testing.MockClock


async def test_a_start_takes_the_newest_or_an_exact_version(store: Store) -> None:
    """duroxide: sample_versioning_start_latest_vs_exact."""
    app = trioflow.App("versions")

    @app.orchestration(name="job")
    async def job() -> str:
        return durable.info().version

    @app.orchestration(name="job", version="1.10.0")
    async def newest() -> str:
        return durable.info().version

    @app.orchestration(name="job", version="1.9.0")  # registered in any order, compared as versions
    async def newer() -> str:
        return durable.info().version

    async with running(app, store) as client:
        handles = [await client.start("job", version=version) for version in (None, "1.0.0", "1.9.0")]
        results = [await handle.result(timeout=20) for handle in handles]
        assert results == ["1.10.0", "1.0.0", "1.9.0"]
        with pytest.raises(trioflow.UnregisteredError, match=r"has 1\.0\.0, 1\.9\.0, 1\.10\.0"):
            await client.start("job", version="3.0.0")


def release(number: int) -> trioflow.App:
    """A node's app: from the second release on it knows one activity more, and a second version."""
    app = trioflow.App(f"release {number}")

    @app.activity
    async def old_step() -> str:
        return "old step"

    @app.orchestration(name="job")
    async def job(rounds: int) -> list[str]:
        said = [durable.info().version, await old_step()]
        await durable.sleep(60)
        if rounds:
            durable.continue_as_new(rounds - 1)
        return said

    @app.orchestration
    async def bouncing() -> str:
        return await old_step.options(name="new_step")()

    if number >= 2:

        @app.activity
        async def new_step() -> str:
            return "new step"

        @app.orchestration(name="job", version="2.0.0")
        async def job_2(rounds: int) -> list[str]:
            return [durable.info().version, await old_step(), await new_step()]

    return app


async def test_a_rolling_deployment_of_three_nodes(autojump_clock: Clock) -> None:
    """duroxide: e2e_rolling_deployment_three_nodes.

    Two nodes are of the old release, one of the new: what only the new one knows finds its way to it, at once as far
    as orchestrations go, after short pauses where an activity was taken by a node that does not know it.
    """
    store, patient = virtual_store(), 1000  # who is first at each look is trio's dice
    async with (
        running(release(1), store, max_attempts=patient),
        running(release(1), store, max_attempts=patient),
        running(release(2), store, max_attempts=patient) as client,
    ):
        new = [await client.start("job", 0, version="2.0.0") for _ in range(5)]
        old = [await client.start("job", 0, version="1.0.0") for _ in range(5)]
        bouncing = [await client.start("bouncing") for _ in range(5)]
        assert [await handle.result() for handle in new] == [["2.0.0", "old step", "new step"]] * 5
        assert [await handle.result() for handle in old] == [["1.0.0", "old step"]] * 5
        assert [await handle.result() for handle in bouncing] == ["new step"] * 5


async def test_old_executions_are_drained_by_nodes_that_know_them(autojump_clock: Clock) -> None:
    """duroxide: e2e_rolling_deployment_version_upgrade: pinned at the first turn, upgraded at continue-as-new."""
    store = virtual_store()
    async with trioflow.connect(store, release(2)) as client:
        pinned = await client.start("job", 0)
        upgraded = await client.start("job", 1)
        with trio.move_on_after(10):
            async with running(release(1), store):
                await trio.sleep_forever()
        assert (await pinned.info()).version == "1.0.0"
        async with running(release(2), store):
            assert await pinned.result() == ["1.0.0", "old step"]
            assert await upgraded.result() == ["2.0.0", "old step", "new step"]


async def test_nobody_takes_what_he_cannot_run(autojump_clock: Clock) -> None:
    """duroxide: version filters before a turn is locked. An old node alone leaves a new instance as it is."""
    store = virtual_store()
    async with trioflow.connect(store, release(2)) as author:
        handle = await author.start("job", 0, version="2.0.0")
        async with running(release(1), store, unclaimed_after=None) as client:
            await trio.sleep(3600)
            record = await client.read(handle.id)
            assert (record.state, record.revision) == (State.PENDING, 0)
            assert await (await client.start("job", 0)).result() == ["1.0.0", "old step"]
        async with running(release(2), store):
            assert await handle.result() == ["2.0.0", "old step", "new step"]


@pytest.mark.parametrize("again", [False, True])
async def test_a_node_that_only_knows_the_history_goes_on(autojump_clock: Clock, again: bool) -> None:
    """duroxide: version_replay_bug: name, version, input and parent were taken from the message, not from the history.

    Here the second node has only a completion in its inbox, after continue-as-new too.
    """
    app, store = trioflow.App("replays"), virtual_store()

    @app.orchestration(name="child")
    async def first(left: int, text: str) -> str:
        if left:
            durable.continue_as_new(left - 1, text)
        await durable.sleep(100)
        info = durable.info()
        return f"{info.name} {info.version} {text} {info.parent.instance if info.parent else None}"

    @app.orchestration(name="child", version="2.0.0")
    async def second(left: int, text: str) -> str:
        return "the wrong version"

    @app.orchestration
    async def parent() -> str:
        return await first.options(version="1.0.0")(0, "hello")

    if again:
        app.registry.orchestrations["child"].pop("2.0.0")  # an execution that continues takes the newest

    @app.orchestration
    async def parent_of_two() -> str:
        return await first.options(version="1.0.0")(1, "hello")

    async with trioflow.connect(store, app) as client:
        handle = await client.start(parent_of_two if again else parent, id="p")
        with trio.move_on_after(50):
            async with running(app, store):
                await trio.sleep_forever()
        async with running(app, store):
            assert await handle.result() == "child 1.0.0 hello p"


class OtherRelease(MemoryStore):
    """A store whose histories have, for a while, an event of a kind that this release does not know."""

    strange: str | None = None  # the instance

    async def read_history(
        self, instance: str, execution: int, *, after: int = 0, limit: int | None = None
    ) -> tuple[EventRow, ...]:
        rows = await super().read_history(instance, execution, after=after, limit=limit)
        if instance != self.strange:
            return rows
        return tuple(attrs.evolve(row, kind="Teleported") if row.id == 2 else row for row in rows)


async def test_an_event_kind_of_a_newer_release_parks_its_instance(autojump_clock: Clock) -> None:
    """duroxide: replay_versioning: an old build meets event kinds that it does not know, and fails the instance.

    Here it is parked, says why, and goes on with a node that can read it; others are not hindered.
    """
    app, store = trioflow.App("kinds"), OtherRelease(clock=lambda: EPOCH + trio.current_time())

    @app.orchestration
    async def main() -> str:
        return str(await durable.wait_event("go"))

    async with running(app, store, cache_executions=0) as client:
        handle, other = await client.start(main), await client.start(main)
        for each in (handle, other):
            while (await each.info()).state is not State.WAITING:
                await trio.lowlevel.checkpoint()
        store.strange = handle.id
        await handle.raise_event("go", "on")
        await other.raise_event("go", "undisturbed")
        assert await other.result() == "undisturbed"
        with pytest.raises(trioflow.InstanceParked, match="Teleported"):
            await handle.result()
        info = await handle.info()
        assert info.failure is not None
        assert info.failure.type.endswith("UnknownEventKind")
        store.strange = None
        await handle.resume()
        assert await handle.result() == "on"
