"""What a commit writes, all of it or nothing. Read next: `_fencing.py`."""

from __future__ import annotations

from trioflow.abc import EventRow, LockedActivity, NextExecution, OutMessage, SettleActivity, State
from trioflow.errors import LockLost, TrioflowError
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import (
    LEASE,
    Subject,
    an_event,
    an_item,
    draft,
    expect,
    expect_equal,
    expect_raises,
    kinds,
)


async def check_commit_appends_events(s: Subject) -> None:
    """Events are appended byte for byte, over several turns."""
    await s.start()
    first = (EventRow(1, 5.5, "A", b"\x00", None), EventRow(2, 6.5, "B", b"", b"payload"))
    await s.commit(await s.turn(), events=first)
    await s.post("a")
    second = (EventRow(3, 7.5, "C", b"x" * 70_000, bytes(range(256))),)
    await s.commit(await s.turn(), events=second)
    expect_equal(await s.store.read_history("a", 1), first + second, "the history")
    expect_equal((await s.record()).history_length, 3, "its length")
    expect_equal((await s.record()).history_bytes, 1 + 7 + 70_000 + 256, "its size")


async def check_commit_sets_columns(s: Subject) -> None:
    """A commit sets state, time, version, unread count, status and revision, and answers with the revision."""
    await s.start()
    s.advance(3)
    wake_at = s.clock.now + 9
    answer = await s.run("a", "Started", version="1.2.3", wake_at=wake_at, unread=4, status=b"half")
    expect_equal((answer.revision, answer.execution, answer.kept, answer.now), (1, 1, False, s.clock.now), "the answer")
    record = await s.record()
    expect_equal(
        (
            record.state,
            record.version,
            record.wake_at,
            record.unread,
            record.status,
            record.revision,
            record.updated_at,
        ),
        (State.WAITING, "1.2.3", wake_at, 4, b"half", 1, s.clock.now),
        "the instance",
    )


async def check_commit_leaves_what_is_not_given(s: Subject) -> None:
    """Version and status stay where a commit does not give them; empty is not the same as not given."""
    await s.waiting("a", version="1.0.0", status=b"s", kv_set={"k": b"v"})
    await s.post("a")
    await s.run()
    record = await s.record()
    expect_equal((record.version, record.status), ("1.0.0", b"s"), "what was not given")
    expect_equal(await s.store.read_kv("a"), {"k": b"v"}, "values that were not given")
    await s.post("a")
    await s.run("a", status=b"")
    expect_equal((await s.record()).status, b"", "an empty status")


async def check_commit_removes_exactly_what_was_consumed(s: Subject) -> None:
    """Messages that are not named as consumed stay, in order."""
    await s.waiting()
    for kind in ("A", "B", "C"):
        await s.post("a", kind)
    turn = await s.turn()
    await s.commit(turn, consumed=(turn.messages[1].seq,))
    expect_equal(kinds((await s.turn()).messages), ["A", "C"], "what was not consumed")


async def check_values_are_set_and_cleared(s: Subject) -> None:
    """Values are set, replaced and cleared key by key; a key that is cleared and set in one commit is set."""
    await s.waiting("a", kv_set={"one": b"1", "two": b"2", "three": b"3", "é": b""})
    await s.post("a")
    await s.run("a", kv_set={"one": b"uno", "three": b"tre"}, kv_cleared=("two", "three", "unknown"))
    expect_equal(await s.store.read_kv("a"), {"one": b"uno", "three": b"tre", "é": b""}, "values")


async def check_commit_resets_attempts(s: Subject) -> None:
    """After a commit attempts are counted from the beginning."""
    await s.start()
    await s.turn()
    s.advance(LEASE)
    turn = await s.turn()
    expect_equal(turn.attempts, 2, "attempts after a lease ran out")
    await s.commit(turn)
    await s.post("a")
    expect_equal((await s.turn()).attempts, 1, "attempts after a commit")


async def check_commit_releases(s: Subject) -> None:
    """A commit gives the lock back: the next message makes the instance eligible at once."""
    await s.waiting()
    await s.post("a")
    await s.turn()


async def check_an_ended_instance_is_never_eligible(s: Subject) -> None:
    """Whatever an instance ends with, it is not eligible again and says when it ended."""
    for state in (State.COMPLETED, State.FAILED, State.CANCELLED, State.TERMINATED):
        await s.start(state.value)
        await s.run(state.value, "Started", "Ended", state=state, wake_at=s.clock.now + 1)
        record = await s.record(state.value)
        expect_equal((record.state, record.ended_at), (state, s.clock.now), "an instance that has ended")
        s.advance(10)
        await s.nothing_eligible("it has ended")


async def check_the_last_event_says_why(s: Subject) -> None:
    """The event that ended or parked an instance can be read with it; others have none."""
    await s.waiting("a", "Started", "Asked")
    expect_equal((await s.record()).last_event, None, "the last event of an instance that waits")
    await s.post("a")
    await s.run("a", "Parked", state=State.PARKED)
    parked = (await s.record()).last_event
    expect(parked is not None and (parked.id, parked.kind) == (3, "Parked"), "the last event of a parked instance")
    await s.post("a", control=True)
    await s.run("a", "Resumed", "Ended", state=State.COMPLETED)
    ended = (await s.record()).last_event
    expect(ended is not None and (ended.id, ended.kind) == (5, "Ended"), "the last event of an ended instance")


@belongs_to(Part.REFUSALS)
async def check_events_have_to_follow(s: Subject) -> None:
    """Events whose ids do not continue the history are refused, and the lock is still held."""
    await s.waiting("a", "Started")
    await s.post("a")
    turn = await s.turn()
    for wrong in (1, 3):
        with expect_raises(TrioflowError, f"the history has 1 event, the commit brings id {wrong}"):
            await s.commit(turn, events=(EventRow(wrong, 0.0, "X", b"", None),))
    await s.commit(turn, events=(EventRow(2, 0.0, "X", b"", None),))


@belongs_to(Part.FUSED)
async def check_a_refused_commit_writes_nothing(s: Subject) -> None:
    """A commit that is refused late leaves nothing behind: no event, message, item, value, start, or change of
    state.
    """
    await s.waiting("b")
    await s.start("a")
    turn = await s.turn("a")
    before = await s.record("a")
    lost = (await _a_lost_item(s)).lock
    with expect_raises(LockLost, "the lease of a settled activity had gone"):
        await s.commit(
            turn,
            "Started",
            "Scheduled",
            state=State.COMPLETED,
            status=b"s",
            kv_set={"k": b"v"},
            activities=(an_item(2),),
            starts=(s.a_start("child"),),
            messages=(OutMessage(instance="b", draft=draft()),),
            settle=(SettleActivity(lock=lost),),
        )
    expect_equal(await s.record("a"), before, "the instance")
    expect_equal((await s.store.read_history("a", 1), await s.store.read_kv("a")), ((), {}), "its history and values")
    expect_equal((await s.record("b")).queued, 0, "the inbox of another")
    expect_equal(await s.store.read_instance("child"), None, "the child")
    await s.no_items("the commit was refused")


async def _a_lost_item(s: Subject) -> LockedActivity:
    await s.start("c")
    turn = next(turn for turn in (await s.lock_turns()).turns if turn.lock.instance == "c")
    await s.commit(turn, "Scheduled", activities=(an_item(),))
    item = await s.item()
    await s.settle(item.lock)
    return item


@belongs_to(Part.REFUSALS)
async def check_event_ids_have_no_gaps(s: Subject) -> None:
    """Events of one commit are numbered one after the other: a gap, a number twice or a wrong order is refused."""
    await s.start()
    turn = await s.turn()
    for ids in ((1, 3), (1, 1, 3), (1, 1, 2), (2, 1), (1, 3, 2, 4), (0, 1)):
        with expect_raises(TrioflowError, f"the commit brings ids {ids}"):
            await s.commit(turn, events=tuple(an_event(number) for number in ids))
    expect_equal(await s.store.read_history("a", 1), (), "the history")
    await s.commit(turn, events=(an_event(1), an_event(2)))


async def check_what_an_ended_instance_left_can_be_read(s: Subject) -> None:
    """History, values, status and attributes of an instance that has ended stay."""
    await s.start("a", attributes={"k": "v"})
    await s.run("a", "Started", "Ended", state=State.COMPLETED, kv_set={"k": b"v"}, status=b"s", unread=2, version="1")
    s.advance(100_000)
    record = await s.record()
    expect_equal(
        (dict(record.attributes), record.status, record.unread, record.version, record.history_length),
        ({"k": "v"}, b"s", 2, "1", 2),
        "the instance",
    )
    expect_equal(await s.store.read_kv("a"), {"k": b"v"}, "values")
    expect_equal(len(await s.store.read_history("a", 1)), 2, "the history")


@belongs_to(Part.EXECUTIONS)
async def check_the_last_event_is_whole(s: Subject) -> None:
    """The event that says why comes with its data and its payload, and is that of the current execution."""
    await s.start()
    await s.run("a", "One", "Two", "Three", next_execution=NextExecution(start=draft("Again")))
    expect_equal((await s.record()).last_event, None, "the last event of an execution that has not begun")
    row = EventRow(1, 2.5, "Ended", b"\x00data", b"\xffpayload")
    await s.commit(await s.turn(), events=(row,), state=State.FAILED)
    expect_equal((await s.record()).last_event, row, "the last event")


async def check_history_bytes_count_data_and_payload(s: Subject) -> None:
    """The size of a history is that of all data and payloads of the current execution, and is told with the lock."""
    await s.start()
    events = (EventRow(1, 0.0, "A", b"12345", b"123"), EventRow(2, 0.0, "B", b"1", None))
    await s.commit(await s.turn(), events=events)
    await s.post("a")
    turn = await s.turn()
    expect_equal((turn.history_bytes, turn.history_length), (9, 2), "what a locked turn tells")
    await s.commit(turn, events=(EventRow(3, 0.0, "C", b"", b"1"),))
    expect_equal((await s.record()).history_bytes, 10, "the size")


async def check_values_outlive_commits(s: Subject) -> None:
    """A value that was cleared may be set again, and one that was set stays until it is changed."""
    await s.waiting("a", kv_set={"k": b"1", "other": b"o"})
    for changes, wanted in (
        ({"kv_cleared": ("k",)}, {"other": b"o"}),
        ({"kv_set": {"k": b"2"}}, {"k": b"2", "other": b"o"}),
        ({"kv_cleared": ("k", "other")}, {}),
    ):
        await s.post("a")
        await s.run("a", **changes)
        expect_equal(await s.store.read_kv("a"), wanted, f"values after {changes}")


@belongs_to(Part.FUSED)
async def check_a_commit_does_several_things_at_once(s: Subject) -> None:
    """What a commit schedules, cancels, starts, sends, sets and settles is all there, for whoever looks next."""
    await s.scheduled(an_item(1), an_item(2), kv_set={"old": b"1"})
    one = (await s.lock_items(limit=1)).activities[0]
    await s.waiting("b")
    await s.post("a", "Wake")
    await s.run(
        "a",
        "Scheduled",
        status=b"s",
        kv_set={"new": b"2"},
        kv_cleared=("old",),
        activities=(an_item(3),),
        cancel_activities=(2,),
        starts=(s.a_start("child"),),
        messages=(OutMessage(instance="b", draft=draft("Hello")),),
        settle=(SettleActivity(lock=one.lock, message=draft("Done")),),
    )
    turns = {turn.lock.instance: kinds(turn.messages) for turn in (await s.lock_turns()).turns}
    wanted = {"a": ["Done", "ActivityCancelled"], "b": ["Hello"], "child": ["Started"]}
    expect_equal(turns, wanted, "the inboxes")
    expect_equal((await s.item()).lock.event_id, 3, "the item")
    expect_equal(await s.store.read_kv("a"), {"new": b"2"}, "values")


@belongs_to(Part.REFUSALS)
async def check_a_refused_commit_may_be_corrected(s: Subject) -> None:
    """A commit that was refused for what it brought leaves the lock with its holder, who may commit something else,
    even under the same request id.
    """
    await s.start()
    turn = await s.turn()
    with expect_raises(TrioflowError, "the events do not follow"):
        await s.commit(turn, events=(an_event(7),), request_id="mine")
    await s.nothing_eligible("the lock is held")
    expect_equal((await s.commit(turn, events=(an_event(1),), request_id="mine")).revision, 1, "the revision")
    expect_equal((await s.record()).history_length, 1, "the history")
