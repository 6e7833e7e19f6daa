"""The cancel-status tree: which tasks are cancelled now, and why.

Laws: there is one status per open scope; statuses nest as scopes do, and a nursery's children start in their nursery's
status. Cancellation is a level, not an edge: a status is effectively cancelled as long as its own scope is cancelled or
its parent's cancellation reaches it through no shield, and it may stop being so. Each task is in exactly one status,
its innermost; when that becomes cancelled the task's wait is aborted. Children and tasks are kept in the order they
came.
Must never know: deadlines, nurseries, what tasks wait for. Who calls it: `_scope.py`, `_nursery.py`, `_task.py`. Read
next: `_scope.py`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from trioflow._kernel._scope import CancelScope
    from trioflow._kernel._task import Task


@attrs.define(eq=False, repr=False)
class CancelStatus:
    """Whether the code directly inside one scope is cancelled."""

    # Originates cancellation for this status; never None, while the scope itself forgets its status when it is closed.
    scope: CancelScope

    # Its cancellation reaches us unless our scope is a shield. None at the root, and while somebody is moved or
    # misnested.
    parent: CancelStatus | None

    # True iff checkpoints of `tasks` raise Cancelled. Kept true to its definition by `recalculate`.
    effectively_cancelled: bool = False

    # Statuses whose parent this is, and tasks whose innermost status this is, each in the order they came (a dict for
    # its order).
    children: dict[CancelStatus, None] = attrs.field(factory=dict)
    tasks: dict[Task, None] = attrs.field(factory=dict)

    # An enclosing scope was closed before this one: what is left here is cancelled and only needs to unwind.
    abandoned: bool = False

    def __attrs_post_init__(self) -> None:
        if self.parent is not None:
            self.parent.children[self] = None
            # The common case of a scope opened in a task that is not cancelled costs two looks.
            if self.scope._cancel_called or self.parent.effectively_cancelled:
                self.recalculate()

    def move(self, parent: CancelStatus | None) -> None:
        """Hang this status, with all below it, under another parent."""
        if self.parent is not None:
            del self.parent.children[self]
        self.parent = parent
        if parent is not None:
            parent.children[self] = None
            self.recalculate()

    @property
    def parent_cancellation_reaches(self) -> bool:
        """Whether the parent is cancelled and our scope is no shield against it."""
        parent = self.parent
        return parent is not None and not self.scope._shield and parent.effectively_cancelled

    @property
    def cut_off(self) -> bool:
        """Whether the scope of this very status was closed with something inside."""
        return self.abandoned and self.parent is None

    def encloses(self, other: CancelStatus | None) -> bool:
        """Whether `other` is this status or anywhere below it."""
        while other is not None:
            if other is self:
                return True
            other = other.parent
        return False

    def recalculate(self) -> None:
        """Make this status and all below it true again; tasks that became cancelled have their waits aborted."""
        stack = [self]  # a loop, not recursion: thousands of nested scopes are legal
        while stack:
            status = stack.pop()
            inherited = status.parent_cancellation_reaches
            now = status.scope.cancel_called or inherited  # or its time has come in this very step
            if now == status.effectively_cancelled:
                continue
            if inherited and status.scope._cancel_reason is None:
                assert status.parent is not None
                status.scope._cancel_reason = status.parent.scope._cancel_reason
            status.effectively_cancelled = now
            if now:
                status.abort_waits()
            stack.extend(reversed(status.children))

    def abort_waits(self) -> None:
        """Abort what the tasks of a cancelled status wait for, where that can be."""
        for task in list(self.tasks):  # a copy: an abort function may do anything, such as moving tasks
            task._deliver_cancellation()

    def close(self) -> None:
        """The scope's block has ended. What is still inside did not nest: it is cut off and stays cancelled."""
        assert self.parent is not None  # only the root has none, and it is not closed
        del self.parent.children[self]
        self.parent = None
        if self.tasks or self.children:
            self._abandon()
            self.effectively_cancelled = True
            self.abort_waits()
            for child in list(self.children):
                child.recalculate()

    def _abandon(self) -> None:
        stack = [self]
        while stack:
            status = stack.pop()
            status.abandoned = True
            stack.extend(status.children)

    def effective_deadline(self) -> float:
        """When this status becomes cancelled by time, if nothing changes; -inf if it is cancelled already."""
        deadline = inf
        status: CancelStatus | None = self
        while status is not None:
            if status.effectively_cancelled:
                return -inf
            deadline = min(deadline, status.scope._deadline)
            status = None if status.scope._shield else status.parent
        return deadline
