"""Instances whose first turn belongs to whoever starts them. Read next: `_fused.py`."""

from __future__ import annotations

import attrs

from trioflow.abc import LEASED, TURNS, BornLeased, ReleaseTurn, State
from trioflow.errors import InstanceExists
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import Subject, expect, expect_equal, expect_raises, kinds

PART = Part.FUSED

BORN = BornLeased(worker="worker", token="born-1", lease=10.0)  # noqa: S106 - a lock's token


async def check_a_born_leased_instance_is_locked(s: Subject) -> None:
    """The answer to such a start holds the first turn, as if it had been taken in the same moment."""
    started = await s.start("a", name="flow", version="2.0.0", born=BORN)
    turn = started.turn
    expect(turn is not None, "the turn is in the answer")
    assert turn is not None
    expect_equal((turn.lock.instance, turn.lock.execution, turn.lock.token), ("a", 1, "born-1"), "its lock")
    expect_equal(
        (turn.name, turn.version, turn.state, turn.revision, turn.history_length, turn.history_bytes, turn.wake_at),
        ("flow", "2.0.0", State.PENDING, 0, 0, 0, None),
        "what is known of the instance",
    )
    expect_equal((turn.attempts, kinds(turn.messages)), (1, ["Started"]), "how often it was taken, and its inbox")
    expect_equal(turn.messages[0].at, s.clock.now, "when the start entered")
    await s.nothing_eligible("it was born leased")
    await s.commit(turn, "Begun")
    expect_equal((await s.record()).history_length, 1, "its history")


async def check_a_born_leased_instance_falls_free(s: Subject) -> None:
    """If its first holder vanishes, another takes it when the lease has run out, and `next_due` says when."""
    began = s.clock.now
    await s.start("a", born=BORN)
    expect_equal((await s.lock_turns()).next_due, began + 10.0, "next_due")
    s.advance(10)
    turn = await s.turn()
    expect_equal((turn.attempts, kinds(turn.messages)), (2, ["Started"]), "how often it was taken, and its inbox")


async def check_a_born_leased_instance_can_be_given_back(s: Subject) -> None:
    """Released clean, it is as if nobody had held it."""
    started = await s.start("a", born=BORN)
    assert started.turn is not None
    await s.store.release_turn(ReleaseTurn(lock=started.turn.lock, clean=True))
    expect_equal((await s.turn()).attempts, 1, "how often it was taken")


async def check_a_delayed_start_is_not_born_leased(s: Subject) -> None:
    """What begins later is nobody's yet."""
    started = await s.start("a", delay=5.0, born=BORN)
    expect_equal((started.created, started.turn), (True, None), "the answer")
    s.advance(5)
    expect_equal((await s.turn()).attempts, 1, "how often it was taken")


async def check_an_attach_leases_nothing(s: Subject) -> None:
    """What was there already is not leased by who finds it."""
    await s.start("a")
    started = await s.start("a", if_exists="attach", born=BORN)
    expect_equal((started.created, started.turn), (False, None), "the answer")
    await s.turn()


async def check_a_refused_start_leases_nothing(s: Subject) -> None:
    """A start that is refused leaves what was there free."""
    await s.start("a")
    with expect_raises(InstanceExists, "the id is taken"):
        await s.start("a", born=BORN)
    await s.turn()


async def check_a_replacement_may_be_born_leased(s: Subject) -> None:
    """The next execution of an id is born leased like the first."""
    await s.ended()
    started = await s.start("a", if_exists="replace_finished", born=BORN)
    assert started.turn is not None
    expect_equal((started.turn.lock.execution, started.turn.attempts), (2, 1), "the turn")
    await s.nothing_eligible("it was born leased")
    await s.commit(started.turn, "Begun")


async def check_a_born_leased_instance_wakes_no_dispatcher(s: Subject) -> None:
    """There is nothing to take: who sleeps hears only that something may fall free."""
    signals = s.store.signals
    with signals.watch(TURNS), signals.watch(LEASED) as leased:
        seen = leased.seen
        await s.start("a", born=BORN)
        await leased.wait_beyond(seen)
        expect_equal(signals.counts[TURNS], 0, "how often those who wait for turns were told of one")


@belongs_to(Part.CHILDREN)
async def check_a_child_is_not_born_leased(s: Subject) -> None:
    """What a turn starts is free for everybody, whatever its start says."""
    await s.start()
    await s.run("a", "Ended", state=State.COMPLETED, starts=(s.a_start("child", born=BORN),))
    expect_equal((await s.turn("child")).attempts, 1, "how often it was taken")


@belongs_to(Part.REPEATS)
async def check_a_repeated_start_gets_its_turn_again(s: Subject) -> None:
    """Whoever did not hear the answer gets the same turn, with what has arrived since, until somebody else has it."""
    request = s.a_start("a", born=BORN)
    first = await s.store.start_instance(request)
    await s.post("a")
    again = await s.store.start_instance(request)
    assert first.turn is not None
    assert again.turn is not None
    expect_equal(attrs.evolve(again.turn, messages=()), attrs.evolve(first.turn, messages=()), "the turn")
    expect_equal(kinds(again.turn.messages), ["Started", "Note"], "its inbox")
    s.advance(10)
    await s.turn()
    expect_equal((await s.store.start_instance(request)).turn, None, "the turn, which somebody else has")
