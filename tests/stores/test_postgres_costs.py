"""What the frequent verbs of the PostgreSQL store cost the server, by its own counters, and what may not be saved."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest
import trio

from tests.postgres_server import fresh_schema, shared_url
from tests.stores.postgres_helpers import ask
from trioflow.abc import CommitActivities, Draft, RenewSessions, SessionClaim, SettleActivity
from trioflow.errors import LockLost, MailboxFull
from trioflow.stores import PostgresStore
from trioflow.testing._store_contract import Clock, Subject
from trioflow.testing._store_contract._subject import LEASE, an_item, draft

MAIL = 300  # events that wait in an inbox


@pytest.fixture
async def s() -> AsyncIterator[Subject]:
    """An empty store on one connection, so that the server's counters are complete and all who wait go together."""
    clock = Clock()
    async with PostgresStore(
        shared_url(), schema=fresh_schema(), durability="fast", clock=clock, connections=1
    ) as store:
        yield Subject(store, clock)


async def _counter(s: Subject, column: str, table: str) -> int:
    assert isinstance(s.store, PostgresStore)
    await s.store._pool.call("SELECT pg_stat_force_next_flush()", reads=True)
    text = f"SELECT {column} FROM pg_stat_user_tables WHERE schemaname = %s AND relname = %s"
    ((count,),) = ask(shared_url(), text, (s.store._schema, table))
    return int(count)


async def test_a_step_of_a_chain_touches_no_index_of_instances(s: Subject) -> None:
    """Where nothing is due before and after a fused step, its commit changes the instance in place."""
    await s.start()
    turn = await s.turn()
    answer = await s.commit(turn, "Started", activities=(an_item(),), keep=LEASE)
    item = await s.item()
    before = await _counter(s, "n_tup_hot_upd", "instance")
    for step in (1, 2, 3):
        turn = attrs.evolve(turn, revision=answer.revision, messages=answer.messages)
        settle = (SettleActivity(lock=item.lock),)
        answer = await s.commit(turn, "Next", activities=(an_item(step + 1),), settle=settle, keep=LEASE)
        item = await s.item()
        assert await _counter(s, "n_tup_hot_upd", "instance") == before + step


async def test_events_that_go_together_are_counted_once(s: Subject) -> None:
    """Of events that are raised in one transaction only the first looks at those that wait, however many they are."""
    await s.waiting()
    for _ in range(MAIL):
        await s.post("a", mailbox=True)

    async def looks(events: int) -> int:
        before = await _counter(s, "idx_tup_fetch", "message")
        async with trio.open_nursery() as nursery:
            for _ in range(events):
                nursery.start_soon(lambda: s.post("a", mailbox=True))
        return await _counter(s, "idx_tup_fetch", "message") - before

    assert MAIL <= await looks(1) < 2 * MAIL
    assert 2 * MAIL <= await looks(20) < 3 * MAIL  # the first goes alone, the others together


async def test_events_that_go_together_are_limited_one_by_one(s: Subject) -> None:
    """The limit holds for those of one transaction, too, which were not there when the first of them counted."""
    await s.waiting()
    refused = 0

    async def post(limit: int) -> None:
        nonlocal refused
        try:
            await s.post("a", mailbox=True, mailbox_limit=limit)
        except MailboxFull:
            refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(post, 30)
    assert refused == 10
    assert isinstance(s.store, PostgresStore)
    schema = s.store._schema
    ask(
        shared_url(),
        (
            f"INSERT INTO {schema}.message (instance, at, control, mailbox, kind, data) "
            "SELECT 'a', 0, false, true, 'Note', '{}' FROM generate_series(1, 2000)"
        ),
    )
    async with trio.open_nursery() as nursery:
        for limit in (1_200, *[30] * 19):
            nursery.start_soon(post, limit)
    assert refused == 30


@pytest.mark.parametrize("message", [None, draft("Done")], ids=["its own", "to be told"])
async def test_an_item_that_is_lost_is_named(s: Subject, message: Draft | None) -> None:
    """A turn that settles several items of which somebody else has taken one is told which."""
    await s.scheduled(*map(an_item, (1, 2, 3)))
    first, second, third = (await s.lock_items()).activities
    await s.settle(second.lock, retry_in=0.0)
    await s.item()
    await s.post("a")
    settle = tuple(SettleActivity(lock=item.lock, message=message) for item in (first, second, third))
    with pytest.raises(LockLost, match="Activity 2 of"):
        await s.commit(await s.turn(), settle=settle)


async def test_a_turn_may_settle_what_is_not_its_own(s: Subject) -> None:
    """An item of another instance goes with the turn that settles it, also where nobody has to be told."""
    await s.scheduled(an_item(), instance="b")
    item = await s.item()
    await s.start()
    await s.run("a", settle=(SettleActivity(lock=item.lock),))
    assert (await s.settle(item.lock)).lost == (item.lock,)


async def test_all_that_a_turn_settles_goes_and_uses_its_sessions(s: Subject) -> None:
    """Of several items none is left, and their sessions are not idle."""
    await s.scheduled(an_item(1, session="one"), an_item(2, session="two"))
    items = (await s.lock_items(lease=500.0, sessions=SessionClaim(lease=500.0, limit=2))).activities
    s.advance(50.0)
    await s.post("a")
    await s.run("a", settle=tuple(SettleActivity(lock=item.lock) for item in items))
    s.advance(50.0)
    held = await s.store.renew_sessions(RenewSessions(worker="worker", lease=500.0, idle=60.0))
    assert held.held == ("one", "two")
    lost = await s.store.commit_activities(
        CommitActivities(settle=tuple(SettleActivity(lock=item.lock) for item in items))
    )
    assert lost.lost == tuple(item.lock for item in items)
