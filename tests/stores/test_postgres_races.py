"""Two at the same moment, made to be so: one verb is stopped before its commit, another one runs meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import psycopg
import pytest
import trio

from tests.postgres_server import shared_url
from tests.stores.postgres_helpers import empty_store
from trioflow.abc import CommitActivities, NextExecution, OutMessage, PostMessage, SettleActivity, StartInstance, State
from trioflow.errors import DuplicateRequestError
from trioflow.stores import PostgresStore
from trioflow.stores._postgres import _requests as requests
from trioflow.stores._postgres._statements import STATEMENTS
from trioflow.testing._store_contract import Clock, Subject
from trioflow.testing._store_contract._subject import LEASE, an_item, draft


@pytest.fixture
async def s() -> AsyncIterator[Subject]:
    """An empty store."""
    clock = Clock()
    async with empty_store(clock) as store:
        yield Subject(store, clock)


@contextmanager
def _in_the_middle_of(s: Subject, verb: str, parameters: tuple[object, ...]) -> Iterator[psycopg.Connection]:
    """A verb that has done everything but commit; that it does when the block ends."""
    assert isinstance(s.store, PostgresStore)
    with psycopg.connect(shared_url()) as connection:
        connection.execute("SELECT set_config('trioflow.now', %s, true)", (repr(s.clock.now),))
        connection.execute(STATEMENTS[verb].format(s.store._schema), parameters)  # type: ignore[arg-type]
        yield connection
        connection.commit()


def _a_post(s: Subject, instance: str = "a", **fields: object) -> tuple[object, ...]:
    message = OutMessage(instance=instance, draft=draft("Late"), **fields)  # type: ignore[arg-type]
    return requests.post_message(PostMessage(request_id=s.request_id(), message=message))


async def test_a_message_that_arrives_during_a_commit_is_not_lost(s: Subject) -> None:
    """It was not to be seen when the turn looked, and nobody else looks for it: it makes the instance eligible."""
    await s.start()
    turn = await s.turn()
    with _in_the_middle_of(s, "post_message", _a_post(s)):
        await s.commit(turn, "Started")
        await s.nothing_eligible("the message is not committed yet")
    assert [message.draft.kind for message in (await s.turn()).messages] == ["Late"]


async def test_a_message_that_arrives_while_work_is_looked_for_is_not_lost(s: Subject) -> None:
    """Whoever looks for work takes over only what can be seen; the rest is taken over by the next."""
    await s.waiting()
    await s.waiting("b")
    with _in_the_middle_of(s, "post_message", _a_post(s)):
        await s.post("b")
        assert [turn.lock.instance for turn in (await s.lock_turns()).turns] == ["b"]
    assert [turn.lock.instance for turn in (await s.lock_turns()).turns] == ["a"]


async def test_what_cannot_be_taken_over_is_asked_for_soon(s: Subject) -> None:
    """An instance in the middle of a commit keeps its place in the line, and whoever looks is told to look again."""
    await s.start()
    turn = await s.turn()
    with _in_the_middle_of(s, "commit_turn", requests.commit_turn(s.a_commit(turn, "Started"))):
        await s.post("a", "Late")
        locked = await s.lock_turns()
        assert not locked.turns
        assert locked.next_due is not None
        assert locked.next_due - locked.now < 0.1
    assert [message.draft.kind for message in (await s.turn()).messages] == ["Late"]


async def test_an_outcome_that_meets_a_new_execution_is_dropped(s: Subject) -> None:
    """An activity that settles while its instance continues as new tells nobody: the next execution never asked."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.post("a")
    turn = await s.turn()
    settle = requests.commit_activities((SettleActivity(lock=item.lock, message=draft("Done")),))
    with _in_the_middle_of(s, "commit_activities", settle):
        await s.commit(turn, "Ended", state=State.WAITING, next_execution=NextExecution(start=draft("Next")))
    turn = await s.turn()
    assert [message.draft.kind for message in turn.messages] == ["Next"]
    await s.commit(turn, "Started")
    await s.nothing_eligible("the outcome is for an execution that is over")


async def test_an_outcome_that_meets_an_end_wakes_nobody(s: Subject) -> None:
    """An activity that settles while its instance ends leaves nothing to do, and nothing is in the inbox."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.post("a")
    turn = await s.turn()
    settle = requests.commit_activities((SettleActivity(lock=item.lock, message=draft("Done")),))
    with _in_the_middle_of(s, "commit_activities", settle):
        await s.commit(turn, "Ended", state=State.COMPLETED)
    await s.nothing_eligible("it has ended")
    assert (await s.record()).queued == 0


async def test_a_late_holder_and_the_next_one(s: Subject) -> None:
    """A commit that comes after its lease has run out, while others look for work, is theirs or his, never both's."""
    await s.start()
    turn = await s.turn()
    s.advance(LEASE + 1)
    with _in_the_middle_of(s, "commit_turn", requests.commit_turn(s.a_commit(turn, "Started"))):
        await s.nothing_eligible("its row is being written")
    await s.nothing_eligible("the late commit was accepted, and nothing is left to do")
    assert (await s.record()).revision == 1


async def test_two_who_settle_one_attempt(s: Subject) -> None:
    """The second waits for the first and then finds it settled: the outcome is posted once, and none is lost."""
    await s.scheduled(an_item())
    item = await s.item()
    settles = (SettleActivity(lock=item.lock, message=draft("Done")),)
    answers = []

    async def settle_again() -> None:
        answers.append(await s.store.commit_activities(CommitActivities(settle=settles)))

    async with trio.open_nursery() as nursery:
        with _in_the_middle_of(s, "commit_activities", requests.commit_activities(settles)) as first:
            nursery.start_soon(settle_again)
            await _until_somebody_waits_for(first)
    assert answers[0].lost == ()
    assert [message.draft.kind for message in (await s.turn()).messages] == ["Done"]


async def test_a_repeat_that_overtakes_waits(s: Subject) -> None:
    """A start that is repeated while the first is on its way is one start, and both are told the same."""
    start = s.a_start("a")
    answers = []

    async def start_again() -> None:
        answers.append(await s.store.start_instance(start))

    async with trio.open_nursery() as nursery:
        with _in_the_middle_of(s, "start_instance", requests.start_instance(start)) as first:
            nursery.start_soon(start_again)
            await _until_somebody_waits_for(first)
    assert (answers[0].execution, answers[0].created) == (1, True)


async def test_one_request_id_for_two_requests_at_once(s: Subject) -> None:
    """Whoever comes second is refused, also while the first is on its way."""
    start = s.a_start("a")
    other = StartInstance(request_id=start.request_id, instance="b", name="flow", start=draft())
    refused = []

    async def start_other() -> None:
        try:
            await s.store.start_instance(other)
        except DuplicateRequestError as exc:
            refused.append(exc)

    async with trio.open_nursery() as nursery:
        with _in_the_middle_of(s, "start_instance", requests.start_instance(start)) as first:
            nursery.start_soon(start_other)
            await _until_somebody_waits_for(first)
    assert len(refused) == 1
    assert await s.store.read_instance("b") is None


async def test_two_that_write_to_each_other_do_not_wait(s: Subject) -> None:
    """A turn that writes to an instance in the middle of a commit inserts, and is done before that one is."""
    for name in ("a", "b"):
        await s.start(name)
    turns = {turn.lock.instance: turn for turn in (await s.lock_turns()).turns}
    to_b = s.a_commit(turns["a"], "Started", messages=(OutMessage(instance="b", draft=draft("From a")),))
    to_a = s.a_commit(turns["b"], "Started", messages=(OutMessage(instance="a", draft=draft("From b")),))
    with _in_the_middle_of(s, "commit_turn", requests.commit_turn(to_b)):
        await s.store.commit_turn(to_a)
    found = {turn.lock.instance: [m.draft.kind for m in turn.messages] for turn in (await s.lock_turns()).turns}
    assert found == {"a": ["From b"], "b": ["From a"]}


async def _until_somebody_waits_for(connection: psycopg.Connection) -> None:
    """Somebody's statement is blocked by that connection; a failure if nobody's is."""
    pid = connection.info.backend_pid
    with psycopg.connect(shared_url(), autocommit=True) as asker, trio.fail_after(10):
        while True:
            row = asker.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))", (pid,)
            ).fetchone()
            if row is not None and row[0]:
                return
            await trio.sleep(0.005)
