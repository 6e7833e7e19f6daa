"""Following an execution for its trace: which branches, scopes and operations open and close, and within what.

Laws: it listens and changes nothing; it is told the same by a replay as by the first run, and keeps quiet about what a
replay repeats. A branch in which no code of the user stands is no part of its own: it is the step that it takes. A
scope is a part from when its deadline becomes durable, or if a verb has said what it is for.

Must never know: trace ids. Who calls it: `_execution.py`, and the kernel, whose watcher it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs
import outcome

from trioflow._ambient import How, Part, PartClosed, PartOpened, Span, SpanKind, essence_of
from trioflow._engine._host import EngineHost
from trioflow._engine._journal import Journal
from trioflow._engine._naming import name_of
from trioflow._kernel import (
    CancelScope,
    Operation,
    Task,
    TimerOpened,
    around,
    cancelled_by,
    label_of,
    public_name,
    runs_user_code,
)
from trioflow.history import (
    ActivityCancelled,
    ActivityFailed,
    ActivityScheduled,
    Answer,
    ChildCancelled,
    ChildFailed,
    ChildTerminated,
    DetachedRefused,
    Event,
)

EXECUTION: Final = ""
"""The key of what is within no other part."""

KINDS: Final[dict[str, SpanKind]] = {
    "activity": "activity",
    "child": "child",
    "detached start": "detached",
    "event": "event",
}

ENDINGS: Final[dict[type[Answer], How]] = {
    ActivityFailed: "failed",
    ActivityCancelled: "cancelled",
    ChildFailed: "failed",
    ChildCancelled: "cancelled",
    ChildTerminated: "failed",
    DetachedRefused: "failed",
}


Chain = tuple[CancelScope | str, ...]
"""What something may be within, from the inside out: scopes, and the key of a part for certain."""


@attrs.define(eq=False)
class Asked:
    """An operation that is open; what its part is within, the block tells."""

    key: str
    kind: SpanKind
    name: str
    instance: str | None
    at: float
    event: Event | None
    chain: Chain  # what may be around it
    part: Part | None = None  # once that is known


@attrs.define(eq=False)
class Trace:
    """Listens to one execution."""

    _journal: Journal
    _host: EngineHost
    spans: list[Span] = attrs.field(factory=list)  # of this turn
    within: dict[int, str] = attrs.field(factory=dict)  # of this turn: activities by event id, and what they are within
    _began: dict[Task, float] = attrs.field(factory=dict)
    _branches: dict[Task, Part | None] = attrs.field(factory=dict)  # None: no part of its own
    _scopes: dict[CancelScope, Part] = attrs.field(factory=dict)
    _nurseries: dict[CancelScope, Chain] = attrs.field(factory=dict)  # by their scopes: those and what is around them
    _labels: dict[Task, int] = attrs.field(factory=dict)  # how many labelled scopes each had
    _unplaced: list[Asked] = attrs.field(factory=list)  # those asked for since the last block

    def take_turn(self, *, ended: bool) -> tuple[tuple[Span, ...], dict[int, str]]:
        """What is new since the last call; if the execution has `ended` in it, what is still open was dropped."""
        if ended:
            self._drop()
        taken = tuple(self.spans), self.within
        self.spans, self.within = [], {}
        return taken

    # -- as the kernel's watcher

    def task_began(self, task: Task) -> None:
        """A branch was spawned."""
        self._began[task] = self._journal.at

    def task_ended(self, task: Task, result: outcome.Outcome[Any]) -> None:
        """A branch has ended."""
        self._labels.pop(task, None)
        del self._began[task]
        part = self._branches.pop(task, None)
        if part is not None:
            how, error = _ending(result.error if isinstance(result, outcome.Error) else None)
            self._closed(part, how, error)

    def scope_entered(self, scope: CancelScope) -> None:
        """A verb may have opened it and say what for."""
        label = label_of(scope)
        if label is not None:
            task = next(thing for thing in around(scope) if isinstance(thing, Task))
            self._labels[task] = number = self._labels.get(task, 0) + 1
            self._open_scope(scope, f"{task.place}!{number}", "scope", label, None)

    def scope_left(self, scope: CancelScope, raised: BaseException | None) -> None:
        """It may have been a part."""
        self._nurseries.pop(scope, None)
        part = self._scopes.pop(scope, None)
        if part is None:
            return
        how, error = _ending(raised)
        if scope.cancelled_caught:
            how = "timed out" if cancelled_by(scope) == "deadline" else "cancelled"
            if part.kind == "sleep" and how == "timed out":
                how = "completed"
        self._closed(part, how, error)

    # -- as the execution goes

    def timer_opened(self, timer: TimerOpened) -> None:
        """A deadline is durable from now on: at the first one, its scope becomes a part."""
        if timer.scope not in self._scopes:
            kind: SpanKind = "sleep" if "#" in timer.key else "scope"
            name = "sleep" if kind == "sleep" else "deadline"
            self._open_scope(timer.scope, timer.key, kind, name, timer.deadline)

    def asked(self, operation: Operation, event: Event | None) -> None:
        """A branch waits for something from outside."""
        kind, name, instance = name_of(operation, self._host.started)
        task = operation.task
        chain = () if task is None else self._chain(task)
        operation.noted = asked = Asked(operation.key, KINDS[kind], name, instance, self._journal.at, event, chain)
        self._unplaced.append(asked)

    def answered(self, operation: Operation, answer: Answer) -> None:
        """It got what it waited for."""
        failure = getattr(answer, "failure", None)
        how, error = ENDINGS.get(type(answer), "completed"), None if failure is None else failure.type
        self._closed(self._placed(operation.noted), how, error, answer)

    def served(self, operations: Sequence[Operation]) -> None:
        """They got the events that they waited for."""
        for operation in operations:
            self._closed(self._placed(operation.noted), "completed", None)

    def given_up(self, operation: Operation) -> None:
        """It waits no longer."""
        self._closed(self._placed(operation.noted), "cancelled", None)

    def blocked(self) -> None:
        """Which scopes have durable deadlines is known now, so what was asked for has its place."""
        if self._unplaced:
            unplaced, self._unplaced = self._unplaced, []
            for asked in unplaced:
                self._placed(asked)

    def _drop(self) -> None:
        for part in (*self._scopes.values(), *self._branches.values()):
            if part is not None:
                self._closed(part, "dropped", None)
        self._scopes, self._branches = {}, {}

    # -- parts

    def _open_scope(self, scope: CancelScope, key: str, kind: SpanKind, name: str, due: float | None) -> None:
        chain = self._chain(scope)
        part = Part(key=key, within=self._within(chain), kind=kind, name=name, at=self._journal.at, due=due)
        self._scopes[scope] = part
        if kind == "scope":
            self._opened(part)

    def _chain(self, thing: Task | CancelScope) -> Chain:
        """What may turn out to be the innermost part around something: scopes, then a part for certain."""
        chain: list[CancelScope | str] = []
        walk = around(thing)
        while True:
            outer = next(walk)
            if isinstance(outer, CancelScope):
                chain.append(outer)
                continue
            key = self._branch(outer)
            if key is not None:  # of the main task at last
                return (*chain, key)
            # What is around a nursery stays so for all the branches in it that are no parts.
            assert outer.parent_nursery is not None
            nursery = outer.parent_nursery.cancel_scope
            rest = self._nurseries.get(nursery)
            if rest is None:
                rest = self._nurseries[nursery] = (nursery, *self._chain(nursery))
            return (*chain, *rest) if chain else rest

    def _branch(self, task: Task) -> str | None:
        """The key of a branch; None if it is no part of its own."""
        if task.parent_nursery is None:
            return EXECUTION
        if task not in self._branches:
            self._branches[task] = None
            if runs_user_code(task):
                within = self._within(self._chain(task.parent_nursery.cancel_scope))
                began = self._began[task]
                part = Part(key=task.place, within=within, kind="branch", name=public_name(task), at=began)
                self._branches[task] = part
                self._opened(part)
        known = self._branches[task]
        return None if known is None else known.key

    def _within(self, chain: Chain) -> str:
        for outer in chain:
            if isinstance(outer, str):
                return outer
            part = self._scopes.get(outer)
            if part is not None:
                return part.key
        return EXECUTION

    def _placed(self, asked: Asked) -> Part:
        if asked.part is not None:
            return asked.part
        within = self._within(asked.chain)
        asked.part = part = Part(
            key=asked.key, within=within, kind=asked.kind, name=asked.name, at=asked.at, instance=asked.instance
        )
        if asked.kind in ("child", "detached"):
            self._opened(part)
        elif isinstance(asked.event, ActivityScheduled) and not self._journal.replaying:
            self.within[asked.event.id] = within
        return part

    def _closed(self, part: Part, how: How, error: str | None, answer: Answer | None = None) -> None:
        journal = self._journal
        if not journal.replaying:
            self.spans.append(PartClosed(part=part, at=journal.at, how=how, error=error, answer=answer))

    def _opened(self, part: Part) -> None:
        if not self._journal.replaying:
            self.spans.append(PartOpened(part))


def _ending(raised: BaseException | None) -> tuple[How, str | None]:
    """How something ended that let this exception through."""
    if raised is None:
        return "completed", None
    essence = essence_of(raised)
    if essence is None:
        return "cancelled", None
    while isinstance(essence, BaseExceptionGroup) and len(essence.exceptions) == 1:
        essence = essence.exceptions[0]
    return "failed", type(essence).__qualname__
