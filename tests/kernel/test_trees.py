"""The tree of branches: what is in it, what each branch waits for, and the text that is made of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from tests.kernel.helpers import World
from trioflow._kernel import (
    CancelScope,
    Kernel,
    Operation,
    TaskStatus,
    TreeBranch,
    TreeScope,
    cancel_shielded_checkpoint,
    checkpoint,
    draw,
    fail_at,
    move_on_at,
    open_nursery,
    perform,
    say_when,
    sleep,
    sleep_forever,
    sleep_until,
    wait_task_rescheduled,
)
from trioflow._util import TASK_STATUS_IGNORED
from trioflow.durable import Event, gather, lowlevel

HERE = f"{__name__}."


def tree(world: World, **options: Any) -> TreeBranch:
    """The main branch."""
    (root,) = world.kernel.branches(**options)
    return root


def lines(world: World, **options: Any) -> list[str]:
    """The text, without what every line of this file has in common."""
    text = str(tree(world, **options)).replace(f"{__file__}:", "")
    return [line.replace(HERE, "") for line in text.splitlines()]


def line_of(branch: TreeBranch) -> tuple[str, str]:
    """Where a branch stands: the function, and the text of its line."""
    assert branch.at is not None
    path, _, rest = branch.at.rpartition(":")
    number, _, function = rest.partition(" in ")
    assert path == __file__
    with open(__file__, encoding="utf-8") as file:
        return function.rpartition(".")[2], file.read().splitlines()[int(number) - 1].strip()


async def pack() -> None:
    await perform("a payload")


def test_a_tree_has_branches_scopes_and_nurseries() -> None:
    """Nurseries hold their branches; scopes stand outermost first; a deadline is absolute and counted from now."""

    async def main() -> None:
        with move_on_at(50), CancelScope(shield=True):
            async with open_nursery() as nursery:
                nursery.start_soon(pack, name="packer")
                nursery.start_soon(pack)
                with move_on_at(60):
                    await perform("m")

    world = World(main)
    world.run()
    root = tree(world, now=20.0)
    assert (root.place, root.starting, root.cancelled) == ("0", False, False)
    assert line_of(root) == ("main", 'await perform("m")')
    outer, shield, nursery, inner = root.scopes
    assert [scope.nursery for scope in root.scopes] == [False, False, True, False]
    assert (outer.deadline, outer.due_in, outer.shield, outer.cancelled) == (50.0, 30.0, False, False)
    assert (shield.deadline, shield.due_in, shield.shield) == (None, None, True)
    assert inner.deadline == 60.0
    assert [branch.place for branch in nursery.branches] == ["0.1", "0.2"]
    packer = nursery.branches[0]
    assert (packer.name, packer.scopes) == ("packer", ())
    assert line_of(packer) == ("pack", 'await perform("a payload")')
    assert packer.waits is not None
    assert (packer.waits.kind, packer.waits.operation, packer.waits.on_cancel) == ("operation", "0.1#1", "wait")


def test_the_text_of_a_tree() -> None:
    """One line for each branch and scope, below what it is in."""

    async def main() -> None:
        with move_on_at(50):
            async with open_nursery() as nursery:
                nursery.start_soon(pack, name="packer")
                with CancelScope(shield=True):
                    await sleep(30)

    world = World(main)
    world.run()
    main_line, *rest = lines(world)
    name = "test_the_text_of_a_tree.<locals>.main"
    assert main_line.startswith(f"└─ 0 {name} sleeps until 1970-01-01 00:00:30 UTC (in 30.0 s), at ")
    assert main_line.endswith(f" in {name}")
    assert rest[:2] == ["   └─ scope, deadline 1970-01-01 00:00:50 UTC (in 50.0 s)", "      └─ nursery"]
    assert rest[2].startswith("         ├─ 0.1 packer waits for operation '0.1#1', at ")
    assert rest[3] == "         └─ scope, shielded"
    assert str(tree(world).scopes[0]) == "└─ scope, deadline 1970-01-01 00:00:50 UTC (in 50.0 s)"
    assert str(tree(world).scopes[1]).startswith("└─ nursery\n   └─ 0.1 packer waits ")


def test_a_tree_is_plain_data_without_payloads() -> None:
    """`attrs.asdict` gives JSON; requests, arguments and the text of exceptions are in it nowhere."""

    @attrs.frozen
    class Secretive:
        secret: str

        async def __call__(self) -> None:
            await perform(self)

    async def fail(order: Secretive) -> None:
        await checkpoint()
        raise ValueError(order)

    async def main(order: Secretive) -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(order)
            nursery.start_soon(fail, order)

    world = World(main, Secretive("hush"))
    world.run()
    root = tree(world)
    assert "hush" not in json.dumps(attrs.asdict(root))
    assert "hush" not in str(root)
    assert root.scopes[0].cancel_reason == "ValueError"


@pytest.mark.parametrize(
    ("ask", "kind", "text"),
    [
        (lambda: sleep(5), "sleep", "sleeps until 1970-01-01 00:00:05 UTC (in 5.0 s)"),
        (lambda: sleep_until(1e300), "sleep", "sleeps until 1e+300 ("),
        (sleep_forever, "sleep", "sleeps for ever"),
        (lambda: sleep_until(float("inf")), "sleep", "sleeps for ever"),
        (lambda: Event().wait(), "wait", "waits in Event.wait"),
        (lambda: wait_task_rescheduled(lambda _: lowlevel.Abort.SUCCEEDED), "wait", "waits in wait_task_rescheduled"),
        (lambda: perform("x"), "operation", "waits for operation '0#1'"),
    ],
)
def test_what_a_branch_waits_for(ask: Any, kind: str, text: str) -> None:
    """Sleeps, other branches and the world are told apart; the scope inside a sleep is not shown."""

    async def main() -> None:
        with fail_at(100):
            await ask()

    world = World(main)
    world.run()
    root = tree(world)
    assert root.waits is not None
    assert root.waits.kind == kind
    assert str(root.waits).startswith(text)
    assert [scope.deadline for scope in root.scopes] == [100.0]
    assert root.at is not None
    assert "main" in root.at


def test_a_branch_that_is_being_started() -> None:
    """Until `started` the branch is in the call's own nursery, and both sides say so; then it is where it belongs."""

    async def serve(*, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        with CancelScope():
            await perform("warm up")
            task_status.started()
            await perform("serve")

    async def main() -> None:
        async with open_nursery() as nursery:
            await nursery.start(serve)
            await perform("ready")

    world = World(main)
    world.run()
    root = tree(world)
    assert root.waits is not None
    assert (root.waits.kind, str(root.waits)) == ("start", "waits for a branch to start")
    assert [scope.nursery for scope in root.scopes] == [True, True]
    (server,) = root.scopes[1].branches
    assert (server.place, server.starting) == ("0.1", True)
    assert ", being started, at " in str(server)
    world.answer("0.1#1")
    world.run()
    root = tree(world)
    (nursery,) = root.scopes
    (server,) = nursery.branches
    assert (server.place, server.starting, len(server.scopes)) == ("0.1", False, 1)
    assert ", being started" not in str(server)


def test_a_branch_that_was_cancelled_and_waits_says_so() -> None:
    """One that stays for the real end of an operation, one that stays for its own branches, one behind a shield."""

    async def sheltered() -> None:
        with CancelScope(shield=True):
            await perform("cleanup")

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(pack)
            nursery.start_soon(sheltered)

    world = World(main)
    world.run()
    world.kernel.cancel("because I say so")
    world.run()
    root = tree(world)
    packer, sheltered_branch = root.scopes[0].branches
    assert root.cancelled
    assert packer.cancelled
    assert not sheltered_branch.cancelled
    assert packer.waits is not None
    assert packer.waits.cancel_asked
    text = lines(world)
    assert "waits for the end of its nursery, cancelled, at" in text[0]
    assert "was cancelled, and waits for the real end of operation '0.1#1', which was asked to end, at" in text[2]
    assert "waits for operation '0.2#1', at" in text[3]


def test_a_scope_says_why_it_is_cancelled() -> None:
    """By its deadline, by a failure, or by somebody, with what was said; a nursery's failure shows its class only."""

    async def waits() -> None:
        with CancelScope(shield=True):
            await perform("for ever")

    async def fail() -> None:
        raise ValueError("not to be shown")

    async def main() -> None:
        with move_on_at(5), CancelScope(shield=True) as scope:
            scope.cancel("enough")
            async with open_nursery() as nursery:
                nursery.start_soon(waits)
                nursery.start_soon(fail)

    world = World(main)
    world.run()
    world.kernel.advance(7)
    world.run()
    late, told, nursery = tree(world).scopes
    assert (late.cancelled, late.cancel_source, late.cancel_reason, late.due_in) == (True, "deadline", None, -2)
    assert (told.cancel_source, told.cancel_reason) == ("explicit", "enough")
    assert told.cancelled_by is not None
    assert told.cancelled_by.endswith(" at 0>")
    assert str(late).startswith("└─ scope, deadline 1970-01-01 00:00:05 UTC (2.0 s ago), cancelled: deadline")
    assert str(told).startswith("└─ scope, shielded, cancelled: explicit, enough, by <Task")
    assert nursery.cancelled  # by the first of its reasons, which came from outside
    assert "not to be shown" not in str(nursery)


def test_a_scope_in_a_failed_nursery_does_not_show_what_failed() -> None:
    """A scope that inherited the reason of a failure, and is then cancelled itself, knows no class to tell."""

    async def fail() -> None:
        await checkpoint()
        raise ValueError("not to be shown")

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(fail)
            with CancelScope() as scope, CancelScope(shield=True):
                await perform("a")
                scope.cancel("too late")
                await perform("b")

    world = World(main)
    world.run()
    world.answer("0#1")
    world.run()
    outer, scope, _ = tree(world).scopes
    assert (outer.cancel_source, outer.cancel_reason) == ("nursery", "ValueError")
    assert (scope.cancelled, scope.cancel_source, scope.cancel_reason) == (True, "nursery", None)


def test_what_is_in_nobodys_nursery_stands_beside_the_main_branch() -> None:
    """A branch whose nursery was left without being closed is still shown."""
    kept: list[object] = []

    async def lonely() -> None:
        with CancelScope(shield=True):
            await perform("alone")

    async def opener() -> None:
        block = open_nursery()
        kept.append(block)
        nursery = await block.__aenter__()
        nursery.start_soon(lonely)

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(opener)
            with CancelScope(shield=True):
                await perform("stay")

    world = World(main)
    world.run()
    assert [branch.place for branch in world.kernel.branches()] == ["0", "0.1.1"]
    assert len(draw(world.kernel.branches())) == 5


def test_a_branch_that_runs_waits_for_nothing() -> None:
    """Before its first step, and after one that has been answered."""

    async def main() -> None:
        await cancel_shielded_checkpoint()
        await perform("a")

    world = World(main)
    assert tree(world).waits is None
    assert " is about to run, at " in str(tree(world))
    world.run()
    world.answer("0#1")
    assert tree(world).waits is None


def test_verbs_that_are_branches_themselves() -> None:
    """A branch without user code has no line; the verb is what it is."""

    async def main() -> None:
        event = Event()
        async with open_nursery() as nursery:
            nursery.start_soon(event.wait)
            nursery.start_soon(sleep, 5)

    world = World(main)
    world.run()
    waiting, sleeping = tree(world).scopes[0].branches
    assert (waiting.at, str(waiting.waits)) == (None, "waits in Event.wait")
    assert sleeping.at is None
    assert str(sleeping).endswith("sleeps until 1970-01-01 00:00:05 UTC (in 5.0 s)")


def test_context_managers_are_seen_through() -> None:
    """A branch that leaves a block stands in the user's own code, never in the standard library's."""

    @contextlib.asynccontextmanager
    async def managed() -> AsyncIterator[None]:
        yield
        await perform("cleanup")

    async def first() -> None:
        async with managed():
            pass

    async def second() -> None:
        async with contextlib.AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(open_nursery())
            nursery.start_soon(pack)

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(first)
            nursery.start_soon(second)

    world = World(main)
    world.run()
    branches = tree(world).scopes[0].branches
    assert line_of(branches[0]) == ("managed", 'await perform("cleanup")')
    assert line_of(branches[1])[0] == "second"
    assert str(branches[1].waits) == "waits for the end of its nursery"


def test_verbs_that_have_nurseries_are_named() -> None:
    """Who waits in `gather` or `race` sees which it is."""

    async def main() -> None:
        await gather(pack, pack)

    world = World(main)
    world.run()
    root = tree(world)
    assert str(root.waits) == "waits for the end of its nursery, in gather"
    assert line_of(root) == ("main", "await gather(pack, pack)")
    assert [line_of(branch)[0] for branch in root.scopes[0].branches] == ["pack", "pack"]


def test_a_deep_tree_is_described_and_drawn() -> None:
    """Branches within branches, deeper than Python likes to call."""

    async def down(depth: int) -> None:
        if depth:
            async with open_nursery() as nursery:
                nursery.start_soon(down, depth - 1, name="down")
        else:
            await perform("at the bottom")

    world = World(down, 1500)
    world.run()
    text = lines(world)
    assert len(text) == 3001
    assert "waits for operation" in text[-1]


def test_whoever_drives_the_kernel_names_operations() -> None:
    """The namer is asked with the operation; a name and an id stand in quotes."""

    def namer(operation: Operation) -> tuple[str, str, str | None]:
        return "child", f"of {operation.key}", "c-1"

    world = World(pack)
    world.run()
    root = tree(world, namer=namer)
    assert root.waits is not None
    assert (root.waits.kind, root.waits.name, root.waits.id) == ("child", "of 0#1", "c-1")
    assert str(root.waits) == "waits for child 'of 0#1' as 'c-1'"


@pytest.mark.parametrize(
    ("at", "due_in", "text"),
    [
        (0.0, None, "1970-01-01 00:00:00 UTC"),
        (1_700_000_000.9, 0.25, "2023-11-14 22:13:20 UTC (in 0.2 s)"),
        (0.0, -119.0, "1970-01-01 00:00:00 UTC (119.0 s ago)"),
        (0.0, 150.0, "1970-01-01 00:00:00 UTC (in 2.5 min)"),
        (0.0, 9_000.0, "1970-01-01 00:00:00 UTC (in 2.5 h)"),
        (0.0, -216_000.0, "1970-01-01 00:00:00 UTC (2.5 d ago)"),
    ],
)
def test_times_are_said_twice(at: float, due_in: float | None, text: str) -> None:
    """Absolute, and from now on in the unit that fits."""
    assert say_when(at, due_in) == text


def test_a_kernel_that_has_ended_has_no_branches() -> None:
    """Nothing is left to show."""

    async def main() -> None:
        pass

    kernel = Kernel(name="instance a")
    kernel.start(main)
    kernel.run_until_blocked()
    assert kernel.branches() == ()
    assert draw([]) == []
    kernel.close()


def test_scopes_are_kept_in_plain_tuples() -> None:
    """The descriptions are frozen and compare by value."""

    async def main() -> None:
        with move_on_at(5):
            await perform("a")

    world = World(main)
    world.run()
    assert tree(world) == tree(world)
    (scope,) = tree(world).scopes
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        scope.shield = True  # type: ignore[misc]
    assert isinstance(scope, TreeScope)
