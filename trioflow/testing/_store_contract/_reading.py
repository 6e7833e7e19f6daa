"""What can be read, and what readers are told. Read next: `_loads.py`."""

from __future__ import annotations

import trio

from trioflow.abc import ACTIVITIES, TURNS, EventRow, State, instance_topic
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import Subject, an_item, draft, expect, expect_equal


async def check_what_is_not_there_reads_as_nothing(s: Subject) -> None:
    """Reading what is not there answers with nothing, not with an error."""
    expect_equal(await s.store.read_instance("nobody"), None, "an instance")
    expect_equal(await s.store.read_history("nobody", 1), (), "a history")
    expect_equal(await s.store.read_kv("nobody"), {}, "values")


async def check_histories_are_read_in_parts(s: Subject) -> None:
    """A history can be read from any event on, and in pieces."""
    await s.start()
    rows = tuple(EventRow(number, float(number), f"E{number}", b"", None) for number in range(1, 21))
    await s.commit(await s.turn(), events=rows)
    expect_equal(await s.store.read_history("a", 1), rows, "all of it")
    expect_equal(await s.store.read_history("a", 1, after=15), rows[15:], "its end")
    expect_equal(await s.store.read_history("a", 1, after=3, limit=4), rows[3:7], "a part")
    expect_equal(await s.store.read_history("a", 1, after=18, limit=10), rows[18:], "more than there is")
    expect_equal(await s.store.read_history("a", 1, after=20), (), "beyond its end")
    expect_equal(await s.store.read_history("a", 2), (), "an execution that is not there")


async def check_a_record_counts_the_inbox(s: Subject) -> None:
    """A record tells how many messages wait."""
    await s.start()
    await s.post("a")
    expect_equal((await s.record()).queued, 2, "messages in the inbox")
    await s.run()
    expect_equal((await s.record()).queued, 0, "messages in the inbox")


@belongs_to(Part.DETAILS)
async def check_a_record_tells_what_waits(s: Subject) -> None:
    """A record tells whether a control message or a request to cancel waits in the inbox, until it is consumed."""
    await s.waiting("a", state=State.PARKED)
    told = []
    for kind in ("Note", "CancelRequested", "Resume"):
        await s.post("a", kind, control=kind == "Resume")
        record = await s.record()
        told.append((record.control_queued, record.cancel_queued))
    expect_equal(told, [(False, False), (False, True), (True, True)], "control and cancel after each message")
    turn = await s.turn()
    await s.commit(turn, state=State.PARKED, consumed=(turn.messages[-1].seq,))
    record = await s.record()
    expect_equal((record.control_queued, record.cancel_queued), (False, True), "what is left")
    await s.post("a", "Resume", control=True)
    await s.run("a")
    record = await s.record()
    expect_equal((record.control_queued, record.cancel_queued), (False, False), "an empty inbox")


async def check_the_clock_is_the_stores(s: Subject) -> None:
    """The store's clock is the one it was given."""
    before = await s.store.read_clock()
    s.advance(12.5)
    expect_equal((await s.store.read_clock()) - before, 12.5, "the time that passed")
    expect_equal((await s.lock_turns()).now, s.clock.now, "the time of an answer")


async def check_what_was_read_does_not_change(s: Subject) -> None:
    """What was read is a copy: changing it changes nothing, and later writes do not change it."""
    await s.waiting("a", kv_set={"k": b"v"})
    values = await s.store.read_kv("a")
    record = await s.record()
    values["k"] = b"changed"
    await s.post("a")
    await s.run("a", "More", state=State.PARKED)
    expect_equal(await s.store.read_kv("a"), {"k": b"v"}, "values")
    expect_equal(record.state, State.WAITING, "a record that was read before")


async def check_attributes_that_were_given_may_change(s: Subject) -> None:
    """A mapping that is changed after it was given does not change what is kept."""
    attributes = {"k": "v"}
    await s.start("a", attributes=attributes)
    attributes["k"] = "changed"
    expect_equal(dict((await s.record()).attributes), {"k": "v"}, "attributes")


async def check_starts_and_posts_wake_dispatchers(s: Subject) -> None:
    """Whoever waits for turns is woken by a start and by a message."""
    with s.store.signals.watch(TURNS) as watch:
        seen = watch.seen
        await s.start()
        await watch.wait_beyond(seen)
        await s.run()
        seen = watch.seen
        await s.post("a")
        await watch.wait_beyond(seen)


async def check_new_times_wake_dispatchers(s: Subject) -> None:
    """Whoever sleeps until `next_due` is woken when an earlier time has become known."""
    await s.start()
    turn = await s.turn()
    with s.store.signals.watch(TURNS) as watch:
        seen = watch.seen
        await s.commit(turn, wake_at=s.clock.now + 1)
        await watch.wait_beyond(seen)


async def check_items_wake_dispatchers(s: Subject) -> None:
    """Whoever waits for items is woken by a schedule and by a retry."""
    with s.store.signals.watch(ACTIVITIES) as watch:
        seen = watch.seen
        await s.scheduled(an_item())
        await watch.wait_beyond(seen)
        item = await s.item()
        seen = watch.seen
        await s.settle(item.lock, retry_in=1.0)
        await watch.wait_beyond(seen)


@belongs_to(Part.FAIRNESS)
async def check_watchers_of_an_instance_are_woken(s: Subject) -> None:
    """Whoever watches an instance is woken by its commits, and nobody by those of another."""
    await s.start("a")
    turn = await s.turn()
    with s.store.signals.watch(instance_topic("a")) as watch:
        hints = []
        for other in ("b", "c", "d"):  # a store may say now and then that anything may have changed
            seen = watch.seen
            await s.start(other)
            await s.run(other, state=State.COMPLETED)
            hints.append(watch.seen - seen)
        expect(0 in hints, "commits of another instance wake nobody")
        seen = watch.seen
        await s.commit(turn, "Ended", state=State.COMPLETED)
        await watch.wait_beyond(seen)


async def check_an_outcome_wakes_dispatchers(s: Subject) -> None:
    """Whoever waits for turns is woken by a settled item."""
    await s.scheduled(an_item())
    item = await s.item()
    with s.store.signals.watch(TURNS) as watch:
        seen = watch.seen
        await s.settle(item.lock, message=draft("Done"))
        await watch.wait_beyond(seen)


async def check_verbs_are_checkpoints(s: Subject) -> None:
    """A verb that is cancelled before it began writes nothing."""
    await s.waiting()
    with trio.CancelScope() as scope:
        scope.cancel()
        await s.post("a")
    expect(scope.cancelled_caught, "a verb is a checkpoint")
    expect_equal((await s.record()).queued, 0, "messages in the inbox")


async def check_a_limit_of_no_events_reads_none(s: Subject) -> None:
    """Reading a history with a limit of zero answers with nothing, and with one, one by one, with all of it."""
    await s.waiting("a", "A", "B", "C")
    expect_equal(await s.store.read_history("a", 1, limit=0), (), "no events")
    found = [(await s.store.read_history("a", 1, after=after, limit=1))[0].kind for after in range(3)]
    expect_equal(found, ["A", "B", "C"], "events one by one")


async def check_a_page_of_a_growing_history_stays(s: Subject) -> None:
    """A part that was read before reads the same after the history has grown."""
    await s.waiting("a", "A", "B", "C")
    before = await s.store.read_history("a", 1, after=1, limit=2)
    await s.post("a")
    await s.run("a", "D", "E")
    expect_equal(await s.store.read_history("a", 1, after=1, limit=2), before, "the same part")
    expect_equal(len(await s.store.read_history("a", 1, after=3)), 2, "what was added")


async def check_a_record_tells_where_messages_stand(s: Subject) -> None:
    """A record counts what is queued apart from what is unread, and follows what is consumed."""
    await s.waiting("a", unread=2)
    for _ in range(3):
        await s.post("a", mailbox=True)
    turn = await s.turn()
    expect_equal(((await s.record()).queued, (await s.record()).unread), (3, 2), "queued and unread")
    await s.commit(turn, consumed=(turn.messages[0].seq,), unread=5)
    expect_equal(((await s.record()).queued, (await s.record()).unread), (2, 5), "queued and unread after a commit")


@belongs_to(Part.DETAILS)
async def check_a_cancel_request_is_known_by_its_kind(s: Subject) -> None:
    """Only a message of the kind `CancelRequested` counts as a request to cancel, in its own inbox."""
    await s.waiting("a")
    await s.waiting("b")
    await s.post("a", "ActivityCancelRequested")
    await s.post("b", "CancelRequested")
    expect_equal(((await s.record("a")).cancel_queued, (await s.record("b")).cancel_queued), (False, True), "requests")
