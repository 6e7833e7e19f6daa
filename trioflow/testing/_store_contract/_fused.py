"""Steps that settle, commit and go on in one transaction. Read next: `_reading.py`."""

from __future__ import annotations

import attrs

from trioflow.abc import ActivityLock, BornLeased, OutMessage, ReleaseTurn, RenewTurns, SettleActivity, State
from trioflow.errors import LockLost
from trioflow.testing._store_contract._marks import Part
from trioflow.testing._store_contract._subject import (
    LEASE,
    Subject,
    an_event,
    an_item,
    draft,
    expect,
    expect_equal,
    expect_raises,
    kinds,
)

PART = Part.FUSED


async def check_a_kept_lock_is_held(s: Subject) -> None:
    """A commit may keep the lock: it is renewed, and the next commit needs no other."""
    await s.start()
    turn = await s.turn(lease=5)
    answer = await s.commit(turn, "One", keep=20.0)
    expect_equal((answer.kept, answer.messages), (True, ()), "the answer")
    await s.post("a")
    s.advance(19)
    await s.nothing_eligible("the lock was kept")
    await s.commit(attrs.evolve(turn, revision=answer.revision, messages=()), "Two")
    await s.turn()


async def check_a_kept_lock_expires(s: Subject) -> None:
    """A kept lock runs out like any other, and its holder is refused from then on."""
    await s.start()
    turn = await s.turn()
    answer = await s.commit(turn, keep=10.0)
    await s.post("a")
    s.advance(10)
    await s.turn()
    with expect_raises(LockLost, "somebody else holds the lock"):
        await s.commit(attrs.evolve(turn, revision=answer.revision, messages=()))


async def check_a_kept_lock_is_renewed(s: Subject) -> None:
    """A kept lock is renewed with the verb that renews all locks."""
    await s.start()
    turn = await s.turn()
    await s.commit(turn, keep=10.0)
    await s.post("a")
    s.advance(9)
    expect_equal((await s.store.renew_turns(RenewTurns(locks=(turn.lock,), lease=10.0))).lost, (), "locks lost")
    s.advance(9)
    await s.nothing_eligible("the lock was renewed")


async def check_what_arrived_is_answered(s: Subject) -> None:
    """A kept lock comes with the messages that arrived during the turn, and only those."""
    await s.start()
    turn = await s.turn()
    await s.post("a", "One")
    await s.post("a", "Two")
    answer = await s.commit(turn, keep=10.0)
    expect_equal(kinds(answer.messages), ["One", "Two"], "what arrived")
    await s.post("a", "Three")
    following = attrs.evolve(turn, revision=answer.revision, messages=answer.messages)
    expect_equal(kinds((await s.commit(following, keep=10.0)).messages), ["Three"], "what arrived next")


async def check_a_repeated_keep_answers_again(s: Subject) -> None:
    """A repeated commit that kept the lock answers that it is kept, with what is in the inbox now."""
    await s.start()
    turn = await s.turn()
    commit = s.a_commit(turn, keep=10.0)
    await s.store.commit_turn(commit)
    await s.post("a", "Late")
    again = await s.store.commit_turn(commit)
    expect_equal((again.kept, kinds(again.messages), again.revision), (True, ["Late"], 1), "the answer to the repeat")


async def check_a_repeat_does_not_claim_a_lost_lock(s: Subject) -> None:
    """A repeated commit does not say that a lock is kept which somebody else holds."""
    await s.start()
    commit = s.a_commit(await s.turn(), keep=10.0)
    await s.store.commit_turn(commit)
    await s.post("a")
    s.advance(10)
    await s.turn()
    expect(not (await s.store.commit_turn(commit)).kept, "a repeat claims no lock that somebody else holds")


async def check_an_ended_instance_keeps_no_lock(s: Subject) -> None:
    """Nothing is kept of an instance that has ended."""
    await s.start()
    answer = await s.run("a", "Ended", state=State.COMPLETED, keep=10.0)
    expect_equal((answer.kept, answer.messages), (False, ()), "the answer")


async def check_a_fused_settlement_removes_the_item(s: Subject) -> None:
    """A commit may settle an item whose outcome it delivers itself: the item is gone and nothing is posted."""
    born = BornLeased(worker="worker", token="born-1", lease=LEASE)  # noqa: S106 - a lock's token
    await s.start()
    turn = await s.turn()
    answer = await s.commit(turn, "Scheduled", activities=(an_item(1, born=born),), keep=LEASE)
    lock = ActivityLock("a", 1, 1, "born-1")
    following = attrs.evolve(turn, revision=answer.revision, messages=())
    again = await s.commit(following, "Completed", settle=(SettleActivity(lock=lock),), keep=LEASE)
    expect_equal((again.revision, again.messages), (2, ()), "the answer")
    expect_equal((await s.settle(lock)).lost, (lock,), "a second settlement")
    s.advance(1000)
    await s.no_items("it was settled")


async def check_a_fused_step_is_all_or_nothing(s: Subject) -> None:
    """If the lease of a settled item had gone the turn is refused, and items settled beside it are still held."""
    await s.scheduled(an_item(1), an_item(2))
    one, two = (await s.lock_items()).activities
    await s.settle(two.lock)
    turn = await s.turn()
    settle = (SettleActivity(lock=one.lock), SettleActivity(lock=two.lock))
    with expect_raises(LockLost, "the lease of a settled activity had gone"):
        await s.commit(turn, settle=settle)
    expect_equal((await s.settle(one.lock)).lost, (), "the item that was held")


async def check_a_fused_settlement_may_post_and_retry(s: Subject) -> None:
    """A settlement inside a commit may also post a message or ask for a retry."""
    await s.scheduled(an_item(1), an_item(2))
    one, two = (await s.lock_items()).activities
    await s.post("a")
    settle = (SettleActivity(lock=one.lock, message=draft("Done")), SettleActivity(lock=two.lock, retry_in=5.0))
    await s.run("a", settle=settle)
    expect_equal(kinds((await s.turn()).messages), ["Done"], "the inbox")
    s.advance(5)
    expect_equal((await s.item()).failures, 1, "failures")


async def check_a_long_chain_of_fused_steps(s: Subject) -> None:
    """Schedule, settle, schedule again under one kept lock, fifty times, leaves one history and no items."""
    await s.start()
    turn = await s.turn()
    answer = await s.commit(turn, "Started", keep=LEASE)
    for number in range(50):
        born = BornLeased(worker="worker", token=f"born-{number}", lease=LEASE)
        before = ActivityLock("a", 1, 1 + number, f"born-{number - 1}")
        answer = await s.commit(
            attrs.evolve(turn, revision=answer.revision, messages=()),
            "Step",
            activities=(an_item(2 + number, born=born),),
            settle=(SettleActivity(lock=before),) if number else (),
            keep=LEASE,
        )
    last = SettleActivity(lock=ActivityLock("a", 1, 51, "born-49"))
    ending = attrs.evolve(turn, revision=answer.revision, messages=())
    await s.commit(ending, "Ended", state=State.COMPLETED, settle=(last,))
    expect_equal((await s.record()).history_length, 52, "the history")
    s.advance(1000)
    await s.no_items("all were settled")


async def check_a_kept_lock_can_be_given_back(s: Subject) -> None:
    """A kept lock is released like any other, and the instance is eligible for what arrived."""
    await s.start()
    turn = await s.turn()
    await s.commit(turn, keep=LEASE)
    await s.post("a")
    await s.store.release_turn(ReleaseTurn(lock=turn.lock))
    expect_equal((await s.turn()).attempts, 1, "attempts, which never go below zero")


async def check_a_kept_lock_counts_attempts_anew(s: Subject) -> None:
    """A holder that vanished after a commit that kept the lock has used up no attempt."""
    await s.start()
    await s.turn()
    s.advance(LEASE)
    turn = await s.turn()
    await s.commit(turn, keep=10.0)
    await s.post("a")
    s.advance(10)
    expect_equal((await s.turn()).attempts, 1, "attempts")


async def check_a_kept_lock_holds_against_time(s: Subject) -> None:
    """An instance whose time comes while its lock is kept is left to its holder, and is due when the lease ends."""
    await s.start()
    await s.commit(await s.turn(), keep=20.0, wake_at=s.clock.now + 5)
    expect_equal((await s.lock_turns()).next_due, s.clock.now + 20, "next_due")
    s.advance(19)
    await s.nothing_eligible("the lock was kept")
    s.advance(1)
    await s.turn()


async def check_a_kept_answer_has_the_turns_own_messages(s: Subject) -> None:
    """What a commit posts to its own instance is in its answer: replies to starts, cancelled items, messages."""
    reply = OutMessage(instance="a", execution=1, draft=draft("ChildStarted"))
    await s.start()
    answer = await s.run(
        "a",
        "Scheduled",
        keep=LEASE,
        activities=(an_item(1),),
        cancel_activities=(1,),
        starts=(s.a_start("child", on_started=reply),),
        messages=(OutMessage(instance="a", draft=draft("Self")),),
    )
    expect_equal(kinds(answer.messages), ["ActivityCancelled", "ChildStarted", "Self"], "what has arrived")


async def check_an_answer_that_keeps_nothing_brings_nothing(s: Subject) -> None:
    """A commit that gives the lock back answers with no messages, whatever has arrived."""
    await s.start()
    turn = await s.turn()
    await s.post("a")
    answer = await s.commit(turn)
    expect_equal((answer.kept, answer.messages), (False, ()), "the answer")


async def check_a_fused_settlement_may_be_late(s: Subject) -> None:
    """A turn may settle an item whose lease has run out, if nobody has taken it."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.post("a")
    turn = await s.turn(lease=100 * LEASE)
    s.advance(LEASE + 1)
    await s.commit(turn, "Completed", settle=(SettleActivity(lock=item.lock),))
    await s.no_items("it was settled")


async def check_a_fused_settlement_needs_the_lease(s: Subject) -> None:
    """A turn cannot settle an item that somebody else has taken, and that one goes on."""
    await s.scheduled(an_item())
    stale = await s.item()
    s.advance(LEASE)
    fresh = await s.item()
    await s.post("a")
    turn = await s.turn()
    with expect_raises(LockLost, "somebody else holds the item"):
        await s.commit(turn, events=(), settle=(SettleActivity(lock=stale.lock),))
    expect_equal((await s.settle(fresh.lock)).lost, (), "locks lost by the other holder")


async def check_a_fused_retry_after_the_mark_ends_it(s: Subject) -> None:
    """A retry that a turn asks for, for an item marked before, ends the item as cancelled."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.post("a")
    await s.run("a", cancel_activities=(1,))
    await s.post("a", "Wake")
    await s.run("a", settle=(SettleActivity(lock=item.lock, retry_in=0.0),))
    expect_equal(kinds((await s.turn()).messages), ["ActivityCancelled"], "the inbox")
    await s.no_items("it was cancelled")


async def check_a_kept_lock_keeps_out_other_revisions(s: Subject) -> None:
    """Under a kept lock each commit has to build on the one before."""
    await s.start()
    turn = await s.turn()
    await s.commit(turn, "One", keep=LEASE)
    with expect_raises(LockLost, "the instance is at revision 1, the turn at 0"):
        await s.commit(turn, events=(an_event(2),), consumed=(), keep=LEASE)
    await s.commit(attrs.evolve(turn, revision=1, messages=()), "Two", keep=LEASE)


async def check_a_kept_lock_may_start_and_end(s: Subject) -> None:
    """The last commit under a kept lock ends the instance, and what it held is free."""
    await s.start()
    turn = await s.turn()
    answer = await s.commit(turn, "One", keep=LEASE)
    last = attrs.evolve(turn, revision=answer.revision, messages=())
    await s.commit(last, "Ended", state=State.COMPLETED, keep=LEASE)
    expect_equal((await s.renew(turn)).lost, (turn.lock,), "locks lost")
    expect_equal((await s.lock_turns()).next_due, None, "next_due")
