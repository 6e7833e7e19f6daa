"""How an execution follows another in one transaction. Read next: `_children.py`."""

from __future__ import annotations

from trioflow.abc import NextExecution, ReleaseTurn, State
from trioflow.testing._store_contract._subject import Subject, an_item, draft, expect, expect_equal, kinds

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


async def check_the_lock_may_be_kept_over_it(s: Subject) -> None:
    """A kept lock goes over to the next execution and gets its start message."""
    await s.start()
    turn = await s.turn()
    answer = await s.commit(turn, "Started", next_execution=NEXT, keep=10.0)
    expect_equal((answer.kept, answer.execution, kinds(answer.messages)), (True, 2, ["Again"]), "the answer")
    await s.nothing_eligible("the lock was kept")


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
