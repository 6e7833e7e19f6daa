"""What only the memory store does: it is synchronous inside, atomic by taking back, and forgets in time."""

from __future__ import annotations

import copy
from typing import Any

import attrs
import pytest

from tests.stores.sqlite_helpers import subject
from trioflow.abc import DeleteInstances, Env, Parent, SettleActivity
from trioflow.errors import LockLost
from trioflow.stores import MemoryStore, _rules
from trioflow.stores._due_queue import DueQueue
from trioflow.testing._store_contract import Clock
from trioflow.testing._store_contract._subject import an_item


def dump(store: MemoryStore) -> Any:
    """All rows, as plain data."""
    tables = store._tables

    def plain(value: Any) -> Any:
        if attrs.has(type(value)):
            return attrs.asdict(value)
        if isinstance(value, dict):
            return {str(key): plain(one) for key, one in sorted(value.items(), key=str) if one != {}}
        return value

    names = ("_instances", "_details", "_events", "_inboxes", "_status", "_values", "_activities", "_settled")
    return copy.deepcopy({name: plain(getattr(tables, name)) for name in names})


class Fails(Exception):
    pass


async def test_a_rule_that_fails_at_any_point_changes_nothing() -> None:
    """Whichever write of a rich commit fails, every row and every queue is as it was before."""
    for point in range(1, 200):
        clock = Clock()
        async with MemoryStore(clock) as store:
            s = subject(store, clock)
            await s.scheduled(an_item(1), an_item(2), an_item(3), kv_set={"old": b"1", "gone": b"2"}, status=b"s")
            one, _ = (await s.lock_items(limit=2)).activities
            await s.post("a")
            turn = await s.turn()
            commit = s.a_commit(
                turn,
                "More",
                "Scheduled",
                status=b"t",
                kv_set={"old": b"x", "new": b"y"},
                kv_cleared=("gone",),
                activities=(an_item(4),),
                cancel_activities=(2, 3),
                starts=(s.a_start("child"),),
                settle=(SettleActivity(lock=one.lock),),
            )
            before = dump(store)
            writes = 0
            original = type(store._tables)._put

            def put(self: Any, where: Any, key: Any, value: Any) -> None:
                nonlocal writes
                writes += 1
                if writes == point:
                    raise Fails
                original(self, where, key, value)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(type(store._tables), "_put", put)
                try:
                    await store.commit_turn(commit)
                except Fails:
                    failed = True
                else:
                    failed = False
            if not failed:
                assert point > 10
                return
            assert dump(store) == before
            await store.commit_turn(commit)
            assert await store.read_kv("a") == {"old": b"x", "new": b"y"}
    raise AssertionError("the commit never succeeded")


async def test_a_failed_apply_gives_no_hints() -> None:
    """Nobody is woken by what did not happen."""
    store = MemoryStore()
    async with store:
        s = subject(store)
        await s.start()
        turn = await s.turn()
        await s.commit(turn)
        with store.signals.watch("turns") as watch:
            seen = watch.seen
            with pytest.raises(LockLost):
                await s.commit(turn)
            assert watch.seen == seen


async def test_the_environment_gives_time_and_tokens() -> None:
    """Without a clock of its own the store asks its environment."""

    class World(Env):
        def now(self) -> float:
            return 5.0

        def token(self) -> str:
            return "f" * 32

    async with MemoryStore(env=World()) as store:
        s = subject(store)
        await s.start()
        assert await store.read_clock() == 5.0
        assert (await s.turn()).lock.token == "000000001388" + "f" * 20


async def test_old_requests_are_forgotten() -> None:
    """Answers are remembered for an hour, and not for ever."""
    clock = Clock()
    async with MemoryStore(clock) as store:
        s = subject(store, clock)
        await s.scheduled(an_item())
        await s.settle((await s.item()).lock)
        assert store._tables._remembered
        assert store._tables._settled
        clock.now += 3661
        await s.start("b")
        assert len(store._tables._remembered) == 1
        assert not store._tables._settled


async def test_nothing_but_a_number_is_left_of_what_was_deleted() -> None:
    """Of a deleted family only the last execution numbers stay, so a store that is kept clean does not grow."""
    clock = Clock()
    async with MemoryStore(clock) as store:
        s = subject(store, clock)
        await s.scheduled(
            an_item(),
            kv_set={"key": b"1"},
            starts=(s.a_start("child", parent=Parent(instance="a", execution=1, event_id=2)),),
        )
        await s.post("a")
        await store.delete_instances(DeleteInstances(request_id=s.request_id(), instances=("a",), force=True))
        tables = store._tables
        names = [field.name for field in attrs.fields(type(tables)) if isinstance(getattr(tables, field.name), dict)]
        left = {name: list(getattr(tables, name)) for name in names if getattr(tables, name)}
        assert list(left) == ["_tombstones", "_remembered"], left
        assert sorted(left["_tombstones"]) == ["a", "child"]


async def test_reading_is_not_slowed_by_what_sleeps() -> None:
    """Thousands of sleeping instances are not looked at when a turn is locked."""
    clock = Clock()
    async with MemoryStore(clock) as store:
        s = subject(store, clock)
        for number in range(2000):
            await s.waiting(f"i{number}", wake_at=clock.now + 1000 + number)
        looked = 0
        original = DueQueue._is_true

        def is_true(self: Any, entry: Any) -> bool:
            nonlocal looked
            looked += 1
            return original(self, entry)

        await s.start("new")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DueQueue, "_is_true", is_true)
            await s.turn("new")
        assert looked < 20


async def test_the_repr_tells_who_has_it_open() -> None:
    """A store says how many use it."""
    store = MemoryStore()
    async with store, store:
        assert repr(store) == "<MemoryStore [open 2]>"
        await store.register_worker("w")
        await store.unregister_worker("w")
    assert repr(store) == "<MemoryStore [open 0]>"


def test_apply_is_synchronous() -> None:
    """Simulations may run a rule without any scheduler."""
    assert MemoryStore(lambda: 3.0).apply(_rules.read_clock, None) == 3.0
