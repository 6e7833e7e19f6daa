"""`tree()`: what an instance does, found out by replay, in every state and beside the living instance."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

import trioflow
from tests.runtime.programs import EPOCH, running, virtual_store
from trioflow import durable
from trioflow._engine import Execution
from trioflow.abc import EventRow, InstanceRecord, State, Store
from trioflow.stores import MemoryStore
from trioflow.testing import FaultyStore


@attrs.define(eq=False)
class Shop:
    """An app, and what its activities and its code were seen to do."""

    app: trioflow.App = attrs.field(factory=lambda: trioflow.App("shop"))
    packed: list[str] = attrs.field(factory=list)
    door: trio.Event = attrs.field(factory=trio.Event)
    finals: list[str] = attrs.field(factory=list)
    changed: bool = False  # the code is not what it was


def make_shop() -> Shop:
    """An orchestration that does a bit of everything and waits."""
    shop = Shop()

    @shop.app.activity
    async def pack(order: str) -> None:
        shop.packed.append(order)
        with trio.CancelScope(shield=True):
            await shop.door.wait()

    @shop.app.orchestration
    async def ship(order: str) -> None:
        await durable.wait_event("shipped")

    @shop.app.orchestration
    async def checkout(order: str) -> str:
        durable.logger.info("checking out %s", order)
        try:
            with durable.fail_after(3 * 86_400):
                async with durable.open_nursery() as nursery:
                    nursery.start_soon(pack, order)
                    nursery.start_soon(ship.options(id="ship-1"), order)
                    if shop.changed:
                        nursery.start_soon(pack, order)
                    await durable.wait_event("approved")
                    await durable.sleep(3600)
        finally:
            shop.finals.append(order)
        return order

    return shop


@asynccontextmanager
async def selling(shop: Shop, store: Store) -> AsyncIterator[trioflow.Client]:
    """The client of a runtime; whatever happens, the activities end with it."""
    async with running(shop.app, store) as client:
        try:
            yield client
        finally:
            shop.door.set()


async def settled(client: trioflow.Client, id: str, wanted: Callable[[trioflow.InstanceInfo], bool]) -> None:
    """Wait until an instance is as wanted."""
    while not wanted(await client.get(id)):
        await trio.lowlevel.checkpoint()


async def test_the_tree_of_a_waiting_instance(autojump_clock: trio.testing.MockClock) -> None:
    """Branches, scopes, deadlines and lines, the same from a client without a runtime; no payload, plain JSON."""
    shop, store = make_shop(), virtual_store()
    async with selling(shop, store) as client:
        handle = await client.start("checkout", "secret", id="o-1")
        await handle.raise_event("approved", "secret")
        await settled(client, "o-1", lambda info: info.history_length == 7)
        await trio.sleep(600)
        tree = await handle.tree()
        async with trioflow.connect(store, shop.app) as other:
            assert await other.tree("o-1") == attrs.evolve(tree, at=tree.at)
        shop.door.set()
        await client.handle("ship-1").raise_event("shipped")
        assert await handle.result() == "secret"
    assert (tree.id, tree.execution, tree.name, tree.version) == ("o-1", 1, "checkout", "1.0.0")
    assert (tree.state, tree.events, tree.queued, tree.cancelled) == (State.WAITING, 7, 0, False)
    (root,) = tree.branches
    assert root.waits is not None
    assert root.waits.due_in is not None
    assert 2990 < root.waits.due_in < 3010
    deadline, nursery = root.scopes
    assert deadline.deadline is not None
    assert EPOCH + 3 * 86_400 <= deadline.deadline < EPOCH + 3 * 86_400 + 10
    assert [str(branch.waits) for branch in nursery.branches] == [
        "waits for activity 'pack'",
        "waits for child 'ship' as 'ship-1'",
    ]
    assert root.at is not None
    assert root.at.startswith(f"{__file__}:")
    assert root.at.endswith("checkout")
    assert "secret" not in json.dumps(attrs.asdict(tree))
    lines = str(tree).splitlines()
    assert lines[0].startswith("o-1: checkout 1.0.0, execution 1, waiting; 7 events, 0 messages queued, 2023-11-14 22:")
    assert len(lines) == 6


async def test_the_living_instance_does_not_notice(caplog: pytest.LogCaptureFixture) -> None:
    """Trees made while it runs change nothing: nothing is logged twice, nothing runs twice, it ends as it should."""
    caplog.set_level(logging.INFO)
    shop, enough = make_shop(), trio.Event()
    looks = 0

    async def look(client: trioflow.Client) -> None:
        nonlocal looks
        while not enough.is_set():
            await client.tree("o-1")
            looks += 1
            await trio.lowlevel.checkpoint()

    @shop.app.orchestration
    async def busy(count: int) -> int:
        for number in range(count):
            durable.logger.info("at %d", number)
            await durable.wait_event("next")
        return count

    async with selling(shop, MemoryStore()) as client, trio.open_nursery() as nursery:
        handle = await client.start(busy, 20, id="o-1")
        nursery.start_soon(look, client)
        for _ in range(20):
            await handle.raise_event("next")
            await trio.lowlevel.checkpoint()
        assert await handle.result(timeout=20) == 20
        enough.set()
    assert looks > 5
    messages = [record.getMessage() for record in caplog.records]
    assert [text for text in messages if text.startswith("at ")] == [f"at {number}" for number in range(20)]


async def test_a_cancelled_branch_that_waits_says_so() -> None:
    """A body that ignores its cancellation is waited for, and the tree says that; so does the instance's own line."""
    shop = make_shop()
    async with selling(shop, MemoryStore()) as client:
        handle = await client.start("checkout", "a", id="o-1")
        await settled(client, "o-1", lambda info: bool(shop.packed))
        await handle.cancel("withdrawn")
        await settled(client, "o-1", lambda info: info.history_length > 6 and not info.queued)
        tree = await handle.tree()
        shop.door.set()
        with pytest.raises(trioflow.OrchestrationCancelled):
            await handle.result(timeout=20)
    assert (tree.cancelled, tree.cancel_reason) == (True, "withdrawn")
    assert ", waiting, cancelled (withdrawn); " in str(tree)
    packer = tree.branches[0].scopes[1].branches[0]
    assert packer.cancelled
    assert str(packer.waits) == "was cancelled, and waits for the real end of activity 'pack', which was asked to end"


async def test_before_the_first_turn_and_after_the_end() -> None:
    """No branches then, and nothing to replay: a client without the app can tell, too."""
    shop, store = make_shop(), MemoryStore()
    async with store, trioflow.connect(store, shop.app) as client, trioflow.connect(store) as stranger:
        handle = await client.start("ship", "a", id="s-1")
        tree = await stranger.tree("s-1")
        assert (tree.state, tree.version, tree.branches, tree.queued) == (State.PENDING, None, (), 1)
        assert str(tree).startswith("s-1: ship, execution 1, pending; 0 events, 1 message queued, ")
        async with selling(shop, store):
            await handle.raise_event("shipped")
            await handle.result(timeout=20)
        tree = await stranger.tree("s-1")
        assert (tree.state, tree.branches) == (State.COMPLETED, ())
        assert str(tree).startswith("s-1: ship 1.0.0, execution 1, completed; ")


async def test_what_is_held_shows_its_last_commit() -> None:
    """A suspended instance is shown as it stands, with what waits in its inbox counted; one suspended before its first
    turn has no branches.
    """
    shop, store = make_shop(), MemoryStore()
    async with selling(shop, store) as client:
        await client.start("ship", "a", id="s-1")
        await client.start("ship", "a", id="s-2", delay=3600)
        await settled(client, "s-1", lambda info: info.history_length == 2)
        for name in ("s-1", "s-2"):
            await client.suspend(name)
            await settled(client, name, lambda info: info.state is State.SUSPENDED)
        await client.raise_event("s-1", "shipped")
        tree = await client.tree("s-1")
        assert (tree.state, tree.queued) == (State.SUSPENDED, 1)
        assert [str(branch.waits) for branch in tree.branches] == ["waits for event 'shipped'"]
        assert (await client.tree("s-2")).branches == ()


async def test_code_that_does_not_fit_the_history() -> None:
    """A parked instance raises what parked it, and the replayed copy is closed: its `finally` has run."""
    shop, store = make_shop(), MemoryStore()
    async with selling(shop, store) as client:
        handle = await client.start("checkout", "a", id="o-1")
        await settled(client, "o-1", lambda info: bool(shop.packed))
        shop.finals.clear()
        shop.changed = True
        with pytest.raises(trioflow.NondeterminismError, match="expected: nothing"):
            await handle.tree()
        assert shop.finals == ["a"]
        shop.changed = False
        assert len((await handle.tree()).branches) == 1
        await handle.terminate()
        shop.door.set()


async def test_whose_code_is_not_known_here() -> None:
    """A name or a version that the client's app lacks: the error says to give it the app."""
    shop, store, empty = make_shop(), MemoryStore(), trioflow.App("newer")

    @empty.orchestration(name="ship", version="2.0.0")
    async def newer(order: str) -> None: ...

    async with selling(shop, store) as client:
        await client.start("ship", "a", id="s-1")
        await settled(client, "s-1", lambda info: info.history_length == 2)
        async with trioflow.connect(store) as stranger, trioflow.connect(store, empty) as other:
            with pytest.raises(trioflow.UnregisteredError, match=r"`trioflow\.connect\(store, app\)`"):
                await stranger.tree("s-1")
            with pytest.raises(trioflow.UnregisteredError, match=r"1\.0\.0.*connect") as caught:
                await other.tree("s-1")
            assert (caught.value.kind, caught.value.name, caught.value.version) == ("orchestration", "ship", "1.0.0")
        with pytest.raises(trioflow.InstanceNotFound):
            await client.tree("nobody")


async def test_a_cancelled_look_closes_its_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long replay reaches checkpoints; whoever is cancelled there leaves no copy behind."""
    monkeypatch.setattr("trioflow._engine._execution.STRETCH", 1)
    shop, store = make_shop(), MemoryStore()
    steps, closed = 0, 0
    real_close = Execution.close

    def close(self: Execution) -> None:
        nonlocal closed
        closed += 1
        real_close(self)

    async with selling(shop, store) as client:
        await client.start("checkout", "a", id="o-1")
        await settled(client, "o-1", lambda info: bool(shop.packed))
        await settled(client, "ship-1", lambda info: info.history_length == 2)  # the runtime has nothing to do
        monkeypatch.setattr(Execution, "close", close)
        with trio.CancelScope() as scope:
            real_step = Execution._step

            def step(self: Execution, *args: Any) -> None:
                nonlocal steps
                steps += 1
                real_step(self, *args)
                scope.cancel()

            monkeypatch.setattr(Execution, "_step", step)
            await client.tree("o-1")
        assert scope.cancelled_caught
        assert (steps, closed) == (1, 1)
        monkeypatch.undo()
        await client.terminate("o-1")
        shop.door.set()


class Moving(FaultyStore):
    """A store whose first histories are shorter than its records said."""

    short = 0
    moves = True

    async def read_history(
        self, instance: str, execution: int, *, after: int = 0, limit: int | None = None
    ) -> tuple[EventRow, ...]:
        """Without the last event, for a while."""
        rows = await super().read_history(instance, execution, after=after, limit=limit)
        if self.short:
            self.short -= 1
            return rows[:-1]
        return rows

    async def read_instance(self, instance: str) -> InstanceRecord | None:
        """Each record is a commit further on."""
        record = await super().read_instance(instance)
        return attrs.evolve(record, revision=self.short) if record is not None and self.moves else record


class Behind(FaultyStore):
    """A store whose instances have gone on, by so many events, whenever their record has been read."""

    by = 0

    async def read_instance(self, instance: str) -> InstanceRecord | None:
        """As it was before."""
        record = await super().read_instance(instance)
        return None if record is None else attrs.evolve(record, history_length=record.history_length - self.by)


async def test_an_instance_that_is_faster_than_the_look() -> None:
    """The tree is that of the commit which the record knows of, however much has happened since."""
    shop, store = make_shop(), MemoryStore()

    @shop.app.orchestration
    async def twice() -> None:
        await durable.wait_event("first")
        await durable.wait_event("second")

    async with selling(shop, store) as client:
        handle = await client.start(twice, id="t-1")
        await handle.raise_event("first")
        await settled(client, "t-1", lambda info: info.history_length == 4)
        behind = Behind(store)
        behind.by = 2
        async with trioflow.connect(behind, shop.app) as other:
            tree = await other.tree("t-1")
    assert (tree.events, str(tree.branches[0].waits)) == (2, "waits for event 'first'")


async def test_an_instance_that_moves_meanwhile() -> None:
    """Record and history belong together, or are read again; if nothing has moved, the history is damaged."""
    shop, store = make_shop(), MemoryStore()
    async with selling(shop, store) as client:
        await client.start("ship", "a", id="s-1")
        await settled(client, "s-1", lambda info: info.history_length == 2)
        moving = Moving(store)
        async with trioflow.connect(moving, shop.app) as other:
            moving.short = 2
            assert len((await other.tree("s-1")).branches) == 1
            assert moving.short == 0
            moving.short, moving.moves = 1, False
            with pytest.raises(trioflow.StoreCorrupt, match="only 1 of the 2 events"):
                await other.tree("s-1")
