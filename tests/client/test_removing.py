"""Deleting and pruning one instance: what goes, what stays, who is told."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trioflow
from tests.client.managed import listed, make_yard, until_state
from tests.runtime.programs import running, virtual_store
from trioflow import State, durable
from trioflow.abc import DeleteInstances, Store
from trioflow.stores import MemoryStore
from trioflow.testing import FaultyStore


async def test_what_has_ended_is_deleted_with_its_descendants(store: Store) -> None:
    """An instance goes with its children and all that belongs to it; execution numbers of its id go on."""
    async with running(make_yard().app, store) as client:
        handle = await client.start("parent", "child", id="p")
        await until_state(handle, State.WAITING)
        await client.handle("child").raise_event("go", 1)
        assert await handle.result(timeout=20) == "got 1"
        await client.start("wait", id="other")
        assert await handle.delete() == 2
        assert await listed(client) == ["other"]
        assert await client.kv("child") == {}
        for gone in (handle.info, handle.delete, handle.prune, handle.executions, handle.restart):
            with pytest.raises(trioflow.InstanceNotFound):
                await gone()
        assert (await (await client.start("echo", id="p")).info()).execution == 2


async def test_what_has_not_ended_is_only_deleted_by_force(store: Store) -> None:
    """Without `force` an instance that lives, or has a descendant that lives, stays whole."""
    async with running(make_yard().app, store) as client:
        waiting = await client.start("wait", id="w")
        parent = await client.start("parent", "child", id="p")
        await until_state(client.handle("w"), State.WAITING)
        await until_state(parent, State.WAITING)
        leaving = await client.start("leave", "left", id="l")
        assert await leaving.result(timeout=20) is None
        for handle in (waiting, parent, client.handle("child"), leaving):
            with pytest.raises(trioflow.InstanceNotFinished):
                await handle.delete()
        assert sorted(await listed(client)) == ["child", "l", "left", "p", "w"]
        assert await waiting.delete(force=True) == 1
        assert await parent.delete(force=True) == 2
        assert await leaving.delete(force=True) == 2
        assert await listed(client) == []


async def test_a_parent_that_waits_is_told_of_the_deletion(store: Store) -> None:
    """Whoever waits for a child that is deleted by force learns that it was terminated, and goes on."""
    async with running(make_yard().app, store) as client:
        handle = await client.start("parent", "child", id="p")
        await until_state(client.handle("child"), State.WAITING)
        assert await client.delete("child", force=True) == 1
        assert "it was deleted" in await handle.result(timeout=20)
        with pytest.raises(trioflow.InstanceNotFound):
            await client.get("child")


class LateStore(FaultyStore):
    """A store in which something happens right before a deletion."""

    before: Any = None

    async def delete_instances(self, request: DeleteInstances) -> int:
        """First that, then the deletion."""
        if self.before is not None:
            await self.before()
        return await super().delete_instances(request)


async def test_a_child_that_ends_right_before_its_deletion_has_ended() -> None:
    """Of two answers the parent takes the first: the child's own result is not undone by the deletion."""
    store = LateStore(MemoryStore())
    async with running(make_yard().app, store) as client:
        handle = await client.start("parent", "child", id="p")
        child = client.handle("child")
        await until_state(child, State.WAITING)

        async def end() -> None:
            await child.raise_event("go", 7)
            await child.result(timeout=20)

        store.before = end
        assert await child.delete(force=True) == 1
        assert await handle.result(timeout=20) == "got 7"


async def test_what_vanishes_right_before_its_deletion_is_not_found() -> None:
    """Two that delete the same instance do not both say that they did."""
    store = LateStore(MemoryStore())
    async with running(make_yard().app, store) as client:
        await (await client.start("echo", id="e")).result(timeout=20)

        async def other() -> None:
            store.before = None
            assert await client.delete("e") == 1

        store.before = other
        with pytest.raises(trioflow.InstanceNotFound):
            await client.delete("e")


async def test_what_waits_for_a_deleted_instance_is_told(store: Store) -> None:
    """A client that waits for the result of an instance that is deleted does not wait for ever."""
    async with running(make_yard().app, store) as client, trio.open_nursery() as nursery:
        handle = await client.start("wait", id="w")
        await until_state(handle, State.WAITING)

        async def wait() -> None:
            with pytest.raises(trioflow.InstanceNotFound):
                await handle.result(timeout=20)

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await handle.delete(force=True)


async def test_a_lost_answer_deletes_once() -> None:
    """A deletion whose answer was lost is repeated by its request id, and tells what it did the first time."""
    store = FaultyStore(MemoryStore())
    async with running(make_yard().app, store) as client:
        await (await client.start("echo", id="e")).result(timeout=20)
        store.fail("delete_instances", trioflow.OutcomeUnknown("the answer was lost"), when="after")
        assert await client.delete("e") == 1


# -- pruning ----------------------------------------------------------------------------------------------------------


async def test_a_lost_answer_prunes_once(autojump_clock: MockClock) -> None:
    """Pruning whose answer was lost is repeated as the same request, and says what the first try did; all do."""
    store = FaultyStore(virtual_store())
    async with running(make_yard().app, store) as client:
        for name in ("c-1", "c-2"):
            await (await client.start("count", 3, id=name)).result()
        for nth in (1, 3):
            store.fail("prune_executions", trioflow.OutcomeUnknown("cut off"), nth=nth, when="after")
        store.fail("delete_instances", trioflow.OutcomeUnknown("cut off"), when="after")
        assert await client.prune("c-1", keep=2) == 2
        assert await client.prune_all(name="count", everything=True) == 4
        assert await client.delete_all(name="count") == 2


async def test_pruning_keeps_the_newest(store: Store) -> None:
    """Histories of earlier executions go, but for the newest; the current one stays, and so do status and kv."""
    async with running(make_yard().app, store) as client:
        handle = await client.start("count", 5, id="c")
        await handle.result(timeout=20)
        assert await handle.prune(keep=9) == 0
        assert await handle.prune(keep=4) == 2
        assert [one.execution for one in await handle.executions()] == [3, 4, 5, 6]
        assert await handle.history(2) == []
        assert await client.prune("c") == 3
        assert await client.prune("c") == 0
        assert [one.execution for one in await handle.executions()] == [6]
        assert await handle.result() == "counted"


async def test_pruning_by_age(autojump_clock: MockClock) -> None:
    """`older_than` spares what ended since; both conditions have to hold."""
    app = trioflow.App("aging")

    @app.orchestration
    async def daily(left: int) -> None:
        await durable.sleep(86_400)
        if left:
            durable.continue_as_new(left - 1)

    async with running(app, virtual_store()) as client:
        handle = await client.start("daily", 4, id="d")
        await trio.sleep(4.5 * 86_400)
        assert [one.execution for one in await handle.executions()] == [1, 2, 3, 4, 5]
        assert await handle.prune(older_than=30 * 86_400) == 0
        assert await handle.prune(keep=4, older_than=0) == 1
        assert await handle.prune(keep=1, older_than=2 * 86_400) == 1
        assert [one.execution for one in await handle.executions()] == [3, 4, 5]
        assert (await handle.info()).state is State.WAITING


@pytest.mark.parametrize(
    "wrong",
    [{"keep": 0}, {"keep": True}, {"keep": 1.5}, {"older_than": -1}, {"older_than": "1d"}, {"older_than": True}],
)
async def test_pruning_refuses_nonsense(store: Store, wrong: dict[str, Any]) -> None:
    """Counts and ages that make no sense are refused, for one and for all."""
    async with trioflow.connect(store) as client:
        with pytest.raises(trioflow.ConfigurationError, match=next(iter(wrong))):
            await client.prune("c", **wrong)
        with pytest.raises(trioflow.ConfigurationError, match=next(iter(wrong))):
            await client.prune_all(name="count", **wrong)
