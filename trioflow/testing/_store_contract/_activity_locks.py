"""Items of the activity queue: scheduled, taken, settled, retried. Read next: `_cancelling.py`."""

from __future__ import annotations

from trioflow.abc import (
    ActivityLock,
    BornLeased,
    CommitActivities,
    ReleaseActivity,
    RenewActivities,
    SettleActivity,
    State,
    TagFilter,
)
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import LEASE, Subject, an_item, draft, expect, expect_equal, kinds


async def check_a_scheduled_item_is_taken(s: Subject) -> None:
    """An item comes out as it was scheduled, with its first attempt counted."""
    await s.scheduled(an_item(1, data=b"\x00opt", payload=b"\xff" * 10_000))
    item = await s.item()
    expect_equal((item.lock.instance, item.lock.execution, item.lock.event_id), ("a", 1, 1), "whose item it is")
    expect_equal(
        (item.name, item.tag, item.session, item.data, item.payload, item.heartbeat),
        ("work", None, None, b"\x00opt", b"\xff" * 10_000, None),
        "the item",
    )
    expect_equal((item.attempt, item.failures, item.fetches, item.scheduled_at), (1, 0, 1, s.clock.now), "counts")


@belongs_to(Part.TAGS)
async def check_names_that_are_left_to_others(s: Subject) -> None:
    """A worker gets no items of the names that it leaves to others, nor hears of their times; those behind it gets."""
    await s.scheduled(an_item(1, name="strange"), an_item(2), an_item(3, name="Strange"), an_item(4, name="odd"))
    known = TagFilter(but=("strange", "odd", "nobody's"))
    locked = await s.lock_items(tags=known, limit=2)
    expect_equal([item.lock.event_id for item in locked.activities], [2, 3], "what it gets")
    expect_equal([item.lock.event_id for item in (await s.lock_items()).activities], [1, 4], "what others get")
    expect_equal((await s.lock_items(tags=known)).next_due, s.clock.now + LEASE, "the time that it hears of")
    s.advance(5)
    await s.scheduled(an_item(1, name="odd"), instance="b")
    (odd,) = (await s.lock_items(lease=1.0)).activities
    expect_equal((await s.lock_items(tags=known)).next_due, s.clock.now + LEASE - 5, f"while {odd.name} is leased")


async def check_a_taken_item_is_taken(s: Subject) -> None:
    """A leased item is given to nobody else until its lease runs out; then the attempt counts."""
    await s.scheduled(an_item())
    await s.item()
    s.advance(LEASE - 1)
    await s.no_items("the lease runs")
    s.advance(1)
    again = await s.item()
    expect_equal((again.attempt, again.fetches, again.failures), (2, 2, 0), "counts after a lost lease")


async def check_item_limit_is_kept(s: Subject) -> None:
    """No more items are taken than were asked for."""
    await s.scheduled(*(an_item(number) for number in range(1, 6)))
    expect_equal(len((await s.lock_items(limit=2)).activities), 2, "how many were taken")
    expect_equal(len((await s.lock_items(limit=10)).activities), 3, "how many were left")


@belongs_to(Part.FAIRNESS)
async def check_items_come_oldest_first(s: Subject) -> None:
    """Items are taken by age, those of one turn in the order of their events."""
    await s.scheduled(an_item(2), an_item(1), instance="b")
    s.advance(1)
    await s.scheduled(an_item(1), instance="a")
    order = [(item.lock.instance, item.lock.event_id) for item in (await s.lock_items()).activities]
    expect_equal(order, [("b", 1), ("b", 2), ("a", 1)], "the order of items")


@belongs_to(Part.FAIRNESS)
async def check_a_wide_instance_starves_nobody(s: Subject) -> None:
    """Items that were scheduled at the same moment alternate between instances."""
    await s.scheduled(*(an_item(number) for number in range(1, 50)), instance="wide")
    await s.scheduled(an_item(1), instance="z")
    taken = (await s.lock_items(limit=4)).activities
    expect("z" in [item.lock.instance for item in taken], "an item of the small instance is taken")


@belongs_to(Part.TAGS)
async def check_tags_choose_workers(s: Subject) -> None:
    """A worker gets untagged items, or items of its tags, or both, or all."""
    names = (None, "gpu", "disk")

    async def taken(tags: TagFilter) -> list[str | None]:
        found = (await s.lock_items(tags=tags)).activities
        for item in found:
            await s.store.release_activity(ReleaseActivity(lock=item.lock))
        return [item.tag for item in found]

    await s.scheduled(*(an_item(number, tag=tag) for number, tag in enumerate(names, 1)))
    expect_equal(await taken(TagFilter()), [None], "untagged only, the default")
    expect_equal(await taken(TagFilter(tags=("gpu",))), [None, "gpu"], "untagged and one tag")
    expect_equal(await taken(TagFilter(untagged=False, tags=("gpu", "x"))), ["gpu"], "one tag only")
    expect_equal(await taken(TagFilter(untagged=False, tags=())), [], "nothing")
    expect_equal(await taken(TagFilter(tags=None)), [None, "gpu", "disk"], "everything")
    expect_equal(await taken(TagFilter(untagged=False, tags=None)), ["gpu", "disk"], "everything tagged")


@belongs_to(Part.TAGS)
async def check_other_tags_do_not_starve(s: Subject) -> None:
    """Many items for other workers do not keep a worker from its own, nor wake it."""
    await s.scheduled(*(an_item(number, tag="gpu") for number in range(1, 200)), an_item(200))
    answer = await s.lock_items(limit=1)
    expect_equal([item.lock.event_id for item in answer.activities], [200], "what the worker takes")


@belongs_to(Part.TAGS)
async def check_item_next_due(s: Subject) -> None:
    """`next_due` tells when a lease may run out or a retry comes, for items that this worker takes."""
    await s.scheduled(an_item(1), an_item(2, tag="gpu"))
    expect_equal((await s.lock_items(limit=0)).next_due, None, "next_due while items can be had now")
    item = await s.item()
    expect_equal((await s.lock_items()).next_due, s.clock.now + LEASE, "next_due while a lease runs")
    await s.settle(item.lock, retry_in=7.0)
    expect_equal((await s.lock_items()).next_due, s.clock.now + 7.0, "next_due before a retry")


async def check_an_outcome_is_posted(s: Subject) -> None:
    """A settled item is gone, and its message is in the inbox of its instance."""
    await s.scheduled(an_item())
    item = await s.item()
    answer = await s.settle(item.lock, message=draft("Done", b"d", b"p"))
    expect_equal((answer.lost, answer.now), ((), s.clock.now), "the answer")
    expect_equal([m.draft for m in (await s.turn()).messages], [draft("Done", b"d", b"p")], "the inbox")


async def check_a_late_outcome_is_taken_if_nobody_came(s: Subject) -> None:
    """A lease that has run out, but that nobody has taken, still settles."""
    await s.scheduled(an_item())
    item = await s.item()
    s.advance(LEASE + 5)
    expect_equal((await s.settle(item.lock)).lost, (), "locks lost")
    await s.no_items("it was settled")


@belongs_to(Part.RELEASES)
async def check_outcomes_are_settled_each_for_itself(s: Subject) -> None:
    """One lost lock does not keep the other outcomes of a call from being written, in order."""
    await s.scheduled(an_item(1), an_item(2), an_item(3))
    items = (await s.lock_items()).activities
    await s.store.release_activity(ReleaseActivity(lock=items[1].lock))
    settle = tuple(SettleActivity(lock=i.lock, message=draft(f"Done{i.lock.event_id}")) for i in items)
    answer = await s.store.commit_activities(CommitActivities(settle=settle))
    expect_equal(answer.lost, (items[1].lock,), "locks lost")
    expect_equal(kinds((await s.turn()).messages), ["Done1", "Done3"], "the inbox")


async def check_an_outcome_for_an_ended_instance_is_dropped(s: Subject) -> None:
    """An outcome that nobody waits for goes with its item, without an error."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.post("a")
    await s.run("a", "Ended", state=State.COMPLETED)
    expect_equal((await s.settle(item.lock)).lost, (), "locks lost")
    expect_equal((await s.record()).queued, 0, "the inbox of an instance that has ended")
    s.advance(1000)
    await s.no_items("it was settled")


@belongs_to(Part.REPLACING)
async def check_an_outcome_for_an_old_execution_is_dropped(s: Subject) -> None:
    """An outcome never reaches a later execution of the same id."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.post("a")
    await s.run("a", "Ended", state=State.COMPLETED)
    await s.start("a", if_exists="replace_finished")
    await s.settle(item.lock)
    expect_equal(kinds((await s.turn()).messages), ["Started"], "the inbox of the next execution")


async def check_a_retry_waits(s: Subject) -> None:
    """A retry is taken after its delay, with failures counted, fetches forgotten, options replaced, and nothing
    posted.
    """
    await s.scheduled(an_item())
    item = await s.item()
    s.advance(5)
    await s.settle(item.lock, retry_in=10.0, data=b"new options")
    await s.nothing_eligible("a retry posts nothing")
    s.advance(9)
    await s.no_items("the retry has to wait")
    s.advance(1)
    again = await s.item()
    expect_equal((again.attempt, again.failures, again.fetches), (2, 1, 1), "counts of a retry")
    expect_equal((again.data, again.payload), (b"new options", b"arguments"), "what is run again")


async def check_a_retry_may_keep_its_options(s: Subject) -> None:
    """Without new options a retry has the old ones."""
    await s.scheduled(an_item())
    await s.settle((await s.item()).lock, retry_in=0.0)
    expect_equal((await s.item()).data, b"options", "the options of a retry")


@belongs_to(Part.RELEASES)
async def check_a_clean_item_release_does_not_count(s: Subject) -> None:
    """An item given back clean is as it was before, at once or after a delay."""
    await s.scheduled(an_item())
    await s.store.release_activity(ReleaseActivity(lock=(await s.item()).lock, delay=5))
    s.advance(4)
    await s.no_items("the release delay is not over")
    s.advance(1)
    again = await s.item()
    expect_equal((again.attempt, again.fetches), (1, 1), "counts after a clean release")


@belongs_to(Part.RELEASES)
async def check_an_unclean_item_release_counts(s: Subject) -> None:
    """An item given back unclean keeps its attempt."""
    await s.scheduled(an_item())
    await s.store.release_activity(ReleaseActivity(lock=(await s.item()).lock, clean=False))
    again = await s.item()
    expect_equal((again.attempt, again.fetches), (2, 2), "counts after an unclean release")


async def check_item_renewal_extends(s: Subject) -> None:
    """A renewed lease runs from the renewal; unknown locks are named as lost."""
    await s.scheduled(an_item(1), an_item(2))
    one, two = (await s.lock_items()).activities
    await s.settle(two.lock)
    s.advance(20)
    answer = await s.store.renew_activities(RenewActivities(locks=(one.lock, two.lock), lease=LEASE))
    expect_equal((answer.lost, answer.cancelled), ((two.lock,), ()), "the answer to a renewal")
    s.advance(LEASE - 1)
    await s.no_items("the lease was renewed")
    s.advance(1)
    await s.item()


@belongs_to(Part.HEARTBEATS)
async def check_heartbeats_reach_the_next_attempt(s: Subject) -> None:
    """The last heartbeat of an attempt is handed to the next one; a renewal without one keeps it."""
    await s.scheduled(an_item())
    item = await s.item()
    beats = {item.lock.token: b"half way"}
    await s.store.renew_activities(RenewActivities(locks=(item.lock,), lease=LEASE, heartbeats=beats))
    await s.store.renew_activities(RenewActivities(locks=(item.lock,), lease=LEASE))
    s.advance(LEASE)
    expect_equal((await s.item()).heartbeat, b"half way", "the heartbeat")


@belongs_to(Part.FUSED)
async def check_a_born_leased_item_is_leased(s: Subject) -> None:
    """An item may enter the queue leased to its committer: that is attempt 1, under the token that was given."""
    born = BornLeased(worker="worker", token="born-1", lease=10.0)  # noqa: S106 - a lock's token
    await s.scheduled(an_item(1, born=born), an_item(2))
    item = await s.item()
    expect_equal(item.lock.event_id, 2, "the item that is free")
    await s.settle(item.lock)
    s.advance(10)
    again = await s.item()
    expect_equal((again.lock.event_id, again.attempt, again.fetches), (1, 2, 2), "a born leased item that was lost")


@belongs_to(Part.FUSED)
async def check_a_born_leased_item_settles(s: Subject) -> None:
    """The committer settles a born leased item with its own token."""
    born = BornLeased(worker="worker", token="born-1", lease=10.0)  # noqa: S106 - a lock's token
    await s.scheduled(an_item(1, born=born))
    lock = ActivityLock("a", 1, 1, "born-1")
    expect_equal((await s.settle(lock)).lost, (), "locks lost")
    expect_equal(kinds((await s.turn()).messages), ["Done"], "the inbox")
