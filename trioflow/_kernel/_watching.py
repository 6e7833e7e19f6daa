"""For whoever draws what a kernel does: being told of what opens and closes, and seeing what stands around a piece of
code.

Laws: a watcher changes nothing and is told in the order of the run, so it hears the same in every replay; a kernel that
is being closed tells nothing. Without a watcher nothing is paid for.
Must never know: what is drawn. Who calls it: `_scheduler.py` and `_scope.py` tell, the engine listens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from outcome import Outcome

from trioflow._kernel._cancelled import CancelSource
from trioflow._kernel._frames import stands_in_user_code
from trioflow._kernel._scope import CancelScope
from trioflow._kernel._task import Task


class Watcher(Protocol):
    """Hears of tasks and scopes."""

    def task_began(self, task: Task) -> None:
        """A task was spawned."""
        ...

    def task_ended(self, task: Task, result: Outcome[Any]) -> None:
        """A task's coroutine has ended."""
        ...

    def scope_entered(self, scope: CancelScope) -> None:
        """A block began."""
        ...

    def scope_left(self, scope: CancelScope, raised: BaseException | None) -> None:
        """A block has ended; `raised` is what goes on out of it."""
        ...


def around(thing: Task | CancelScope) -> Iterator[CancelScope | Task]:
    """What a task's code, or an open scope, stands in, from the inside out: the scopes that its task has open, the
    task, the scopes around the nursery that the task runs in, that nursery's task, and so on.
    """
    if isinstance(thing, CancelScope):
        assert thing._task is not None  # it is open
        assert thing._status is not None
        task, inside = thing._task, thing._status.parent
    else:
        task, inside = thing, thing._status
    while True:
        nursery = task.parent_nursery
        given = None if nursery is None else nursery._status
        while inside is not None and inside is not given and inside.parent is not None:
            yield inside.scope
            inside = inside.parent
        yield task
        if nursery is None:
            return
        task, inside = nursery._parent_task, nursery._status


def labelled(scope: CancelScope, label: str) -> CancelScope:
    """A scope that a verb opens for itself, with a word for what it is for."""
    scope._label = label
    return scope


def label_of(scope: CancelScope) -> str | None:
    """That word; None for the scopes of users."""
    return scope._label


def cancelled_by(scope: CancelScope) -> CancelSource | None:
    """What cancelled a scope; None if nothing has."""
    reason = scope._cancel_reason
    return reason.source if scope._cancel_called and reason is not None else None


def runs_user_code(task: Task) -> bool:
    """Whether code of the user stands in a waiting task, or it is nothing but a verb or a step of ours."""
    return stands_in_user_code(task.coro)
