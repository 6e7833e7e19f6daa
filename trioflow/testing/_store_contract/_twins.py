"""Twins: several stores on the same data, in tasks, threads and processes. Read next: `__init__.py`."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import trio

from trioflow.abc import OutMessage, PostMessage, RenewActivities, SettleActivity, State
from trioflow.errors import InstanceExists, LockLost
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import (
    LEASE,
    Clock,
    StoreFactory,
    Subject,
    an_event,
    an_item,
    draft,
    expect,
    expect_equal,
    expect_raises,
    kinds,
)

PART = Part.TWINS

T = TypeVar("T")
Work = Callable[[Subject], Awaitable[T]]
PATIENCE = 60.0  # seconds for all threads or processes to be there


async def check_twins_see_the_same(s: Subject) -> None:
    """What was written through one twin is read through another, at once and whole."""
    async with s.twin() as other:
        await s.scheduled(an_item(), kv_set={"k": b"v"}, status=b"s")
        await s.post("a")
        expect_equal(await other.record(), await s.record(), "the instance")
        expect_equal(await other.store.read_history("a", 1), await s.store.read_history("a", 1), "the history")
        expect_equal(await other.store.read_kv("a"), {"k": b"v"}, "values")
        expect_equal(kinds((await other.turn()).messages), ["Note"], "the inbox")
        expect_equal((await other.item()).lock.event_id, 1, "the item")


async def check_what_was_written_outlives_the_twin(s: Subject) -> None:
    """What a twin wrote is there after it was closed, for a twin that is opened later."""
    async with s.twin("first") as first:
        await first.scheduled(an_item(), kv_set={"k": b"v"}, status=b"s", wake_at=s.clock.now + 5)
        await first.post("a")
        record = await first.record()
    async with s.twin("second") as second:
        expect_equal(await second.record(), record, "the instance")
        expect_equal(await second.store.read_kv("a"), {"k": b"v"}, "values")
        expect_equal([row.kind for row in await second.store.read_history("a", 1)], ["Scheduled"], "the history")
        expect_equal(kinds((await second.turn()).messages), ["Note"], "the inbox")
        expect_equal((await second.item()).payload, b"arguments", "the item")


async def check_closing_one_twin_leaves_the_others(s: Subject) -> None:
    """A twin that is closed takes nothing from others: their locks hold, their writes go on."""
    await s.start()
    turn = await s.turn()
    async with s.twin() as other:
        await other.post("a", "Note")
    await s.nothing_eligible("the lock is held")
    await s.commit(turn)
    expect_equal(kinds((await s.turn()).messages), ["Note"], "the inbox")


async def check_locks_hold_across_twins(s: Subject) -> None:
    """What one twin has leased no other gives out, until the lease has run out; then the first is refused."""
    await s.scheduled(an_item())
    await s.post("a")
    turn, item = await s.turn(), await s.item()
    async with s.twin() as other:
        await other.nothing_eligible("the lock is held")
        await other.no_items("the item is held")
        s.advance(LEASE)
        fresh, again = await other.turn(), await other.item()
        with expect_raises(LockLost, "a twin took the lock"):
            await s.commit(turn, events=())
        expect_equal((await s.settle(item.lock)).lost, (item.lock,), "locks lost")
        await other.settle(again.lock)
        await other.commit(fresh, events=())


async def check_a_twin_may_finish_the_work(s: Subject) -> None:
    """A lock is its token, not the twin that took it: a turn may be committed through another one."""
    await s.scheduled(an_item())
    await s.post("a")
    turn, item = await s.turn(), await s.item()
    async with s.twin() as other:
        expect_equal((await other.renew(turn)).lost, (), "locks lost")
        await other.commit(turn, "Ended")
        expect_equal((await other.settle(item.lock)).lost, (), "locks lost")
    expect_equal(kinds((await s.turn()).messages), ["Done"], "the inbox")


async def check_repeats_are_known_across_twins(s: Subject) -> None:
    """A write whose answer was lost with its connection is recognised when it comes back through a twin."""
    start = s.a_start("a")
    post = PostMessage(request_id=s.request_id(), message=OutMessage(instance="a", draft=draft()))
    first = await s.store.start_instance(start)
    await s.store.post_message(post)
    commit = s.a_commit(await s.turn(), "Scheduled", activities=(an_item(),))
    await s.store.commit_turn(commit)
    item = await s.item()
    await s.settle(item.lock)
    async with s.twin() as other:
        expect_equal(await other.store.start_instance(start), first, "the answer to the repeated start")
        await other.store.post_message(post)
        expect_equal((await other.store.commit_turn(commit)).revision, 1, "the answer to the repeated commit")
        expect_equal((await other.settle(item.lock)).lost, (), "locks lost by the repeated settlement")
        record = await other.record()
        expect_equal((record.revision, record.queued, record.history_length), (1, 1, 1), "the instance")


async def check_a_mark_is_heard_across_twins(s: Subject) -> None:
    """A holder hears of a cancellation that came through a twin at its next renewal."""
    await s.scheduled(an_item())
    item = await s.item()
    async with s.twin() as other:
        await other.post("a")
        expect_equal((await other.run("a", cancel_activities=(1,))).hurt, (item.lock,), "items hurt by the commit")
    answer = await s.store.renew_activities(RenewActivities(locks=(item.lock,), lease=LEASE))
    expect_equal(answer.cancelled, (item.lock,), "the answer to a renewal")


async def check_messages_of_all_twins_share_one_line(s: Subject) -> None:
    """Messages come out in the order in which they entered, whichever store they came through."""
    await s.waiting()
    async with s.twin() as other:
        for number in range(6):
            await (s, other)[number % 2].post("a", f"N{number}")
        messages = (await other.turn()).messages
    expect_equal(kinds(messages), [f"N{number}" for number in range(6)], "the inbox")


async def check_refusals_hold_across_twins(s: Subject) -> None:
    """An id that one twin took, and a mailbox that it filled, are taken and full for another."""
    await s.waiting("a")
    await s.post("a", mailbox=True)
    async with s.twin() as other:
        with expect_raises(InstanceExists, "the id is taken"):
            await other.start("a")
        await other.mailbox_is_full("a", 1)


# -- threads and processes --------------------------------------------------------------------------------------------


async def _elsewhere(make_twin: StoreFactory, clock: Clock, name: str, work: Work[T]) -> T:
    """Open a twin and work with it."""
    async with make_twin(clock) as store:
        return await work(Subject(store, clock, make_twin, name))


async def _in_threads(s: Subject, count: int, work: Work[T]) -> list[T]:
    """Work with twins, each in a trio run of its own thread."""
    make_twin = s.make_twin
    assert make_twin is not None
    answers: list[T] = []
    barrier = threading.Barrier(count)

    def run(name: str) -> T:
        barrier.wait(PATIENCE)
        return trio.run(_elsewhere, make_twin, s.clock, name, work)

    async def thread(name: str) -> None:
        answers.append(await trio.to_thread.run_sync(run, name))

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(thread, f"thread-{number}/")
    return answers


async def _in_processes(s: Subject, count: int, work: Work[T]) -> list[T]:
    """Work with twins, each in a process of its own."""
    assert s.make_twin is not None
    calls = [(_elsewhere, s.make_twin, s.clock, f"process-{number}/", work) for number in range(count)]
    context = multiprocessing.get_context("spawn")
    # None begins before all are there; otherwise the first would do all the work while the others are being made.
    with context.Pool(count, context.Barrier(count).wait, (PATIENCE,)) as pool:
        return await trio.to_thread.run_sync(partial(pool.starmap, trio.run, calls, 1))


async def _drain(s: Subject) -> list[tuple[str, int]]:
    """Take turns and items until there are none; turns schedule an item, its outcome ends the instance."""
    done: list[tuple[str, int]] = []
    idle = 0
    while idle < 3:
        turns, items = (await s.lock_turns(limit=2)).turns, (await s.lock_items(limit=2)).activities
        idle = 0 if turns or items else idle + 1
        for turn in turns:
            first = turn.history_length == 0
            done.append((turn.lock.instance, turn.revision))
            await s.commit(
                turn,
                events=(an_event(1),) if first else (),
                state=State.WAITING if first else State.COMPLETED,
                activities=(an_item(1),) if first else (),
            )
        settle = tuple(SettleActivity(lock=item.lock, message=draft("Done")) for item in items)
        done += [(item.lock.instance, -1) for item in items]
        for one in settle:
            expect_equal((await s.settle(one.lock)).lost, (), "locks lost")
    return done


async def _start_many(s: Subject) -> int:
    """Start the same ten instances as everybody else; how many of them it created."""
    return sum([(await s.start(f"i{number}", if_exists="attach")).created for number in range(10)])


async def _post_many(s: Subject) -> int:
    for number in range(10):
        await s.post("a", f"{s.name}{number}")
    return 10


async def _once_each(s: Subject, run: Callable[[Subject, int, Work[Any]], Awaitable[list[Any]]], count: int) -> None:
    names = [f"i{number}" for number in range(12)]
    for name in names:
        await s.start(name)
    done = [one for answer in await run(s, count, _drain) for one in answer]
    done += await _drain(s)  # what the last of them left when it found nothing to do
    wanted = [(name, revision) for name in names for revision in (-1, 0, 1)]
    expect_equal(sorted(done), sorted(wanted), "what was done, by instance and revision")
    for name in names:
        record = await s.record(name)
        expect_equal((record.state, record.revision), (State.COMPLETED, 2), f"instance {name}")


async def check_threads_do_everything_once(s: Subject) -> None:
    """Workers in several threads run every turn and every item once, and between them all."""
    await _once_each(s, _in_threads, 4)


async def check_threads_create_once(s: Subject) -> None:
    """Of several threads that start the same instances each instance is created by one."""
    expect_equal(sum(await _in_threads(s, 4, _start_many)), 10, "instances created")
    expect_equal(len((await s.lock_turns(limit=100)).turns), 10, "instances")


async def check_messages_of_all_threads_arrive(s: Subject) -> None:
    """Messages from several threads all arrive, those of each in its order."""
    await s.waiting()
    await _in_threads(s, 4, _post_many)
    arrived = kinds((await s.turn()).messages)
    expect_equal(len(arrived), 40, "messages")
    for sender in range(4):
        own = [kind for kind in arrived if kind.startswith(f"thread-{sender}/")]
        expect_equal(own, [f"thread-{sender}/{number}" for number in range(10)], "the order of one sender")


@belongs_to(Part.PROCESSES)
async def check_processes_do_everything_once(s: Subject) -> None:
    """Workers in several processes run every turn and every item once, and between them all."""
    await _once_each(s, _in_processes, 2)


@belongs_to(Part.PROCESSES)
async def check_processes_create_once(s: Subject) -> None:
    """Of several processes that start the same instances each instance is created by one, and all messages arrive."""
    expect_equal(sum(await _in_processes(s, 2, _start_many)), 10, "instances created")
    expect(all([(await s.record(f"i{number}")).queued == 1 for number in range(10)]), "each has its start message")
