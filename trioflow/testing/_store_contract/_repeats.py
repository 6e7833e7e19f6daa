"""A write whose answer was lost is sent again, unchanged, late, after others have written. Read next:
`_incarnations.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from trioflow.abc import (
    ActivityLock,
    CommitActivities,
    NextExecution,
    OutMessage,
    PostMessage,
    ReleaseActivity,
    ReleaseTurn,
    RenewTurns,
    SettleActivity,
    State,
)
from trioflow.errors import DuplicateRequestError, InstanceExists, InstanceNotFound, LockLost, MailboxFull
from trioflow.testing._store_contract._marks import Part
from trioflow.testing._store_contract._subject import (
    LEASE,
    Subject,
    an_item,
    draft,
    expect,
    expect_equal,
    expect_raises,
    kinds,
)

PART = Part.REPEATS

NEXT = NextExecution(start=draft("Again"))


def _a_post(s: Subject, instance: str = "a", **fields: Any) -> PostMessage:
    return PostMessage(request_id=s.request_id(), message=OutMessage(instance=instance, draft=draft(), **fields))


async def check_a_repeated_attach_gets_its_first_answer(s: Subject) -> None:
    """An attach that is repeated after its instance was replaced answers with the execution that it found."""
    await s.ended()
    request = s.a_start("a", if_exists="attach")
    first = await s.store.start_instance(request)
    expect_equal((first.execution, first.created), (1, False), "the answer to an attach")
    await s.start("a", if_exists="replace_finished")
    expect_equal(await s.store.start_instance(request), first, "the answer to the repeat")


async def check_an_old_replacement_is_not_repeated(s: Subject) -> None:
    """A replacement that is repeated after its instance was replaced in turn answers as before and replaces nothing."""
    await s.ended()
    request = s.a_start("a", if_exists="replace_finished")
    first = await s.store.start_instance(request)
    await s.run("a", "Ended", state=State.COMPLETED)
    await s.start("a", if_exists="replace_finished")
    await s.run("a", "Ended", state=State.COMPLETED)
    expect_equal(await s.store.start_instance(request), first, "the answer to the repeat")
    expect_equal((await s.record()).execution, 3, "the execution")


async def check_a_start_is_remembered_for_an_hour(s: Subject) -> None:
    """A start is recognised for an hour, whatever else is written and forgotten in that time."""
    request = s.a_start("a")
    first = await s.store.start_instance(request)
    for number in range(3):
        s.advance(1199)
        await s.start(f"other-{number}")
    expect_equal(await s.store.start_instance(request), first, "the answer to the repeat")


async def check_a_settlement_is_remembered_for_an_hour(s: Subject) -> None:
    """A settled token is recognised for an hour, whatever else is written and forgotten in that time."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.settle(item.lock)
    for number in range(3):
        s.advance(1199)
        await s.start(f"other-{number}")
    expect_equal((await s.settle(item.lock)).lost, (), "locks lost by the repeat")


async def check_a_refused_start_may_be_tried_again(s: Subject) -> None:
    """A refusal is no answer to be remembered: the same request succeeds once it can."""
    await s.waiting()
    request = s.a_start("a", if_exists="replace_finished")
    with expect_raises(InstanceExists, "the instance runs"):
        await s.store.start_instance(request)
    await s.post("a")
    await s.run("a", "Ended", state=State.COMPLETED)
    expect((await s.store.start_instance(request)).created, "the request succeeds once the instance has ended")


async def check_a_refused_post_may_be_tried_again(s: Subject) -> None:
    """A message that was refused for want of room or of an instance enters once it can."""
    request = _a_post(s, mailbox=True)
    with expect_raises(InstanceNotFound, "the instance is not there"):
        await s.store.post_message(request)
    await s.waiting("a", unread=1)
    with expect_raises(MailboxFull, "the mailbox is full"):
        await s.store.post_message(attrs.evolve(request, mailbox_limit=1))
    await s.store.post_message(request)
    expect_equal((await s.record()).queued, 1, "messages in the inbox")


async def check_a_post_id_belongs_to_one_request(s: Subject) -> None:
    """The id of a post that comes back for another instance, or with a start, is refused and writes nothing."""
    await s.waiting("a")
    await s.waiting("b")
    await s.post("a", request_id="mine")
    with expect_raises(DuplicateRequestError, "the id was used for a post to another instance"):
        await s.post("b", request_id="mine")
    with expect_raises(DuplicateRequestError, "the id was used for a post"):
        await s.start("a", request_id="mine", if_exists="attach")
    expect_equal((await s.record("b")).queued, 0, "the inbox of the other instance")


async def check_a_post_is_not_repeated_into_a_replacement(s: Subject) -> None:
    """A message that an instance has had does not enter the inbox of what replaces it."""
    await s.waiting()
    request = _a_post(s)
    await s.store.post_message(request)
    await s.run("a", "Ended", state=State.COMPLETED)
    await s.start("a", if_exists="replace_finished")
    await s.store.post_message(request)
    expect_equal(kinds((await s.turn()).messages), ["Started"], "the inbox of the replacement")


async def check_a_dropped_post_stays_dropped(s: Subject) -> None:
    """A message that was dropped, since it was for another execution, does not enter when that one has come."""
    await s.start()
    request = _a_post(s, execution=2)
    await s.store.post_message(request)
    await s.run("a", next_execution=NEXT)
    await s.store.post_message(request)
    expect_equal(kinds((await s.turn()).messages), ["Again"], "the inbox of the next execution")


async def check_a_repeated_continuation_happens_once(s: Subject) -> None:
    """A repeated continue-as-new names the same next execution and begins no other."""
    await s.start()
    commit = s.a_commit(await s.turn(), "ContinuedAsNew", next_execution=NEXT)
    first = await s.store.commit_turn(commit)
    await s.post("a", "Late")
    again = await s.store.commit_turn(commit)
    expect_equal((again.execution, again.revision), (first.execution, first.revision), "the answer to the repeat")
    turn = await s.turn()
    expect_equal((turn.lock.execution, kinds(turn.messages)), (2, ["Again", "Late"]), "the next execution")


async def check_a_repeat_does_not_reach_a_replacement(s: Subject) -> None:
    """The last commit of an instance that was replaced is refused, and writes nothing to the replacement."""
    await s.start()
    commit = s.a_commit(await s.turn(), "Ended", state=State.COMPLETED)
    await s.store.commit_turn(commit)
    await s.start("a", if_exists="replace_finished")
    with expect_raises(LockLost, "the instance was replaced"):
        await s.store.commit_turn(commit)
    record = await s.record()
    expect_equal((record.state, record.history_length), (State.PENDING, 0), "the replacement")


async def check_a_repeated_commit_gives_no_lock_back(s: Subject) -> None:
    """A commit that is repeated after others took, renewed and gave back the lock leaves the lock as it is."""
    await s.start()
    commit = s.a_commit(await s.turn())
    await s.store.commit_turn(commit)
    await s.post("a")
    await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock))
    other = await s.turn()
    await s.store.renew_turns(RenewTurns(locks=(other.lock,), lease=2 * LEASE))
    await s.store.commit_turn(commit)
    s.advance(LEASE + 1)
    await s.nothing_eligible("the lock was renewed by its holder")
    await s.commit(other)


async def check_a_repeated_commit_does_not_keep_again(s: Subject) -> None:
    """A commit that kept the lock, repeated late, does not extend it, nor claim it once it was given back."""
    await s.start()
    commit = s.a_commit(await s.turn(), keep=10.0)
    await s.store.commit_turn(commit)
    await s.store.release_turn(ReleaseTurn(lock=commit.lock))
    await s.post("a")
    expect(not (await s.store.commit_turn(commit)).kept, "a repeat claims no lock that was given back")
    await s.turn()


async def check_a_repeated_fused_step_happens_once(s: Subject) -> None:
    """A commit that settled an item is recognised although the item is gone by now."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.post("a")
    settle = (SettleActivity(lock=item.lock, message=draft("Done")),)
    commit = s.a_commit(await s.turn(), "Completed", settle=settle)
    first = await s.store.commit_turn(commit)
    await s.start("other")
    expect_equal((await s.store.commit_turn(commit)).revision, first.revision, "the answer to the repeat")
    expect_equal((await s.record()).queued, 1, "messages in the inbox")


async def check_a_repeated_turn_starts_and_tells_once(s: Subject) -> None:
    """A repeated commit starts nothing again, even where what it started has ended, and tells nobody twice."""
    child = s.a_start("child", on_started=OutMessage(instance="a", draft=draft("ChildStarted")))
    await s.start()
    commit = s.a_commit(await s.turn(), starts=(attrs.evolve(child, if_exists="replace_finished"),))
    await s.store.commit_turn(commit)
    ending = next(turn for turn in (await s.lock_turns()).turns if turn.lock.instance == "child")
    await s.commit(ending, "Ended", state=State.COMPLETED)
    await s.store.commit_turn(commit)
    expect_equal((await s.record("child")).execution, 1, "the execution of the child")
    expect_equal((await s.record("a")).queued, 1, "messages in the starter's inbox")


async def check_a_repeated_cancel_leaves_out_what_ended(s: Subject) -> None:
    """A repeated commit names those of its marked items that are still held, and no others."""
    await s.scheduled(an_item(1), an_item(2))
    one, two = (await s.lock_items()).activities
    await s.post("a")
    commit = s.a_commit(await s.turn(), cancel_activities=(1, 2))
    await s.store.commit_turn(commit)
    await s.settle(one.lock)
    expect_equal((await s.store.commit_turn(commit)).hurt, (two.lock,), "items hurt by the repeat")


async def check_a_repeated_retry_disturbs_nobody(s: Subject) -> None:
    """A settlement with a retry, repeated when somebody else runs the next attempt, leaves that one alone."""
    await s.scheduled(an_item())
    first = await s.item()
    await s.settle(first.lock, retry_in=0.0)
    second = await s.item()
    expect_equal((await s.settle(first.lock, retry_in=0.0)).lost, (), "locks lost by the repeat")
    await s.no_items("the second attempt runs")
    expect_equal((await s.settle(second.lock)).lost, (), "locks lost")


async def check_a_settlement_may_be_repeated_in_another_call(s: Subject) -> None:
    """A settled token is recognised in whatever company it comes back."""
    await s.scheduled(an_item(1), an_item(2))
    one, two = (await s.lock_items()).activities
    await s.settle(one.lock, message=draft("One"))
    settle = tuple(SettleActivity(lock=item.lock, message=draft("Both")) for item in (two, one))
    expect_equal((await s.store.commit_activities(CommitActivities(settle=settle))).lost, (), "locks lost")
    expect_equal(kinds((await s.turn()).messages), ["One", "Both"], "the inbox")


async def check_a_settlement_may_be_repeated_after_the_end(s: Subject) -> None:
    """A settled token is recognised after its instance has gone on, to another execution or to its end."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.settle(item.lock)
    await s.run("a", next_execution=NEXT)
    expect_equal((await s.settle(item.lock)).lost, (), "locks lost in the next execution")
    await s.run("a", "Ended", state=State.COMPLETED)
    expect_equal((await s.settle(item.lock)).lost, (), "locks lost after the end")


async def check_a_repeated_release_changes_nothing(s: Subject) -> None:
    """A turn that is given back twice stays away for the first delay and has one attempt taken off."""
    await s.start()
    await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock, clean=False))
    release = ReleaseTurn(lock=(await s.turn()).lock, delay=10.0)
    await s.store.release_turn(release)
    s.advance(5)
    await s.store.release_turn(release)
    s.advance(5)
    expect_equal((await s.turn()).attempts, 2, "attempts after one that counted")


async def check_a_repeated_item_release_changes_nothing(s: Subject) -> None:
    """An item that is given back twice stays away for the first delay and has one attempt taken off."""
    await s.scheduled(an_item())
    await s.store.release_activity(ReleaseActivity(lock=(await s.item()).lock, clean=False))
    release = ReleaseActivity(lock=(await s.item()).lock, delay=10.0)
    await s.store.release_activity(release)
    s.advance(5)
    await s.store.release_activity(release)
    s.advance(5)
    expect_equal((await s.item()).attempt, 2, "attempts after one that counted")


async def _everything(s: Subject) -> object:
    """What readers see of three instances."""
    seen: list[object] = []
    for name in ("a", "b", "child"):
        seen.append(await s.store.read_instance(name))
        seen.append(await s.store.read_history(name, 1))
        seen.append(await s.store.read_kv(name))
    return seen


async def check_any_write_may_be_repeated_at_any_time(s: Subject) -> None:
    """Starts, posts, commits, settlements and releases are repeated in both orders after each write that follows, as
    long as their answers are promised, and readers see no difference.
    """
    done: list[Callable[[], Awaitable[object]]] = []

    async def write(verb: Callable[[Any], Awaitable[object]], request: Any) -> None:
        await verb(request)
        done.append(lambda: verb(request))
        before = await _everything(s)
        for repeat in (*done, *reversed(done)):
            await repeat()
        expect_equal(await _everything(s), before, f"what is there after repeats of {len(done)} writes")

    store = s.store
    await write(store.start_instance, s.a_start("b"))
    b = await s.turn("b")
    await write(store.commit_turn, s.a_commit(b, "Started", status=b"half", kv_set={"k": b"v"}))
    await write(store.post_message, _a_post(s, "b", mailbox=True))
    await write(store.start_instance, s.a_start("a"))
    turns = {turn.lock.instance: turn for turn in (await s.lock_turns()).turns}
    await write(store.release_turn, ReleaseTurn(lock=turns["b"].lock, delay=99.0, clean=False))
    await write(
        store.commit_turn,
        s.a_commit(
            turns["a"],
            "Started",
            activities=(an_item(1), an_item(2)),
            messages=(OutMessage(instance="b", draft=draft("Hello")),),
            starts=(s.a_start("child", on_started=OutMessage(instance="a", draft=draft("ChildStarted"))),),
        ),
    )
    one, two = (await s.lock_items()).activities
    settle = (SettleActivity(lock=one.lock, message=draft("Done")), SettleActivity(lock=two.lock, retry_in=5.0))
    await write(store.commit_activities, CommitActivities(settle=settle))
    expect_equal((await s.record("a")).queued, 2, "messages of the starter")


async def check_a_repeat_is_no_news(s: Subject) -> None:
    """A repeated write leaves the time of the last change as it was, and the counts of attempts."""
    await s.start()
    commit = s.a_commit(await s.turn(), activities=(an_item(),))
    await s.store.commit_turn(commit)
    item = await s.item()
    before = await s.record()
    s.advance(5)
    await s.store.commit_turn(commit)
    expect_equal(await s.record(), before, "the instance")
    lock = ActivityLock("a", 1, 1, item.lock.token)
    expect_equal((await s.settle(lock)).lost, (), "locks lost by the holder of the item")
