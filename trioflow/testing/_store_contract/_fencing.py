"""Stale holders change nothing, and what is repeated happens once. Read next: `_activity_locks.py`."""

from __future__ import annotations

import attrs

from trioflow.abc import OutMessage, PostMessage, ReleaseActivity, ReleaseTurn, State
from trioflow.errors import DuplicateRequestError, LockLost
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


async def check_a_stale_commit_is_refused(s: Subject) -> None:
    """Once somebody else holds the lock, a commit is refused and writes nothing."""
    await s.start()
    stale = await s.turn()
    s.advance(LEASE)
    fresh = await s.turn()
    with expect_raises(LockLost, "somebody else holds the lock"):
        await s.store.commit_turn(attrs.evolve(s.a_commit(stale), state=State.FAILED))
    expect_equal((await s.record()).state, State.PENDING, "the instance")
    await s.commit(fresh)


async def check_a_commit_after_another_is_refused(s: Subject) -> None:
    """A lock is used up by a commit: a second, different one is refused."""
    await s.start()
    turn = await s.turn()
    await s.commit(turn)
    with expect_raises(LockLost, "the lock was given back"):
        await s.commit(turn)


async def check_a_late_commit_succeeds_if_nobody_came(s: Subject) -> None:
    """A lease that has run out, but that nobody has taken, still commits."""
    await s.start()
    turn = await s.turn()
    s.advance(LEASE + 5)
    await s.commit(turn)


async def check_a_wrong_revision_is_refused(s: Subject) -> None:
    """A turn that was computed from another revision is refused, even by the holder."""
    await s.waiting()
    await s.post("a")
    turn = await s.turn()
    for revision in (0, 2):
        with expect_raises(LockLost, f"the instance is at revision 1, the turn at {revision}"):
            await s.commit(turn, revision=revision)
    await s.commit(turn)


@belongs_to(Part.RELEASES)
async def check_a_commit_after_release_is_refused(s: Subject) -> None:
    """Who gave a lock back holds it no more."""
    await s.start()
    turn = await s.turn()
    await s.store.release_turn(ReleaseTurn(lock=turn.lock))
    with expect_raises(LockLost, "the lock was given back"):
        await s.commit(turn)


@belongs_to(Part.RELEASES)
async def check_a_stale_release_changes_nothing(s: Subject) -> None:
    """A release by somebody who no longer holds the lock leaves the holder alone."""
    await s.start()
    stale = await s.turn()
    s.advance(LEASE)
    fresh = await s.turn()
    await s.store.release_turn(ReleaseTurn(lock=stale.lock))
    await s.nothing_eligible("the lock is held")
    await s.commit(fresh)


async def check_a_commit_to_nobody_is_refused(s: Subject) -> None:
    """A commit for an instance that is not there is refused as a lost lock."""
    await s.start()
    turn = await s.turn()
    commit = s.a_commit(turn)
    with expect_raises(LockLost, "the instance is not there"):
        await s.store.commit_turn(attrs.evolve(commit, lock=attrs.evolve(turn.lock, instance="nobody")))


@belongs_to(Part.REPEATS)
async def check_a_repeated_commit_happens_once(s: Subject) -> None:
    """A commit that is repeated unchanged answers with the same revision and writes nothing twice."""
    await s.waiting("b")
    await s.start("a")
    turn = await s.turn("a")
    commit = s.a_commit(
        turn,
        "Started",
        "Scheduled",
        activities=(an_item(2),),
        messages=(OutMessage(instance="b", draft=draft("Once")),),
        starts=(s.a_start("child"),),
    )
    first = await s.store.commit_turn(commit)
    s.advance(1)
    again = await s.store.commit_turn(commit)
    expect_equal((again.revision, again.execution), (first.revision, first.execution), "the answer to the repeat")
    expect_equal((await s.record("a")).history_length, 2, "the history")
    expect_equal((await s.record("b")).queued, 1, "the other inbox")
    expect_equal(len((await s.lock_items()).activities), 1, "the items")


@belongs_to(Part.REPEATS)
async def check_a_repeat_is_known_while_another_holds(s: Subject) -> None:
    """A repeated commit is still recognised when somebody else has taken the next turn."""
    await s.start()
    commit = s.a_commit(await s.turn())
    await s.store.commit_turn(commit)
    await s.post("a")
    other = await s.turn()
    expect_equal((await s.store.commit_turn(commit)).revision, 1, "the answer to the repeat")
    await s.commit(other)
    with expect_raises(LockLost, "another commit came after it"):
        await s.store.commit_turn(commit)


@belongs_to(Part.REPEATS)
async def check_a_repeated_last_commit_is_known(s: Subject) -> None:
    """The commit that ended an instance may be repeated, too."""
    await s.start()
    commit = s.a_commit(await s.turn(), "Ended", state=State.COMPLETED)
    first = await s.store.commit_turn(commit)
    expect_equal((await s.store.commit_turn(commit)).revision, first.revision, "the answer to the repeat")


@belongs_to(Part.REPEATS)
async def check_a_repeated_start_happens_once(s: Subject) -> None:
    """A start that is repeated unchanged gets its first answer, even after the instance has ended."""
    request = s.a_start("a")
    first = await s.store.start_instance(request)
    expect_equal(await s.store.start_instance(request), first, "the answer to the repeat")
    await s.run("a", "Ended", state=State.COMPLETED)
    expect_equal(await s.store.start_instance(request), first, "the answer to a late repeat")


@belongs_to(Part.REPEATS)
async def check_a_repeated_replacement_happens_once(s: Subject) -> None:
    """A repeated replacement does not replace its own instance."""
    await s.ended()
    request = s.a_start("a", if_exists="replace_finished")
    first = await s.store.start_instance(request)
    await s.run("a", "Ended", state=State.COMPLETED)
    expect_equal(await s.store.start_instance(request), first, "the answer to the repeat")
    expect_equal((await s.record()).execution, 2, "the execution")


@belongs_to(Part.REPEATS)
async def check_a_repeated_post_happens_once(s: Subject) -> None:
    """A message that is posted again with its request id enters once, even if it was consumed meanwhile."""
    await s.waiting()
    request = PostMessage(request_id=s.request_id(), message=OutMessage(instance="a", draft=draft()))
    await s.store.post_message(request)
    await s.store.post_message(request)
    await s.run()
    await s.store.post_message(request)
    s.advance(3599)
    await s.store.post_message(request)
    await s.nothing_eligible("every repeat was recognised")


@belongs_to(Part.REPEATS)
async def check_a_repeated_post_to_an_ended_instance_succeeds(s: Subject) -> None:
    """A repeat gets the first answer although the instance would refuse a new message."""
    await s.waiting()
    request = PostMessage(request_id=s.request_id(), message=OutMessage(instance="a", draft=draft()))
    await s.store.post_message(request)
    await s.run("a", "Ended", state=State.COMPLETED)
    await s.store.post_message(request)


async def check_equal_messages_with_different_ids_are_two(s: Subject) -> None:
    """Two posts are two messages, however equal they are."""
    await s.waiting()
    await s.post("a", "Same")
    await s.post("a", "Same")
    expect_equal(kinds((await s.turn()).messages), ["Same", "Same"], "the inbox")


@belongs_to(Part.REPEATS)
async def check_a_request_id_belongs_to_one_request(s: Subject) -> None:
    """A request id that comes back with a different request is refused."""
    await s.start("a", request_id="mine")
    await s.start("b")
    with expect_raises(DuplicateRequestError, "the id was used for a start of another instance"):
        await s.start("c", request_id="mine")
    with expect_raises(DuplicateRequestError, "the id was used for a start"):
        await s.post("b", request_id="mine")
    expect_equal(await s.store.read_instance("c"), None, "what was refused")


async def check_a_stale_settlement_is_lost(s: Subject) -> None:
    """Once an item has another holder, the first one's outcome is refused and nothing of it is posted."""
    await s.scheduled(an_item())
    stale = await s.item()
    s.advance(LEASE)
    fresh = await s.item()
    expect(stale.lock.token != fresh.lock.token, "tokens are unique")
    answer = await s.settle(stale.lock, message=draft("Stale"))
    expect_equal(answer.lost, (stale.lock,), "locks lost")
    await s.settle(fresh.lock, message=draft("Fresh"))
    expect_equal(kinds((await s.turn()).messages), ["Fresh"], "the inbox")


@belongs_to(Part.REPEATS)
async def check_a_repeated_settlement_happens_once(s: Subject) -> None:
    """A settlement that is repeated is not lost and posts nothing twice."""
    await s.scheduled(an_item())
    item = await s.item()
    for _ in range(3):
        expect_equal((await s.settle(item.lock)).lost, (), "locks lost")
    s.advance(3599)
    expect_equal((await s.settle(item.lock)).lost, (), "locks lost by a late repeat")
    expect_equal(len((await s.turn()).messages), 1, "messages")


@belongs_to(Part.REPEATS)
async def check_a_repeated_retry_happens_once(s: Subject) -> None:
    """A settlement that asked for a retry counts once, however often it is repeated."""
    await s.scheduled(an_item())
    item = await s.item()
    for _ in range(2):
        expect_equal((await s.settle(item.lock, retry_in=5.0)).lost, (), "locks lost")
    s.advance(5)
    expect_equal((await s.item()).failures, 1, "failures")


async def check_a_settled_item_is_gone(s: Subject) -> None:
    """After an item is settled, a different holder's token is lost and nobody gets it again."""
    await s.scheduled(an_item())
    item = await s.item()
    await s.settle(item.lock)
    forged = attrs.evolve(item.lock, token="forged")  # noqa: S106 - a lock's token
    expect_equal((await s.settle(forged)).lost, (forged,), "locks lost")
    s.advance(1000)
    await s.no_items("it was settled")


@belongs_to(Part.RELEASES)
async def check_a_stale_item_release_changes_nothing(s: Subject) -> None:
    """Giving an item back that somebody else holds leaves the holder alone."""
    await s.scheduled(an_item())
    stale = await s.item()
    s.advance(LEASE)
    await s.item()
    await s.store.release_activity(ReleaseActivity(lock=stale.lock))
    await s.no_items("the item is held")
