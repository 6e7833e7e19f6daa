"""Items that nobody begins in time. Read next: `_session_claims.py`."""

from __future__ import annotations

from typing import Any

from trioflow.abc import BornLeased, NewActivity, NextExecution, ReleaseActivity, State
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import LEASE, Subject, an_item, draft, expect_equal, kinds

PART = Part.EXPIRY


def a_late_item(event_id: int = 1, within: float = 60.0, **fields: Any) -> NewActivity:
    """One that has to be begun within so many seconds."""
    return an_item(event_id, start_within=within, late=draft(f"Late{event_id}", b"data"), **fields)


async def check_what_nobody_begins_is_over(s: Subject) -> None:
    """At its time an item that nobody took is gone, and its word reaches the very call that finds it."""
    await s.scheduled(a_late_item())
    s.advance(59)
    await s.nothing_eligible("its time has not come")
    s.advance(1)
    messages = (await s.turn()).messages
    expect_equal([(m.draft.kind, m.draft.data, m.draft.payload) for m in messages], [("Late1", b"data", None)], "word")
    await s.no_items("it is gone")


async def check_who_looks_for_items_finds_it_too(s: Subject) -> None:
    """A worker that looks for items at that time does not get it, and its word is posted."""
    await s.scheduled(a_late_item(1), an_item(2))
    s.advance(60)
    expect_equal((await s.item()).lock.event_id, 2, "what is left")
    expect_equal(kinds(await s.inbox()), ["Late1"], "the word")


async def check_the_time_to_begin_is_announced(s: Subject) -> None:
    """Who looks for turns or for items hears when the next item is over."""
    await s.scheduled(a_late_item(1, 90.0), a_late_item(2, 60.0, tag="gpu"))
    expect_equal((await s.lock_turns()).next_due, s.clock.now + 60, "what lock_turns says")
    expect_equal((await s.lock_items(lease=500.0)).next_due, s.clock.now + 60, "what lock_activities says")


async def check_what_was_begun_may_take_its_time(s: Subject) -> None:
    """An item that somebody has is not over, nor while it waits for a retry."""
    await s.scheduled(a_late_item())
    item = await s.item(lease=100.0)
    s.advance(99)
    await s.nothing_eligible("somebody has it")
    await s.settle(item.lock, retry_in=500.0)
    s.advance(400)
    await s.nothing_eligible("it waits for its retry")
    s.advance(100)
    expect_equal((await s.item()).attempt, 2, "the attempt after the pause")


async def check_who_died_had_begun(s: Subject) -> None:
    """An item whose holder was lost was begun, whatever the next one does with it."""
    await s.scheduled(a_late_item())
    await s.item(lease=10.0)
    s.advance(10)
    await s.store.release_activity(ReleaseActivity(lock=(await s.item()).lock, delay=500.0))
    s.advance(100)
    await s.nothing_eligible("it waits for its pause")
    s.advance(400)
    expect_equal((await s.item()).attempt, 2, "the attempt after the pause")


async def check_what_was_given_back_unrun_is_over(s: Subject) -> None:
    """An item that was taken and given back unrun is as one that nobody took."""
    await s.scheduled(a_late_item())
    await s.store.release_activity(ReleaseActivity(lock=(await s.item()).lock, delay=500.0, clean=False))
    s.advance(60)
    expect_equal(kinds(await s.inbox()), ["Late1"], "the word")
    s.advance(500)
    await s.no_items("it is gone")


async def check_a_cancelled_item_is_not_late(s: Subject) -> None:
    """An item has one outcome: one that is cancelled in time has no other."""
    await s.scheduled(a_late_item(1), a_late_item(2))
    (taken,) = (await s.lock_items(limit=1, lease=30.0)).activities
    await s.post()
    await s.run("a", cancel_activities=(1, 2))
    s.advance(70)
    await s.lock_items()
    expect_equal(kinds(await s.inbox()), ["ActivityCancelled"] * 2, f"outcomes, one of which was {taken.name}")


@belongs_to(Part.FUSED)
async def check_a_born_leased_item_was_begun(s: Subject) -> None:
    """An item that is born leased is begun by that."""
    born = BornLeased(worker="worker", token="born-1", lease=LEASE)  # noqa: S106 - a lock's token
    await s.scheduled(a_late_item(1, 10.0, born=born))
    s.advance(20)
    await s.nothing_eligible("its committer has it")
    s.advance(LEASE)
    expect_equal((await s.item()).attempt, 2, "the attempt after its holder is lost")


async def check_lateness_of_an_old_execution_is_dropped(s: Subject) -> None:
    """The word of an execution that is not current goes with the item."""
    await s.scheduled(a_late_item())
    await s.post()
    await s.run("a", "Next", state=State.PENDING, next_execution=NextExecution(start=draft("Started")))
    await s.run()
    s.advance(60)
    await s.nothing_eligible("nobody is left to read it")
    await s.no_items("it is gone")


async def check_many_late_items_are_all_posted(s: Subject) -> None:
    """However many are over at once, each has its word."""
    await s.scheduled(*(a_late_item(number, 10.0) for number in range(1, 41)))
    s.advance(10)
    expect_equal(sorted(kinds(await s.inbox())), sorted(f"Late{number}" for number in range(1, 41)), "words")
