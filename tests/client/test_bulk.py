"""The same done to all that fit: no more than was asked, no fewer than there are, whatever happens meanwhile."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trioflow
from tests.client.managed import Yard, listed, make_yard, until_info, until_state
from tests.runtime.programs import running, virtual_store
from trioflow import InstanceFilter, State
from trioflow.abc import DeleteInstances, InstancePage, ListInstances, Store
from trioflow.stores import MemoryStore
from trioflow.testing import FaultyStore


async def waiting(client: trioflow.Client, *ids: str) -> None:
    """Instances that wait for an event."""
    for name in ids:
        await until_state(await client.start("wait", id=name), State.WAITING)


async def ended(client: trioflow.Client, *ids: str) -> None:
    """Instances that have ended."""
    for name in ids:
        await (await client.start("echo", id=name)).result(timeout=20)


async def states(client: trioflow.Client) -> dict[str, str]:
    """Where each instance stands."""
    return {info.id: info.state.value async for info in client.list()}


async def test_cancel_and_terminate_all(store: Store) -> None:
    """All that fit and have not ended are asked; the others are left alone and not counted."""
    async with running(make_yard().app, store) as client:
        await ended(client, "a-0")
        await waiting(client, "a-1", "a-2", "b-1", "b-2")
        await client.suspend("b-2")
        await until_state(client.handle("b-2"), State.SUSPENDED)
        assert await client.cancel_all(prefix="a", reason="enough") == 2
        assert await client.terminate_all(InstanceFilter(prefix="b"), reason="now") == 2
        for name, error in (("a-1", trioflow.OrchestrationCancelled), ("b-2", trioflow.OrchestrationTerminated)):
            with pytest.raises(error, match=r"enough|now"):
                await client.handle(name).result(timeout=20)
        await until_info(client.handle("b-1"), lambda info: info.state.ended)
        await until_info(client.handle("a-2"), lambda info: info.state.ended)
        assert await client.cancel_all(everything=True) == 0
        assert await client.terminate_all(states="completed") == 0
        with pytest.raises(trioflow.EncodeError, match="reason="):
            await client.start("wait")
            await client.cancel_all(name="wait", reason=5)  # type: ignore[arg-type]


class BegunAnew(FaultyStore):
    """A store in which something happens right before each deletion."""

    before: Any = None

    async def delete_instances(self, request: DeleteInstances) -> int:
        """First that, then the deletion."""
        if self.before is not None:
            await self.before()
        return await super().delete_instances(request)


@pytest.mark.parametrize("force", [False, True])
async def test_what_was_begun_anew_meanwhile_is_not_deleted(store: Store, force: bool) -> None:
    """An instance that begins again between being found and being deleted is not the one that was meant."""
    late = BegunAnew(store)
    async with running(make_yard().app, late) as client:
        await ended(client, "a", "b")

        async def begin_again() -> None:
            if (await client.get("a")).execution == 1:
                handle = await client.restart("a")
                await handle.result(timeout=20)

        late.before = begin_again
        assert await client.delete_all(prefix="a", force=force) == 0
        assert (await client.get("a")).execution == 2
        late.before = None
        assert await client.delete_all(name="echo", force=force) == 2


async def test_deleting_one_means_whatever_has_the_id(store: Store) -> None:
    """`delete` of an id that begins again meanwhile deletes what is there then."""
    late = BegunAnew(store)
    async with running(make_yard().app, late) as client:
        await ended(client, "a")

        async def begin_again() -> None:
            late.before = None
            await (await client.restart("a")).result(timeout=20)

        late.before = begin_again
        assert await client.delete("a") == 1
        assert await listed(client) == []


async def test_suspend_and_resume_all(store: Store) -> None:
    """Suspending takes what moves; resuming takes what is parked, and what is suspended only where that is said."""
    async with running(make_yard().app, store) as client:
        await ended(client, "a")
        await waiting(client, "b", "c")
        await client.start("echo", id="later", delay=3600)
        assert await client.suspend_all(everything=True) == 3
        for name in ("b", "c", "later"):
            await until_state(client.handle(name), State.SUSPENDED)
        assert await client.suspend_all(everything=True) == 0
        assert await client.resume_all() == 0
        assert await client.cancel_all(prefix="c", limit=1) == 1
        assert (await client.get("c")).cancel_queued
        assert await client.resume_all(states=["suspended", "waiting"], prefix="b") == 1
        await until_state(client.handle("b"), State.WAITING)
        assert await client.resume_all(states="waiting") == 0
        assert (await client.get("c")).state is State.SUSPENDED


async def test_the_parked_go_on_after_a_fix(store: Store) -> None:
    """One call lets all go on that a bad deployment has stopped; those it stopped on purpose stay stopped."""
    yard = make_yard()
    async with running(yard.app, store) as client:
        for name in ("f-1", "f-2", "f-3"):
            handle = await client.start("fragile", id=name)
            await handle.raise_event("go")
            await until_info(handle, lambda info: info.history_length == 4)
        await waiting(client, "w")
        await client.suspend("w")
    yard.changed = True
    async with running(yard.app, store) as client:
        for name in ("f-1", "f-2", "f-3"):
            await client.raise_event(name, "more")
            await until_state(client.handle(name), State.PARKED)
        yard.changed = False
        assert await client.resume_all(limit=2) == 2
        assert await client.resume_all() == 1
        for name in ("f-1", "f-2", "f-3"):
            assert await client.handle(name).result(timeout=20, wait_parked=True) == "done"
        assert (await client.get("w")).state is State.SUSPENDED


async def test_delete_all(store: Store) -> None:
    """What fits and has ended is deleted with its descendants; by force also what has not ended; no more than asked."""
    async with running(make_yard().app, store) as client:
        await ended(client, "a-1", "a-2", "a-3", "b-1")
        await waiting(client, "a-4")
        await until_state(await client.start("parent", "child", id="p"), State.WAITING)
        assert await client.delete_all(prefix="a", limit=2) == 2
        assert await client.delete_all(name="wait") == 0
        assert await client.delete_all(states="waiting") == 0
        assert await client.delete_all(prefix="a") == 1
        assert sorted(await listed(client)) == ["a-4", "b-1", "child", "p"]
        assert await client.delete_all(name="parent", force=True) == 2
        assert await client.delete_all(everything=True) == 1
        assert await listed(client) == ["a-4"]
        assert await client.delete_all(force=True, everything=True, limit=7) == 1
        assert await client.delete_all(force=True, everything=True) == 0


async def test_deleting_all_tells_the_parents(store: Store) -> None:
    """A parent outside the filter that waits for a deleted child goes on."""
    async with running(make_yard().app, store) as client:
        handle = await client.start("parent", "child", id="p")
        await until_state(client.handle("child"), State.WAITING)
        assert await client.delete_all(name="wait", force=True) == 1
        assert "it was deleted" in await handle.result(timeout=20)


async def test_prune_all(store: Store) -> None:
    """Running instances are pruned, too; what has one execution is not asked for, and the limit counts instances."""
    faulty = FaultyStore(store)
    async with running(make_yard().app, faulty) as client:
        await ended(client, "e")
        for name, stay in (("c-1", False), ("c-2", True), ("c-3", False)):
            handle = await client.start("count", 4, stay, id=name)
            await until_info(handle, lambda info: info.execution == 5 and info.history_length > 0)
        assert await client.prune_all(prefix="c-1", keep=2) == 3
        assert await client.prune_all(name="count", limit=1) == 4
        assert await client.prune_all(everything=True) == 5
        assert faulty.calls["prune_executions"] == 5
        for name in ("c-1", "c-2", "c-3"):
            assert [one.execution for one in await client.executions(name)] == [5]


async def test_pruning_all_by_age(autojump_clock: MockClock) -> None:
    """`older_than` holds for each."""
    async with running(make_yard().app, virtual_store()) as client:
        await (await client.start("count", 2, id="old")).result()
        await trio.sleep(1000)
        await (await client.start("count", 2, id="new")).result()
        assert await client.prune_all(name="count", older_than=500) == 2
        assert len(await client.executions("new")) == 3


BULK: dict[str, Callable[[trioflow.Client], Callable[..., Awaitable[int]]]] = {
    name: lambda client, name=name: getattr(client, f"{name}_all")  # type: ignore[misc]
    for name in ("cancel", "terminate", "suspend", "delete", "prune")
}


@pytest.mark.parametrize("verb", BULK)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"filter": InstanceFilter()},
        {"roots": True},
        {"prefix": "", "name": None},
        {"states": tuple(State)},
        {"created_after": 0},
        {"updated_after": datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC), "states": tuple(State)},
        {"created_before": 9e9, "updated_before": 9e10, "created_after": -5.0},
    ],
)
async def test_what_would_hit_everything_has_to_be_meant(store: Store, verb: str, fields: dict[str, Any]) -> None:
    """A filter that fits every instance is refused, unless `everything=True` says that it is meant."""
    async with trioflow.connect(store, make_yard().app) as client:
        await client.start("wait", id="w")
        with pytest.raises(trioflow.ConfigurationError, match="everything=True"):
            await BULK[verb](client)(**fields)
        assert (await client.get("w")).queued == 1
        assert await BULK[verb](client)(**fields, everything=True) == (verb in ("cancel", "terminate", "suspend"))


async def test_a_time_that_excludes_nothing_is_told_by_the_clock_of_the_store(autojump_clock: MockClock) -> None:
    """A filter up to this moment is one; a filter up to a moment to come is none, as where a sign is wrong."""
    async with running(make_yard().app, virtual_store()) as client:
        await (await client.start("echo", id="a")).result()
        now = await client.store.read_clock()
        with pytest.raises(trioflow.ConfigurationError, match="everything=True"):
            await client.delete_all(ended_before=now + 3600)
        with pytest.raises(trioflow.ConfigurationError, match="everything=True"):
            await client.delete_all(ended_after=0)
        await trio.sleep(1)
        assert await client.delete_all(ended_before=now + 1) == 1


@pytest.mark.parametrize("verb", [*BULK, "resume"])
@pytest.mark.parametrize("limit", [0, -1, True, "2"])
async def test_a_limit_is_a_number(store: Store, verb: str, limit: Any) -> None:
    """A limit that makes no sense is refused, before anything is done."""
    async with trioflow.connect(store, make_yard().app) as client:
        with pytest.raises(trioflow.ConfigurationError, match="limit="):
            await getattr(client, f"{verb}_all")(name="wait", limit=limit)


class Moving(FaultyStore):
    """A store in which something happens right after a list was read."""

    then: Callable[[], Awaitable[object]] | None = None

    async def list_instances(self, request: ListInstances) -> InstancePage:
        """The list, then that."""
        page = await super().list_instances(request)
        if self.then is not None:
            then, self.then = self.then, None
            await then()
        return page


async def end(client: trioflow.Client, id: str) -> None:
    """Let an instance end."""
    await client.raise_event(id, "go")
    await client.handle(id).result(timeout=20)


async def begin_again(client: trioflow.Client, id: str) -> None:
    """Let an instance end, and begin anew."""
    await end(client, id)
    await until_state(await client.start("wait", id=id, if_exists="replace_finished"), State.WAITING)


async def vanish(client: trioflow.Client, id: str) -> None:
    """Remove an instance."""
    await client.delete(id, force=True)


async def pause(client: trioflow.Client, id: str) -> None:
    """Suspend an instance."""
    await client.suspend(id)
    await until_state(client.handle(id), State.SUSPENDED)


@pytest.mark.parametrize("verb", ["cancel", "terminate", "suspend", "delete"])
@pytest.mark.parametrize("meanwhile", [end, begin_again, vanish, pause])
async def test_what_has_changed_meanwhile_is_passed_over(
    verb: str, meanwhile: Callable[[trioflow.Client, str], Awaitable[None]]
) -> None:
    """What ended, vanished, began anew or changed its state since the list was read is not what was asked for."""
    store = Moving(MemoryStore())
    yard: Yard = make_yard()
    async with running(yard.app, store) as client:
        await waiting(client, "a", "b", "c")
        store.then = lambda: meanwhile(client, "b")
        more = {"force": True} if verb == "delete" else {}
        assert await getattr(client, f"{verb}_all")(states="waiting", **more) == 2
        left = (await states(client)).get("b")
    assert left == {end: "completed", begin_again: "waiting", vanish: None, pause: "suspended"}[meanwhile]
