"""Who may run a turn, and for how long. Read next: `_turn_commits.py`."""

from __future__ import annotations

from trioflow.abc import LockTurns, ReleaseTurn, RenewTurns, State, TurnLock
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import LEASE, Subject, expect, expect_equal, kinds


async def check_a_locked_instance_is_locked(s: Subject) -> None:
    """A leased instance is given to nobody else, whatever arrives."""
    await s.start()
    await s.turn()
    await s.post("a")
    s.advance(LEASE - 1)
    await s.nothing_eligible("the lease runs")


async def check_an_expired_lease_is_given_again(s: Subject) -> None:
    """When a lease has run out the instance goes to the next holder, with another token and the same messages."""
    await s.start()
    first = await s.turn()
    s.advance(LEASE)
    second = await s.turn()
    expect(first.lock.token != second.lock.token, "tokens are unique")
    expect_equal(second.messages, first.messages, "the inbox")
    expect_equal((first.attempts, second.attempts), (1, 2), "attempts")


async def check_lease_starts_when_taken(s: Subject) -> None:
    """A lease runs from the moment it is taken, not from when the instance became eligible."""
    await s.start()
    s.advance(1000)
    await s.turn(lease=10)
    s.advance(9)
    await s.nothing_eligible("the lease runs")
    s.advance(1)
    await s.turn()


async def check_next_due_tells_of_leases(s: Subject) -> None:
    """`next_due` covers leases that may run out."""
    await s.start()
    expect_equal((await s.lock_turns()).next_due, s.clock.now + LEASE, "next_due while a lease runs")


async def check_next_due_is_none_without_work(s: Subject) -> None:
    """`next_due` is None when time alone changes nothing."""
    await s.waiting()
    answer = await s.lock_turns()
    expect_equal((answer.next_due, answer.now), (None, s.clock.now), "an idle store")


async def check_a_locked_turn_tells_all(s: Subject) -> None:
    """A locked turn carries what a worker needs to begin."""
    await s.waiting("a", "Started", "Asked", wake_at=s.clock.now + 5, version="1.0.0")
    await s.post("a")
    turn = await s.turn()
    expect_equal(
        (turn.name, turn.version, turn.state, turn.revision, turn.history_length, turn.history_bytes, turn.wake_at),
        ("flow", "1.0.0", State.WAITING, 1, 2, 4, s.clock.now + 5),
        "a locked turn",
    )


async def check_limit_is_kept(s: Subject) -> None:
    """No more instances are taken than were asked for."""
    for name in "abcde":
        await s.start(name)
    expect_equal(len((await s.lock_turns(limit=2)).turns), 2, "how many were taken")
    expect_equal(len((await s.lock_turns(limit=10)).turns), 3, "how many were left")


async def check_messages_during_a_turn_wait(s: Subject) -> None:
    """What arrives while a turn runs is not consumed by its commit and makes the instance eligible again."""
    await s.start()
    turn = await s.turn()
    await s.post("a", "Late")
    await s.commit(turn)
    expect_equal(kinds((await s.turn()).messages), ["Late"], "the next inbox")


@belongs_to(Part.RELEASES)
async def check_a_clean_release_does_not_count(s: Subject) -> None:
    """A turn given back clean is eligible at once and its attempt is forgotten."""
    await s.start()
    await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock))
    expect_equal((await s.turn()).attempts, 1, "attempts after a clean release")


@belongs_to(Part.RELEASES)
async def check_an_unclean_release_counts(s: Subject) -> None:
    """A turn given back unclean keeps its attempt."""
    await s.start()
    await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock, clean=False))
    expect_equal((await s.turn()).attempts, 2, "attempts after an unclean release")


@belongs_to(Part.RELEASES)
async def check_a_release_may_delay(s: Subject) -> None:
    """A released instance stays away for the delay, even if messages arrive."""
    await s.start()
    await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock, delay=10))
    await s.post("a")
    s.advance(9)
    await s.nothing_eligible("the release delay is not over")
    s.advance(1)
    await s.turn()


@belongs_to(Part.RELEASES)
async def check_a_clean_release_takes_back_one_attempt(s: Subject) -> None:
    """A turn given back clean is as if it had not been taken: attempts that were not clean still count."""
    await s.start()
    for _ in range(2):
        await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock, clean=False))
    for _ in range(2):
        turn = await s.turn()
        expect_equal(turn.attempts, 3, "attempts after two that counted")
        await s.store.release_turn(ReleaseTurn(lock=turn.lock))


@belongs_to(Part.DELAYS)
async def check_a_release_delay_holds_for_control(s: Subject) -> None:
    """The pause of a released instance is not cut short by a control message, nor while its start is delayed."""
    await s.start("a", delay=60.0)
    await s.post("a", "Control", control=True)
    await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock, delay=10, clean=False))
    await s.post("a", "Control", control=True)
    s.advance(9)
    await s.nothing_eligible("the release delay is not over")
    s.advance(1)
    await s.turn()


async def check_renewal_extends(s: Subject) -> None:
    """A renewed lease runs from the renewal."""
    await s.start()
    turn = await s.turn()
    s.advance(20)
    answer = await s.store.renew_turns(RenewTurns(locks=(turn.lock,), lease=LEASE))
    expect_equal(answer.lost, (), "locks lost at a renewal")
    s.advance(20)
    await s.nothing_eligible("the lease was renewed")
    s.advance(10)
    await s.turn()


async def check_a_late_renewal_succeeds_if_nobody_came(s: Subject) -> None:
    """A lease that has run out, but that nobody has taken, is renewed."""
    await s.start()
    turn = await s.turn()
    s.advance(LEASE + 1)
    expect_equal((await s.store.renew_turns(RenewTurns(locks=(turn.lock,), lease=LEASE))).lost, (), "locks lost")
    await s.nothing_eligible("the lease was renewed")


async def check_renewal_names_what_is_lost(s: Subject) -> None:
    """A renewal tells which locks somebody else holds, and renews the others."""
    await s.start("a")
    mine = await s.turn("a")
    s.advance(LEASE)
    await s.start("b")
    other = (await s.lock_turns()).turns
    theirs = next(turn for turn in other if turn.lock.instance == "b")
    unknown = TurnLock("nobody", 1, "token")
    answer = await s.store.renew_turns(RenewTurns(locks=(mine.lock, theirs.lock, unknown), lease=LEASE))
    expect_equal(answer.lost, (mine.lock, unknown), "locks lost")


async def check_held_instances_wait_for_control(s: Subject) -> None:
    """A suspended or parked instance is eligible only for control messages, and then gets all of its inbox."""
    for name, state in (("a", State.SUSPENDED), ("b", State.PARKED)):
        await s.waiting(name, "Started", "Held", state=state, wake_at=s.clock.now + 1)
        await s.post(name, "Note")
        s.advance(5)
        await s.nothing_eligible(f"the instance is {state}")
        await s.post(name, "Resume", control=True)
        turn = await s.turn(name)
        expect_equal((turn.state, kinds(turn.messages)), (state, ["Note", "Resume"]), "the turn of a held instance")
        await s.commit(turn, state=state)


async def check_the_longest_waiting_comes_first(s: Subject) -> None:
    """Instances are taken in the order in which they became eligible."""
    for name in ("c", "a", "b"):
        await s.start(name)
        s.advance(1)
    order = [(await s.lock_turns(limit=1)).turns[0].lock.instance for _ in range(3)]
    expect_equal(order, ["c", "a", "b"], "the order of turns")


@belongs_to(Part.FAIRNESS)
async def check_a_busy_instance_starves_nobody(s: Subject) -> None:
    """An instance that always has messages goes behind those that wait, even if no time passes."""
    for name in ("a", "b", "c"):
        await s.start(name)
    taken = []
    for _ in range(6):
        turn = (await s.store.lock_turns(LockTurns(worker="w", limit=1, lease=LEASE))).turns[0]
        taken.append(turn.lock.instance)
        await s.post(turn.lock.instance)
        await s.commit(turn)
    expect_equal(sorted(taken), ["a", "a", "b", "b", "c", "c"], "turns of three busy instances")


async def check_wake_at_makes_eligible(s: Subject) -> None:
    """An instance whose time has come is eligible without a message, and not before."""
    due = s.clock.now + 10
    await s.waiting("a", wake_at=due)
    expect_equal((await s.lock_turns()).next_due, due, "next_due")
    s.advance(9.5)
    await s.nothing_eligible("its time has not come")
    s.advance(0.5)
    turn = await s.turn()
    expect_equal((turn.messages, turn.wake_at), ((), due), "a turn by time alone")


async def check_wake_at_can_be_moved_and_cleared(s: Subject) -> None:
    """Each commit sets the time anew; none means never."""
    await s.waiting("a", wake_at=s.clock.now + 10)
    await s.post("a")
    await s.run("a", wake_at=s.clock.now + 20)
    s.advance(15)
    await s.nothing_eligible("its time was moved")
    s.advance(5)
    await s.run("a")
    s.advance(1000)
    await s.nothing_eligible("it has no time any more")


async def check_the_earliest_time_is_announced(s: Subject) -> None:
    """`next_due` is the earliest of all times to come."""
    now = s.clock.now
    for name, delay in (("a", 30.0), ("b", 10.0), ("c", 20.0)):
        await s.waiting(name, wake_at=now + delay)
    expect_equal((await s.lock_turns()).next_due, now + 10, "next_due")


@belongs_to(Part.RELEASES)
async def check_a_lock_given_back_is_not_renewed(s: Subject) -> None:
    """A lock that was released, or used up by a commit, is lost to a renewal."""
    for name in ("released", "committed", "ended"):
        await s.start(name)
    turns = {turn.lock.instance: turn for turn in (await s.lock_turns()).turns}
    await s.store.release_turn(ReleaseTurn(lock=turns["released"].lock))
    await s.commit(turns["committed"])
    await s.commit(turns["ended"], "Ended", state=State.COMPLETED)
    locks = tuple(turns[name].lock for name in ("released", "committed", "ended"))
    answer = await s.store.renew_turns(RenewTurns(locks=locks, lease=LEASE))
    expect_equal(answer.lost, locks, "locks lost")


async def check_a_stale_renewal_extends_nothing(s: Subject) -> None:
    """A renewal under a token of before leaves the holder's lease as it is."""
    await s.start()
    stale = await s.turn()
    s.advance(LEASE)
    await s.turn()
    s.advance(LEASE - 1)
    await s.renew(stale)
    s.advance(1)
    await s.turn()


async def check_leases_alone_change_nothing_to_read(s: Subject) -> None:
    """Locking, renewing and giving back leave what is read of an instance as it was, its revision first of all."""
    await s.waiting("a", "E", wake_at=s.clock.now + 100, status=b"s")
    await s.post("a")
    before = await s.record()
    s.advance(5)
    turn = await s.turn()
    await s.renew(turn)
    await s.store.release_turn(ReleaseTurn(lock=turn.lock, clean=False))
    expect_equal(await s.record(), before, "the instance")


async def check_a_renewal_is_no_attempt(s: Subject) -> None:
    """Renewing counts as no attempt, and loses no message."""
    await s.start()
    turn = await s.turn()
    for _ in range(3):
        await s.renew(turn)
    s.advance(LEASE)
    again = await s.turn()
    expect_equal((again.attempts, again.messages), (2, turn.messages), "the next holder's turn")


async def check_a_renewal_lasts_as_long_as_asked(s: Subject) -> None:
    """A renewal holds the lock for its own lease, whatever the one before was."""
    await s.start()
    turn = await s.turn(lease=1000.0)
    await s.store.renew_turns(RenewTurns(locks=(turn.lock,), lease=5.0))
    s.advance(5)
    await s.turn()


async def check_readers_do_not_wait_for_holders(s: Subject) -> None:
    """What is committed can be read while somebody holds the lock, and messages can be posted."""
    await s.waiting("a", "E", kv_set={"k": b"v"})
    await s.post("a")
    await s.turn()
    await s.post("a")
    expect_equal(((await s.record()).queued, await s.store.read_kv("a")), (2, {"k": b"v"}), "what is read")
    expect_equal(len(await s.store.read_history("a", 1)), 1, "the history")


async def check_created_at_stays(s: Subject) -> None:
    """When an instance was created does not change with its commits, nor does it end before it has ended."""
    at = s.clock.now
    await s.start()
    for number in range(2):
        s.advance(10)
        await s.run("a", "E", version="1")
        record = await s.record()
        expect_equal((record.created_at, record.updated_at, record.ended_at), (at, s.clock.now, None), f"{number}")
        await s.post("a")


@belongs_to(Part.DELAYS)
async def check_a_pending_turn_given_back_is_pending(s: Subject) -> None:
    """A delayed start that a control message woke waits for its delay again once that message is consumed."""
    await s.start("a", delay=60.0)
    await s.post("a", "Control", control=True)
    turn = await s.turn()
    wake_at, consumed = turn.wake_at, (turn.messages[1].seq,)
    await s.commit(turn, state=State.PENDING, wake_at=wake_at, consumed=consumed)
    await s.post("a", "Note")
    s.advance(59)
    await s.nothing_eligible("the delay is not over")
    s.advance(1)
    expect_equal(kinds((await s.turn()).messages), ["Started", "Note"], "the inbox after the delay")
