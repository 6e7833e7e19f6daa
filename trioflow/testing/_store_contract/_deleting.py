"""Instances deleted, histories pruned. Read next: `_counting.py`."""

from __future__ import annotations

from typing import Any

from trioflow.abc import (
    DeleteInstances,
    NextExecution,
    OutMessage,
    Parent,
    PruneExecutions,
    RenewActivities,
    State,
    activity_topic,
    instance_topic,
)
from trioflow.errors import DuplicateRequestError, InstanceNotFinished, InstanceNotFound, LockLost
from trioflow.testing._store_contract._listing import listed
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import (
    LEASE,
    Subject,
    an_item,
    draft,
    expect,
    expect_equal,
    expect_raises,
    kinds,
)

PART = Part.MANAGEMENT


async def deleted(s: Subject, *ids: str, **fields: Any) -> int:
    """How many were deleted."""
    fields.setdefault("request_id", s.request_id())
    return await s.store.delete_instances(DeleteInstances(instances=ids, **fields))


async def child(s: Subject, id: str, parent: str, state: State = State.COMPLETED) -> None:
    """A child that stands somewhere."""
    await s.start(id, parent=Parent(instance=parent, execution=1, event_id=1))
    await s.run(id, "Started", state=state)


async def continued(s: Subject, times: int, instance: str = "a") -> None:
    """Start an instance and let it continue as new so many times; each execution has two events, a second apart."""
    await s.start(instance)
    for number in range(times):
        await s.run(
            instance, "Started", f"End{number + 1}", state=State.PENDING,
            next_execution=NextExecution(start=draft("Started")),
        )  # fmt: skip
        s.advance(1)
    await s.run(instance, "Started", "Now")


async def lengths(s: Subject, executions: int, instance: str = "a") -> list[int]:
    """How many events the history of each execution has."""
    return [len(await s.store.read_history(instance, number)) for number in range(1, executions + 1)]


# -- deleting


async def check_a_deleted_instance_is_gone(s: Subject) -> None:
    """Nothing of it can be read, listed, or written to, and nobody else is touched."""
    for name in ("a", "b"):
        await s.waiting(name, "Started", "Ended", state=State.COMPLETED, status=b"s", kv_set={"k": b"v"})
    expect_equal(await deleted(s, "a"), 1, "how many")
    expect_equal(await s.store.read_instance("a"), None, "what is known of it")
    expect_equal(await s.store.read_history("a", 1), (), "its history")
    expect_equal((await s.store.read_kv("a"), await s.store.read_executions("a")), ({}, ()), "values and executions")
    expect_equal(await listed(s), ["b"], "who is left")
    with expect_raises(InstanceNotFound, "nobody is there to write to"):
        await s.post("a")
    expect_equal((len(await s.store.read_history("b", 1)), await s.store.read_kv("b")), (2, {"k": b"v"}), "the other")


async def check_who_watches_hears_of_the_deletion(s: Subject) -> None:
    """Whoever waits for the instance is woken."""
    await s.ended()
    with s.store.signals.watch(instance_topic("a")) as watch:
        seen = watch.seen
        await deleted(s, "a")
        expect(watch.seen > seen, "it is woken")


async def check_descendants_go_with_it(s: Subject) -> None:
    """Children, and theirs, are deleted with an instance, and no one else's."""
    await s.ended("p")
    await child(s, "c1", "p")
    await child(s, "c2", "p")
    await child(s, "g", "c1")
    await s.ended("q")
    await child(s, "d", "q")
    expect_equal(await deleted(s, "p"), 4, "how many")
    expect_equal(sorted(await listed(s)), ["d", "q"], "who is left")


async def check_several_are_deleted_at_once(s: Subject) -> None:
    """Several ids go in one transaction; who is named twice, or as a descendant of another, is counted once."""
    await s.ended("p")
    await child(s, "c", "p")
    await s.ended("q")
    expect_equal(await deleted(s, "c", "q", "p", "q", "nobody", ""), 3, "how many")
    expect_equal(await listed(s), [], "who is left")


async def check_only_the_execution_that_is_meant_is_deleted(s: Subject) -> None:
    """An instance that was begun anew since it was found is passed over; who is named without an execution goes."""
    for name in ("a", "b", "c"):
        await s.ended(name)
    await s.start("a", if_exists="replace_finished")
    await s.run("a", "Started", "Ended", state=State.COMPLETED)
    expect_equal(await deleted(s, "a", "b", "c", executions={"a": 1, "b": 1}), 2, "how many")
    expect_equal(await listed(s), ["a"], "who is left")
    expect_equal(len(await s.store.read_history("a", 2)), 2, "events of the new execution")
    expect_equal(await deleted(s, "a", executions={"a": 2, "nobody": 1}), 1, "how many")


async def check_a_child_may_go_alone(s: Subject) -> None:
    """Deleting a child leaves its parent, which is told nothing by that."""
    await s.waiting("p")
    await child(s, "c", "p")
    expect_equal(await deleted(s, "c"), 1, "how many")
    expect_equal(await listed(s), ["p"], "who is left")
    await s.nothing_eligible("the parent hears nothing")


async def check_who_has_not_ended_is_not_deleted(s: Subject) -> None:
    """One that has not ended is refused, and so is everything that was asked for with it."""
    await s.ended("done")
    for name, state in (("waiting", State.WAITING), ("parked", State.PARKED), ("suspended", State.SUSPENDED)):
        await s.waiting(name, "Started", state=state)
        with expect_raises(InstanceNotFinished, f"it is {state}"):
            await deleted(s, "done", name)
    await s.start("pending")
    with expect_raises(InstanceNotFinished, "it has not begun"):
        await deleted(s, "pending")
    expect_equal(len(await listed(s)), 5, "who is left")
    expect_equal(len(await s.store.read_history("done", 1)), 2, "events of the one that has ended")


async def check_a_living_descendant_saves_its_family(s: Subject) -> None:
    """An instance of which a descendant goes on is refused."""
    await s.ended("p")
    await child(s, "c", "p")
    await child(s, "g", "c", State.WAITING)
    with expect_raises(InstanceNotFinished, "a grandchild goes on"):
        await deleted(s, "p")
    expect_equal(sorted(await listed(s)), ["c", "g", "p"], "who is left")


async def check_force_deletes_what_goes_on(s: Subject) -> None:
    """With force, what has not ended is deleted, too; its holder's commit is refused and brings nothing back."""
    await s.waiting("p")
    await child(s, "c", "p", State.WAITING)
    await s.post("p")
    turn = await s.turn("p")
    expect_equal(await deleted(s, "p", force=True), 2, "how many")
    with expect_raises(LockLost, "the instance is gone"):
        await s.commit(turn, "Late")
    expect_equal((await s.renew(turn)).lost, (turn.lock,), "what the holder hears at its renewal")
    expect_equal((await listed(s), await s.store.read_history("p", 1)), ([], ()), "what is left")


async def check_items_go_with_their_instance(s: Subject) -> None:
    """Its items are not handed out; one that somebody has is lost to its holder, who is woken to hear so."""
    await s.scheduled(an_item(1), an_item(2))
    (item,) = (await s.lock_items(limit=1)).activities
    with s.store.signals.watch(activity_topic(item.lock.token)) as watch:
        seen = watch.seen
        await deleted(s, "a", force=True)
        expect(watch.seen > seen, "the holder is woken")
    await s.no_items("they are gone")
    renewed = await s.store.renew_activities(RenewActivities(locks=(item.lock,), lease=LEASE))
    expect_equal(renewed.lost, (item.lock,), "what the holder hears at its renewal")
    expect_equal((await s.settle(item.lock)).lost, (item.lock,), "what it hears when it settles")


async def check_nothing_of_the_dead_reaches_the_living(s: Subject) -> None:
    """A new instance with the id of a deleted one goes on counting executions, and gets nothing of the old one's."""
    await s.scheduled(an_item(1))
    item = await s.item()
    await s.post("a", "Old")
    await deleted(s, "a", force=True)
    started = await s.start("a")
    expect_equal((started.execution, started.created), (2, True), "the new one")
    await s.settle(item.lock)
    turn = await s.turn()
    expect_equal(kinds(turn.messages), ["Started"], "the inbox of the new one")
    await s.commit(turn, "Started")
    await s.nothing_eligible("the outcome of the old one's activity is dropped")
    record = await s.record()
    expect_equal((record.execution, record.history_length, record.queued), (2, 1, 0), "what is known of it")


async def check_numbers_go_on_after_every_deletion(s: Subject) -> None:
    """Execution numbers of an id never start again, however often it is deleted."""
    for number in range(1, 4):
        expect_equal((await s.start("a")).execution, number, "the execution")
        await s.run("a", "Started", "Ended", state=State.COMPLETED)
        await deleted(s, "a")


async def check_those_who_wait_are_told(s: Subject) -> None:
    """Messages that come with a deletion are posted with it."""
    await s.waiting("p")
    await child(s, "c", "p", State.WAITING)
    word = OutMessage(instance="p", execution=1, draft=draft("ChildGone"))
    await deleted(s, "c", force=True, messages=(word,))
    expect_equal(kinds(await s.inbox("p")), ["ChildGone"], "what the parent gets")


async def check_a_refused_deletion_tells_nobody(s: Subject) -> None:
    """Messages that come with a deletion that is refused are not posted."""
    await s.waiting("p")
    await child(s, "c", "p", State.WAITING)
    word = OutMessage(instance="p", execution=1, draft=draft("ChildGone"))
    with expect_raises(InstanceNotFinished, "the child goes on"):
        await deleted(s, "c", messages=(word,))
    await s.nothing_eligible("the parent hears nothing")


@belongs_to(Part.REPEATS)
async def check_a_repeated_deletion_is_one(s: Subject) -> None:
    """A deletion that is repeated answers as the first did and hurts nobody who has the id by then."""
    await s.ended("p")
    await child(s, "c", "p")
    expect_equal(await deleted(s, "p", request_id="r-1"), 2, "how many")
    await s.ended("p")
    expect_equal(await deleted(s, "p", request_id="r-1"), 2, "how many at the repeat")
    expect_equal(await listed(s), ["p"], "who is left")
    with expect_raises(DuplicateRequestError, "the request id was another request's"):
        await deleted(s, "q", request_id="r-1")


# -- pruning


async def pruned(s: Subject, instance: str = "a", **fields: Any) -> int:
    """How many histories were removed."""
    return await s.store.prune_executions(PruneExecutions(instance=instance, **fields))


@belongs_to(Part.REPEATS)
async def check_a_repeated_pruning_is_one(s: Subject) -> None:
    """A pruning that is repeated answers as the first did, and removes nothing that has become old since."""
    await continued(s, 4)
    expect_equal(await pruned(s, request_id="r-1"), 4, "how many")
    await s.post("a")
    await s.run("a", "Ended", state=State.PENDING, next_execution=NextExecution(start=draft("Started")))
    expect_equal(await pruned(s, request_id="r-1"), 4, "how many at the repeat")
    expect_equal((await lengths(s, 6))[4], 3, "events of what was current")
    expect_equal(await pruned(s), 1, "how many of a request that nobody remembers")
    expect_equal(await pruned(s), 0, "how many at its repeat")
    with expect_raises(DuplicateRequestError, "the request id was another request's"):
        await pruned(s, "b", request_id="r-1")


async def check_the_newest_executions_are_kept(s: Subject) -> None:
    """As many as are to be kept stay, the current one counted, with all their events."""
    await continued(s, 4)
    expect_equal(await pruned(s, keep=3), 2, "how many")
    expect_equal(await lengths(s, 5), [0, 0, 2, 2, 2], "events of each execution")
    expect_equal(await pruned(s, keep=3), 0, "how many at the repeat")


async def check_the_current_execution_is_never_pruned(s: Subject) -> None:
    """However few are to be kept, the current one stays, also when it has ended."""
    await continued(s, 2)
    await s.post()
    await s.run("a", "Ended", state=State.COMPLETED)
    s.advance(1000)
    expect_equal(await pruned(s, keep=0, ended_before=s.clock.now), 2, "how many")
    expect_equal(await lengths(s, 3), [0, 0, 3], "events of each execution")
    expect_equal((await s.record()).state, State.COMPLETED, "where it stands")


async def check_pruning_by_age(s: Subject) -> None:
    """Only executions whose last event is older go, and of these only those that need not be kept."""
    begin = s.clock.now
    await continued(s, 4)  # they end at 0, 1, 2 and 3 seconds
    expect_equal(await pruned(s, keep=1, ended_before=begin), 0, "none is older")
    expect_equal(await pruned(s, keep=1, ended_before=begin + 2), 2, "how many are older")
    expect_equal(await lengths(s, 5), [0, 0, 2, 2, 2], "events of each execution")
    expect_equal(await pruned(s, keep=2, ended_before=begin + 100), 1, "how many need not be kept")
    expect_equal(await lengths(s, 5), [0, 0, 0, 2, 2], "events of each execution")


async def check_pruning_touches_nothing_else(s: Subject) -> None:
    """Values, status, inbox and items stay, and so do other instances."""
    await continued(s, 2)
    await s.post()
    await s.run("a", "Scheduled", activities=(an_item(3),), status=b"s", kv_set={"k": b"v"})
    await continued(s, 2, "b")
    await s.post("a", "Kept")
    expect_equal(await pruned(s), 2, "how many")
    expect_equal((await s.store.read_kv("a"), (await s.record()).status), ({"k": b"v"}, b"s"), "values and status")
    expect_equal(kinds(await s.inbox()), ["Kept"], "the inbox")
    expect_equal((await s.item()).lock.event_id, 3, "the item")
    expect_equal(await lengths(s, 3, "b"), [2, 2, 2], "events of the other")


async def check_pruning_nobody_is_nothing(s: Subject) -> None:
    """An id that is not there, or cannot be, has no histories."""
    expect_equal((await pruned(s, "nobody"), await pruned(s, "")), (0, 0), "how many")
