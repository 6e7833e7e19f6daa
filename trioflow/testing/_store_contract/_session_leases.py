"""Sessions: how long they last. Read next: `_listing.py`."""

from __future__ import annotations

from trioflow.abc import (
    ACTIVITIES,
    LockedActivity,
    RenewActivities,
    RenewSessions,
    SettleActivity,
    TagFilter,
)
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._session_claims import of, taken
from trioflow.testing._store_contract._subject import CLAIM, LEASE, Subject, draft, expect, expect_equal

PART = Part.SESSIONS

IDLE = 100.0


async def renewed(s: Subject, worker: str = "one", lease: float = LEASE) -> list[str]:
    """What a worker has after it has renewed its sessions."""
    answer = await s.store.renew_sessions(RenewSessions(worker=worker, lease=lease, idle=IDLE))
    return sorted(answer.held)


async def claimed(s: Subject, worker: str = "one", lease: float = LEASE) -> LockedActivity:
    """The first item of an instance with five in session "s", taken by a worker."""
    await s.scheduled(*of("s", 1, 2, 3, 4, 5))
    (item,) = (await s.lock_items(limit=1, lease=lease, worker=worker, sessions=CLAIM)).activities
    return item


async def check_a_session_that_is_not_renewed_is_free(s: Subject) -> None:
    """A session's lease runs from its claim; when it has run out, whoever comes first has the session."""
    await claimed(s)
    s.advance(LEASE - 1)
    expect_equal(await taken(s, "two"), [], "what another gets while the lease runs")
    s.advance(1)
    expect_equal(await taken(s, "two", limit=1), [2], "what it gets when it has run out")
    expect_equal(await taken(s, "one"), [], "what the former owner gets")


async def check_renewal_goes_on_from_now(s: Subject) -> None:
    """A renewal holds all sessions of the worker for one lease more, and says which."""
    await s.scheduled(*of("s", 1, 2), *of("t", 3))
    expect_equal(await taken(s, "one", lease=500.0), [1, 2, 3], "what claims both")
    s.advance(LEASE - 1)
    expect_equal(await renewed(s), ["s", "t"], "the sessions")
    await s.scheduled(*of("s", 4), instance="b")
    s.advance(LEASE - 1)
    expect_equal(await taken(s, "two"), [], "what another gets")
    s.advance(1)
    expect_equal(await taken(s, "two"), [4], "what it gets one lease later")


async def check_an_expired_session_that_nobody_claimed_is_renewed(s: Subject) -> None:
    """A session that has run out and that nobody has claimed is its owner's again by a renewal."""
    await claimed(s, lease=500.0)
    s.advance(LEASE + 1)
    expect_equal(await renewed(s), ["s"], "the sessions")
    expect_equal(await taken(s, "two"), [], "what another gets")


async def check_a_lost_session_is_not_renewed(s: Subject) -> None:
    """A session that another has claimed is not its former owner's by a renewal, and its items are not."""
    await claimed(s, lease=500.0)
    s.advance(LEASE)
    expect_equal(await taken(s, "two", limit=1), [2], "what claims it")
    expect_equal(await renewed(s), [], "what the former owner has")
    expect_equal(await renewed(s, "two"), ["s"], "what the new owner has")
    expect_equal(await taken(s, "one"), [], "what the former owner gets")


async def check_who_has_none_renews_none(s: Subject) -> None:
    """A worker without sessions is told so, and nobody else's are touched."""
    await claimed(s)
    s.advance(LEASE - 1)
    expect_equal(await renewed(s, "two"), [], "what the other has")
    s.advance(1)
    expect_equal(await taken(s, "two", limit=1), [2], "what it gets when the lease has run out")


async def check_an_idle_session_is_given_back(s: Subject) -> None:
    """A renewal gives a session back that nobody has used for so long: anybody may claim it at once, and hears so."""
    item = await claimed(s)
    await s.settle(item.lock)
    s.advance(IDLE - 1)
    expect_equal(await renewed(s, lease=500.0), ["s"], "what is held before")
    s.advance(1)
    with s.store.signals.watch(ACTIVITIES) as watch:
        seen = watch.seen
        expect_equal(await renewed(s, lease=500.0), [], "what is held after")
        expect(watch.seen > seen, "those who wait for items are woken")
    expect_equal(await taken(s, "two", limit=1), [2], "what another gets")


async def check_what_is_taken_uses_its_session(s: Subject) -> None:
    """A session is used whenever its owner takes an item."""
    await claimed(s)
    s.advance(IDLE - 1)
    await renewed(s, lease=500.0)
    expect_equal(await taken(s, "one", limit=1), [2], "what it takes")
    s.advance(IDLE - 1)
    expect_equal(await renewed(s), ["s"], "what is held")


async def check_what_is_renewed_uses_its_session(s: Subject) -> None:
    """A session is used while an item of it is renewed."""
    item = await claimed(s, lease=500.0)
    s.advance(IDLE - 1)
    await renewed(s, lease=500.0)
    await s.store.renew_activities(RenewActivities(locks=(item.lock,), lease=500.0))
    s.advance(IDLE - 1)
    expect_equal(await renewed(s), ["s"], "what is held")


async def check_what_is_settled_uses_its_session(s: Subject) -> None:
    """A session is used when an item of it is settled."""
    item = await claimed(s, lease=500.0)
    s.advance(IDLE - 1)
    await renewed(s, lease=500.0)
    await s.settle(item.lock)
    s.advance(IDLE - 1)
    expect_equal(await renewed(s), ["s"], "what is held")


@belongs_to(Part.FUSED)
async def check_what_a_turn_settles_uses_its_session(s: Subject) -> None:
    """A session is used when a turn settles an item of it."""
    item = await claimed(s, lease=500.0)
    s.advance(IDLE - 1)
    await renewed(s, lease=500.0)
    await s.post()
    await s.run(settle=(SettleActivity(lock=item.lock),))
    s.advance(IDLE - 1)
    expect_equal(await renewed(s), ["s"], "what is held")


async def check_a_former_owner_uses_nothing(s: Subject) -> None:
    """What the former owner of a session does with its items does not count as the new owner's use."""
    item = await claimed(s, lease=500.0)
    s.advance(LEASE)
    expect_equal(await taken(s, "two", limit=1, lease=500.0), [2], "what claims it")
    s.advance(IDLE - 1)
    await renewed(s, "two", lease=500.0)
    await s.store.renew_activities(RenewActivities(locks=(item.lock,), lease=500.0))
    s.advance(1)
    expect_equal(await renewed(s, "two"), [], "what the new owner has")


async def check_an_attempt_outlives_its_session(s: Subject) -> None:
    """An item that was taken belongs to its holder until its own lease runs out, whoever has the session."""
    item = await claimed(s, lease=500.0)
    s.advance(LEASE)
    expect_equal(await taken(s, "two", limit=9), [2, 3, 4, 5], "what the new owner gets")
    expect_equal((await s.settle(item.lock)).lost, (), "what is lost of the former owner's")


async def check_a_session_outlives_an_attempt(s: Subject) -> None:
    """An item whose lease runs out goes to the owner of its session, if that still has it."""
    await s.scheduled(*of("s", 1))
    expect_equal(await taken(s, "one", lease=5.0), [1], "what claims it")
    s.advance(5)
    expect_equal(await taken(s, "two"), [], "what another gets")
    expect_equal(await taken(s, "one"), [1], "what the owner gets")


async def check_released_sessions_are_free(s: Subject) -> None:
    """A worker that goes gives all its sessions back, and nobody else's; those who wait are woken."""
    await s.scheduled(*of("s", 1, 2), *of("t", 3, 4))
    expect_equal(await taken(s, "one", limit=1), [1], "what the one gets")
    (item,) = (await s.lock_items(limit=1, worker="two", sessions=CLAIM)).activities
    expect_equal(item.lock.event_id, 3, "what the other gets")
    with s.store.signals.watch(ACTIVITIES) as watch:
        seen = watch.seen
        await s.store.release_sessions("one")
        expect(watch.seen > seen, "those who wait for items are woken")
    expect_equal(await taken(s, "three"), [2], "what a third gets")
    await s.store.release_sessions("nobody")


async def check_the_end_of_a_session_is_announced(s: Subject) -> None:
    """Who looks for items of sessions hears when the next may fall free; who wants none is not bothered."""
    await claimed(s, lease=500.0)
    locked = await s.lock_items(worker="two", sessions=CLAIM)
    expect_equal((locked.activities, locked.next_due), ((), s.clock.now + LEASE), "what another hears")
    s.advance(LEASE)
    locked = await s.lock_items(worker="two", tags=TagFilter(untagged=False), sessions=CLAIM)
    expect_equal(locked.next_due, None, "what is heard of it afterwards")


async def check_a_session_of_nobody_is_claimed_again(s: Subject) -> None:
    """A session that has ended is a new one for whoever comes, its former owner among them."""
    item = await claimed(s)
    await s.settle(item.lock, message=draft("Done"))
    s.advance(10_000)
    expect_equal(await taken(s, "one", limit=1), [2], "what the former owner gets")
    expect_equal(await taken(s, "two"), [], "what another gets")
