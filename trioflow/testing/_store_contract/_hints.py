"""Who is woken when, that no hint comes too early, and what a cancelled caller leaves. Read next: `_races.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from trioflow.abc import (
    ACTIVITIES,
    LEASED,
    TURNS,
    BornLeased,
    CommitActivities,
    DeleteInstances,
    OutMessage,
    ReleaseActivity,
    ReleaseTurn,
    RenewActivities,
    RenewTurns,
    SettleActivity,
    State,
    end_topic,
    instance_topic,
)
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import LEASE, Subject, an_item, draft, expect, expect_equal


async def _wakes(s: Subject, topic: str, call: Awaitable[object]) -> None:
    """Whoever waits for this topic is woken by this call."""
    with s.store.signals.watch(topic) as watch:
        seen = watch.seen
        await call
        await watch.wait_beyond(seen)


@belongs_to(Part.RELEASES)
async def check_a_release_wakes_dispatchers(s: Subject) -> None:
    """Whoever waits for turns is woken when one is given back."""
    await s.start()
    await _wakes(s, TURNS, s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock)))


@belongs_to(Part.RELEASES)
async def check_an_item_release_wakes_dispatchers(s: Subject) -> None:
    """Whoever waits for items is woken when one is given back."""
    await s.scheduled(an_item())
    await _wakes(s, ACTIVITIES, s.store.release_activity(ReleaseActivity(lock=(await s.item()).lock)))


@belongs_to(Part.FUSED)
async def check_a_born_leased_item_wakes_dispatchers(s: Subject) -> None:
    """Whoever sleeps until `next_due` hears of an item that may fall free sooner; that it may be taken need not be
    said.
    """
    born = BornLeased(worker="worker", token="born-1", lease=1.0)  # noqa: S106 - a lock's token
    await s.start()
    turn = await s.turn()
    with s.store.signals.watch(ACTIVITIES, LEASED) as watch:
        seen = watch.seen
        await s.commit(turn, "Scheduled", activities=(an_item(born=born),))
        await watch.wait_beyond(seen)


@belongs_to(Part.CHILDREN)
async def check_a_child_wakes_dispatchers(s: Subject) -> None:
    """Whoever waits for turns is woken by what a turn starts."""
    await s.start()
    await _wakes(s, TURNS, s.run("a", "Ended", state=State.COMPLETED, starts=(s.a_start("child"),)))


@belongs_to(Part.CHILDREN)
async def check_a_message_out_of_a_turn_wakes_dispatchers(s: Subject) -> None:
    """Whoever waits for turns is woken by a turn's message to another instance."""
    await s.waiting("b")
    await s.start("a")
    out = (OutMessage(instance="b", draft=draft()),)
    await _wakes(s, TURNS, s.run("a", "Ended", state=State.COMPLETED, messages=out))


async def check_messages_left_over_wake_dispatchers(s: Subject) -> None:
    """Whoever waits for turns is woken by a commit that leaves messages, since they are eligible from then on."""
    await s.start()
    turn = await s.turn()
    await s.post("a")
    await _wakes(s, TURNS, s.commit(turn))


@belongs_to(Part.CANCELLING)
async def check_a_marked_item_given_back_wakes_dispatchers(s: Subject) -> None:
    """Whoever waits for turns is woken when a cancelled item is given back, since its instance is told."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.post("a")
    await s.run("a", cancel_activities=(1,))
    await _wakes(s, TURNS, s.store.release_activity(ReleaseActivity(lock=item.lock)))


async def check_every_commit_wakes_watchers(s: Subject) -> None:
    """Whoever watches an instance is woken by a commit that only says how far it is, and then reads that."""
    await s.start()
    turn = await s.turn()

    async def watch(task_status: trio.TaskStatus[None]) -> None:
        with s.store.signals.watch(instance_topic("a")) as watching:
            seen, status = watching.seen, None
            task_status.started()
            while status != b"half":  # a hint of what was before may come late
                await watching.wait_beyond(seen)
                seen, status = watching.seen, (await s.record()).status

    async with trio.open_nursery() as nursery:
        await nursery.start(lambda *, task_status: watch(task_status))
        await s.commit(turn, consumed=(), status=b"half")


async def check_an_end_wakes_who_waits_for_it(s: Subject) -> None:
    """Whoever waits for an end is woken by it, and where an instance stands still."""
    await s.start()
    with s.store.signals.watch(end_topic("a")) as watch:
        for state in (State.PARKED, State.COMPLETED):
            await s.post("a", control=True)
            turn, seen = await s.turn(), watch.seen
            await s.commit(turn, "Event", state=state)
            await watch.wait_beyond(seen)


@belongs_to(Part.FAIRNESS)
async def check_a_turn_that_goes_on_wakes_nobody_who_waits_for_an_end(s: Subject) -> None:
    """A thousand steps are none of their business."""
    await s.start()
    signals, topic = s.store.signals, end_topic("a")
    with signals.watch(topic):
        await s.run("a", "Event")
        expect_equal(signals.counts[topic], 0, "how often those who wait for an end were told that it goes on")


@belongs_to(Part.MANAGEMENT)
async def check_a_deletion_wakes_who_waits_for_an_end(s: Subject) -> None:
    """What is gone does not end any more."""
    await s.start()
    with s.store.signals.watch(end_topic("a")) as watch:
        seen = watch.seen
        await s.store.delete_instances(DeleteInstances(request_id="d", instances=("a",), force=True))
        await watch.wait_beyond(seen)


@belongs_to(Part.RELEASES)
async def check_every_write_is_a_checkpoint(s: Subject) -> None:
    """No verb that writes does so once its caller was cancelled."""
    await s.scheduled(an_item())
    await s.post("a")
    turn, item = await s.turn(), await s.item()
    store = s.store
    verbs: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: s.start("b"),
        lambda: s.commit(turn, "More", status=b"s"),
        lambda: store.release_turn(ReleaseTurn(lock=turn.lock)),
        lambda: store.renew_turns(RenewTurns(locks=(turn.lock,), lease=LEASE)),
        lambda: s.settle(item.lock),
        lambda: store.release_activity(ReleaseActivity(lock=item.lock)),
        lambda: store.renew_activities(RenewActivities(locks=(item.lock,), lease=LEASE)),
        lambda: store.commit_activities(CommitActivities(settle=(SettleActivity(lock=item.lock, retry_in=0.0),))),
        s.lock_turns,
        s.lock_items,
    )
    before = await s.record()
    await _all_cancelled(verbs)
    expect_equal(await s.record(), before, "the instance")
    expect_equal(await store.read_instance("b"), None, "the start")
    await s.nothing_eligible("the lock is held")
    await s.no_items("the item is held")


async def check_every_read_is_a_checkpoint(s: Subject) -> None:
    """No verb that reads answers once its caller was cancelled."""
    await s.start()
    store = s.store
    await _all_cancelled(
        (
            lambda: store.read_instance("a"),
            lambda: store.read_history("a", 1),
            lambda: store.read_kv("a"),
            store.read_clock,
        )
    )


async def _all_cancelled(verbs: tuple[Callable[[], Awaitable[object]], ...]) -> None:
    for number, verb in enumerate(verbs):
        with trio.CancelScope() as scope:
            scope.cancel()
            await verb()
        expect(scope.cancelled_caught, f"verb {number} is a checkpoint")


@belongs_to(Part.REPEATS)
async def check_a_commit_cancelled_midway_is_whole(s: Subject) -> None:
    """A commit whose caller is cancelled while it is under way has happened whole or not at all."""
    await s.start()
    commit = s.a_commit(await s.turn(), "One", "Two", kv_set={"k": b"v"}, starts=(s.a_start("child"),), status=b"s")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(s.store.commit_turn, commit)
        await trio.lowlevel.cancel_shielded_checkpoint()
        await trio.lowlevel.cancel_shielded_checkpoint()
        nursery.cancel_scope.cancel()
    for moment in ("after the cancellation", "after the repeat"):
        record = await s.record()
        whole = (record.revision, record.history_length, record.status) == (1, 2, b"s")
        wanted = (2, {"k": b"v"}, True) if whole else (0, {}, False)
        found = (
            len(await s.store.read_history("a", 1)),
            await s.store.read_kv("a"),
            await s.store.read_instance("child") is not None,
        )
        expect_equal(found, wanted, f"what is there {moment}")
        await s.store.commit_turn(commit)
    expect_equal((await s.record()).revision, 1, "the revision after repeats")


async def check_the_last_to_leave_closes(s: Subject) -> None:
    """A store that several have open stays open until the last of them leaves."""
    await s.start()
    async with s.store:
        pass
    expect_equal((await s.record()).execution, 1, "what is read after another has left")
    await s.turn()


async def check_leases_of_a_stopped_worker_run_out(s: Subject) -> None:
    """A worker that said goodbye still holds its leases, until they run out."""
    await s.store.register_worker("worker")
    await s.start()
    turn = await s.turn()
    await s.store.unregister_worker("worker")
    s.advance(LEASE - 1)
    await s.nothing_eligible("the lease runs")
    await s.commit(turn)
