"""Many at once: nothing is lost, nothing is given twice. Read next: `__init__.py`."""

from __future__ import annotations

from itertools import pairwise

import trio

from trioflow.abc import CommitActivities, SettleActivity
from trioflow.errors import InstanceExists, TrioflowError
from trioflow.testing._store_contract._subject import Subject, an_item, draft, expect, expect_equal


async def check_concurrent_starts_of_one_id(s: Subject) -> None:
    """Of many concurrent starts of one id exactly one creates it."""
    created = []

    async def start() -> None:
        try:
            created.append((await s.start("a")).created)
        except InstanceExists:
            created.append(False)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(start)
    expect_equal(sorted(created), [False] * 19 + [True], "who created it")


async def check_one_failure_hurts_nobody_else(s: Subject) -> None:
    """Concurrent requests of which some are refused are carried out or refused each for itself."""
    await s.start("taken")
    done: list[str] = []

    async def start(name: str) -> None:
        try:
            await s.start(name)
            done.append(name)
        except TrioflowError:
            done.append(f"not {name}")

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(start, "taken" if number % 3 == 0 else f"free-{number}")
    expect_equal(done.count("not taken"), 10, "refusals")
    expect_equal(len((await s.lock_turns(limit=100)).turns), 21, "instances")


async def check_concurrent_lockers_share(s: Subject) -> None:
    """Many lockers at once get each instance once."""
    for number in range(40):
        await s.start(f"i{number}")
    taken: list[str] = []

    async def lock() -> None:
        taken.extend(turn.lock.instance for turn in (await s.lock_turns(limit=7)).turns)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(lock)
    expect_equal(sorted(taken), sorted(f"i{number}" for number in range(40)), "who was taken")


async def check_concurrent_lockers_share_items(s: Subject) -> None:
    """Many lockers at once get each item once."""
    await s.scheduled(*(an_item(number) for number in range(1, 61)))
    taken: list[int] = []

    async def lock() -> None:
        taken.extend(item.lock.event_id for item in (await s.lock_items(limit=9)).activities)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(lock)
    expect_equal(sorted(taken), list(range(1, 61)), "what was taken")


async def check_concurrent_posts_all_arrive(s: Subject) -> None:
    """Messages from many senders all arrive, those of each sender in its order."""
    await s.waiting()

    async def send(sender: int) -> None:
        for number in range(10):
            await s.post("a", f"{sender}/{number}")

    async with trio.open_nursery() as nursery:
        for sender in range(8):
            nursery.start_soon(send, sender)
    arrived = [message.draft.kind for message in (await s.turn()).messages]
    expect_equal(len(arrived), 80, "messages")
    for sender in range(8):
        own = [kind for kind in arrived if kind.startswith(f"{sender}/")]
        expect_equal(own, [f"{sender}/{number}" for number in range(10)], "the order of one sender")


async def check_many_outcomes_all_arrive(s: Subject) -> None:
    """A wide fan-out comes back complete, in one call or in many."""
    count = 500
    await s.scheduled(*(an_item(number) for number in range(1, count + 1)))
    items = (await s.lock_items(limit=count)).activities
    expect_equal(len(items), count, "items")
    most = tuple(SettleActivity(lock=item.lock, message=draft()) for item in items[:-50])
    await s.store.commit_activities(CommitActivities(settle=most))
    async with trio.open_nursery() as nursery:
        for item in items[-50:]:
            nursery.start_soon(lambda item: s.settle(item.lock), item)
    turn = await s.turn()
    expect_equal(len(turn.messages), count, "messages")
    expect(all(one.seq < other.seq for one, other in pairwise(turn.messages)), "seq grows")
    await s.commit(turn)
    expect_equal((await s.record()).queued, 0, "messages in the inbox")
