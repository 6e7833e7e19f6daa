"""One id, many executions: nothing of one reaches another. Read next: `_activity_locks.py`."""

from __future__ import annotations

from typing import Any

import attrs

from trioflow.abc import (
    NextExecution,
    OutMessage,
    Parent,
    ReleaseActivity,
    ReleaseTurn,
    RenewActivities,
    RenewTurns,
    State,
)
from trioflow.errors import LockLost
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import (
    LEASE,
    Subject,
    an_item,
    draft,
    expect_equal,
    expect_raises,
    kinds,
)

NEXT = NextExecution(start=draft("Again"))


async def check_a_lock_is_for_one_execution(s: Subject) -> None:
    """A token is good for the execution that it was given for, and for no other of the same instance."""
    await s.start()
    turn = await s.turn()
    other = attrs.evolve(turn.lock, execution=2)
    with expect_raises(LockLost, "the lock is for execution 1"):
        await s.store.commit_turn(attrs.evolve(s.a_commit(turn), lock=other))
    await s.commit(turn, events=())


@belongs_to(Part.RELEASES)
async def check_other_verbs_know_the_execution_too(s: Subject) -> None:
    """A renewal and a release under another execution's number change nothing."""
    await s.start()
    turn = await s.turn(lease=10.0)
    other = attrs.evolve(turn.lock, execution=2)
    expect_equal((await s.store.renew_turns(RenewTurns(locks=(other,), lease=LEASE))).lost, (other,), "locks lost")
    await s.store.release_turn(ReleaseTurn(lock=other))
    await s.nothing_eligible("the lock is held")
    s.advance(10)
    await s.turn()


async def check_a_token_is_for_one_instance(s: Subject) -> None:
    """A token is good for the instance that it was given for: two holders cannot exchange theirs."""
    await s.start("a")
    await s.start("b")
    a, b = sorted((await s.lock_turns()).turns, key=lambda turn: turn.lock.instance)
    crossed = attrs.evolve(a, lock=attrs.evolve(a.lock, token=b.lock.token))
    with expect_raises(LockLost, "the token is of another instance"):
        await s.commit(crossed)
    await s.store.release_turn(ReleaseTurn(lock=crossed.lock))
    await s.nothing_eligible("both locks are held")


async def check_an_item_lock_names_its_item(s: Subject) -> None:
    """A token is good for the item that it was given for, by instance, execution and event id."""
    await s.scheduled(an_item(1), an_item(2))
    one, two = [item.lock for item in (await s.lock_items()).activities]
    wrong: tuple[dict[str, Any], ...] = ({"event_id": 2}, {"execution": 2}, {"instance": "b"}, {"token": two.token})
    for fields in wrong:
        lock = attrs.evolve(one, **fields)
        expect_equal((await s.settle(lock)).lost, (lock,), f"locks lost with {fields}")
        await s.store.release_activity(ReleaseActivity(lock=lock))
        answer = await s.store.renew_activities(RenewActivities(locks=(lock,), lease=LEASE))
        expect_equal(answer.lost, (lock,), f"locks lost by a renewal with {fields}")
    await s.no_items("both items are held")


@belongs_to(Part.RELEASES)
async def check_tokens_are_never_the_same(s: Subject) -> None:
    """Every lock has a token of its own, however often and at whatever moment it is taken."""
    await s.scheduled(an_item(1), an_item(2), instance="a")
    await s.scheduled(an_item(1), instance="b")
    tokens: list[str] = []
    for _ in range(2):
        for name in ("a", "b"):
            await s.post(name)
        turns, items = (await s.lock_turns()).turns, (await s.lock_items()).activities
        tokens += [turn.lock.token for turn in turns] + [item.lock.token for item in items]
        for turn in turns:
            await s.store.release_turn(ReleaseTurn(lock=turn.lock))
        for item in items:
            await s.store.release_activity(ReleaseActivity(lock=item.lock))
    expect_equal(len(dict.fromkeys(tokens)), 10, "tokens of ten locks")


@belongs_to(Part.EXECUTIONS)
async def check_items_of_two_executions_are_two(s: Subject) -> None:
    """An item of an old execution and one of the current with the same event id have nothing to do with each other."""
    await s.scheduled(an_item(1, payload=b"old"))
    old = await s.item()
    await s.post("a")
    await s.run("a", next_execution=NEXT)
    await s.run("a", "Scheduled", activities=(an_item(1, payload=b"new"),))
    new = await s.item()
    expect_equal((new.lock.execution, new.payload, new.attempt), (2, b"new", 1), "the item of the current execution")
    expect_equal((await s.settle(old.lock, message=draft("Old"))).lost, (), "locks lost by the old one")
    await s.settle(new.lock, message=draft("New"))
    expect_equal(kinds((await s.turn()).messages), ["New"], "the inbox")


@belongs_to(Part.EXECUTIONS)
async def check_a_cancel_leaves_old_executions_alone(s: Subject) -> None:
    """A commit cancels items of its own execution; one of an older execution with that event id goes on."""
    await s.scheduled(an_item(1))
    old = await s.item()
    await s.post("a")
    await s.run("a", next_execution=NEXT)
    answer = await s.run("a", "Started", cancel_activities=(1,))
    expect_equal(answer.hurt, (), "items hurt by the commit")
    renewal = await s.store.renew_activities(RenewActivities(locks=(old.lock,), lease=LEASE))
    expect_equal((renewal.lost, renewal.cancelled), ((), ()), "the answer to a renewal")


@belongs_to(Part.EXECUTIONS)
async def check_terminating_leaves_old_executions_alone(s: Subject) -> None:
    """A commit that cancels everything cancels what is of its own execution."""
    await s.scheduled(an_item(1))
    old = await s.item()
    await s.post("a")
    await s.run("a", next_execution=NEXT)
    await s.run("a", "Scheduled", activities=(an_item(1), an_item(2)))
    await s.post("a")
    answer = await s.run("a", "Ended", state=State.TERMINATED, cancel_all_activities=True)
    expect_equal(answer.hurt, (), "items hurt by the commit")
    await s.no_items("those of this execution were cancelled")
    expect_equal((await s.settle(old.lock)).lost, (), "locks lost by the old one")


@belongs_to(Part.REPLACING)
async def check_a_message_for_a_replaced_execution_is_dropped(s: Subject) -> None:
    """What was meant for an instance that was replaced does not reach the replacement."""
    await s.ended()
    await s.start("a", if_exists="replace_finished")
    await s.post("a", "Old", execution=1)
    await s.post("a", "New", execution=2)
    expect_equal(kinds((await s.turn()).messages), ["Started", "New"], "the inbox of the replacement")


@belongs_to(Part.EXECUTIONS)
async def check_a_child_is_known_by_its_parents_execution(s: Subject) -> None:
    """A message to a child does not reach one that an earlier execution of the same parent started."""
    first = Parent(instance="a", execution=1, event_id=1)
    await s.start("child", parent=first)
    await s.run("child")
    for parent, kind in ((attrs.evolve(first, execution=2), "Wrong"), (first, "Right")):
        await s.post("child", kind, child_of=parent)
    expect_equal(kinds((await s.turn("child")).messages), ["Right"], "the child's inbox")


@belongs_to(Part.REPLACING)
async def check_a_replacement_has_its_own_parent(s: Subject) -> None:
    """A replacement has the parent that it was started with, or none."""
    await s.start("a", parent=Parent(instance="p", execution=1, event_id=1), attributes={"k": "v"})
    await s.run("a", "Ended", state=State.COMPLETED)
    await s.start("a", if_exists="replace_finished")
    record = await s.record()
    expect_equal((record.parent, dict(record.attributes)), (None, {}), "what was said at the start")


@belongs_to(Part.REPLACING)
async def check_a_replacement_starts_afresh(s: Subject) -> None:
    """A replacement inherits no attempts, no unread events, no full mailbox, no time to wake and no status."""
    await s.start("a")
    await s.turn()
    s.advance(LEASE)
    await s.run("a", "Ended", state=State.COMPLETED, unread=5, status=b"old")
    await s.start("a", if_exists="replace_finished")
    record = await s.record()
    expect_equal(
        (record.unread, record.wake_at, record.status, record.last_event, record.queued),
        (0, None, None, None, 1),
        "the replacement",
    )
    await s.post("a", mailbox=True, mailbox_limit=1)
    turn = await s.turn()
    expect_equal((turn.attempts, turn.history_length, turn.history_bytes), (1, 0, 0), "its first turn")


@belongs_to(Part.REPLACING)
async def check_a_replacement_may_be_delayed(s: Subject) -> None:
    """A replacement waits for its delay as any start does."""
    await s.ended()
    await s.start("a", if_exists="replace_finished", delay=10.0)
    s.advance(9)
    await s.nothing_eligible("the delay is not over")
    s.advance(1)
    await s.turn()


@belongs_to(Part.REPLACING)
async def check_revisions_are_never_the_same(s: Subject) -> None:
    """An id never comes back to a revision, over executions and replacements: it goes up with each commit, and with
    nothing else.
    """
    seen: list[int] = []
    await s.start("a")
    for number in range(3):
        turn = await s.turn()
        following = NEXT if number == 0 else None
        seen.append((await s.commit(turn, "E", state=State.COMPLETED, next_execution=following)).revision)
        if following is None:
            await s.start("a", if_exists="replace_finished")
    expect_equal(seen, [1, 2, 3], "revisions")


@belongs_to(Part.REPLACING)
async def check_old_histories_are_kept_apart(s: Subject) -> None:
    """Each execution's history is read by its number, whichever is current."""
    for number in range(1, 4):
        await s.start("a", if_exists="replace_finished")
        await s.run("a", *[f"E{number}"] * number, state=State.COMPLETED)
    for number in range(1, 4):
        rows = await s.store.read_history("a", number)
        expect_equal([row.kind for row in rows], [f"E{number}"] * number, f"the history of execution {number}")


@belongs_to(Part.EXECUTIONS)
async def check_a_message_out_of_a_turn_knows_the_execution(s: Subject) -> None:
    """A turn's message for one execution of another instance is dropped once that execution is over."""
    await s.start("b")
    await s.run("b", next_execution=NEXT)
    await s.start("a")
    out = tuple(OutMessage(instance="b", execution=number, draft=draft(f"E{number}")) for number in (1, 2))
    turns = {turn.lock.instance: turn for turn in (await s.lock_turns()).turns}
    await s.store.release_turn(ReleaseTurn(lock=turns["b"].lock))
    await s.commit(turns["a"], messages=out)
    expect_equal(kinds((await s.turn("b")).messages), ["Again", "E2"], "the inbox")
