"""What an item carries from attempt to attempt. Read next: `_cancelling.py`."""

from __future__ import annotations

from trioflow.abc import (
    ActivityLock,
    BornLeased,
    CommitActivities,
    LockActivities,
    ReleaseActivity,
    RenewActivities,
    SettleActivity,
    State,
    TagFilter,
)
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import CLAIM, LEASE, Subject, an_item, draft, expect_equal, kinds

GPU = TagFilter(untagged=False, tags=("gpu",))
BORN = BornLeased(worker="worker", token="born-1", lease=10.0)  # noqa: S106 - a lock's token
BORN_LOCK = ActivityLock("a", 1, 1, "born-1")


@belongs_to(Part.SESSIONS)
async def check_tag_and_session_survive(s: Subject) -> None:
    """An item has its name, tag, session and time of scheduling after a retry, a release and a lost lease."""
    await s.scheduled(an_item(1, tag="gpu", session="s1"))
    at = s.clock.now
    for step in ("first", "retried", "released", "lost"):
        item = await s.item(tags=GPU, sessions=CLAIM)
        expect_equal(
            (item.name, item.tag, item.session, item.scheduled_at, item.payload),
            ("work", "gpu", "s1", at, b"arguments"),
            f"the item, {step}",
        )
        s.advance(1)
        if step == "first":
            await s.settle(item.lock, retry_in=0.0)
        elif step == "retried":
            await s.store.release_activity(ReleaseActivity(lock=item.lock))
        s.advance(LEASE)


@belongs_to(Part.RELEASES)
async def check_failures_survive_a_release(s: Subject) -> None:
    """A clean release takes back the attempt, not the failures before it, nor options that came with a retry."""
    await s.scheduled(an_item())
    await s.settle((await s.item()).lock, retry_in=0.0, data=b"second")
    await s.store.release_activity(ReleaseActivity(lock=(await s.item()).lock))
    again = await s.item()
    expect_equal((again.attempt, again.failures, again.fetches, again.data), (2, 1, 1, b"second"), "the next attempt")


async def check_fetches_count_what_never_settled(s: Subject) -> None:
    """Fetches grow with each holder that vanished, and begin anew once one has settled."""
    await s.scheduled(an_item())
    item = await s.item()
    for number in (2, 3):
        s.advance(LEASE)
        item = await s.item()
        expect_equal((item.attempt, item.fetches), (number, number), "counts after lost leases")
    await s.settle(item.lock, retry_in=0.0)
    item = await s.item()
    expect_equal((item.attempt, item.failures, item.fetches), (4, 1, 1), "counts after a retry")


async def check_every_failure_counts(s: Subject) -> None:
    """Failures grow with each retry that was asked for."""
    await s.scheduled(an_item())
    for number in range(3):
        item = await s.item()
        expect_equal(item.failures, number, "failures")
        await s.settle(item.lock, retry_in=0.0)


@belongs_to(Part.HEARTBEATS)
async def check_a_heartbeat_survives_a_retry(s: Subject) -> None:
    """A heartbeat is handed on over a retry and a release, until another takes its place."""
    await s.scheduled(an_item())
    for number in range(3):
        item = await s.item()
        expect_equal(item.heartbeat, b"%d" % number if number else None, "the heartbeat")
        beats = {item.lock.token: b"%d" % (number + 1)}
        await s.store.renew_activities(RenewActivities(locks=(item.lock,), lease=LEASE, heartbeats=beats))
        if number:
            await s.store.release_activity(ReleaseActivity(lock=item.lock))
        else:
            await s.settle(item.lock, retry_in=0.0)


@belongs_to(Part.HEARTBEATS)
async def check_each_item_has_its_own_heartbeat(s: Subject) -> None:
    """Heartbeats of one renewal go to the items whose tokens they name."""
    await s.scheduled(an_item(1), an_item(2))
    one, two = [item.lock for item in (await s.lock_items()).activities]
    beats = {two.token: b"two", one.token: b"one"}
    await s.store.renew_activities(RenewActivities(locks=(one, two), lease=LEASE, heartbeats=beats))
    s.advance(LEASE)
    found = {item.lock.event_id: item.heartbeat for item in (await s.lock_items()).activities}
    expect_equal(found, {1: b"one", 2: b"two"}, "heartbeats")


@belongs_to(Part.HEARTBEATS)
async def check_a_stale_heartbeat_is_dropped(s: Subject) -> None:
    """Who lost its lease neither extends the next holder's nor leaves it a heartbeat."""
    await s.scheduled(an_item())
    stale = await s.item()
    s.advance(LEASE)
    fresh = await s.item()
    s.advance(LEASE - 1)
    beats = {stale.lock.token: b"stale"}
    answer = await s.store.renew_activities(RenewActivities(locks=(stale.lock,), lease=LEASE, heartbeats=beats))
    expect_equal(answer.lost, (stale.lock,), "locks lost")
    s.advance(1)
    again = await s.item()
    expect_equal((again.attempt, again.heartbeat), (fresh.attempt + 1, None), "the next attempt")


async def check_a_late_item_renewal_succeeds_if_nobody_came(s: Subject) -> None:
    """A lease of an item that has run out, but that nobody has taken, is renewed."""
    await s.scheduled(an_item())
    item = await s.item()
    s.advance(LEASE + 1)
    answer = await s.store.renew_activities(RenewActivities(locks=(item.lock,), lease=LEASE))
    expect_equal(answer.lost, (), "locks lost")
    await s.no_items("the lease was renewed")


@belongs_to(Part.RELEASES)
async def check_a_settled_item_is_not_renewed(s: Subject) -> None:
    """A lock whose item was settled, retried or given back is lost."""
    await s.scheduled(an_item(1), an_item(2), an_item(3))
    one, two, three = locks = [item.lock for item in (await s.lock_items()).activities]
    await s.settle(one)
    await s.settle(two, retry_in=100.0)
    await s.store.release_activity(ReleaseActivity(lock=three, delay=100.0))
    answer = await s.store.renew_activities(RenewActivities(locks=tuple(locks), lease=LEASE))
    expect_equal(answer.lost, tuple(locks), "locks lost")


async def check_an_item_lease_starts_when_taken(s: Subject) -> None:
    """A lease of an item runs from the moment it is taken, for as long as was asked."""
    await s.scheduled(an_item())
    s.advance(1000)
    await s.item(lease=10.0)
    s.advance(9)
    await s.no_items("the lease runs")
    s.advance(1)
    await s.item()


@belongs_to(Part.FUSED)
async def check_a_silent_settlement_posts_nothing(s: Subject) -> None:
    """An item may be settled without a word: it is gone, and its instance is told nothing."""
    await s.scheduled(an_item())
    item = await s.item()
    settle = CommitActivities(settle=(SettleActivity(lock=item.lock),))
    expect_equal((await s.store.commit_activities(settle)).lost, (), "locks lost")
    await s.nothing_eligible("nothing was posted")
    s.advance(LEASE)
    await s.no_items("it was settled")


async def check_items_of_a_held_instance_run(s: Subject) -> None:
    """Suspending an instance does not stop the activities that it scheduled."""
    await s.scheduled(an_item(), state=State.SUSPENDED)
    await s.item()


async def check_outcomes_arrive_as_they_were_settled(s: Subject) -> None:
    """Outcomes enter the inbox in the order in which they were settled, not in that of their schedules."""
    await s.scheduled(an_item(1), an_item(2), an_item(3))
    items = (await s.lock_items()).activities
    order = (items[2], items[1], items[0])
    await s.settle(order[0].lock, message=draft("3"))
    settle = tuple(SettleActivity(lock=item.lock, message=draft(str(item.lock.event_id))) for item in order[1:])
    await s.store.commit_activities(CommitActivities(settle=settle))
    expect_equal(kinds((await s.turn()).messages), ["3", "2", "1"], "the inbox")


@belongs_to(Part.FUSED)
async def check_a_born_leased_item_keeps_its_tag(s: Subject) -> None:
    """A born leased item that was lost goes to workers of its tag, with all that it was scheduled with."""
    await s.scheduled(an_item(1, born=BORN, tag="gpu", session="s1"))
    s.advance(10)
    await s.no_items("it is for other workers")
    item = await s.item(tags=GPU, sessions=CLAIM)
    expect_equal((item.tag, item.session, item.data, item.payload), ("gpu", "s1", b"options", b"arguments"), "it")


@belongs_to(Part.FUSED)
async def check_a_born_leased_item_is_renewed(s: Subject) -> None:
    """The committer of a born leased item renews it as any holder does, and leaves heartbeats."""
    await s.scheduled(an_item(1, born=BORN))
    s.advance(9)
    renewal = RenewActivities(locks=(BORN_LOCK,), lease=10.0, heartbeats={"born-1": b"half"})
    expect_equal((await s.store.renew_activities(renewal)).lost, (), "locks lost")
    s.advance(9)
    await s.no_items("the lease was renewed")
    s.advance(1)
    expect_equal((await s.item()).heartbeat, b"half", "the heartbeat")


@belongs_to(Part.FUSED)
async def check_a_born_leased_item_can_be_given_back(s: Subject) -> None:
    """A born leased item that was given back clean is as if nobody had held it."""
    await s.scheduled(an_item(1, born=BORN))
    await s.store.release_activity(ReleaseActivity(lock=BORN_LOCK))
    item = await s.item()
    expect_equal((item.attempt, item.failures, item.fetches), (1, 0, 1), "counts")


@belongs_to(Part.FUSED)
async def check_a_born_leased_item_is_announced(s: Subject) -> None:
    """`next_due` tells when a born leased item falls free if its holder vanishes."""
    await s.scheduled(an_item(1, born=BORN))
    expect_equal((await s.lock_items()).next_due, s.clock.now + 10.0, "next_due")


@belongs_to(Part.CANCELLING)
async def check_a_renewal_tells_each_lock_apart(s: Subject) -> None:
    """One renewal may find some locks held, some cancelled and some lost, and says which."""
    await s.scheduled(an_item(1), an_item(2), an_item(3))
    one, two, three = [item.lock for item in (await s.lock_items()).activities]
    await s.post("a")
    await s.run("a", cancel_activities=(2,))
    await s.settle(three)
    answer = await s.store.renew_activities(RenewActivities(locks=(three, two, one), lease=LEASE))
    expect_equal((answer.lost, answer.cancelled), ((three,), (two,)), "the answer to a renewal")


async def check_workers_are_told_apart_by_tokens(s: Subject) -> None:
    """Two workers share the items; the same worker that asks again gets no item twice."""
    await s.scheduled(an_item(1), an_item(2))
    found: list[int] = []
    for worker in ("one", "two", "one"):
        answer = await s.store.lock_activities(LockActivities(worker=worker, limit=1, lease=LEASE))
        found += [item.lock.event_id for item in answer.activities]
    expect_equal(found, [1, 2], "what was taken")
