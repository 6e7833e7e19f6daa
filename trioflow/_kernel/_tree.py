"""What a kernel shows of its tasks: a tree of frozen descriptions, for people.

Laws: a description is plain data, true at the block where it was made: no kernel object, and nothing that a payload
could be in, so no request, no argument and no text of an error. Requests are opaque here: whoever drives the kernel
says how to call them. What never comes is None, not infinite, so that everything is JSON.
Must never know: what requests mean. Who calls it: `Kernel.branches`. Read next: `_drawing.py`, which makes it text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING, TypeAlias

import attrs

from trioflow._kernel._drawing import draw, say_wait
from trioflow._kernel._frames import standing
from trioflow._kernel._operations import OnCancel, Operation
from trioflow._kernel._timeouts import sleep_forever, sleep_until

if TYPE_CHECKING:
    from trioflow._kernel._nursery import Nursery
    from trioflow._kernel._scope import CancelScope
    from trioflow._kernel._status import CancelStatus
    from trioflow._kernel._task import Task

INSIDE = re.compile(r"^trioflow\.(_kernel|durable)\._\w+\.")  # where verbs are at home; users know them by another name

Namer: TypeAlias = Callable[[Operation], tuple[str, str, str | None]]
"""How whoever drives the kernel calls an operation: its kind, its name, and its id outside, if it has one."""


def by_key(operation: Operation) -> tuple[str, str, None]:
    """The namer for those who have no better words."""
    return "operation", operation.key, None


@attrs.frozen(kw_only=True, repr=False)
class TreeWait:
    """What a branch waits for.

    Attributes:
        kind: "activity", "child", "detached start" or "event"; "sleep"; "nursery", which is the end of its innermost
            one; "start", which is a branch that is being started; "wait", which is another branch, through a lock, a
            channel, an event or the like.
        name: of the activity, orchestration or event. Of the others, the verb that waits, such as ``Event.wait``.
        id: the instance id of a child or of what is started detached.
        operation: where it is in the history, such as ``0.1#2``.
        on_cancel: what cancelling the branch does to an activity, child or the like: "wait", "request" or "abandon";
            "stay" for a child that is waited for and asked for nothing.
        cancel_asked: the branch was cancelled, and stays for the real end of what it waits for.
        deadline: of a sleep: when it ends, in seconds since the Unix epoch; None is never.
        due_in: the same, in seconds from when the tree was made.
    """

    kind: str
    name: str | None = None
    id: str | None = None
    operation: str | None = None
    on_cancel: OnCancel | None = None
    cancel_asked: bool = False
    deadline: float | None = None
    due_in: float | None = None

    def __repr__(self) -> str:
        return say_wait(self)


@attrs.frozen(kw_only=True, repr=False)
class TreeScope:
    """A cancel scope or a nursery that a branch has open.

    Attributes:
        nursery: whether it is a nursery, whose branches are in `branches`.
        deadline: when it is cancelled, in seconds since the Unix epoch; None is never.
        due_in: the same, in seconds from when the tree was made.
        shield: whether it keeps cancellation from outside out.
        cancelled: whether it was itself cancelled; what it is in may be cancelled, too.
        cancel_source: why: "deadline", "nursery" (a branch of it failed), "explicit" (somebody called `cancel`).
        cancel_reason: what the canceller said; for a nursery, the class of the exception that it failed by.
        cancelled_by: which task it was, if it was one.
        branches: that run in the nursery, in the order they came.
    """

    nursery: bool
    deadline: float | None
    due_in: float | None
    shield: bool
    cancelled: bool
    cancel_source: str | None
    cancel_reason: str | None
    cancelled_by: str | None
    branches: tuple[TreeBranch, ...]

    def __repr__(self) -> str:
        return "\n".join(draw([(self,)]))


@attrs.frozen(kw_only=True, repr=False)
class TreeBranch:
    """A branch that has not ended.

    Attributes:
        place: its identity, such as "0.1".
        name: its function's, or what `start_soon` was told.
        starting: whether it is being started by ``await nursery.start(...)``.
        at: the line of user code where it stands, as ``file:line in function``; None if it has none.
        cancelled: whether its checkpoints raise `Cancelled`.
        waits: for what; None if it is about to run.
        scopes: that it has open, outermost first, nurseries among them.
    """

    place: str
    name: str
    starting: bool
    at: str | None
    cancelled: bool
    waits: TreeWait | None
    scopes: tuple[TreeScope, ...]

    def __repr__(self) -> str:
        return "\n".join(draw([self]))


def tree_of(tasks: Iterable[Task], now: float, namer: Namer) -> tuple[TreeBranch, ...]:
    """Describe tasks, given in spawn order; returns those that are in nobody's nursery."""
    made: dict[Task, TreeBranch] = {}
    # The youngest first, not from the top: whoever has a nursery is older than all that run in it, and trees may be
    # deeper than Python likes to call.
    for task in reversed(list(tasks)):
        made[task] = _branch(task, made, now, namer)
    return tuple(reversed(made.values()))


def public_name(task: Task) -> str:
    """A branch's function by the name that its users know."""
    return INSIDE.sub("durable.", task.name)


def _branch(task: Task, made: dict[Task, TreeBranch], now: float, namer: Namer) -> TreeBranch:
    at, verb = standing(task.coro)
    statuses = _statuses(task)
    waits = _sleep(task, statuses, now) or _wait(task, verb, namer)
    nurseries = {nursery.cancel_scope: nursery for nursery in task._child_nurseries}
    return TreeBranch(
        place=task.place,
        name=public_name(task),
        starting=task.eventual_parent_nursery is not None,
        at=at,
        cancelled=task._status.effectively_cancelled,
        waits=waits,
        scopes=tuple(_scope(status.scope, nurseries.get(status.scope), made, now) for status in statuses),
    )


def _statuses(task: Task) -> list[CancelStatus]:
    """Those of the scopes that the task itself has open, outermost first."""
    given = None if task.parent_nursery is None else task.parent_nursery._status
    found: list[CancelStatus] = []
    status = task._status
    while status is not given and status.parent is not None:
        found.append(status)
        status = status.parent
    return found[::-1]


def _scope(scope: CancelScope, nursery: Nursery | None, made: dict[Task, TreeBranch], now: float) -> TreeScope:
    deadline, due_in = _when(scope._deadline, now)
    reason = scope._cancel_reason if scope._cancel_called else None
    said = None if reason is None else reason.reason
    if reason is not None and reason.source == "nursery":
        # What it was told shows the exception, which may show anything.
        said = type(nursery._errors[0]).__qualname__ if nursery is not None and nursery._errors else None
    return TreeScope(
        nursery=nursery is not None,
        deadline=deadline,
        due_in=due_in,
        shield=scope._shield,
        cancelled=scope._cancel_called,
        cancel_source=None if reason is None else reason.source,
        cancel_reason=said,
        cancelled_by=None if reason is None else reason.source_task,
        branches=() if nursery is None else tuple(made.pop(child) for child in nursery._children),
    )


def _wait(task: Task, verb: str | None, namer: Namer) -> TreeWait | None:
    operation = task._waiting
    if operation is None:
        return None
    if isinstance(operation, Operation):
        kind, name, outside = namer(operation)
        return TreeWait(
            kind=kind,
            name=name,
            id=outside,
            operation=operation.key,
            on_cancel=operation.on_cancel,
            cancel_asked=operation.cancel_asked,
        )
    if task._child_nurseries and task._child_nurseries[-1]._parent_waiting:
        starting = any(child.eventual_parent_nursery is not None for child in task._child_nurseries[-1]._children)
        return TreeWait(kind="start" if starting else "nursery", name=verb)
    return TreeWait(kind="wait", name=verb or "wait_task_rescheduled")


def _sleep(task: Task, statuses: list[CancelStatus], now: float) -> TreeWait | None:
    """The sleep that a waiting task is in, if it is; the scope that it has for that is its own business."""
    codes = [frame.f_code for frame, _ in task.iter_await_frames()]
    if task._waiting is None or sleep_forever.__code__ not in codes:
        return None
    ends = statuses.pop().scope._deadline if sleep_until.__code__ in codes else inf
    deadline, due_in = _when(ends, now)
    return TreeWait(kind="sleep", deadline=deadline, due_in=due_in)


def _when(deadline: float, now: float) -> tuple[float | None, float | None]:
    """A deadline, absolute and from now on; None for one that never comes."""
    return (None, None) if deadline == inf else (deadline, deadline - now)
