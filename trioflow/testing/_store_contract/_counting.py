"""Executions, queue depths and numbers. Read next: `_fused.py`."""

from __future__ import annotations

from trioflow.abc import LockTurns, LockedTurns, QueueDepth, ReleaseActivity, State
from trioflow.testing._store_contract._capabilities import can
from trioflow.testing._store_contract._deleting import continued, pruned
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import CLAIM, LEASE, Subject, an_item, expect_equal

PART = Part.MANAGEMENT

# -- executions


async def check_executions_are_told_of_in_short(s: Subject) -> None:
    """Each execution has its number, its size, and its first and last event without their payloads."""
    begin = s.clock.now
    await continued(s, 1)
    first, second = await s.store.read_executions("a")
    expect_equal((first.execution, second.execution), (1, 2), "their numbers")
    expect_equal((first.history_length, first.history_bytes), (2, 4), "the size of the first")
    assert first.first is not None
    assert first.last is not None
    expect_equal((first.first.id, first.first.kind, first.first.at), (1, "Started", begin), "its first event")
    expect_equal((first.last.id, first.last.kind, first.last.data), (2, "End1", b"{}"), "its last event")
    assert second.last is not None
    expect_equal((second.last.kind, second.last.at), ("Now", begin + 1), "the last event of the second")


async def check_executions_are_told_of_without_payloads(s: Subject) -> None:
    """Payloads count for the size, and are left out."""
    await s.start()
    turn = await s.turn()
    event = s.events(turn.lock, "Started")[0]
    whole = type(event)(event.id, event.at, event.kind, b"data", b"payload")
    await s.commit(turn, events=(whole,))
    (found,) = await s.store.read_executions("a")
    assert found.first is not None
    expect_equal((found.first.data, found.first.payload, found.history_bytes), (b"data", None, 11), "the event")


async def check_an_execution_that_has_not_begun_is_told_of(s: Subject) -> None:
    """The current execution is among them, though it has no events yet."""
    await s.start()
    (found,) = await s.store.read_executions("a")
    expect_equal((found.execution, found.history_length, found.first, found.last), (1, 0, None, None), "the execution")


async def check_executions_come_in_parts(s: Subject) -> None:
    """From a number on, and so many; what was pruned is left out."""
    await continued(s, 5)
    numbers = [record.execution for record in await s.store.read_executions("a", after=2, limit=2)]
    expect_equal(numbers, [3, 4], "two of them")
    await pruned(s, keep=3)
    expect_equal([record.execution for record in await s.store.read_executions("a")], [4, 5, 6], "what is left")
    expect_equal(await s.store.read_executions("a", after=6), (), "behind the last")
    expect_equal(await s.store.read_executions("nobody"), (), "of nobody")


# -- queues and numbers


async def check_turns_are_counted(s: Subject) -> None:
    """Instances that are due, leased, or due later are counted, and how long the first has waited."""
    await s.start("waits")
    s.advance(5)
    await s.start("waits, too")
    await s.start("later", delay=100.0)
    expect_equal(
        (await s.store.read_depths()).turns, QueueDepth(ready=2, leased=0, later=1, oldest=5.0), "before any is taken"
    )
    await s.lock_turns(limit=1)
    expect_equal((await s.store.read_depths()).turns, QueueDepth(ready=1, leased=1, later=1, oldest=0.0), "then")
    s.advance(LEASE)
    expect_equal((await s.store.read_depths()).turns.ready, 2, "when the lease has run out")


async def check_nothing_to_do_is_counted_as_nothing(s: Subject) -> None:
    """Instances that have nothing to do, and those that have ended, are in no queue."""
    await s.waiting("waiting")
    await s.ended("over")
    depths = await s.store.read_depths()
    nothing = QueueDepth(ready=0, leased=0, later=0, oldest=None)
    expect_equal((depths.turns, depths.activities, dict(depths.tagged)), (nothing, nothing, {}), "the queues")


async def check_activities_are_counted_by_tag(s: Subject) -> None:
    """Items are counted as turns are, all together and for each tag."""
    await s.scheduled(an_item(1), an_item(2, tag="gpu"), an_item(3, tag="gpu"), an_item(4), an_item(5, tag="disk"))
    s.advance(2)
    first, second = (await s.lock_items(limit=2)).activities
    await s.store.release_activity(ReleaseActivity(lock=second.lock, delay=50.0))
    expect_equal(first.lock.event_id, 1, "what is taken")
    depths = await s.store.read_depths()
    expect_equal(depths.activities, QueueDepth(ready=3, leased=1, later=1, oldest=2.0), "all")
    expect_equal(
        dict(depths.tagged),
        {
            "disk": QueueDepth(ready=1, leased=0, later=0, oldest=2.0),
            "gpu": QueueDepth(ready=2, leased=0, later=0, oldest=2.0),
        },
        "by tag",
    )


async def check_everything_is_counted(s: Subject) -> None:
    """Instances by name and state, executions, events, messages, items and sessions."""
    await continued(s, 1, "a")
    await s.ended("b")
    await s.start("c", name="other")
    await s.run("c", "Scheduled", "Scheduled", activities=(an_item(1, session="s"), an_item(2)))
    await s.lock_items(limit=1, sessions=CLAIM)
    await s.post("c")
    metrics = await s.store.read_metrics()
    expect_equal(
        dict(metrics.instances),
        {("flow", State.COMPLETED): 1, ("flow", State.WAITING): 1, ("other", State.WAITING): 1},
        "instances",
    )
    expect_equal((metrics.executions, metrics.events), (4, 8), "executions and events")
    expect_equal((metrics.messages, metrics.activities, metrics.sessions), (1, 2, 1), "messages, items, sessions")


async def check_an_empty_store_counts_nothing(s: Subject) -> None:
    """There is nothing to count."""
    metrics = await s.store.read_metrics()
    expect_equal(
        (dict(metrics.instances), metrics.executions, metrics.events, metrics.messages, metrics.sessions),
        ({}, 0, 0, 0, 0),
        "the numbers",
    )


# -- what nobody takes


async def left(s: Subject, overdue: float = 0.0, *pairs: tuple[str, str]) -> list[str]:
    """The instances that a worker with these abilities is shown as others'."""
    request = LockTurns(worker="worker", limit=9, lease=LEASE, can_run=can(*pairs), others=True, overdue=overdue)
    locked: LockedTurns = await s.store.lock_turns(request)
    return sorted(turn.lock.instance for turn in locked.turns)


@belongs_to(Part.CAPABILITIES)
async def check_others_are_those_one_cannot_run(s: Subject) -> None:
    """A worker that looks for others' instances gets those that it cannot run: by name, version or semantics."""
    await s.start("mine", name="flow", version="1")
    await s.start("open", name="flow")
    await s.start("newer", name="flow", version="2")
    await s.start("unknown", name="other")
    await s.start("semantic", name="flow", version="1", semantics=9)
    expect_equal(await left(s, 0.0, ("flow", "1")), ["newer", "semantic", "unknown"], "what it gets")
    expect_equal(await left(s, 0.0, ("flow", "1")), [], "what it gets while these are leased")


@belongs_to(Part.CAPABILITIES)
async def check_all_are_others_to_whoever_can_run_nothing(s: Subject) -> None:
    """A worker that can run nothing is shown everything; one that can run anything, nothing."""
    await s.start("a", version="1")
    await s.start("b")
    request = LockTurns(worker="worker", limit=9, lease=LEASE, can_run=None, others=True)
    expect_equal((await s.store.lock_turns(request)).turns, (), "who can run anything")
    expect_equal(await left(s), ["a", "b"], "who can run nothing")


@belongs_to(Part.CAPABILITIES)
async def check_a_control_message_is_nothing_that_others_wait_for(s: Subject) -> None:
    """What one could run is not shown as others', whatever waits for it."""
    await s.waiting("a")
    await s.post("a", control=True)
    await s.start("b", name="flow", version="1")
    expect_equal(await left(s, 0.0, ("flow", "1")), [], "what it gets")


@belongs_to(Part.CAPABILITIES)
async def check_only_what_is_overdue_is_taken(s: Subject) -> None:
    """A worker that asks for what has waited so long gets that, and nothing younger."""
    await s.start("old", name="other")
    s.advance(10)
    await s.start("young", name="other")
    s.advance(50)
    expect_equal(await left(s, 60.0), ["old"], "what has waited for a minute")
    expect_equal(await left(s, 60.0), [], "what is leased")
    s.advance(10)
    expect_equal(await left(s, 60.0), ["young"], "what has waited for a minute by now")


@belongs_to(Part.CAPABILITIES)
async def check_a_time_that_came_is_waited_from(s: Subject) -> None:
    """A deadline that has come is overdue from then on, and a lease that ran out from its end."""
    await s.start("timer", name="other")
    await s.run("timer", "Started", wake_at=s.clock.now + 100)
    s.advance(150)
    expect_equal(await left(s, 60.0), [], "before")
    s.advance(10)
    expect_equal(await left(s, 60.0), ["timer"], "a minute after its time")
    s.advance(LEASE + 59)
    expect_equal(await left(s, 60.0), [], "before its lease has been over for a minute")
    s.advance(1)
    expect_equal(await left(s, 60.0), ["timer"], "after")
