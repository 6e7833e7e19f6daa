"""How items are cancelled, whoever holds them. Read next: `_continuing.py`."""

from __future__ import annotations

import json

from trioflow.abc import (
    BornLeased,
    LockedActivity,
    MessageRow,
    ReleaseActivity,
    RenewActivities,
    State,
    activity_topic,
)
from trioflow.testing._store_contract._subject import LEASE, Subject, an_item, draft, expect, expect_equal, kinds


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
