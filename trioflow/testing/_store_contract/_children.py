"""Starts out of a turn. Read next: `_fused.py`."""

from __future__ import annotations

from typing import Any

from trioflow.abc import Capabilities, Draft, NextExecution, OutMessage, Parent, StartInstance, State
from trioflow.errors import LockLost
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import LEASE, Subject, draft, expect_equal, expect_raises, kinds

PART = Part.CHILDREN


def _child(s: Subject, instance: str, **fields: Any) -> StartInstance:
    parent = Parent(instance="a", execution=1, event_id=1)
    return s.a_start(
        instance,
        parent=parent,
        on_started=OutMessage(instance="a", execution=1, draft=draft("ChildStarted")),
        on_refused=OutMessage(instance="a", execution=1, draft=draft("ChildRefused")),
        **fields,
    )


async def check_a_child_is_started(s: Subject) -> None:
    """A start out of a turn creates an instance with its parent, and the starter is told."""
    await s.start("a")
    await s.run("a", starts=(_child(s, "child"),))
    expect_equal((await s.record("child")).parent, Parent(instance="a", execution=1, event_id=1), "the parent")
    turns = {turn.lock.instance: turn for turn in (await s.lock_turns()).turns}
    expect_equal(kinds(turns["child"].messages), ["Started"], "the child's inbox")
    expect_equal(kinds(turns["a"].messages), ["ChildStarted"], "the starter's inbox")


async def check_a_clash_is_told(s: Subject) -> None:
    """A start whose id is taken is refused for itself: the turn commits and the starter is told."""
    await s.waiting("child")
    await s.start("a")
    await s.run("a", "Started", starts=(_child(s, "child"), _child(s, "other")))
    expect_equal((await s.record("a")).history_length, 1, "the turn was committed")
    turns = {turn.lock.instance: turn for turn in (await s.lock_turns()).turns}
    expect_equal(sorted(turns), ["a", "other"], "what is eligible")
    expect_equal(kinds(turns["a"].messages), ["ChildRefused", "ChildStarted"], "the starter's inbox")


async def check_nobody_is_told_without_replies(s: Subject) -> None:
    """Without replies a start tells nobody, whether it is refused or not."""
    await s.waiting("taken")
    await s.start("a")
    await s.run("a", starts=(s.a_start("taken"), s.a_start("free")))
    await s.turn("free")


async def check_an_instance_cannot_start_itself(s: Subject) -> None:
    """A start under the starter's own id is a clash."""
    await s.start("a")
    await s.run("a", starts=(_child(s, "a"),))
    expect_equal(kinds((await s.turn()).messages), ["ChildRefused"], "the starter's inbox")


async def check_two_starts_of_one_id_clash(s: Subject) -> None:
    """Of two starts of one id in a commit the first wins."""
    await s.start("a")
    await s.run("a", starts=(_child(s, "child", name="one"), _child(s, "child", name="two")))
    expect_equal((await s.record("child")).name, "one", "the child")
    turns = {turn.lock.instance: turn for turn in (await s.lock_turns()).turns}
    expect_equal(kinds(turns["a"].messages), ["ChildStarted", "ChildRefused"], "the starter's inbox")


async def check_a_start_survives_its_starter(s: Subject) -> None:
    """A turn that ends its instance still starts others, and has nobody to tell."""
    await s.start("a")
    await s.run("a", "Ended", state=State.FAILED, starts=(_child(s, "child"),))
    expect_equal((await s.record("a")).queued, 0, "the starter's inbox")
    await s.turn("child")


async def check_a_start_out_of_a_turn_may_be_delayed(s: Subject) -> None:
    """A delayed start out of a turn waits as one from a client does."""
    await s.start("a")
    await s.run("a", starts=(s.a_start("child", delay=10.0),))
    s.advance(9)
    await s.nothing_eligible("the delay is not over")
    s.advance(1)
    await s.turn("child")


async def check_a_message_reaches_a_child_of_the_same_commit(s: Subject) -> None:
    """Messages are delivered after the starts, so a turn may write to what it starts."""
    await s.start("a")
    out = (OutMessage(instance="child", draft=draft("Hello")),)
    await s.run("a", starts=(s.a_start("child"),), messages=out)
    expect_equal(kinds((await s.turn("child")).messages), ["Started", "Hello"], "the child's inbox")


async def check_a_message_to_a_child_reaches_no_other_instance(s: Subject) -> None:
    """A message to a child is dropped where its id belongs to somebody else."""
    mine = Parent(instance="a", execution=1, event_id=1)
    names = ("stranger", "sibling", "child")
    out = tuple(OutMessage(instance=name, child_of=mine, draft=draft("Cancel")) for name in names)
    sibling = Parent(instance="a", execution=1, event_id=2)
    await s.waiting("stranger")
    await s.start("a")
    starts = (
        s.a_start("child", parent=mine),
        s.a_start("sibling", parent=sibling),
        s.a_start("stranger", parent=mine),  # refused
    )
    await s.run("a", starts=starts, messages=out)
    turns = {turn.lock.instance: kinds(turn.messages) for turn in (await s.lock_turns()).turns}
    expect_equal(turns, {"child": ["Started", "Cancel"], "sibling": ["Started"]}, "the inboxes")


async def check_an_answer_reaches_the_parent(s: Subject) -> None:
    """A child's answer reaches the execution that waits for it, and only that one."""
    await s.waiting("a")
    await s.start("child", parent=Parent(instance="a", execution=1, event_id=1))
    answer = OutMessage(instance="a", execution=1, draft=draft("ChildCompleted"))
    await s.run("child", "Ended", state=State.COMPLETED, messages=(answer,))
    expect_equal(kinds((await s.turn("a")).messages), ["ChildCompleted"], "the parent's inbox")


@belongs_to(Part.CAPABILITIES)
async def check_a_childs_start_is_kept_whole(s: Subject) -> None:
    """A start out of a turn carries all that one from a client does: version, semantics, attributes, the message."""
    start = Draft("Started", b"\x00", b"\xff")
    child = s.a_start("child", version="7", semantics=3, attributes={"é": "x"}, start=start)
    await s.start("a")
    await s.run("a", starts=(child,))
    record = await s.record("child")
    expect_equal((record.version, dict(record.attributes), record.state), ("7", {"é": "x"}, State.PENDING), "the child")
    can_run = Capabilities(orchestrations=(("flow", "7"),), semantics=(3,))
    (turn,) = (await s.lock_turns(can_run=can_run)).turns
    expect_equal((turn.lock.instance, turn.messages[0].draft), ("child", start), "its first turn")


@belongs_to(Part.REPLACING)
async def check_a_turn_may_attach(s: Subject) -> None:
    """A start out of a turn that attaches finds what is there, and the starter is told that it has started."""
    await s.waiting("child")
    await s.start("a")
    await s.run("a", starts=(_child(s, "child", if_exists="attach"),))
    expect_equal(kinds((await s.turn("a")).messages), ["ChildStarted"], "the starter's inbox")


@belongs_to(Part.REPLACING)
async def check_a_turn_may_replace(s: Subject) -> None:
    """A start out of a turn may replace what has ended, and is refused, and told so, where that runs."""
    await s.ended("over")
    await s.waiting("runs")
    await s.start("a")
    starts = tuple(_child(s, name, if_exists="replace_finished") for name in ("runs", "over"))
    await s.run("a", starts=starts)
    expect_equal(((await s.record("over")).execution, (await s.record("runs")).execution), (2, 1), "executions")
    turns = {turn.lock.instance: kinds(turn.messages) for turn in (await s.lock_turns()).turns}
    expect_equal(turns["a"], ["ChildRefused", "ChildStarted"], "the starter's inbox")


@belongs_to(Part.REPLACING)
async def check_a_turn_attaches_to_what_it_named(s: Subject) -> None:
    """A start out of a turn that would attach to another orchestration is refused, and the starter is told."""
    await s.waiting("child")
    await s.start("a")
    await s.run("a", starts=(_child(s, "child", name="other", if_exists="attach"),))
    expect_equal(kinds((await s.turn("a")).messages), ["ChildRefused"], "the starter's inbox")


async def _called(s: Subject, child: str, execution: int) -> list[str]:
    """The first turn of an execution of `a` calls a child; what it is told then."""
    parent = Parent(instance="a", execution=execution, event_id=1)
    replies = {f"on_{how}": OutMessage(instance="a", draft=draft(how)) for how in ("started", "refused")}
    turn = next(turn for turn in (await s.lock_turns()).turns if turn.lock.instance == "a")
    await s.commit(turn, "Called", starts=(s.a_start(child, parent=parent, **replies),))
    turns = {turn.lock.instance: turn for turn in (await s.lock_turns()).turns}
    if child in turns and turns[child].messages[0].draft.kind == "Started":
        await s.commit(turns[child], "Begun")
    await s.commit(turns["a"])
    return kinds(turns["a"].messages)


async def _over(s: Subject, instance: str, **fields: Any) -> None:
    """An instance that waits ends."""
    await s.post(instance)
    await s.run(instance, "Ended", **{"state": State.COMPLETED, **fields})


@belongs_to(Part.REPLACING)
async def check_children_of_an_earlier_life_give_way(s: Subject) -> None:
    """A parent that was replaced starts its children anew under the ids that they had: as their next execution."""
    await s.start("a")
    expect_equal(await _called(s, "child", 1), ["started"], "what the first life is told")
    await _over(s, "child")
    await _over(s, "a")
    await s.start("a", if_exists="replace_finished")
    expect_equal(await _called(s, "child", 2), ["started"], "what the second life is told")
    child = await s.record("child")
    expect_equal((child.execution, child.state), (2, State.WAITING), "the child")
    expect_equal(child.parent, Parent(instance="a", execution=2, event_id=1), "its parent")


@belongs_to(Part.REPLACING)
async def check_only_what_an_earlier_life_left_gives_way(s: Subject) -> None:
    """Children of this life, those that still run, and those of others keep their ids."""
    await s.start("a")
    expect_equal(await _called(s, "runs", 1), ["started"], "what the first life is told")
    await _over(s, "a")
    await s.waiting("others", state=State.COMPLETED)
    await s.start("child of b", parent=Parent(instance="b", execution=1, event_id=1))
    await s.run("child of b", state=State.COMPLETED)
    await s.start("a", if_exists="replace_finished")
    expect_equal(await _called(s, "this life's", 2), ["started"], "what the second life is told")
    await _over(s, "this life's")
    await _over(s, "a", state=State.PENDING, next_execution=NextExecution(start=draft("Started")))
    for name in ("this life's", "runs", "others", "child of b"):
        expect_equal(await _called(s, name, 3), ["refused"], f"what it is told of {name!r}")
        await s.post("a")


async def check_an_ended_child_keeps_its_id(s: Subject) -> None:
    """A start under the id of a child that has ended is a clash."""
    await s.start("a")
    await s.run("a", starts=(s.a_start("child"),))
    await s.run("child", "Ended", state=State.COMPLETED)
    await s.post("a")
    await s.run("a", starts=(_child(s, "child"),))
    expect_equal(kinds((await s.turn("a")).messages), ["ChildRefused"], "the starter's inbox")


async def check_replies_may_go_elsewhere(s: Subject) -> None:
    """A reply goes to the instance that it names, where that still is the execution that it means."""
    await s.waiting("b")
    out = OutMessage(instance="b", draft=draft("Told"))
    old = OutMessage(instance="b", execution=7, draft=draft("Old"))
    await s.start("a")
    await s.run("a", starts=(s.a_start("one", on_started=out), s.a_start("two", on_started=old)))
    turns = {turn.lock.instance: kinds(turn.messages) for turn in (await s.lock_turns()).turns}
    expect_equal(turns["b"], ["Told"], "the inbox that was named")


async def check_a_refused_turn_starts_nobody(s: Subject) -> None:
    """A commit without a lock starts nothing and tells nobody."""
    await s.start("a")
    stale = await s.turn()
    s.advance(LEASE)
    await s.turn()
    with expect_raises(LockLost, "somebody else holds the lock"):
        await s.commit(stale, starts=(_child(s, "child"),))
    expect_equal(await s.store.read_instance("child"), None, "the child")
    expect_equal((await s.record("a")).queued, 1, "messages in the starter's inbox")
