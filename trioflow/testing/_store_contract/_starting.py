"""How instances begin. Read next: `_messages.py`."""

from __future__ import annotations

from trioflow.abc import Draft, Parent, State
from trioflow.errors import InstanceExists, TrioflowError
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import Subject, expect, expect_equal, expect_raises, kinds


async def check_start_creates_execution_one(s: Subject) -> None:
    """A start creates execution 1, pending, visible at once."""
    started = await s.start("a", name="flow", version="2.0.0")
    expect_equal((started.instance, started.execution, started.created), ("a", 1, True), "the answer to a start")
    record = await s.record()
    expect_equal(
        (record.execution, record.name, record.version, record.state, record.revision, record.created_at),
        (1, "flow", "2.0.0", State.PENDING, 0, s.clock.now),
        "a new instance",
    )


async def check_start_message_is_first(s: Subject) -> None:
    """The start message is the first message of the first turn, exactly as it was given."""
    await s.start("a", start=Draft("Started", b"data", b"payload"))
    await s.post("a", "Later")
    turn = await s.turn()
    expect_equal(kinds(turn.messages), ["Started", "Later"], "the first inbox")
    expect_equal(turn.messages[0].draft, Draft("Started", b"data", b"payload"), "the start message")
    expect_equal(turn.messages[0].at, s.clock.now, "when it entered")


async def check_start_keeps_parent_and_attributes(s: Subject) -> None:
    """Parent and attributes are kept as given."""
    parent = Parent(instance="p", execution=3, event_id=7)
    await s.start("a", parent=parent, attributes={"colour": "blue"})
    record = await s.record()
    expect_equal((record.parent, dict(record.attributes)), (parent, {"colour": "blue"}), "what was said at the start")
    await s.start("b")
    expect_equal((await s.record("b")).parent, None, "an instance without a parent")


async def check_taken_id_fails(s: Subject) -> None:
    """A taken id is refused, and the refusal changes nothing."""
    await s.start("a")
    before = await s.record()
    with expect_raises(InstanceExists, "an id is taken"):
        await s.start("a", name="other")
    expect_equal(await s.record(), before, "the instance that was there")


async def check_ended_id_fails(s: Subject) -> None:
    """An id stays taken after its instance has ended."""
    await s.ended()
    with expect_raises(InstanceExists, "an id is taken by an instance that has ended"):
        await s.start("a")


@belongs_to(Part.REPLACING)
async def check_attach_finds_the_instance(s: Subject) -> None:
    """Attaching answers with what is there and creates nothing."""
    await s.start("a")
    started = await s.start("a", attributes={"k": "v"}, if_exists="attach")
    expect_equal((started.execution, started.created), (1, False), "the answer to an attach")
    expect_equal((await s.record()).attributes, {}, "the attributes of what was there")
    expect_equal(kinds((await s.turn()).messages), ["Started"], "its inbox")


@belongs_to(Part.REPLACING)
async def check_attach_is_to_the_same_orchestration(s: Subject) -> None:
    """Attaching to an instance of another orchestration is refused, whether that runs or has ended."""
    for name, state in (("runs", State.WAITING), ("over", State.COMPLETED)):
        await s.waiting(name, state=state)
        before = await s.record(name)
        with expect_raises(InstanceExists, "it runs another orchestration"):
            await s.start(name, name="other", if_exists="attach")
        expect_equal(await s.record(name), before, "the instance that was there")


@belongs_to(Part.REPLACING)
async def check_attach_creates_where_nothing_is(s: Subject) -> None:
    """Attaching creates an instance if the id is free."""
    expect((await s.start("a", if_exists="attach")).created, "an attach to a free id creates")


@belongs_to(Part.REPLACING)
async def check_replace_refuses_what_runs(s: Subject) -> None:
    """An instance that has not ended is not replaced."""
    await s.waiting()
    with expect_raises(InstanceExists, "an instance that runs is to be replaced"):
        await s.start("a", if_exists="replace_finished")


@belongs_to(Part.REPLACING)
async def check_replace_goes_on_counting(s: Subject) -> None:
    """A replacement is the next execution, fresh, and the history of the one before stays readable."""
    await s.waiting("a", "Started", "Ended", state=State.COMPLETED, status=b"old", kv_set={"k": b"v"}, unread=3)
    old_revision = (await s.record()).revision
    s.advance(5)
    started = await s.start("a", name="other", if_exists="replace_finished", attributes={"n": "2"})
    expect_equal((started.execution, started.created), (2, True), "the answer to a replacement")
    record = await s.record()
    expect_equal(
        (record.execution, record.name, record.state, record.history_length, record.unread, record.status),
        (2, "other", State.PENDING, 0, 0, None),
        "the replacement",
    )
    expect_equal(
        (dict(record.attributes), record.created_at, record.ended_at), ({"n": "2"}, s.clock.now, None), "what is new"
    )
    expect(record.revision >= old_revision, "revisions of an id never go back")
    expect_equal(await s.store.read_kv("a"), {}, "values of the replacement")
    expect_equal(len(await s.store.read_history("a", 1)), 2, "the history of execution 1")
    expect_equal(kinds((await s.turn()).messages), ["Started"], "the inbox of the replacement")


@belongs_to(Part.DELAYS)
async def check_delayed_start_waits(s: Subject) -> None:
    """A delayed start is visible at once, eligible after its delay, and not woken by messages before."""
    await s.start("a", delay=60.0)
    expect_equal((await s.record()).state, State.PENDING, "a delayed start")
    await s.post("a")
    s.advance(59)
    await s.nothing_eligible("the delay is not over")
    s.advance(1)
    expect_equal(kinds((await s.turn()).messages), ["Started", "Note"], "the inbox after the delay")


@belongs_to(Part.DELAYS)
async def check_delayed_start_is_announced(s: Subject) -> None:
    """`next_due` says when a delayed start becomes eligible."""
    await s.start("a", delay=60.0)
    expect_equal((await s.lock_turns()).next_due, s.clock.now + 60.0, "next_due")


@belongs_to(Part.DELAYS)
async def check_control_does_not_wait_for_a_delayed_start(s: Subject) -> None:
    """A control message makes a delayed start eligible at once: it can be suspended or ended before it begins."""
    await s.start("a", delay=60.0)
    await s.post("a", "Note")
    await s.nothing_eligible("the delay is not over")
    await s.post("a", "Suspend", control=True)
    turn = await s.turn()
    expect_equal((turn.state, turn.attempts), (State.PENDING, 1), "the turn of a delayed start")
    expect_equal(kinds(turn.messages), ["Started", "Note", "Suspend"], "its inbox")


@belongs_to(Part.DELAYS)
async def check_a_held_start_keeps_its_delay(s: Subject) -> None:
    """A delayed start that was suspended and resumed begins when it would have begun without that."""
    await s.start("a", delay=60.0)
    begins = s.clock.now + 60.0
    expect_equal((await s.record()).wake_at, begins, "when a delayed start begins")
    for state in (State.SUSPENDED, State.PENDING):
        await s.post("a", "Control", control=True)
        turn = await s.turn()
        await s.commit(turn, "Control", state=state, consumed=(turn.messages[-1].seq,), wake_at=turn.wake_at)
        await s.nothing_eligible("the delay is not over")
    expect_equal((await s.lock_turns()).next_due, begins, "next_due")
    s.advance(60)
    expect_equal(kinds((await s.turn()).messages), ["Started"], "the inbox after the delay")


@belongs_to(Part.REFUSALS)
async def check_bad_ids_are_refused(s: Subject) -> None:
    """Ids that are empty, endless, or unprintable are refused with a typed error, and nothing is kept."""
    for bad in ("", "x" * 513, "nul\0", "half \ud800"):
        with expect_raises(TrioflowError, f"an instance is to be called {bad[:20]!r}"):
            await s.start(bad)
    await s.nothing_eligible("every start was refused")


async def check_odd_ids_are_kept(s: Subject) -> None:
    """Any other id is kept to the letter: case, spaces, quotes, wildcards, all of Unicode."""
    odd = ("A", "a", " a ", "a'b\"c", "a%", "a_", "é", "e\u0301", "\U0001f40c", "x" * 512, "a/b/../c", "--")
    for name in odd:
        await s.start(name)
    for name in odd:
        expect_equal((await s.record(name)).instance, name, "an odd id")
    expect_equal(len((await s.lock_turns(limit=100)).turns), len(odd), "how many instances there are")


@belongs_to(Part.REPLACING)
async def check_replace_creates_where_nothing_is(s: Subject) -> None:
    """A replacement of what is not there creates execution 1."""
    started = await s.start("a", if_exists="replace_finished")
    expect_equal((started.execution, started.created), (1, True), "the answer to a replacement")
    await s.turn()


@belongs_to(Part.REPLACING)
async def check_attach_changes_nothing(s: Subject) -> None:
    """Attaching to an instance, in whatever state, changes nothing about it, and posts nothing."""
    await s.start("pending", delay=60.0)
    await s.ended("ended")
    for name, execution in (("pending", 1), ("ended", 1)):
        before = await s.record(name)
        started = await s.start(name, delay=5.0, attributes={"k": "v"}, if_exists="attach")
        expect_equal((started.execution, started.created), (execution, False), "the answer to an attach")
        expect_equal(await s.record(name), before, f"the {name} instance")


async def check_a_version_stays_open_until_a_turn_pins_it(s: Subject) -> None:
    """An instance has no version until it is given one, by its start or by a commit; a later commit may move it."""
    await s.start()
    expect_equal((await s.record()).version, None, "the version of a new instance")
    await s.run()
    expect_equal((await s.record()).version, None, "the version after a commit that gives none")
    for version in ("1.0.0", "2.0.0"):
        await s.post("a")
        await s.run("a", version=version)
        expect_equal((await s.record()).version, version, "the version that a commit gave")


async def check_instances_are_apart(s: Subject) -> None:
    """Values, status, history and inbox of one instance are nobody else's, however alike the ids are."""
    names = ("a", "A", "a ", "aa")
    for number, name in enumerate(names):
        await s.start(name)
        own = b"%d" % number
        await s.run(name, *["E"] * number, status=own, kv_set={"k": own})
    for number, name in enumerate(names):
        record = await s.record(name)
        expect_equal((record.status, record.history_length, record.queued), (b"%d" % number, number, 0), name)
        expect_equal(await s.store.read_kv(name), {"k": b"%d" % number}, f"values of {name!r}")
        expect_equal(len(await s.store.read_history(name, 1)), number, f"the history of {name!r}")
