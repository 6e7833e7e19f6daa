"""Instances that are suspended or parked. Read next: `_turn_commits.py`."""

from __future__ import annotations

from trioflow.abc import Capabilities, NextExecution, State
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import Subject, an_item, draft, expect, expect_equal, kinds

START = draft("OrchestrationStarted")
CANCEL = "CancelRequested"


async def check_what_is_left_does_not_wake_a_held_instance(s: Subject) -> None:
    """Once its control messages are consumed, a held instance is left alone, whatever else is in its inbox."""
    await s.waiting("a", state=State.SUSPENDED)
    for kind in ("Note", "Control", "Late"):
        await s.post("a", kind, control=kind == "Control")
    turn = await s.turn()
    await s.commit(turn, state=State.SUSPENDED, consumed=(turn.messages[1].seq,))
    await s.nothing_eligible("no control message is left")
    expect_equal((await s.record()).queued, 2, "messages in the inbox")


async def check_a_control_message_that_is_left_counts(s: Subject) -> None:
    """A control message that was not consumed keeps a held instance eligible."""
    await s.waiting("a", state=State.SUSPENDED)
    await s.post("a", "Note")
    await s.post("a", "Control", control=True)
    turn = await s.turn()
    await s.commit(turn, state=State.PARKED, consumed=(turn.messages[0].seq,))
    expect_equal(kinds((await s.turn()).messages), ["Control"], "the inbox")


async def check_a_resumed_instance_has_its_messages(s: Subject) -> None:
    """What arrived while an instance was held makes it eligible as soon as it goes on."""
    await s.waiting("a", state=State.SUSPENDED)
    await s.post("a", "Note")
    await s.post("a", "Resume", control=True)
    turn = await s.turn()
    await s.commit(turn, state=State.WAITING, consumed=(turn.messages[1].seq,))
    expect_equal(kinds((await s.turn()).messages), ["Note"], "the inbox")


async def check_a_time_that_came_while_held_is_due(s: Subject) -> None:
    """Suspension does not stop the clock: a time that came meanwhile is due as soon as the instance goes on."""
    wake_at = s.clock.now + 5
    await s.waiting("a", state=State.SUSPENDED, wake_at=wake_at)
    s.advance(10)
    await s.post("a", "Resume", control=True)
    turn = await s.turn()
    expect_equal(turn.wake_at, wake_at, "when it was to be woken")
    await s.commit(turn, wake_at=turn.wake_at)
    expect_equal((await s.turn()).messages, (), "the inbox of a turn by time alone")


async def check_a_held_instance_announces_no_time(s: Subject) -> None:
    """`next_due` does not speak of instances that time alone does not wake."""
    for name, state in (("a", State.SUSPENDED), ("b", State.PARKED)):
        await s.waiting(name, state=state, wake_at=s.clock.now + 5)
    expect_equal((await s.lock_turns()).next_due, None, "next_due")


async def check_an_outcome_waits_while_held(s: Subject) -> None:
    """What an activity of a held instance comes to is kept for later."""
    await s.scheduled(an_item(), state=State.SUSPENDED)
    await s.settle((await s.item()).lock)
    await s.nothing_eligible("the instance is suspended")
    await s.post("a", "Resume", control=True)
    expect_equal(kinds((await s.turn()).messages), ["Done", "Resume"], "the inbox")


async def check_a_held_instance_can_end(s: Subject) -> None:
    """A held instance may be ended by a control message; what it held back is gone."""
    await s.waiting("a", state=State.PARKED)
    await s.post("a", "Note")
    await s.post("a", "Terminate", control=True)
    turn = await s.turn()
    await s.commit(turn, "Ended", state=State.TERMINATED, consumed=(turn.messages[1].seq,))
    record = await s.record()
    expect_equal((record.queued, record.control_queued), (0, False), "the inbox")
    await s.nothing_eligible("it has ended")


@belongs_to(Part.MAILBOXES)
async def check_a_mailbox_fills_while_held(s: Subject) -> None:
    """Events for a held instance count against its mailbox like any others."""
    await s.waiting("a", state=State.SUSPENDED, unread=1)
    await s.post("a", mailbox=True, mailbox_limit=2)
    await s.mailbox_is_full("a", 2)


# -- cancelled before they began


@belongs_to(Part.DETAILS)
async def check_a_cancellation_controls_what_has_not_begun(s: Subject) -> None:
    """As long as the start of a held or delayed instance waits in its inbox, a cancellation makes it eligible."""
    for state in (State.SUSPENDED, State.PARKED):
        await s.start(state, start=START)
        await s.commit(await s.turn(state), state=state, consumed=())
    await s.start("delayed", start=START, delay=60.0)
    await s.nothing_eligible("nobody asked for its end")
    for instance in (State.SUSPENDED, State.PARKED, "delayed"):
        await s.post(instance, "Note")
        await s.post(instance, CANCEL)
        expect((await s.record(instance)).control_queued, "control waits")
        expect_equal(kinds((await s.turn(instance)).messages), [START.kind, "Note", CANCEL], "the inbox")


@belongs_to(Part.DETAILS)
async def check_a_cancellation_does_not_control_what_has_begun(s: Subject) -> None:
    """Once the start was consumed a cancellation waits like any other message, also one that came before that."""
    await s.start("a", start=START)
    turn = await s.turn("a")
    await s.post("a", CANCEL)
    await s.commit(turn, state=State.SUSPENDED)
    expect(not (await s.record("a")).control_queued, "no control waits")
    await s.post("a", CANCEL)
    await s.nothing_eligible("it has begun")
    expect_equal((await s.record("a")).queued, 2, "messages in the inbox")


@belongs_to(Part.EXECUTIONS)
async def check_a_cancellation_controls_the_next_execution(s: Subject) -> None:
    """A cancellation that waits while an instance continues as new controls the execution that has not begun."""
    await s.waiting("a")
    await s.post("a")
    turn = await s.turn("a")
    await s.post("a", CANCEL)
    await s.commit(turn, "Continued", state=State.PENDING, next_execution=NextExecution(start=START))
    turn = await s.turn("a")
    await s.commit(turn, state=State.SUSPENDED, consumed=())
    expect_equal(kinds((await s.turn("a")).messages), [START.kind, CANCEL], "the inbox")


@belongs_to(Part.CAPABILITIES)
async def check_a_cancellation_before_the_start_is_for_whoever_comes_first(s: Subject) -> None:
    """What has not begun and is cancelled is taken by workers that cannot run it, too; what has begun is not."""
    stranger = Capabilities(orchestrations=(("other", "1"),))
    await s.start("a", start=START)
    await s.post("a", CANCEL)
    turn = await s.turn("a", can_run=stranger)
    await s.commit(turn, consumed=(turn.messages[0].seq,))
    expect_equal((await s.lock_turns(can_run=stranger)).turns, (), "what is taken of what has begun")
    expect_equal(kinds((await s.turn("a")).messages), [CANCEL], "the inbox")
