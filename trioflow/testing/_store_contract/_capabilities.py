"""Which instances a worker can run, decided in the store. Read next: `_lines.py`."""

from __future__ import annotations

from trioflow.abc import Capabilities, NextExecution, State
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import Subject, draft, expect_equal

PART = Part.CAPABILITIES


def can(*pairs: tuple[str, str], semantics: tuple[int, ...] = (1,)) -> Capabilities:
    """What a worker can run."""
    return Capabilities(orchestrations=pairs, semantics=semantics)


async def taken(s: Subject, can_run: Capabilities | None) -> list[str]:
    """Which instances such a worker gets, by name."""
    return sorted(turn.lock.instance for turn in (await s.lock_turns(can_run=can_run)).turns)


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
    await s.start("first")
    starts = tuple(s.a_start(f"foreign-{number}", name="foreign") for number in range(300))
    await s.run("first", "Ended", state=State.COMPLETED, starts=starts)
    s.advance(1)
    await s.start("mine")
    can_run = Capabilities(orchestrations=(("flow", "1.0.0"),))
    turns = (await s.lock_turns(limit=1, can_run=can_run)).turns
    expect_equal([turn.lock.instance for turn in turns], ["mine"], "what the worker can run")


async def check_pairs_are_pairs(s: Subject) -> None:
    """A worker that runs version 1 of one name and version 2 of another runs no other mixture of them."""
    for name in ("one", "two"):
        for version in ("1", "2"):
            await s.start(name + version, name=name, version=version)
    expect_equal(await taken(s, can(("one", "1"), ("two", "2"))), ["one1", "two2"], "what the worker can run")


async def check_every_pair_counts(s: Subject) -> None:
    """A worker may name many pairs, and the last counts as much as the first."""
    pairs = tuple((f"flow-{number}", "1.0.0") for number in range(200))
    for number in (0, 100, 199):
        await s.start(f"i{number}", name=f"flow-{number}", version="1.0.0")
    expect_equal(await taken(s, can(*pairs)), ["i0", "i100", "i199"], "what the worker can run")


async def check_versions_are_texts(s: Subject) -> None:
    """Versions are compared to the letter, not as numbers."""
    for version in ("1.0", "1.0.0", "01.0", "1.0 "):
        await s.start(version, version=version)
    expect_equal(await taken(s, can(("flow", "1.0"))), ["1.0"], "what the worker can run")


async def check_names_are_told_apart_to_the_letter(s: Subject) -> None:
    """Names are compared to the letter."""
    for name in ("flow", "Flow", "flow ", "fl_w", "fl%"):
        await s.start(name, name=name)
    expect_equal(await taken(s, can(("fl_w", "1"))), ["fl_w"], "what the worker can run")


async def check_a_pin_decides(s: Subject) -> None:
    """An instance whose turn pinned its version is left to workers that have this version."""
    await s.waiting("a", version="2.0.0")
    await s.post("a")
    expect_equal(await taken(s, can(("flow", "1.0.0"))), [], "what a worker with another version gets")
    expect_equal(await taken(s, can(("flow", "2.0.0"))), ["a"], "what a worker with this version gets")


async def check_all_semantics_of_a_worker_count(s: Subject) -> None:
    """A worker may understand several replay semantics."""
    for semantics in (1, 2, 3):
        await s.start(f"i{semantics}", semantics=semantics)
    expect_equal(await taken(s, can(("flow", "1"), semantics=(1, 3))), ["i1", "i3"], "what the worker understands")


async def check_the_next_execution_has_its_own_pin(s: Subject) -> None:
    """After continue-as-new the new version decides, not the one before."""
    await s.start("a", version="1")
    await s.run("a", next_execution=NextExecution(start=draft("Again"), version="2"))
    expect_equal(await taken(s, can(("flow", "1"))), [], "what a worker with the old version gets")
    expect_equal(await taken(s, can(("flow", "2"))), ["a"], "what a worker with the new version gets")


async def check_the_next_execution_has_its_own_semantics(s: Subject) -> None:
    """After continue-as-new the new replay semantics decide."""
    await s.start("a", semantics=1)
    await s.run("a", next_execution=NextExecution(start=draft("Again"), semantics=2))
    expect_equal(await taken(s, can(("flow", "1"))), [], "what a worker with the old semantics gets")
    expect_equal(await taken(s, can(("flow", "1"), semantics=(2,))), ["a"], "what a worker with the new ones gets")


async def check_a_replacement_has_its_own_pin(s: Subject) -> None:
    """A replacement is matched by its own name and version, not by those of the instance it replaced."""
    await s.start("a", name="old", version="1")
    await s.run("a", "Ended", state=State.COMPLETED)
    await s.start("a", name="new", if_exists="replace_finished")
    expect_equal(await taken(s, can(("old", "1"))), [], "what a worker of the old name gets")
    expect_equal(await taken(s, can(("new", "7"))), ["a"], "what a worker of the new name gets")


async def check_what_is_passed_over_is_untouched(s: Subject) -> None:
    """Passing over an instance neither locks it nor counts as an attempt."""
    await s.start()
    for _ in range(3):
        expect_equal(await taken(s, can(("other", "1"))), [], "what the worker can run")
    expect_equal((await s.turn()).attempts, 1, "attempts")


async def check_control_is_for_whoever_comes_first(s: Subject) -> None:
    """A control message needs no code, so it makes an instance eligible for workers that cannot run it, too."""
    await s.waiting("a", version="2")
    await s.post("a")
    expect_equal(await taken(s, can(("flow", "1"))), [], "what a worker with another version gets of a message")
    await s.post("a", control=True)
    expect_equal(await taken(s, can(("flow", "1"))), ["a"], "what it gets with a control message")


@belongs_to(Part.CORE)
async def check_no_limits_mean_anything(s: Subject) -> None:
    """A worker that names no capabilities gets whatever there is."""
    await s.start("a", name="one", version="1")
    await s.start("b", name="two", semantics=9)
    expect_equal(await taken(s, None), ["a", "b"], "what the worker gets")
