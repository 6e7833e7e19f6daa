"""A PostgreSQL store that is opened and closed by several at once."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.stores.postgres_helpers import empty_store
from trioflow.errors import StoreError
from trioflow.stores import PostgresStore
from trioflow.testing._store_contract import Clock


@pytest.fixture
async def store() -> PostgresStore:
    """A store that nobody has open, whose schema is there."""
    made = empty_store(Clock())
    async with made:
        pass
    return made


@pytest.mark.parametrize("steps", range(12))
async def test_one_enters_while_the_last_one_leaves(store: PostgresStore, steps: int) -> None:
    """Whoever comes while it closes, however far that is, finds it open and all its connections to be had."""
    left, used = trio.Event(), trio.Event()

    async def come() -> None:
        await left.wait()
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        async with store:
            await store.read_clock()
            while store._pool._line.free != store._pool._size:  # until the other one is gone, and nobody tells anything
                await trio.lowlevel.checkpoint()
            used.set()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(come)
            async with store:
                left.set()
    assert used.is_set()
    assert not store._pool._open


async def test_whoever_gives_up_at_the_door_is_no_user(store: PostgresStore) -> None:
    """One that is cancelled while another one opens or closes leaves nothing open."""
    async with trio.open_nursery() as nursery:
        await store._door.acquire()

        async def come() -> None:
            async with store:
                raise AssertionError("it was cancelled before")

        nursery.start_soon(come)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        store._door.release()
    assert store._users == 0
    async with store:
        await store.read_clock()
    assert not store._pool._open


async def test_another_trio_run_is_refused_while_it_opens(store: PostgresStore) -> None:
    """Two runs never wait at one door: the second is told at once."""

    async def open_it() -> None:
        async with store:
            pass

    async with trio.open_nursery() as nursery:
        async with store._door:
            nursery.start_soon(open_it)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(StoreError, match="another trio run"):
                await trio.to_thread.run_sync(trio.run, open_it)


async def test_each_run_tidies(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of a later trio run may be behind that of the one before; answers are forgotten all the same."""
    called: list[str] = []

    async def call(verb: str, *_: object, **__: object) -> None:
        called.append(verb)

    store._tidied = trio.current_time() + 1e6
    async with store:
        monkeypatch.setattr(store, "_call", call)
        await store._tidy()
    assert called == ["forget_before"]


async def test_a_background_task_that_fails_leaves_nothing_open(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went wrong is raised, and the connections are closed."""

    async def fail() -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(store._lodger, "_run", fail)
    with pytest.raises(ExceptionGroup):
        async with store:
            await trio.sleep_forever()
    assert not store._pool._open
    assert store._users == 0
