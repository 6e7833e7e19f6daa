"""Sessions: who gets whose items. Read next: `_session_leases.py`."""

from __future__ import annotations

from typing import Any

import trio

from trioflow.abc import ACTIVITIES, NewActivity, ReleaseActivity, SessionClaim, TagFilter
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import CLAIM, LEASE, Subject, an_item, expect, expect_equal

PART = Part.SESSIONS


def of(session: str | None, *event_ids: int, **fields: Any) -> tuple[NewActivity, ...]:
    """Items of a session."""
    return tuple(an_item(event_id, session=session, **fields) for event_id in event_ids)


async def taken(s: Subject, worker: str, claim: SessionClaim | None = CLAIM, **fields: Any) -> list[int]:
    """Which items a worker gets, by event id."""
    locked = await s.lock_items(worker=worker, sessions=claim, **fields)
    return [item.lock.event_id for item in locked.activities]


def at_most(limit: int) -> SessionClaim:
    """A claim of so many sessions."""
    return SessionClaim(lease=LEASE, limit=limit)


async def check_a_session_belongs_to_whoever_takes_its_first_item(s: Subject) -> None:
    """All items of a session go to the worker that took the first, and to no other."""
    await s.scheduled(*of("s", 1, 2, 3))
    expect_equal(await taken(s, "one", limit=1), [1], "what the first worker gets")
    expect_equal(await taken(s, "two"), [], "what another gets")
    expect_equal(await taken(s, "one"), [2, 3], "what the first gets then")


async def check_items_without_a_session_are_for_all(s: Subject) -> None:
    """What has no session goes to whoever comes, and past those that wait for their owner."""
    await s.scheduled(*of("s", 1, 2), *of(None, 3, 4))
    expect_equal(await taken(s, "one", limit=1), [1], "what claims the session")
    expect_equal(await taken(s, "two", limit=1), [3], "what another worker gets")
    expect_equal(await taken(s, "three", None), [4], "what a worker without sessions gets")


async def check_who_takes_no_sessions_gets_none(s: Subject) -> None:
    """A worker that asks for no sessions gets only items without one, whatever is free, or was once its own."""
    await s.scheduled(*of("s", 1, 2))
    expect_equal(await taken(s, "one", None), [], "what it gets")
    expect_equal(await taken(s, "one", limit=1), [1], "what it gets when it asks for sessions")
    expect_equal(await taken(s, "one", None), [], "what it gets when it does not any more")


async def check_sessions_are_apart(s: Subject) -> None:
    """Two sessions may belong to two workers, and their names are told apart to the letter."""
    await s.scheduled(*of("s", 1), *of("S", 2), *of("s ", 3), *of("s", 4), *of("S", 5), *of("s ", 6))
    expect_equal(await taken(s, "one", at_most(1), limit=1), [1], "the first")
    expect_equal(await taken(s, "two", at_most(1), limit=1), [2], "the second")
    expect_equal(await taken(s, "three", at_most(1), limit=1), [3], "the third")
    expect_equal(await taken(s, "three"), [6], "what is left for the third")
    expect_equal(await taken(s, "one"), [4], "what is left for the first")
    expect_equal(await taken(s, "two"), [5], "what is left for the second")


async def check_a_session_spans_instances(s: Subject) -> None:
    """A session is one for items of all instances."""
    await s.scheduled(*of("s", 1), instance="a")
    await s.scheduled(*of("s", 2), instance="b")
    expect_equal(await taken(s, "one", limit=1), [1], "the first")
    expect_equal(await taken(s, "two"), [], "what another worker gets")
    expect_equal(await taken(s, "one"), [2], "what the owner gets")


async def check_a_worker_has_so_many_sessions(s: Subject) -> None:
    """A worker claims as many sessions as it may have, over all its calls, and goes on with those."""
    await s.scheduled(*of("1", 1), *of("2", 2), *of("3", 3), *of("1", 4), *of("2", 5))
    expect_equal(await taken(s, "one", at_most(2), limit=1), [1], "what it gets at first")
    expect_equal(await taken(s, "one", at_most(2)), [2, 4, 5], "what it gets next")
    await s.scheduled(*of("1", 6), *of("4", 7), instance="b")
    expect_equal(await taken(s, "one", at_most(2)), [6], "what it gets then")
    expect_equal(await taken(s, "two", at_most(2)), [3, 7], "what is left for another")


async def check_sessions_beyond_the_cap_hide_nothing(s: Subject) -> None:
    """However many items of others wait in front, a worker at its cap gets those behind that it may have."""
    await s.scheduled(*of("mine", 1), *of("theirs", *range(2, 31)), *of(None, 31), *of("mine", 32))
    expect_equal(await taken(s, "one", at_most(1), limit=1), [1], "what claims its session")
    expect_equal(await taken(s, "one", at_most(1), limit=5), [31, 32], "what it gets")


async def check_one_call_claims_within_the_cap(s: Subject) -> None:
    """Within one call, too, no session more is claimed than may be, and the room goes to what is behind."""
    await s.scheduled(*of("1", 1), *of("2", 2), *of("3", 3), *of(None, 4, 5, 6))
    expect_equal(await taken(s, "one", at_most(1), limit=3), [1, 4, 5], "what it gets")
    expect_equal(await taken(s, "two", at_most(1)), [2, 6], "what another gets")


async def check_items_of_a_session_come_in_order(s: Subject) -> None:
    """The oldest item of a session comes first, among all others."""
    await s.scheduled(*of("s", 1), *of(None, 2))
    s.advance(1)
    await s.scheduled(*of("s", 3), *of("t", 4), instance="b")
    expect_equal(await taken(s, "one"), [1, 2, 3, 4], "the order")


async def check_tags_and_sessions_go_together(s: Subject) -> None:
    """An item of a session is for workers of its tag only; others cannot claim its session."""
    await s.scheduled(*of("s", 1, tag="gpu"), *of("s", 2))
    expect_equal(await taken(s, "one"), [2], "what a worker without tags gets")
    expect_equal(await taken(s, "two", tags=TagFilter(tags=("gpu",))), [], "what another's worker with the tag gets")
    expect_equal(await taken(s, "one", tags=TagFilter(tags=("gpu",))), [1], "what the owner gets with the tag")


async def check_a_given_back_item_stays_in_its_session(s: Subject) -> None:
    """An item that is given back, or retried, goes to the session's owner again."""
    await s.scheduled(*of("s", 1))
    (item,) = (await s.lock_items(worker="one", sessions=CLAIM)).activities
    await s.store.release_activity(ReleaseActivity(lock=item.lock))
    expect_equal(await taken(s, "two"), [], "what another gets")
    (item,) = (await s.lock_items(worker="one", sessions=CLAIM)).activities
    await s.settle(item.lock, retry_in=0.0)
    expect_equal(await taken(s, "two"), [], "what another gets then")
    expect_equal(await taken(s, "one"), [1], "what the owner gets")


async def check_a_session_may_be_left_with_an_item(s: Subject) -> None:
    """Whoever gives back what it cannot run leaves its session to others, and no other session, nor another's."""
    await s.scheduled(*of("s", 1, 2), *of("t", 3, 4))
    (item,) = (await s.lock_items(worker="one", sessions=CLAIM, limit=1)).activities
    expect_equal(await taken(s, "one", limit=2), [2, 3], "what it gets of two sessions")
    with s.store.signals.watch(ACTIVITIES) as watch:
        seen = watch.seen
        await s.store.release_activity(ReleaseActivity(lock=item.lock, clean=False, leave=True))
        expect(watch.seen > seen, "those who wait for items are woken")
    (item,) = (await s.lock_items(worker="two", sessions=CLAIM)).activities
    expect_equal(item.lock.event_id, 1, "what another gets")
    await s.store.release_activity(ReleaseActivity(lock=item.lock, delay=1.0, leave=True))
    s.advance(1)
    expect_equal(await taken(s, "one"), [4, 1], "what the first gets, when the session has been left to it again")


@belongs_to(Part.TWINS)
async def check_a_session_is_claimed_once(s: Subject) -> None:
    """Of many workers that try at the same moment, one has the session afterwards, and all of its items."""
    await s.scheduled(*of("s", *range(1, 21)), *of("t", *range(21, 41)))
    got: dict[str, list[int]] = {}

    async def look(subject: Subject, worker: str) -> None:
        got.setdefault(worker, []).extend(await taken(subject, worker, at_most(1), limit=4))

    async with s.twin("b") as b, s.twin("c") as c:
        for _ in range(200):  # rounds: in each of them all look at once, and one may come away with less than there is
            async with trio.open_nursery() as nursery:
                for place, subject in enumerate((s, b, c)):
                    nursery.start_soon(look, subject, f"worker-{place}")
            if sum(map(len, got.values())) == 40:
                break
    owners = [[worker for worker in got if event_id in got[worker]] for event_id in range(1, 41)]
    expect_equal([len(owner) for owner in owners], [1] * 40, "how many workers had each item")
    expect_equal(len({owner[0] for owner in owners[:20]}), 1, "owners of the first session")
    expect_equal(len({owner[0] for owner in owners[20:]}), 1, "owners of the second")


@belongs_to(Part.TWINS)
async def check_the_cap_holds_when_calls_meet(s: Subject) -> None:
    """Two calls of one worker at the same moment do not claim more sessions than it may have."""
    await s.scheduled(*(of(f"s{number}", number)[0] for number in range(1, 31)))
    got: list[int] = []

    async def work(subject: Subject) -> None:
        for _ in range(10):
            got.extend(await taken(subject, "one", at_most(3), limit=2))

    async with s.twin("b") as b, s.twin("c") as c, trio.open_nursery() as nursery:
        for subject in (s, b, c):
            nursery.start_soon(work, subject)
    expect_equal(len(got), 3, "how many sessions it got items of")
