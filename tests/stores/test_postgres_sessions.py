"""Who has which session, when several ask PostgreSQL at the same moment."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
import trio

from tests.postgres_server import shared_url
from tests.stores.postgres_helpers import ask, empty_store, in_the_middle_of, until_somebody_waits_for
from trioflow.abc import (
    LockActivities,
    LockedActivities,
    LockedActivity,
    RenewSessions,
    SessionClaim,
    SessionsRenewed,
    SettleActivity,
    Store,
)
from trioflow.stores import MemoryStore
from trioflow.stores._postgres import _requests as requests
from trioflow.testing._store_contract import Clock, Subject
from trioflow.testing._store_contract._subject import LEASE, an_item, draft

CLAIM = SessionClaim(lease=LEASE, limit=9)
TOKEN = "0" * 32


@pytest.fixture
async def s() -> AsyncIterator[Subject]:
    """An empty store."""
    clock = Clock()
    async with empty_store(clock) as store:
        yield Subject(store, clock)


def asks(worker: str = "one", claim: SessionClaim = CLAIM, limit: int = 9) -> LockActivities:
    """A worker looks for items."""
    return LockActivities(worker=worker, limit=limit, lease=LEASE, sessions=claim)


def found(locked: LockedActivities) -> list[int]:
    """Which items were taken."""
    return [item.lock.event_id for item in locked.activities]


async def test_a_session_that_is_being_claimed_is_not_claimed_by_another(s: Subject) -> None:
    """Whoever comes second waits for the first, gets nothing of that session, and all that is behind it."""
    await s.scheduled(an_item(1, session="s"), an_item(2, session="s"), an_item(3), an_item(4, session="t"))
    taken: list[LockedActivities] = []

    async def look() -> None:
        taken.append(await s.store.lock_activities(asks("two", limit=2)))

    async with trio.open_nursery() as nursery:
        with in_the_middle_of(s, "lock_activities", requests.lock_activities(asks(limit=1), TOKEN)) as first:
            nursery.start_soon(look)
            await until_somebody_waits_for(first)
    assert found(taken[0]) == [3]  # the other place was kept for an item of the session that was lost
    assert taken[0].next_due is not None
    assert taken[0].next_due - taken[0].now < 0.1  # so it is told to look again
    assert found(await s.store.lock_activities(asks("two"))) == [4]
    assert found(await s.store.lock_activities(asks("one"))) == [2]


async def test_an_item_that_another_has_in_hand_and_may_not_have_is_looked_for_again(s: Subject) -> None:
    """A worker at its cap looks at an item of a session that nobody has, and leaves it: who came by meanwhile and did
    not see it is told to look again, and the one at its cap is not.
    """
    await s.scheduled(an_item(1, session="r"))
    full = asks("one", SessionClaim(lease=LEASE, limit=1))
    assert found(await s.store.lock_activities(full)) == [1]
    await s.scheduled(an_item(2, session="s"), instance="j")
    with in_the_middle_of(s, "lock_activities", requests.lock_activities(full, TOKEN)):
        locked = await s.store.lock_activities(asks("two"))
        assert found(locked) == []
        assert locked.next_due is not None
        assert locked.next_due - locked.now < 0.1
    later = await s.store.lock_activities(full)
    assert found(later) == []
    assert later.next_due is None or later.next_due - later.now > 1
    assert found(await s.store.lock_activities(asks("two"))) == [2]


async def test_two_calls_of_a_worker_do_not_claim_more_than_it_may_have(s: Subject) -> None:
    """The second waits for the first before it counts, and then gets what needs no further session."""
    await s.scheduled(an_item(1, session="s"), an_item(2, session="t"), an_item(3), an_item(4, session="s"))
    claim = SessionClaim(lease=LEASE, limit=1)
    taken: list[int] = []

    async def look() -> None:
        taken.extend(found(await s.store.lock_activities(asks(claim=claim))))

    async with trio.open_nursery() as nursery:
        first = requests.lock_activities(asks(claim=claim, limit=1), TOKEN)
        with in_the_middle_of(s, "lock_activities", first) as claiming:
            nursery.start_soon(look)
            await until_somebody_waits_for(claiming)
    assert taken == [3, 4]


async def test_a_session_that_is_being_used_is_not_idle(s: Subject) -> None:
    """Whoever gives idle sessions back waits for a call that takes an item, and leaves that item's session."""
    await s.scheduled(an_item(1, session="s"), an_item(2, session="s"))
    await s.store.lock_activities(asks(limit=1))
    s.advance(10.0)
    renewed: list[SessionsRenewed] = []

    async def renew() -> None:
        renewed.append(await s.store.renew_sessions(RenewSessions(worker="one", lease=LEASE, idle=10.0)))

    async with trio.open_nursery() as nursery:
        with in_the_middle_of(s, "lock_activities", requests.lock_activities(asks(), TOKEN)) as taking:
            nursery.start_soon(renew)
            await until_somebody_waits_for(taking)
    assert renewed == [SessionsRenewed(held=("s",))]


async def test_a_settlement_is_a_use_whatever_happens_at_the_same_moment(s: Subject) -> None:
    """A renewal waits for it, too."""
    await s.scheduled(an_item(1, session="s"))
    (item,) = (await s.store.lock_activities(asks())).activities
    s.advance(10.0)
    renewed: list[SessionsRenewed] = []

    async def renew() -> None:
        renewed.append(await s.store.renew_sessions(RenewSessions(worker="one", lease=LEASE, idle=10.0)))

    async with trio.open_nursery() as nursery:
        settle = requests.commit_activities((SettleActivity(lock=item.lock, message=draft("Done")),))
        with in_the_middle_of(s, "commit_activities", settle) as settling:
            nursery.start_soon(renew)
            await until_somebody_waits_for(settling)
    assert renewed == [SessionsRenewed(held=("s",))]


async def test_an_item_of_a_session_that_was_just_given_back_is_claimed_again(s: Subject) -> None:
    """A worker that takes an item while it gives its sessions back has the session again, or does not get the item."""
    await s.scheduled(an_item(1, session="s"), an_item(2, session="s"))
    await s.store.lock_activities(asks(limit=1))
    taken: list[int] = []

    async def look() -> None:
        taken.extend(found(await s.store.lock_activities(asks())))

    async with trio.open_nursery() as nursery:
        with in_the_middle_of(s, "release_sessions", ("one",)) as releasing:
            nursery.start_soon(look)
            await until_somebody_waits_for(releasing)
    assert taken == [2]
    assert (await s.store.renew_sessions(RenewSessions(worker="one", lease=LEASE, idle=60.0))).held == ("s",)


@pytest.mark.parametrize("session", ["x" * 100_000, "".join(map(chr, range(1, 20_000))), " ", "Ä\U0001f600"])
async def test_any_name_will_do(s: Subject, session: str) -> None:
    """A session whose name is too long for an index, or odd, is claimed like any other, and is in nobody's way."""
    await s.scheduled(an_item(1, session=session), an_item(2))
    assert found(await s.store.lock_activities(asks())) == [1, 2]
    assert (await s.store.renew_sessions(RenewSessions(worker="one", lease=LEASE, idle=60.0))).held == (session,)


@pytest.mark.parametrize("make", [MemoryStore, empty_store], ids=["memory", "postgres"])
async def test_what_is_behind_those_that_were_refused_is_used(make: Callable[[Clock], Store]) -> None:
    """An item that is found only after others stood back keeps its session from being idle, like any."""
    clock = Clock()
    async with make(clock) as store:
        s, claim = Subject(store, clock), SessionClaim(lease=LEASE, limit=2)
        sessions = ("own", "s", "t", "t", "own")
        await s.scheduled(*(an_item(number, session=name) for number, name in enumerate(sessions, 1)))
        assert found(await store.lock_activities(asks(claim=claim, limit=1))) == [1]
        s.advance(10.0)
        assert found(await store.lock_activities(asks(claim=claim, limit=2))) == [2, 5]
        renewed = await store.renew_sessions(RenewSessions(worker="one", lease=LEASE, idle=10.0))
        assert renewed.held == ("own", "s")


async def test_sessions_are_locked_in_one_order(s: Subject) -> None:
    """Whoever claims two waits for the first in the order of their keys before it has the second, as all do."""
    first, second = sorted(("s", "t"), key=lambda session: hashlib.sha256(session.encode()).digest())
    await s.scheduled(*(an_item(number, session=name) for number, name in enumerate((second, first, second, first), 1)))
    await s.store.lock_activities(asks("old", limit=2))
    s.advance(LEASE)
    with psycopg.connect(shared_url()) as other:
        table = f"{s.store._schema}.session"  # type: ignore[attr-defined]
        lock = f"SELECT FROM {table} WHERE session = %s FOR UPDATE NOWAIT"
        other.execute(lock, (first,))  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.store.lock_activities, asks("new"))
            await until_somebody_waits_for(other)
            other.execute(lock, (second,))  # type: ignore[arg-type]
            other.rollback()


async def test_a_crowd_of_workers_shares_sessions_out(s: Subject) -> None:
    """Whatever many workers do at once, no session is two workers', none has too many, and nothing deadlocks."""
    names = [f"session-{number}" for number in range(6)]
    rng = random.Random(7)
    await s.scheduled(*(an_item(number, session=rng.choice(names)) for number in range(1, 201)))
    owners: dict[str, str] = {}
    claim = SessionClaim(lease=1000.0, limit=2)
    settled: list[int] = []
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = ask(shared_url(), deadlocks)

    async def settle(item: LockedActivity, worker: str) -> None:
        assert item.session is not None
        assert owners.setdefault(item.session, worker) == worker
        await s.settle(item.lock)
        settled.append(item.lock.event_id)

    async def work(worker: str) -> None:
        for _ in range(12):
            locked = await s.store.lock_activities(asks(worker, claim, limit=3))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(s.store.renew_sessions, RenewSessions(worker=worker, lease=1000.0, idle=1000.0))
                for item in locked.activities:
                    nursery.start_soon(settle, item, worker)

    async with trio.open_nursery() as nursery:
        for worker in ("one", "two", "three"):
            for _ in range(2):
                nursery.start_soon(work, worker)
    assert len(settled) == len(set(settled)) > 0
    assert all(list(owners.values()).count(worker) <= 2 for worker in owners.values())
    assert ask(shared_url(), deadlocks) == before
