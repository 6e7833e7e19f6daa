"""Who comes when: the line of instances and the line of items, and what they announce. Read next: `_held.py`."""

from __future__ import annotations

from trioflow.abc import OutMessage, ReleaseActivity, ReleaseTurn, State, TagFilter
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import LEASE, Subject, an_item, draft, expect_equal


async def _order(s: Subject) -> list[str]:
    """All that is eligible, one by one."""
    return [turn.lock.instance for turn in (await s.lock_turns()).turns]


async def check_times_and_messages_share_one_line(s: Subject) -> None:
    """Instances that time woke and instances that messages woke are taken by when that was."""
    now = s.clock.now
    for name, wake_at in (("early", now + 10), ("late", now + 30), ("message", None)):
        await s.waiting(name, wake_at=wake_at)
    s.advance(20)
    await s.post("message")
    s.advance(20)
    expect_equal(await _order(s), ["early", "message", "late"], "the order of turns")


@belongs_to(Part.DELAYS)
async def check_a_delayed_start_lines_up_when_it_is_due(s: Subject) -> None:
    """A delayed start takes its place by the end of its delay, not by when it was asked for."""
    await s.start("delayed", delay=20.0)
    s.advance(10)
    await s.start("prompt")
    s.advance(20)
    expect_equal(await _order(s), ["prompt", "delayed"], "the order of turns")


@belongs_to(Part.RELEASES)
async def check_a_released_turn_lines_up_when_it_is_due(s: Subject) -> None:
    """A turn that was given back for a while takes its place by the end of that while."""
    await s.start("released")
    await s.store.release_turn(ReleaseTurn(lock=(await s.turn("released")).lock, delay=20.0))
    s.advance(10)
    await s.start("prompt")
    s.advance(20)
    expect_equal(await _order(s), ["prompt", "released"], "the order of turns")


async def check_a_lost_lease_lines_up_when_it_ran_out(s: Subject) -> None:
    """An instance whose holder is gone takes its place by when the lease ran out."""
    await s.start("lost")
    await s.turn("lost")
    s.advance(LEASE - 10)
    await s.start("prompt")
    s.advance(20)
    expect_equal(await _order(s), ["prompt", "lost"], "the order of turns")


async def check_the_oldest_message_counts(s: Subject) -> None:
    """An instance keeps its place in the line, however many messages follow."""
    for name in ("first", "second"):
        await s.waiting(name)
    for name in ("first", "second", "first"):
        s.advance(1)
        await s.post(name)
    expect_equal(await _order(s), ["first", "second"], "the order of turns")


@belongs_to(Part.FAIRNESS)
async def check_messages_left_over_do_not_jump_the_line(s: Subject) -> None:
    """An instance that left old messages unconsumed is behind those that waited when it committed."""
    await s.waiting("a")
    await s.post("a")
    s.advance(10)
    turn = await s.turn("a")
    await s.start("waits")
    s.advance(10)
    await s.commit(turn, consumed=())
    expect_equal(await _order(s), ["waits", "a"], "the order of turns")


async def check_a_limit_of_zero_takes_nothing(s: Subject) -> None:
    """Who asks for nothing gets nothing, and holds nothing."""
    await s.scheduled(an_item())
    await s.post("a")
    expect_equal((await s.lock_turns(limit=0)).turns, (), "turns")
    expect_equal((await s.lock_items(limit=0)).activities, (), "items")
    expect_equal((await s.turn()).attempts, 1, "attempts of the instance")
    expect_equal((await s.item()).attempt, 1, "attempts of the item")


async def check_a_time_that_has_come_already_is_due(s: Subject) -> None:
    """An instance that asks to be woken at a time that is over, or now, is eligible at once."""
    for name, wake_at in (("past", s.clock.now - 5), ("now", s.clock.now)):
        await s.waiting(name, wake_at=wake_at)
        await s.turn(name)


@belongs_to(Part.RELEASES)
async def check_a_released_turn_of_time_is_still_due(s: Subject) -> None:
    """A turn that time made eligible is eligible again after it was given back, and after its lease has run out."""
    await s.waiting("a", wake_at=s.clock.now + 5)
    s.advance(5)
    await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock))
    await s.turn()
    s.advance(LEASE)
    expect_equal((await s.turn()).messages, (), "the inbox")


@belongs_to(Part.RELEASES)
async def check_a_release_delay_is_announced(s: Subject) -> None:
    """`next_due` says when an instance that was given back for a while is eligible again."""
    await s.start()
    await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock, delay=7.0))
    expect_equal((await s.lock_turns()).next_due, s.clock.now + 7.0, "next_due")


@belongs_to(Part.RELEASES)
async def check_an_item_release_delay_is_announced(s: Subject) -> None:
    """`next_due` says when an item that was given back for a while may be taken."""
    await s.scheduled(an_item())
    await s.store.release_activity(ReleaseActivity(lock=(await s.item()).lock, delay=7.0))
    expect_equal((await s.lock_items()).next_due, s.clock.now + 7.0, "next_due")


async def check_a_time_already_come_is_not_announced(s: Subject) -> None:
    """`next_due` is about what is still to come: what is eligible and was not taken for want of a limit is left out."""
    for name in ("a", "b"):
        await s.start(name)
    expect_equal((await s.lock_turns(limit=1, lease=LEASE)).next_due, s.clock.now + LEASE, "next_due")


async def check_an_ended_instance_announces_nothing(s: Subject) -> None:
    """An instance that has ended has no time at which it wakes."""
    await s.waiting("a", "Ended", state=State.COMPLETED, wake_at=s.clock.now + 5)
    expect_equal((await s.lock_turns()).next_due, None, "next_due")
    expect_equal((await s.record()).wake_at, None, "when it is woken")


@belongs_to(Part.CANCELLING)
async def check_all_kinds_of_time_are_announced(s: Subject) -> None:
    """`next_due` is the earlier of when an instance wakes and when a cancelled item may be lost."""
    await s.scheduled(an_item())
    await s.item()
    await s.post("a")
    await s.run("a", cancel_activities=(1,), wake_at=s.clock.now + LEASE + 10)
    expect_equal((await s.lock_turns()).next_due, s.clock.now + LEASE, "next_due before the item may be lost")
    await s.post("a")
    await s.run("a", wake_at=s.clock.now + LEASE - 10)
    expect_equal((await s.lock_turns()).next_due, s.clock.now + LEASE - 10, "next_due before it wakes")


@belongs_to(Part.TAGS)
async def check_times_of_other_tags_are_not_announced(s: Subject) -> None:
    """`next_due` of items is about those that the worker takes."""
    await s.scheduled(an_item(1, tag="gpu"))
    everything = TagFilter(tags=None)
    await s.settle((await s.item(tags=everything)).lock, retry_in=7.0)
    expect_equal((await s.lock_items()).next_due, None, "next_due for a worker without this tag")
    expect_equal((await s.lock_items(tags=everything)).next_due, s.clock.now + 7.0, "next_due for any worker")


async def check_an_idle_queue_announces_nothing(s: Subject) -> None:
    """Without items `next_due` is None, and the answer carries the store's time."""
    await s.scheduled(an_item())
    await s.settle((await s.item()).lock)
    answer = await s.lock_items()
    expect_equal((answer.next_due, answer.now), (None, s.clock.now), "the answer")


async def check_a_retry_lines_up_when_it_is_due(s: Subject) -> None:
    """A retry takes its place among the items by the end of its pause, whatever its event's number."""
    await s.scheduled(an_item(1), instance="a")
    await s.settle((await s.item()).lock, retry_in=20.0)
    s.advance(10)
    await s.scheduled(an_item(2), instance="b")
    s.advance(20)
    order = [item.lock.event_id for item in (await s.lock_items()).activities]
    expect_equal(order, [2, 1], "the order of items")


@belongs_to(Part.TAGS)
async def check_many_tags_of_a_worker_count(s: Subject) -> None:
    """A worker may name many tags, and the last counts as much as the first."""
    tags = tuple(f"tag-{number}" for number in range(100))
    await s.scheduled(*(an_item(number + 1, tag=tags[number]) for number in (0, 50, 99)))
    found = (await s.lock_items(tags=TagFilter(untagged=False, tags=tags))).activities
    expect_equal([item.tag for item in found], ["tag-0", "tag-50", "tag-99"], "what the worker takes")


@belongs_to(Part.CHILDREN)
async def check_a_message_out_of_a_turn_lines_up(s: Subject) -> None:
    """An instance that another one wrote to takes its place by when that was."""
    await s.waiting("told")
    await s.start("teller")
    turn = await s.turn("teller")
    s.advance(1)
    await s.commit(turn, messages=(OutMessage(instance="told", draft=draft()),))
    s.advance(1)
    await s.start("later")
    expect_equal(await _order(s), ["told", "later"], "the order of turns")


async def check_a_clock_set_back_reorders_nothing(s: Subject) -> None:
    """Messages come out in the order in which they entered, even if the clock was set back in between."""
    await s.waiting()
    await s.post("a", "First")
    s.advance(-100)
    await s.post("a", "Second")
    s.advance(200)
    turn = await s.turn()
    expect_equal([message.draft.kind for message in turn.messages], ["First", "Second"], "the inbox")
