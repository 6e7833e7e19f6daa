"""No verb of the PostgreSQL store looks at all rows but to count them, and all but the searches for work and the verbs
of administration touch one instance's rows only.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.postgres_server import fresh_schema, shared_url
from tests.stores.postgres_helpers import ask
from trioflow.abc import (
    Capabilities,
    CommitActivities,
    DeleteInstances,
    InstanceQuery,
    ListInstances,
    ListPlace,
    OutMessage,
    Parent,
    PruneExecutions,
    ReleaseActivity,
    ReleaseTurn,
    RenewActivities,
    RenewSessions,
    RenewTurns,
    SessionClaim,
    SettleActivity,
    State,
)
from trioflow.stores import PostgresStore
from trioflow.stores._postgres._migrating import migrations
from trioflow.testing._store_contract import Clock, Subject
from trioflow.testing._store_contract._subject import an_item, draft

CAN_RUN = Capabilities(orchestrations=(("flow", "1.0.0"),))
CLAIM = SessionClaim(lease=30.0, limit=1)
LATE = draft("Late")
CROWD = 20_000  # instances that have nothing to do with it, each with rows in every table
LARGE = ("instance", "event", "message", "kv", "activity", "settled", "session")
FILL = """
INSERT INTO {s}.instance SELECT 'crowd-' || n, 1, 1, 'flow', '1.0.0', 1, 'waiting', 1, NULL, 0, 0, 2, 100, 2e6 + n, 0,
    2e6 + n, NULL, NULL, 0, 0, 1e6 - n, 1e6, NULL, NULL, NULL, '[]', NULL FROM generate_series(1, {n}) n;
INSERT INTO {s}.event SELECT 'crowd-' || n, 1, e, 1e6, 'Note', 'data', NULL
    FROM generate_series(1, {n}) n, generate_series(1, 2) e;
INSERT INTO {s}.message (instance, at, execution, control, mailbox, kind, data)
    SELECT 'crowd-' || n, 1e6, 1, false, true, 'Note', 'data' FROM generate_series(1, {n}) n;
INSERT INTO {s}.kv SELECT 'crowd-' || n, sha256('key'), 'key', 'value' FROM generate_series(1, {n}) n;
INSERT INTO {s}.activity SELECT 'crowd-' || n, 1, 1, 'work', NULL, NULL, 1e6, 3e6 + n, 'Late', 'data', 2e6 + n,
    CASE n % 3 WHEN 0 THEN NULL ELSE 'token' END, 'worker', 1, 0, 1, n % 3 = 1, NULL, 'data', 'payload'
    FROM generate_series(1, {n}) n;
INSERT INTO {s}.session SELECT sha256(n::text::bytea), n::text, 'crowd-' || n, 2e6 + n, 1e6
    FROM generate_series(1, {n}) n;
INSERT INTO {s}.settled SELECT 'crowd-' || n, 'token-' || n, 1e6 FROM generate_series(1, {n}) n;
ANALYZE {s}.instance, {s}.event, {s}.message, {s}.kv, {s}.activity, {s}.settled, {s}.session
"""


@pytest.fixture(scope="module")
def crowded() -> str:
    """A schema with a crowd in it."""
    return fresh_schema()


@pytest.fixture
async def subject(crowded: str) -> AsyncIterator[Subject]:
    """A store with that crowd."""
    clock = Clock()
    async with PostgresStore(shared_url(), schema=crowded, durability="fast", clock=clock, connections=1) as store:
        if not ask(shared_url(), f"SELECT 1 FROM {crowded}.instance LIMIT 1"):
            for statement in FILL.format(s=crowded, n=CROWD).split(";"):
                ask(shared_url(), statement)
        subject = Subject(store, clock)
        subject.name = f"{store._env.token()}/"
        for _ in range(10):  # after some calls PostgreSQL settles on one plan for all to come
            await subject.lock_turns(can_run=CAN_RUN)
            await subject.lock_items(sessions=CLAIM)
        yield subject


async def _rows_read(store: PostgresStore, verb: Callable[[], Awaitable[object]]) -> tuple[dict[str, int], int]:
    """What a verb reads: for each large table how often all of it, and how many index entries at all."""

    async def counters() -> dict[str, tuple[int, int]]:
        await store._pool.call("SELECT pg_stat_force_next_flush()", reads=True)
        rows = ask(
            shared_url(),
            "SELECT t.relname, t.seq_scan, coalesce(sum(i.idx_tup_read), 0) FROM pg_stat_user_tables t "
            "LEFT JOIN pg_stat_user_indexes i USING (relid) WHERE t.schemaname = %s AND t.relname = ANY (%s) "
            "GROUP BY t.relname, t.seq_scan",
            (store._schema, list(LARGE)),
        )
        return {name: (scans, int(entries)) for name, scans, entries in rows}

    before = await counters()
    await verb()
    after = await counters()
    scans = {name: after[name][0] - before[name][0] for name in LARGE}
    return scans, sum(after[name][1] - before[name][1] for name in LARGE)


async def _every_verb(s: Subject) -> AsyncIterator[tuple[str, Callable[[], Awaitable[object]]]]:
    """Each verb in a situation in which it has everything to do that it can."""
    store = s.store
    yield "start", lambda: s.start("a", parent=Parent(instance="crowd-1", execution=1, event_id=1))
    yield "post", lambda: s.post("a", mailbox=True)
    yield "post control", lambda: s.post("a", control=True)
    turns = []

    async def lock() -> None:
        turns.extend((await s.lock_turns(can_run=CAN_RUN)).turns)

    yield "lock turns", lock
    yield "renew turns", lambda: store.renew_turns(RenewTurns(locks=(turns[0].lock,), lease=30.0))
    yield "release turn", lambda: store.release_turn(ReleaseTurn(lock=turns.pop().lock))
    await lock()
    yield "commit", lambda: s.commit(
        turns.pop(), "Started", *["Scheduled"] * 5, version="1.0.0",
        activities=(
            *map(an_item, (2, 3, 4)), an_item(5, tag="gpu", start_within=1.0, late=LATE), an_item(6, session="s")
        ),
        kv_set={"key": b"value"},
        starts=(s.a_start("b"),), messages=(OutMessage(instance="crowd-2", draft=draft()),),
    )  # fmt: skip
    items = []

    async def lock_items() -> None:
        items.extend((await s.lock_items(sessions=CLAIM)).activities)

    yield "lock activities", lock_items
    yield "renew activities", lambda: store.renew_activities(RenewActivities(locks=(items[0].lock,), lease=30.0))
    yield "settle", lambda: s.settle(items.pop().lock)
    yield (
        "settle for a retry",
        lambda: store.commit_activities(CommitActivities(settle=(SettleActivity(lock=items[-1].lock, retry_in=9.0),))),
    )
    items.pop()
    yield "release activity", lambda: store.release_activity(ReleaseActivity(lock=items.pop().lock))
    yield "renew sessions", lambda: store.renew_sessions(RenewSessions(worker="worker", lease=30.0, idle=60.0))
    yield "release sessions", lambda: store.release_sessions("worker")
    s.advance(1.0)
    yield "lock turns where an item is late", lock
    mine = next(turn for turn in turns if turn.lock.instance == "a")
    yield "commit that cancels", lambda: s.commit(mine, "Note", cancel_activities=(2, 3, 4))
    yield "read instance", lambda: store.read_instance("a")
    yield "read history", lambda: store.read_history("a", 1)
    yield "read kv", lambda: store.read_kv("a")
    await lock()
    last = next(turn for turn in turns if turn.lock.instance == "a" and turn.revision == 2)
    yield "commit that ends", lambda: s.commit(last, "Ended", state=State.COMPLETED)
    yield "replace", lambda: s.start("a", if_exists="replace_finished")
    async for name, verb in _administration(s):
        yield name, verb


async def _administration(s: Subject) -> AsyncIterator[tuple[str, Callable[[], Awaitable[object]]]]:
    """The verbs that look at many, but for those that count all."""
    store, place = s.store, ListPlace(s.clock.now - 10_000, "crowd-9999")
    yield "look for those nobody can run", lambda: s.lock_turns(can_run=CAN_RUN, others=True, overdue=60.0)
    yield "list", lambda: store.list_instances(ListInstances(limit=5))
    yield "list from a place on", lambda: store.list_instances(ListInstances(limit=5, after=place))
    query = InstanceQuery(parent="crowd-1")
    yield "list children", lambda: store.list_instances(ListInstances(limit=5, query=query))
    query_of_time = InstanceQuery(created_after=s.clock.now - 10_000, created_before=s.clock.now - 9_995)
    yield "list by time", lambda: store.list_instances(ListInstances(limit=50, query=query_of_time))
    yield "read executions", lambda: store.read_executions("a")
    yield "prune", lambda: store.prune_executions(PruneExecutions(instance="a"))
    await s.start("c", parent=Parent(instance="a", execution=2, event_id=1))
    yield (
        "delete",
        lambda: store.delete_instances(DeleteInstances(request_id=s.request_id(), instances=("a",), force=True)),
    )


async def test_no_verb_reads_a_crowd(subject: Subject) -> None:
    """With twenty thousand others there, no verb scans a table, and each reads a handful of index entries."""
    store = subject.store
    assert isinstance(store, PostgresStore)
    seen = []
    async for name, verb in _every_verb(subject):
        scans, entries = await _rows_read(store, verb)
        assert not any(scans.values()), f"{name} scans {scans}"
        assert entries <= 60, f"{name} reads {entries} index entries"
        seen.append(name)
    assert len(seen) == 29


async def test_who_has_no_sessions_does_not_pay_for_them(subject: Subject) -> None:
    """Items without a session are taken, renewed and settled without a look at sessions but for when the next one ends,
    whatever their number; planning that may look once more.
    """
    s, store = subject, subject.store
    assert isinstance(store, PostgresStore)
    await s.start("none")
    turns = (await s.lock_turns(can_run=CAN_RUN)).turns
    mine = next(turn for turn in turns if turn.lock.instance == "none")
    await s.commit(mine, "Started", "Scheduled", activities=tuple(map(an_item, (1, 2, 3, 4))))

    async def work() -> None:
        items = (await s.lock_items(sessions=CLAIM)).activities
        assert len(items) >= 4
        await store.renew_activities(RenewActivities(locks=tuple(item.lock for item in items), lease=30.0))
        for item in items:
            await s.settle(item.lock)

    assert await _reads_of_sessions(store, work) in (1, 2)


async def _reads_of_sessions(store: PostgresStore, verb: Callable[[], Awaitable[object]]) -> int:
    """How often a verb looks at sessions."""

    async def looks() -> int:
        await store._pool.call("SELECT pg_stat_force_next_flush()", reads=True)
        text = "SELECT seq_scan + idx_scan FROM pg_stat_user_tables WHERE schemaname = %s AND relname = 'session'"
        ((count,),) = ask(shared_url(), text, (store._schema,))
        return int(count)

    before = await looks()
    await verb()
    return await looks() - before


async def test_a_scan_would_be_seen(subject: Subject) -> None:
    """A statement that looks at all instances is what the counters count."""
    store = subject.store
    assert isinstance(store, PostgresStore)
    statement = f"SELECT count(*) FROM {store._schema}.instance WHERE name = 'nobody'"
    scans, _ = await _rows_read(store, lambda: store._pool.call(statement, reads=True))
    assert scans["instance"] == 1


SEARCHES = (
    *("lock_turns", "take_over_ready", "sweep", "sweep_cancelled", "sweep_late"),
    *(
        "take_items",
        "hides_items",
        "lock_activities",
        "forget_before",
        "recall",
        "claim_sessions",
        "renew_sessions",
        "release_sessions",
    ),
    *("lock_family", "list_instances", "read_depths", "read_metrics"),
)


def test_every_other_statement_names_its_instance() -> None:
    """In the functions, apart from those that search for work, administer, or keep requests and sessions, a table is
    only reached by instance, or by session.
    """
    bodies = re.findall(r"CREATE FUNCTION (\w+)\(.*?\$\$(.*?)\$\$", "\n".join(migrations()[1:]), re.DOTALL)
    assert len(bodies) > 20
    for name, body in bodies:
        for statement in body.split(";"):
            for table in re.findall(rf"(?:FROM|UPDATE|JOIN|USING) ({'|'.join(LARGE)})\b", statement):
                keyed = re.search(r"instance\s*=|\bs\.digest = digest_of", statement)
                assert keyed or name in SEARCHES, f"{name} reaches {table} by something else: {statement}"
