"""Watching a kernel: what is told of tasks and scopes, and what stands around a piece of code."""

from __future__ import annotations

from typing import Any

import outcome

from trioflow._kernel import (
    CancelScope,
    Kernel,
    Task,
    around,
    cancelled_by,
    current_task,
    label_of,
    labelled,
    open_nursery,
    runs_user_code,
    sleep,
    wait_task_rescheduled,
)


class Notes:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def task_began(self, task: Task) -> None:
        """A task was spawned."""
        self.told.append(f"{task.place} began")

    def task_ended(self, task: Task, result: outcome.Outcome[Any]) -> None:
        """A task has ended."""
        self.told.append(f"{task.place} ended: {type(result).__name__}")

    def scope_entered(self, scope: CancelScope) -> None:
        """A block began."""
        self.told.append(f"entered {label_of(scope) or 'a scope'}")

    def scope_left(self, scope: CancelScope, raised: BaseException | None) -> None:
        """A block has ended."""
        self.told.append(f"left {label_of(scope) or 'a scope'}, {type(raised).__name__}, by {cancelled_by(scope)}")


def watched(program: Any) -> Notes:
    """Run a program until it blocks, close it, and say what was told."""
    notes, kernel = Notes(), Kernel(name="watched")
    kernel.watcher = notes
    kernel.start(program)
    kernel.run_until_blocked()
    kernel.close()
    return notes


def test_tasks_and_scopes_are_told_in_the_order_of_the_run() -> None:
    """From the main task's first step to its end; a label says what a verb has opened a scope for."""

    async def branch() -> None:
        raise ValueError

    async def program() -> None:
        with labelled(CancelScope(), "a test") as scope:
            scope.cancel()
        async with open_nursery() as nursery:
            nursery.start_soon(branch)

    assert watched(program).told == [
        "0 began",
        "entered a test",
        "left a test, NoneType, by explicit",
        "entered a scope",
        "0.1 began",
        "0.1 ended: Error",
        "left a scope, ExceptionGroup, by nursery",
        "0 ended: Error",
    ]


def test_nothing_is_told_while_a_kernel_is_closed() -> None:
    """What unwinds then is nobody's end."""

    async def program() -> None:
        with CancelScope():
            await sleep(1)

    assert watched(program).told == ["0 began", "entered a scope", "entered a scope"]


def test_what_stands_around_code_leads_through_nurseries_to_the_main_task() -> None:
    """From the inside out: own scopes, the task, the scopes around its nursery, that one's task."""
    seen: list[list[object]] = []
    outer, inner, own = CancelScope(), CancelScope(), CancelScope()

    async def branch() -> None:
        with own:
            seen.append(list(around(current_task())))
            seen.append(list(around(own)))

    async def program() -> None:
        with outer, inner:
            async with open_nursery() as nursery:
                nursery.start_soon(branch)
                tasks.append(current_task())
                scopes.append(nursery.cancel_scope)
                tasks.append(next(iter(nursery.child_tasks)))

    tasks: list[Task] = []
    scopes: list[CancelScope] = []
    watched(program)
    main, child = tasks
    assert seen == [
        [own, child, *scopes, inner, outer, main],
        [child, *scopes, inner, outer, main],
    ]


def test_whether_code_of_the_user_stands_in_a_task() -> None:
    """A task that is nothing but a verb has none."""
    found: dict[str, bool] = {}

    async def own() -> None:
        await sleep(1)

    async def program() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(own)
            nursery.start_soon(sleep, 1)
            tasks.extend(nursery.child_tasks)
            await wait_task_rescheduled(lambda _: abort())

    def abort() -> Any:
        raise AssertionError("nobody cancels it")

    tasks: list[Task] = []
    kernel = Kernel(name="code")
    kernel.start(program)
    kernel.run_until_blocked()
    found = {task.place: runs_user_code(task) for task in tasks}
    kernel.close()
    assert found == {"0.1": True, "0.2": False}
