"""Who may run a turn, and for how long. Read next: `_turn_commits.py`."""

from __future__ import annotations

from trioflow.abc import Capabilities, LockTurns, ReleaseTurn, RenewTurns, State, TurnLock
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


async def check_a_clean_release_does_not_count(s: Subject) -> None:
    """A turn given back clean is eligible at once and its attempt is forgotten."""
    await s.start()
    await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock))
    expect_equal((await s.turn()).attempts, 1, "attempts after a clean release")


async def check_an_unclean_release_counts(s: Subject) -> None:
    """A turn given back unclean keeps its attempt."""
    await s.start()
    await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock, clean=False))
    expect_equal((await s.turn()).attempts, 2, "attempts after an unclean release")


async def check_a_release_may_delay(s: Subject) -> None:
    """A released instance stays away for the delay, even if messages arrive."""
    await s.start()
    await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock, delay=10))
    await s.post("a")
    s.advance(9)
    await s.nothing_eligible("the release delay is not over")
    s.advance(1)
    await s.turn()


async def check_a_clean_release_takes_back_one_attempt(s: Subject) -> None:
    """A turn given back clean is as if it had not been taken: attempts that were not clean still count."""
    await s.start()
    for _ in range(2):
        await s.store.release_turn(ReleaseTurn(lock=(await s.turn()).lock, clean=False))
    for _ in range(2):
        turn = await s.turn()
        expect_equal(turn.attempts, 3, "attempts after two that counted")
        await s.store.release_turn(ReleaseTurn(lock=turn.lock))


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


async def check_capabilities_by_name_and_version(s: Subject) -> None:
    """Only instances that a worker can run are given to it; one that is not pinned matches by name."""
    await s.start("pinned", name="flow", version="1.0.0")
    await s.start("newer", name="flow", version="2.0.0")
    await s.start("free", name="flow")
    await s.start("other", name="other")
    can_run = Capabilities(orchestrations=(("flow", "1.0.0"),))
    turns = (await s.lock_turns(can_run=can_run)).turns
    expect_equal(sorted(turn.lock.instance for turn in turns), ["free", "pinned"], "what the worker can run")
    rest = (await s.lock_turns()).turns
    expect_equal(sorted(turn.lock.instance for turn in rest), ["newer", "other"], "what was left for others")


async def check_capabilities_by_semantics(s: Subject) -> None:
    """Instances of replay semantics that a worker does not know are left to others."""
    await s.start("old", semantics=1)
    await s.start("new", semantics=2)
    can_run = Capabilities(orchestrations=(("flow", "1.0.0"),), semantics=(1,))
    turns = (await s.lock_turns(can_run=can_run)).turns
    expect_equal([turn.lock.instance for turn in turns], ["old"], "what the worker understands")


async def check_no_capabilities_take_nothing(s: Subject) -> None:
    """A worker that can run nothing gets nothing."""
    await s.start()
    expect_equal((await s.lock_turns(can_run=Capabilities(orchestrations=()))).turns, (), "what the worker can run")


async def check_foreign_instances_do_not_starve(s: Subject) -> None:
    """Many instances that a worker cannot run do not keep its own from it."""
    for number in range(300):
        await s.start(f"foreign-{number}", name="foreign")
    s.advance(1)
    await s.start("mine")
    can_run = Capabilities(orchestrations=(("flow", "1.0.0"),))
    turns = (await s.lock_turns(limit=1, can_run=can_run)).turns
    expect_equal([turn.lock.instance for turn in turns], ["mine"], "what the worker can run")


async def check_the_longest_waiting_comes_first(s: Subject) -> None:
    """Instances are taken in the order in which they became eligible."""
    for name in ("c", "a", "b"):
        await s.start(name)
        s.advance(1)
    order = [(await s.lock_turns(limit=1)).turns[0].lock.instance for _ in range(3)]
    expect_equal(order, ["c", "a", "b"], "the order of turns")


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
