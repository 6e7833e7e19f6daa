"""Two at the same moment, made to be so: one verb is stopped before its commit, another one runs meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

import pytest
import trio

from tests.stores.postgres_helpers import empty_store, in_the_middle_of, until_somebody_waits_for
from trioflow.abc import (
    TURNS,
    Capabilities,
    CommitActivities,
    Draft,
    LockTurns,
    NextExecution,
    OutMessage,
    Parent,
    PostMessage,
    RenewActivities,
    SettleActivity,
    StartInstance,
    State,
)
from trioflow.errors import DuplicateRequestError, LockLost
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


def _a_post(s: Subject, instance: str = "a", **fields: object) -> tuple[object, ...]:
    message = OutMessage(instance=instance, draft=draft("Late"), **fields)  # type: ignore[arg-type]
    return requests.post_message(PostMessage(request_id=s.request_id(), message=message))


async def test_a_message_that_arrives_during_a_commit_is_not_lost(s: Subject) -> None:
    """It was not to be seen when the turn looked, and nobody else looks for it: it makes the instance eligible."""
    await s.start()
    turn = await s.turn()
    with in_the_middle_of(s, "post_message", _a_post(s)):
        await s.commit(turn, "Started")
        await s.nothing_eligible("the message is not committed yet")
    assert [message.draft.kind for message in (await s.turn()).messages] == ["Late"]


async def test_what_goes_along_with_a_large_event_counts_it(s: Subject) -> None:
    """An event that is raised in one transaction with a large one finds the mailbox as full as that has made it."""
    await s.waiting()
    most = 10 * 2**20

    def post(size: int) -> tuple[object, ...]:
        message = OutMessage(instance="a", draft=Draft(kind="Note", data=b"{}", payload=b"x" * size), mailbox=True)
        return requests.post_message(PostMessage(request_id=s.request_id(), message=message, mailbox_bytes=most))

    with in_the_middle_of(s, "post_message", post(most)) as connection:
        assert isinstance(s.store, PostgresStore)
        statement = STATEMENTS["post_message"].format(s.store._schema)
        row = connection.execute(statement, post(1)).fetchone()  # type: ignore[arg-type]  # not literal
    assert row is not None
    assert row[0] == "large"


async def test_a_message_that_arrives_while_work_is_looked_for_is_not_lost(s: Subject) -> None:
    """Whoever looks for work takes over only what can be seen; the rest is taken over by the next."""
    await s.waiting()
    await s.waiting("b")
    with in_the_middle_of(s, "post_message", _a_post(s)):
        await s.post("b")
        assert [turn.lock.instance for turn in (await s.lock_turns()).turns] == ["b"]
    assert [turn.lock.instance for turn in (await s.lock_turns()).turns] == ["a"]


async def test_what_cannot_be_taken_over_is_asked_for_soon(s: Subject) -> None:
    """An instance in the middle of a commit keeps its place in the line, and whoever looks is told to look again."""
    await s.start()
    turn = await s.turn()
    with in_the_middle_of(s, "commit_turn", requests.commit_turn(s.a_commit(turn, "Started"))):
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
    with in_the_middle_of(s, "commit_activities", settle):
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
    with in_the_middle_of(s, "commit_activities", settle):
        await s.commit(turn, "Ended", state=State.COMPLETED)
    await s.nothing_eligible("it has ended")
    assert (await s.record()).queued == 0


async def test_a_late_holder_and_the_next_one(s: Subject) -> None:
    """A commit that comes after its lease has run out, while others look for work, is theirs or his, never both's."""
    await s.start()
    turn = await s.turn()
    s.advance(LEASE + 1)
    with in_the_middle_of(s, "commit_turn", requests.commit_turn(s.a_commit(turn, "Started"))):
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
        with in_the_middle_of(s, "commit_activities", requests.commit_activities(settles)) as first:
            nursery.start_soon(settle_again)
            await until_somebody_waits_for(first)
    assert answers[0].lost == ()
    assert [message.draft.kind for message in (await s.turn()).messages] == ["Done"]


@pytest.mark.parametrize("items", [1, 2])
async def test_a_turn_does_not_settle_what_is_being_settled(s: Subject, items: int) -> None:
    """It waits for whoever settles one of its items, is then refused, and has settled none of the others."""
    await s.scheduled(*map(an_item, range(1, items + 1)))
    held = (await s.lock_items()).activities
    await s.post()
    turn = await s.turn()
    refused = []

    async def settle_all() -> None:
        try:
            await s.commit(turn, settle=tuple(SettleActivity(lock=item.lock) for item in held))
        except LockLost as exc:
            refused.append(exc)

    async with trio.open_nursery() as nursery:
        last = (SettleActivity(lock=held[-1].lock, message=draft("Done")),)
        with in_the_middle_of(s, "commit_activities", requests.commit_activities(last)) as other:
            nursery.start_soon(settle_all)
            await until_somebody_waits_for(other)
    assert len(refused) == 1
    for item in held[:-1]:
        assert (await s.settle(item.lock)).lost == ()


async def test_a_repeat_that_overtakes_waits(s: Subject) -> None:
    """A start that is repeated while the first is on its way is one start, and both are told the same."""
    start = s.a_start("a")
    answers = []

    async def start_again() -> None:
        answers.append(await s.store.start_instance(start))

    async with trio.open_nursery() as nursery:
        with in_the_middle_of(s, "start_instance", requests.start_instance(start)) as first:
            nursery.start_soon(start_again)
            await until_somebody_waits_for(first)
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
        with in_the_middle_of(s, "start_instance", requests.start_instance(start)) as first:
            nursery.start_soon(start_other)
            await until_somebody_waits_for(first)
    assert len(refused) == 1
    assert await s.store.read_instance("b") is None


async def test_two_that_write_to_each_other_do_not_wait(s: Subject) -> None:
    """A turn that writes to an instance in the middle of a commit inserts, and is done before that one is."""
    for name in ("a", "b"):
        await s.start(name)
    turns = {turn.lock.instance: turn for turn in (await s.lock_turns()).turns}
    to_b = s.a_commit(turns["a"], "Started", messages=(OutMessage(instance="b", draft=draft("From a")),))
    to_a = s.a_commit(turns["b"], "Started", messages=(OutMessage(instance="a", draft=draft("From b")),))
    with in_the_middle_of(s, "commit_turn", requests.commit_turn(to_b)):
        await s.store.commit_turn(to_a)
    found = {turn.lock.instance: [m.draft.kind for m in turn.messages] for turn in (await s.lock_turns()).turns}
    assert found == {"a": ["From b"], "b": ["From a"]}


OTHERS = Capabilities(orchestrations=(("other", "1"),))


async def test_what_another_takes_over_is_asked_for_soon(s: Subject) -> None:
    """Somebody who cannot run an instance is taking it over: whoever can, and looks now, is told to look again."""
    await s.waiting()
    await s.post()
    look = requests.lock_turns(LockTurns(worker="other", limit=9, lease=LEASE, can_run=OTHERS), "0" * 32)
    with in_the_middle_of(s, "lock_turns", look):
        locked = await s.lock_turns()
        assert locked.turns == ()
        assert locked.next_due is not None
        assert locked.next_due - locked.now < 0.1
    await s.turn()


async def test_what_is_swept_is_told_to_all(s: Subject) -> None:
    """An item whose holder is lost makes its instance eligible: whoever found it may not be able to run that."""
    await s.scheduled(an_item())
    await s.item(lease=5.0)
    await s.post()
    await s.run(cancel_activities=(1,))
    s.advance(6.0)
    with s.store.signals.watch(TURNS) as turns:
        seen = turns.seen
        assert (await s.lock_turns(can_run=OTHERS)).turns == ()
        assert turns.seen != seen


@pytest.mark.parametrize("if_exists", ["fail", "replace_finished"])
async def test_a_refused_start_is_in_nobodys_way(
    s: Subject, if_exists: Literal["fail", "attach", "replace_finished"]
) -> None:
    """It looks at an instance that lives and locks nothing, so that whoever looks for work meanwhile finds it."""
    await s.start()
    start = s.a_start("a", if_exists=if_exists)
    with in_the_middle_of(s, "start_instance", requests.start_instance(start)):
        await s.turn()


async def test_a_refused_message_is_in_nobodys_way(s: Subject) -> None:
    """Senders to a mailbox that is full wait for each other, and whoever looks for work meanwhile finds it."""
    await s.start()
    await s.post(mailbox=True, mailbox_limit=1)
    message = OutMessage(instance="a", draft=draft("Late"), mailbox=True)
    post = requests.post_message(PostMessage(request_id=s.request_id(), message=message, mailbox_limit=1))
    with in_the_middle_of(s, "post_message", post):
        await s.turn()


async def test_the_last_place_in_a_mailbox_is_given_once(s: Subject) -> None:
    """Near the limit the second sender waits for the first, and is refused."""
    await s.start()
    message = OutMessage(instance="a", draft=draft("Late"), mailbox=True)
    post = requests.post_message(PostMessage(request_id=s.request_id(), message=message, mailbox_limit=1))
    async with trio.open_nursery() as nursery:
        with in_the_middle_of(s, "post_message", post) as first:
            nursery.start_soon(s.mailbox_is_full, "a", 1)
            await until_somebody_waits_for(first)


@pytest.mark.parametrize("if_exists", ["fail", "attach", "replace_finished"])
async def test_a_start_does_not_wait_for_the_turn_of_one_that_lives(
    s: Subject, if_exists: Literal["fail", "attach", "replace_finished"]
) -> None:
    """Two instances that each start the other are both done at once, in the middle of their commits."""
    for name in ("a", "b"):
        await s.start(name)
    turns = {turn.lock.instance: turn for turn in (await s.lock_turns()).turns}
    s.store._pool._limit = 2.0  # type: ignore[attr-defined]  # one that waits fails soon
    start_b = s.a_commit(turns["a"], "Started", starts=(s.a_start("b", if_exists=if_exists),))
    start_a = s.a_commit(turns["b"], "Started", starts=(s.a_start("a", if_exists=if_exists),))
    with in_the_middle_of(s, "commit_turn", requests.commit_turn(start_b)):
        await s.store.commit_turn(start_a)
    assert [(await s.store.read_instance(name)).revision for name in ("a", "b")] == [1, 1]  # type: ignore[union-attr]


async def test_a_message_to_a_child_does_not_reach_its_replacement(s: Subject) -> None:
    """On its way while the child ends and its id is used again, it is for the one that was there, or for nobody."""
    parent = Parent(instance="p", execution=1, event_id=1)
    await s.start(parent=parent)
    turn = await s.turn()
    async with trio.open_nursery() as nursery:
        with in_the_middle_of(s, "post_message", _a_post(s, child_of=parent)) as post:
            await s.commit(turn, "Ended", state=State.COMPLETED)
            nursery.start_soon(s.store.start_instance, s.a_start("a", if_exists="replace_finished"))
            await until_somebody_waits_for(post)
    assert [message.draft.kind for message in (await s.turn()).messages] == ["Started"]


@pytest.mark.parametrize("message", [None, draft("Done")], ids=["its own", "to be told"])
@pytest.mark.parametrize("cancelled", [1, 2])
async def test_a_turn_and_a_renewal_lock_items_in_one_order(s: Subject, cancelled: int, message: Draft | None) -> None:
    """A turn that settles one item and cancels another waits for the earlier one before it has the later one."""
    await s.scheduled(an_item(1), an_item(2))
    items = (await s.lock_items()).activities
    await s.post()
    turn = await s.turn()
    settle = (SettleActivity(lock=items[2 - cancelled].lock, message=message),)
    async with trio.open_nursery() as nursery:
        renew = requests.renew_activities(RenewActivities(locks=(items[0].lock,), lease=LEASE))
        with in_the_middle_of(s, "renew_activities", renew) as renewal:
            nursery.start_soon(s.store.commit_turn, s.a_commit(turn, settle=settle, cancel_activities=(cancelled,)))
            await until_somebody_waits_for(renewal)
            renewal.execute(
                f"SELECT FROM {s.store._schema}.activity WHERE event_id = 2 FOR UPDATE NOWAIT"  # type: ignore[attr-defined]
            )
