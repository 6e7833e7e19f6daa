"""How an execution follows another in one transaction. Read next: `_children.py`."""

from __future__ import annotations

from trioflow.abc import NextExecution, OutMessage, Parent, ReleaseTurn, SettleActivity, State
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import LEASE, Subject, an_item, draft, expect, expect_equal, kinds

PART = Part.EXECUTIONS

NEXT = NextExecution(start=draft("Again"), version="2.0.0")


async def check_the_next_execution_begins(s: Subject) -> None:
    """The next execution is pending, with an empty history, the new version, and its start message."""
    await s.waiting("a", "Started", version="1.0.0")
    await s.post("a")
    answer = await s.run("a", "ContinuedAsNew", next_execution=NEXT)
    expect_equal((answer.execution, answer.revision, answer.kept), (2, 2, False), "the answer")
    record = await s.record()
    expect_equal(
        (record.execution, record.state, record.version, record.history_length, record.history_bytes, record.ended_at),
        (2, State.PENDING, "2.0.0", 0, 0, None),
        "the next execution",
    )
    turn = await s.turn()
    expect_equal((turn.lock.execution, kinds(turn.messages)), (2, ["Again"]), "its first turn")


async def check_the_old_history_stays(s: Subject) -> None:
    """The history of the execution before stays readable, and the next one's is its own."""
    await s.waiting("a", "Started")
    await s.post("a")
    await s.run("a", "ContinuedAsNew", next_execution=NEXT)
    await s.run("a", "Started again")
    old, new = await s.store.read_history("a", 1), await s.store.read_history("a", 2)
    expect_equal([event.kind for event in old], ["Started", "ContinuedAsNew"], "the history of execution 1")
    expect_equal([(event.id, event.kind) for event in new], [(1, "Started again")], "the history of execution 2")


async def check_the_start_message_is_first(s: Subject) -> None:
    """The start message comes before what is already in the inbox; what was for the old execution is dropped."""
    await s.waiting()
    await s.post("a", "Wake")
    turn = await s.turn()
    await s.post("a", "Old", execution=1)
    await s.post("a", "Event", mailbox=True)
    await s.post("a", "Control", control=True)
    await s.commit(turn, next_execution=NEXT)
    messages = (await s.turn()).messages
    expect_equal(kinds(messages), ["Again", "Event", "Control"], "the inbox of the next execution")
    seqs = [message.seq for message in messages]
    expect(seqs == sorted(seqs), "seq grows")


async def check_values_and_status_stay(s: Subject) -> None:
    """Values and status belong to the instance, not to the execution."""
    await s.waiting("a", kv_set={"k": b"v"}, status=b"s")
    await s.post("a")
    await s.run("a", next_execution=NEXT)
    expect_equal((await s.store.read_kv("a"), (await s.record()).status), ({"k": b"v"}, b"s"), "what stays")


async def check_old_answers_do_not_reach_it(s: Subject) -> None:
    """Answers to operations of the old execution are dropped, from items and from other instances."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.post("a")
    await s.run("a", next_execution=NEXT)
    await s.settle(item.lock)
    await s.post("a", "Answer", execution=1)
    expect_equal(kinds((await s.turn()).messages), ["Again"], "the inbox of the next execution")


async def check_a_version_may_be_left_open(s: Subject) -> None:
    """Without a version the next execution is not pinned."""
    await s.waiting("a", version="1.0.0")
    await s.post("a")
    await s.run("a", next_execution=NextExecution(start=draft("Again")))
    expect_equal((await s.record()).version, None, "the version of the next execution")


@belongs_to(Part.FUSED)
async def check_the_lock_may_be_kept_over_it(s: Subject) -> None:
    """A kept lock goes over to the next execution and gets its start message."""
    await s.start()
    turn = await s.turn()
    answer = await s.commit(turn, "Started", next_execution=NEXT, keep=10.0)
    expect_equal((answer.kept, answer.execution, kinds(answer.messages)), (True, 2, ["Again"]), "the answer")
    await s.nothing_eligible("the lock was kept")


@belongs_to(Part.REPLACING)
async def check_many_executions_follow(s: Subject) -> None:
    """Execution numbers and revisions go on over many executions, and a replacement goes on from there."""
    await s.start()
    for number in range(1, 6):
        turn = await s.turn()
        expect_equal((turn.lock.execution, turn.revision), (number, number - 1), "execution and revision")
        await s.commit(turn, "Started", next_execution=NEXT)
    await s.run("a", "Ended", state=State.COMPLETED)
    expect_equal((await s.start("a", if_exists="replace_finished")).execution, 7, "the replacement's number")


async def check_no_released_message_is_lost(s: Subject) -> None:
    """A next execution that is given back uncommitted still has its start message."""
    await s.waiting()
    await s.post("a")
    await s.run("a", next_execution=NEXT)
    await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock))
    expect_equal(kinds((await s.turn()).messages), ["Again"], "the inbox of the next execution")


async def check_cancelled_items_of_the_old_execution_end_silently(s: Subject) -> None:
    """Items that are cancelled by the commit which continues as new post nothing to the next execution."""
    await s.scheduled(an_item())
    await s.post("a")
    await s.run("a", next_execution=NEXT, cancel_activities=(1,))
    await s.no_items("it was cancelled")
    expect_equal(kinds((await s.turn()).messages), ["Again"], "the inbox of the next execution")


async def check_a_continuing_turn_writes_to_what_follows(s: Subject) -> None:
    """Messages of a turn to its own instance reach the next execution, unless they are for the one that ends."""
    out = tuple(OutMessage(instance="a", execution=number, draft=draft(f"To {number}")) for number in (None, 1, 2))
    await s.start()
    await s.run("a", next_execution=NEXT, messages=out)
    expect_equal(kinds((await s.turn()).messages), ["Again", "To None", "To 2"], "the inbox of the next execution")


@belongs_to(Part.MAILBOXES)
async def check_a_mailbox_goes_over(s: Subject) -> None:
    """Events that go over to the next execution count against its mailbox; what was dropped does not."""
    await s.waiting()
    await s.post("a", "Wake")
    turn = await s.turn()
    await s.post("a", mailbox=True)
    await s.post("a", mailbox=True, execution=1)
    await s.commit(turn, next_execution=NEXT)
    await s.post("a", mailbox=True, mailbox_limit=2)
    await s.mailbox_is_full("a", 2)


async def check_a_leased_item_of_the_old_execution_runs_out_silently(s: Subject) -> None:
    """Leased items that are cancelled by the commit which continues as new are marked, and end without a word."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.post("a")
    answer = await s.run("a", next_execution=NEXT, cancel_activities=(1,))
    expect_equal(answer.hurt, (item.lock,), "items hurt by the commit")
    s.advance(LEASE)
    await s.no_items("it was cancelled")
    expect_equal(kinds((await s.turn()).messages), ["Again"], "the inbox of the next execution")


async def check_an_old_time_does_not_wake_the_next(s: Subject) -> None:
    """The next execution has no time to wake until it sets one."""
    await s.start()
    await s.run("a", next_execution=NEXT, wake_at=s.clock.now + 10)
    record = await s.record()
    expect_equal((record.wake_at, record.state), (None, State.PENDING), "the next execution")
    await s.run("a", "Started")
    s.advance(1000)
    await s.nothing_eligible("it has no time")


@belongs_to(Part.FUSED)
async def check_a_continuing_turn_starts_and_schedules(s: Subject) -> None:
    """A turn that continues as new has its starts carried out, and its settlements; answers to it are dropped."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.post("a")
    told = OutMessage(instance="a", execution=1, draft=draft("ChildStarted"))
    child = s.a_start("child", on_started=told)
    await s.run("a", next_execution=NEXT, starts=(child,), settle=(SettleActivity(lock=item.lock),))
    turns = {turn.lock.instance: kinds(turn.messages) for turn in (await s.lock_turns()).turns}
    expect_equal(turns, {"a": ["Again"], "child": ["Started"]}, "the inboxes")
    expect_equal((await s.settle(item.lock)).lost, (item.lock,), "locks lost")


async def check_identity_stays_over_it(s: Subject) -> None:
    """Name, parent, attributes and the time of creation belong to the instance, over all its executions."""
    parent = Parent(instance="p", execution=1, event_id=1)
    await s.start("a", parent=parent, attributes={"k": "v"}, name="mine")
    at = s.clock.now
    s.advance(5)
    await s.run("a", next_execution=NEXT)
    record = await s.record()
    expect_equal(
        (record.name, record.parent, dict(record.attributes), record.created_at),
        ("mine", parent, {"k": "v"}, at),
        "the instance",
    )


@belongs_to(Part.MAILBOXES)
async def check_unread_events_are_set_with_it(s: Subject) -> None:
    """The unread count that a continuing turn sets goes over with it, and counts against the mailbox."""
    await s.start()
    await s.run("a", next_execution=NEXT, unread=3)
    expect_equal((await s.record()).unread, 3, "unread events")
    await s.mailbox_is_full("a", 3)
