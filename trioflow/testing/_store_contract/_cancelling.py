"""How items are cancelled, whoever holds them. Read next: `_continuing.py`."""

from __future__ import annotations

import json

from trioflow.abc import (
    BornLeased,
    CommitActivities,
    LockedActivity,
    MessageRow,
    ReleaseActivity,
    RenewActivities,
    SettleActivity,
    State,
    activity_topic,
)
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import LEASE, Subject, an_item, draft, expect, expect_equal, kinds

PART = Part.CANCELLING


def _cancellations(messages: tuple[MessageRow, ...]) -> list[tuple[str, int, str]]:
    """What the messages say; the one event that a store words itself."""
    found = []
    for message in messages:
        fields = json.loads(message.draft.data)
        found.append((message.draft.kind, fields["answers"], fields.get("how", "ended")))
    return found


async def _cancel(s: Subject, *event_ids: int) -> None:
    await s.post("a")
    await s.run("a", cancel_activities=event_ids)


async def _leased(s: Subject) -> LockedActivity:
    await s.scheduled(an_item())
    return await s.item()


async def check_a_free_item_is_removed(s: Subject) -> None:
    """Cancelling an item that nobody holds removes it, and the orchestration is told that it never started."""
    await s.scheduled(an_item(1), an_item(2))
    await _cancel(s, 1)
    expect_equal(_cancellations((await s.turn()).messages), [("ActivityCancelled", 1, "never_started")], "the inbox")
    expect_equal((await s.item()).lock.event_id, 2, "the item that was not cancelled")


async def check_an_item_backing_off_is_removed(s: Subject) -> None:
    """An item that waits for a retry counts as one that nobody holds."""
    item = await _leased(s)
    await s.settle(item.lock, retry_in=100.0)
    await _cancel(s, 1)
    expect_equal(_cancellations((await s.turn()).messages), [("ActivityCancelled", 1, "never_started")], "the inbox")
    s.advance(1000)
    await s.no_items("it was cancelled")


async def check_an_item_of_the_same_commit_can_be_cancelled(s: Subject) -> None:
    """A turn may schedule an item and cancel it at once."""
    await s.scheduled(an_item(), cancel_activities=(1,))
    expect_equal(_cancellations((await s.turn()).messages), [("ActivityCancelled", 1, "never_started")], "the inbox")
    await s.no_items("it was cancelled")


async def check_a_leased_item_is_marked(s: Subject) -> None:
    """Cancelling an item that somebody holds marks it and names it, and posts nothing yet."""
    item = await _leased(s)
    await s.post("a")
    answer = await s.run("a", cancel_activities=(1,))
    expect_equal(answer.hurt, (item.lock,), "items hurt by the commit")
    await s.nothing_eligible("the holder has not ended")


@belongs_to(Part.REPEATS)
async def check_a_repeated_cancel_names_the_same(s: Subject) -> None:
    """A repeated commit names the leased items again."""
    item = await _leased(s)
    await s.post("a")
    commit = s.a_commit(await s.turn(), cancel_activities=(1,))
    await s.store.commit_turn(commit)
    expect_equal((await s.store.commit_turn(commit)).hurt, (item.lock,), "items hurt by the repeat")


async def check_the_holder_hears_of_it(s: Subject) -> None:
    """The holder hears of the cancellation at its next renewal, and is woken at once by the hint."""
    item = await _leased(s)
    with s.store.signals.watch(activity_topic(item.lock.token)) as watch:
        seen = watch.seen
        await _cancel(s, 1)
        await watch.wait_beyond(seen)
    answer = await s.store.renew_activities(RenewActivities(locks=(item.lock,), lease=LEASE))
    expect_equal((answer.cancelled, answer.lost), ((item.lock,), ()), "the answer to a renewal")


async def check_a_marked_item_may_still_complete(s: Subject) -> None:
    """What happened counts: a marked item that settles posts its outcome, and nothing else."""
    item = await _leased(s)
    await _cancel(s, 1)
    expect_equal((await s.settle(item.lock, message=draft("Done"))).lost, (), "locks lost")
    expect_equal(kinds((await s.turn()).messages), ["Done"], "the inbox")


async def check_a_marked_item_is_not_retried(s: Subject) -> None:
    """After the mark no retry starts: the item is removed and posted as cancelled."""
    item = await _leased(s)
    await _cancel(s, 1)
    expect_equal((await s.settle(item.lock, retry_in=0.0)).lost, (), "locks lost")
    expect_equal(_cancellations((await s.turn()).messages), [("ActivityCancelled", 1, "ended")], "the inbox")
    await s.no_items("it was cancelled")


async def check_a_marked_item_given_back_never_started(s: Subject) -> None:
    """A marked item that is given back unrun is removed and posted as never started."""
    item = await _leased(s)
    await _cancel(s, 1)
    await s.store.release_activity(ReleaseActivity(lock=item.lock))
    expect_equal(_cancellations((await s.turn()).messages), [("ActivityCancelled", 1, "never_started")], "the inbox")
    await s.no_items("it was cancelled")


async def check_an_expired_item_is_lost(s: Subject) -> None:
    """Cancelling an item whose lease has run out removes it and posts it as lost."""
    item = await _leased(s)
    s.advance(LEASE)
    await _cancel(s, 1)
    expect_equal(_cancellations((await s.turn()).messages), [("ActivityCancelled", 1, "lost")], "the inbox")
    expect_equal((await s.settle(item.lock)).lost, (item.lock,), "locks lost")


async def check_a_marked_item_that_expires_is_lost(s: Subject) -> None:
    """A marked item whose lease runs out is never handed out again; the turn dispatcher finds it."""
    item = await _leased(s)
    await _cancel(s, 1)
    expect_equal((await s.lock_turns()).next_due, s.clock.now + LEASE, "next_due")
    s.advance(LEASE)
    turn = await s.turn()
    expect_equal(_cancellations(turn.messages), [("ActivityCancelled", 1, "lost")], "the inbox")
    expect_equal((await s.settle(item.lock)).lost, (item.lock,), "locks lost")


async def check_the_activity_dispatcher_finds_it_too(s: Subject) -> None:
    """Looking for items also finds marked ones that have expired, and does not hand them out."""
    await _leased(s)
    await _cancel(s, 1)
    s.advance(LEASE)
    await s.no_items("it was cancelled")
    expect_equal((await s.record()).queued, 1, "messages in the inbox")
    expect_equal(_cancellations((await s.turn()).messages), [("ActivityCancelled", 1, "lost")], "the inbox")


async def check_one_outcome_is_posted(s: Subject) -> None:
    """Cancelling what has settled already posts nothing more."""
    item = await _leased(s)
    await s.settle(item.lock)
    await s.run("a", cancel_activities=(1, 77))
    await s.nothing_eligible("the outcome was posted before")


async def check_only_this_execution_is_cancelled(s: Subject) -> None:
    """Items of other instances with the same event ids are left alone."""
    await s.scheduled(an_item(1), instance="b")
    await s.scheduled(an_item(1), instance="a")
    await _cancel(s, 1)
    await s.turn()
    expect_equal((await s.item()).lock.instance, "b", "the item that is left")


@belongs_to(Part.FUSED)
async def check_termination_cancels_everything(s: Subject) -> None:
    """A commit may cancel all items: free ones go, leased ones are marked and run out without a message."""
    born = BornLeased(worker="worker", token="born-1", lease=LEASE)  # noqa: S106 - a lock's token
    await s.scheduled(an_item(1), an_item(2, born=born), an_item(3))
    await s.post("a")
    answer = await s.run("a", "Ended", state=State.TERMINATED, cancel_all_activities=True)
    expect_equal([lock.event_id for lock in answer.hurt], [2], "items hurt by the commit")
    await s.no_items("all were cancelled")
    s.advance(LEASE)
    await s.no_items("all were cancelled")
    expect_equal((await s.record()).queued, 0, "the inbox of an instance that has ended")


async def check_a_marked_item_can_be_renewed(s: Subject) -> None:
    """The holder of a marked item may go on renewing while its body unwinds."""
    item = await _leased(s)
    await _cancel(s, 1)
    s.advance(LEASE - 1)
    await s.store.renew_activities(RenewActivities(locks=(item.lock,), lease=LEASE))
    s.advance(LEASE - 1)
    await s.nothing_eligible("the lease was renewed")
    expect((await s.settle(item.lock)).lost == (), "the holder may settle")


async def check_one_commit_cancels_each_as_it_stands(s: Subject) -> None:
    """Of several items that one commit cancels each ends as it stands: free, leased, expired, backing off, or gone."""
    await s.scheduled(*(an_item(number) for number in range(1, 7)))
    expired = await _take(s, 1)
    settled, retried = await _take(s, 2), await _take(s, 3)
    await s.settle(settled.lock, message=draft("Done"))
    await s.settle(retried.lock, retry_in=500.0)
    s.advance(LEASE)
    again, leased = (await s.lock_items(limit=2, lease=10 * LEASE)).activities
    expect_equal((again.lock.event_id, leased.lock.event_id), (4, 5), "the items that are taken next")
    turn = await s.turn()
    answer = await s.commit(turn, cancel_activities=(6, 5, 3, 2, 1, 4))
    expect_equal(sorted(lock.event_id for lock in answer.hurt), [4, 5], "items hurt by the commit")
    found = sorted(_cancellations((await s.turn()).messages), key=lambda one: one[1])
    wanted = [(1, "lost"), (3, "never_started"), (6, "never_started")]
    expect_equal([one[1:] for one in found], wanted, "the inbox")
    expect_equal((await s.settle(expired.lock)).lost, (expired.lock,), "locks lost")


async def check_cancelling_twice_posts_once(s: Subject) -> None:
    """An item that is cancelled again while its holder unwinds is named again, and has one outcome."""
    item = await _leased(s)
    for _ in range(2):
        await s.post("a")
        expect_equal((await s.run("a", cancel_activities=(1,))).hurt, (item.lock,), "items hurt by the commit")
    await s.settle(item.lock, message=draft("Done"))
    expect_equal(kinds((await s.turn()).messages), ["Done"], "the inbox")


async def check_a_marked_item_may_settle_late(s: Subject) -> None:
    """What happened counts, also where the lease of a marked item has run out and nobody has looked."""
    item = await _leased(s)
    await _cancel(s, 1)
    s.advance(LEASE + 1)
    expect_equal((await s.settle(item.lock, message=draft("Done"))).lost, (), "locks lost")
    expect_equal(kinds((await s.turn()).messages), ["Done"], "the inbox")


@belongs_to(Part.FUSED)
async def check_a_marked_item_may_end_silently(s: Subject) -> None:
    """A marked item that is settled without a word is gone, and its instance is told nothing."""
    item = await _leased(s)
    await _cancel(s, 1)
    settle = CommitActivities(settle=(SettleActivity(lock=item.lock),))
    expect_equal((await s.store.commit_activities(settle)).lost, (), "locks lost")
    s.advance(LEASE)
    await s.nothing_eligible("nothing was posted")


async def check_a_marked_item_keeps_its_heartbeat_and_lease(s: Subject) -> None:
    """Cancelling does not shorten the lease of an item: it is lost when that has run out, not before."""
    item = await _leased(s)
    s.advance(LEASE - 2)
    await _cancel(s, 1)
    s.advance(1)
    await s.nothing_eligible("the lease runs")
    await s.no_items("the lease runs")
    s.advance(1)
    expect_equal(_cancellations((await s.turn()).messages), [("ActivityCancelled", 1, "lost")], "the inbox")
    expect_equal((await s.settle(item.lock)).lost, (item.lock,), "locks lost")


async def check_many_lost_items_are_all_posted(s: Subject) -> None:
    """Whoever looks first finds all cancelled items that were lost, and posts each once."""
    count = 60
    await s.scheduled(*(an_item(number) for number in range(1, count + 1)))
    await s.lock_items(limit=count)
    await _cancel(s, *range(1, count + 1))
    s.advance(LEASE)
    found = _cancellations((await s.turn()).messages)
    wanted = [("ActivityCancelled", number, "lost") for number in range(1, count + 1)]
    expect_equal(sorted(found), wanted, "the inbox")


@belongs_to(Part.FUSED)
async def check_a_born_leased_item_can_be_cancelled_at_once(s: Subject) -> None:
    """A turn may cancel an item that it schedules born leased: it is marked, and its holder is named."""
    born = BornLeased(worker="worker", token="born-1", lease=LEASE)  # noqa: S106 - a lock's token
    answer = await s.scheduled(an_item(1, born=born), cancel_activities=(1,))
    expect_equal([lock.token for lock in answer.hurt], ["born-1"], "items hurt by the commit")
    await s.nothing_eligible("the holder has not ended")
    await s.store.release_activity(ReleaseActivity(lock=answer.hurt[0]))
    expect_equal(_cancellations((await s.turn()).messages), [("ActivityCancelled", 1, "never_started")], "the inbox")


async def check_a_released_item_that_waits_is_removed(s: Subject) -> None:
    """An item that was given back for a while counts as one that nobody holds."""
    item = await _leased(s)
    await s.store.release_activity(ReleaseActivity(lock=item.lock, delay=100.0, clean=False))
    await _cancel(s, 1)
    expect_equal(_cancellations((await s.turn()).messages), [("ActivityCancelled", 1, "never_started")], "the inbox")


async def check_a_mark_outlives_the_end(s: Subject) -> None:
    """Marked items of an instance that has ended run out: their holders hear of it, and nothing is posted."""
    item = await _leased(s)
    await s.post("a")
    await s.run("a", "Ended", state=State.CANCELLED, cancel_activities=(1,))
    answer = await s.store.renew_activities(RenewActivities(locks=(item.lock,), lease=LEASE))
    expect_equal(answer.cancelled, (item.lock,), "the answer to a renewal")
    s.advance(LEASE)
    await s.no_items("it was cancelled")
    await s.nothing_eligible("the instance has ended")
    expect_equal((await s.settle(item.lock)).lost, (item.lock,), "locks lost")


async def _take(s: Subject, event_id: int) -> LockedActivity:
    (item,) = (await s.lock_items(limit=1)).activities
    expect_equal(item.lock.event_id, event_id, "the item that is taken")
    return item
