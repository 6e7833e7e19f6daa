"""A small world in which orchestrations run: executions driven directly, no store, no leases, time that jumps.

Laws: one loop evaluates turns, one after the other; activities run in the caller's nursery; while anything can run,
time stands still but for what activities take; when nothing can, it jumps to the next deadline.

Who calls it: `_run_durable.py`.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import attrs
import outcome
import trio

from trioflow._ambient import ContinueAsNew, essence_of
from trioflow._engine import (
    Action,
    CancelActivity,
    CancelChild,
    ContinueAsNewAction,
    Execution,
    Message,
    ScheduleActivity,
    StartChild,
    StartDetached,
    TellParent,
    TerminateChild,
    TurnResult,
    log_context_of,
)
from trioflow._kernel import Cancelled, draw
from trioflow._runtime._body import Attempt, attempt_timeout, run_body
from trioflow._runtime._builtin import Builtins, builtins_of
from trioflow._runtime._crew import Within
from trioflow._runtime._heartbeats import listening
from trioflow._runtime._runner import emit_logs
from trioflow._runtime._speaking import of_attempt
from trioflow._runtime._verdicts import Again, Answered, decide, too_late
from trioflow._util import log_context
from trioflow.abc import ActivityLock, Env, LockedActivity
from trioflow.app import ActivityOptions, App, OrchestrationDefinition
from trioflow.errors import OrchestrationCancelled, UnregisteredError
from trioflow.history import (
    ActivityCancelled,
    ActivityFailed,
    ActivityScheduled,
    Answer,
    CancelRequested,
    Category,
    ChildFailed,
    ChildScheduled,
    DetachedRefused,
    DetachedScheduled,
    DetachedStarted,
    Event,
    Failure,
    OrchestrationCancelled as CancelledEvent,
    OrchestrationStarted,
    ParentLink,
)

ROOT = "run_durable"
"""The instance id of the orchestration that is waited for."""


@attrs.define(eq=False)
class Actor:
    """One instance."""

    instance: str
    number: int  # of its execution
    live: Execution
    parent: ParentLink | None = None
    inbox: deque[Message] = attrs.field(factory=deque)
    wake_at: float | None = None
    ended: Event | None = None
    kv: dict[str, bytes] = attrs.field(factory=dict)
    status: bytes | None = None
    result: outcome.Outcome[Any] | None = None  # raw, once it has ended
    attempts: dict[tuple[int, int], Attempt] = attrs.field(factory=dict)  # (execution, event id) -> a body that runs
    pausing: dict[tuple[int, int], None] = attrs.field(factory=dict)  # likewise, of activities between two attempts


@attrs.define(eq=False)
class MemoryWorld:
    """Everything that happens in one `run_durable`."""

    _app: App
    _env: Env
    _nursery: trio.Nursery
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(32))
    _actors: dict[str, Actor] = attrs.field(factory=dict)
    _now: float = 0.0  # seconds since the Unix epoch, as the orchestrations see it
    _running: int = 0  # bodies of activities
    _ready: dict[Actor, None] = attrs.field(factory=dict)  # those that have something to do, in order
    _later: list[tuple[float, int, Callable[[], bool], Callable[[], None]]] = attrs.field(factory=list)  # a heap
    _counter: int = 0
    _changed: trio.Event = attrs.field(factory=trio.Event)
    _builtins: Builtins = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._builtins = builtins_of(self._kv_of, self._status_of)

    async def run(self, definition: OrchestrationDefinition[..., Any], payload: bytes) -> outcome.Outcome[Any]:
        """Run an orchestration to its end; its raw outcome."""
        self._now = self._env.now()
        root = self._begin(ROOT, 1, definition)
        self._post(root, self._started(ROOT, definition.name, payload))
        try:
            while root.ended is None:
                await trio.lowlevel.checkpoint()
                if self._ready:
                    self._turn(next(iter(self._ready)))
                elif self._running:
                    await self._wait()
                else:
                    self._jump()
        except (Exception, KeyboardInterrupt, SystemExit) as exc:  # raised outside of the nursery, as it is
            return outcome.Error(exc)
        return _outcome_of(root, root.ended)

    def close(self) -> None:
        """Drop whatever has not ended."""
        for actor in self._actors.values():
            actor.live.close()

    # -- time

    def _at(self, when: float, wanted: Callable[[], bool], action: Callable[[], None]) -> None:
        """Have something done at a time, if it is still wanted then."""
        self._counter += 1
        heapq.heappush(self._later, (when, self._counter, wanted, action))

    def _next_due(self) -> float | None:
        while self._later and not self._later[0][2]():
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    async def _wait(self) -> None:
        """Let activities run, until one ends or a deadline passes; time passes meanwhile."""
        due, began = self._next_due(), self._env.monotonic()
        with trio.move_on_after(float("inf") if due is None else max(due - self._now, 0.0)) as scope:
            await self._changed.wait()
        if scope.cancelled_caught:
            assert due is not None
            self._jump_to(due)
        else:
            self._changed = trio.Event()
            self._jump_to(self._now + self._env.monotonic() - began)

    def _jump(self) -> None:
        """Nothing can run: on to the next deadline."""
        due = self._next_due()
        if due is None:
            raise RuntimeError(self._stuck())
        self._jump_to(due)

    def _jump_to(self, now: float) -> None:
        self._now = max(self._now, now)
        while self._later and self._later[0][0] <= self._now:
            _, _, wanted, action = heapq.heappop(self._later)
            if wanted():
                action()

    def _stuck(self) -> str:
        waiting = [
            line
            for actor in self._actors.values()
            if actor.ended is None
            for line in (actor.instance, *draw(actor.live.branches(self._now)))
        ]
        return (
            "run_durable: every branch waits, and nothing will ever happen (no activity runs, no deadline is open, and "
            "nobody raises events here):\n  " + "\n  ".join(waiting)
        )

    # -- turns

    def _begin(self, instance: str, number: int, definition: OrchestrationDefinition[..., Any]) -> Actor:
        actor = Actor(instance, number, Execution(self._app, definition))
        self._actors[instance] = actor
        return actor

    def _started(
        self, instance: str, name: str, payload: bytes, parent: ParentLink | None = None
    ) -> OrchestrationStarted:
        return OrchestrationStarted(
            instance=instance, name=name, payload=payload, seed=self._env.token(), parent=parent
        )

    def _post(self, actor: Actor, event: Event) -> None:
        self._counter += 1
        actor.inbox.append(Message(self._counter, self._now, event))
        self._wake(actor)

    def _wake(self, actor: Actor) -> None:
        self._ready[actor] = None

    def _turn(self, actor: Actor) -> None:
        del self._ready[actor]
        messages = tuple(actor.inbox)
        result = actor.live.run(messages, self._now)
        actor.inbox = deque(messages[len(result.consumed) :])
        self._set_wake(actor, result.wake_at)
        assert actor.live.started is not None  # its start is the first of all messages
        speaker = log_context.set(log_context_of(actor.live.started, actor.live.definition))
        emit_logs(result)
        log_context.reset(speaker)
        self._keep(actor, result)
        if result.ended:
            actor.ended = result.events[-1]
        taken_back = _taken_back(actor, result)
        for action in result.actions:
            if action not in taken_back:
                self._carry_out(actor, action)
        if actor.ended is not None:
            actor.result = actor.live.kernel.outcome
            actor.live.close()

    def _keep(self, actor: Actor, result: TurnResult) -> None:
        """What others may read of it."""
        actor.kv.update(result.kv_set)
        for key in result.kv_cleared:
            actor.kv.pop(key, None)
        if result.status is not None:
            actor.status = result.status

    async def _kv_of(self, instance: str) -> Mapping[str, bytes]:
        actor = self._actors.get(instance)
        return {} if actor is None else actor.kv

    async def _status_of(self, instance: str) -> bytes | None:
        actor = self._actors.get(instance)
        return None if actor is None else actor.status

    def _set_wake(self, actor: Actor, wake_at: float | None) -> None:
        if wake_at is not None and wake_at != actor.wake_at:
            self._at(wake_at, lambda: actor.ended is None and actor.wake_at == wake_at, lambda: self._wake(actor))
        actor.wake_at = wake_at

    def _carry_out(self, actor: Actor, action: Action) -> None:
        match action:
            case ScheduleActivity():
                self._schedule(actor, action.event, ActivityOptions.from_plain(action.options))
            case CancelActivity():
                self._cancel(actor, action.event_id)
            case StartChild():
                self._start_child(actor, action.event)
            case StartDetached():
                self._start_detached(actor, action.event)
            case CancelChild():
                self._tell_child(actor, action.event, CancelRequested(reason=action.reason))
            case TellParent():
                self._tell(action.parent.instance, action.answer, execution=action.parent.execution)
            case ContinueAsNewAction():
                self._continue(actor, action)
            case _:
                assert isinstance(action, TerminateChild), action  # nobody terminates anything here

    def _continue(self, actor: Actor, action: ContinueAsNewAction) -> None:
        """The same instance, its next execution."""
        actor.live.close()
        actor.live = Execution(self._app, self._app.find_orchestration(action.start.name, action.version))
        actor.number += 1
        actor.ended = actor.wake_at = None
        left, actor.inbox = actor.inbox, deque()
        self._post(actor, action.start)
        actor.inbox.extend(message for message in left if not isinstance(message.event, Answer))

    def _tell(self, instance: str, event: Event, *, execution: int | None = None) -> None:
        """Post to an instance, or to one execution of it, that has not ended."""
        actor = self._actors[instance]
        if actor.ended is None and execution in (None, actor.number):
            self._post(actor, event)

    # -- children

    def _tell_child(self, actor: Actor, child: ChildScheduled, event: Event) -> None:
        """Post to a child of ours; one that was refused is not there, or somebody else has its id."""
        found = self._actors.get(child.instance)
        if found is not None and found.parent == _link(actor, child):
            self._tell(child.instance, event)

    def _start_child(self, actor: Actor, event: ChildScheduled) -> None:
        refusal = self._start(event, _link(actor, event))
        if refusal is not None:
            self._post(actor, ChildFailed(answers=event.id, failure=refusal))

    def _start_detached(self, actor: Actor, event: DetachedScheduled) -> None:
        refusal = self._start(event, None)
        if refusal is None:
            self._post(actor, DetachedStarted(answers=event.id, instance=event.instance))
        else:
            self._post(actor, DetachedRefused(answers=event.id, failure=refusal))

    def _start(self, event: ChildScheduled | DetachedScheduled, parent: ParentLink | None) -> Failure | None:
        """Begin an instance, or say why not."""
        if event.instance in self._actors:
            message = f"an instance with the id {event.instance!r} exists already"
            return Failure(type="trioflow.InstanceExists", message=message, retryable=False)
        try:
            definition = self._app.find_orchestration(event.name, event.version)
        except UnregisteredError as exc:
            return self._app.failures.to_failure(exc, category=Category.CONFIGURATION, retryable=False)
        actor = self._begin(event.instance, 1, definition)
        actor.parent = parent
        self._post(actor, self._started(event.instance, event.name, event.payload, parent))
        return None

    # -- activities

    def _schedule(self, actor: Actor, event: ActivityScheduled, options: ActivityOptions) -> None:
        item = LockedActivity(
            lock=ActivityLock(actor.instance, actor.number, event.id, self._env.token()),
            name=event.name,
            tag=event.tag,
            session=event.session,
            attempt=1,
            failures=0,
            fetches=1,
            scheduled_at=self._now,
            heartbeat=None,
            data=b"",
            payload=event.payload,
        )
        self._attempt(actor, item, options)

    def _attempt(self, actor: Actor, item: LockedActivity, options: ActivityOptions) -> None:
        attempt = Attempt(item, options)
        actor.attempts[item.lock.execution, item.lock.event_id] = attempt
        self._running += 1
        self._nursery.start_soon(self._run_attempt, actor, attempt)

    async def _run_attempt(self, actor: Actor, attempt: Attempt) -> None:
        item, options = attempt.item, attempt.options
        log_context.set(of_attempt(item))
        try:
            definition = self._builtins.get(item.name) or self._app.find_activity(item.name)
            verdict: object = too_late(item, options, self._now - item.scheduled_at)
            if verdict is None:
                timeout = attempt_timeout(options, self._now - item.scheduled_at)
                attempt.timeout_at = self._env.monotonic() + timeout
                with listening(attempt, self._env, self._nursery), closing(Within()) as within:
                    ending = await run_body(attempt, definition, self._app, self._env, self._limiter, within)
                verdict = decide(
                    item,
                    options,
                    ending,
                    self._app,
                    elapsed=self._now - item.scheduled_at,
                    chance=self._env.random(),
                    cancelled=attempt.why == "cancelled",
                )
        except UnregisteredError as exc:
            failure = self._app.failures.to_failure(exc, category=Category.CONFIGURATION, retryable=False)
            verdict = Answered(ActivityFailed(answers=item.lock.event_id, failure=failure))
        self._running -= 1
        del actor.attempts[item.lock.execution, item.lock.event_id]
        self._changed.set()
        if isinstance(verdict, Answered):
            self._tell(actor.instance, verdict.event, execution=item.lock.execution)
        else:
            assert isinstance(verdict, Again), verdict
            noted = attrs.evolve(item, heartbeat=attempt.heartbeat or item.heartbeat)
            self._pause(actor, noted, options, verdict.delay)

    def _pause(self, actor: Actor, item: LockedActivity, options: ActivityOptions, delay: float) -> None:
        """Between two attempts."""
        key = item.lock.execution, item.lock.event_id
        actor.pausing[key] = None

        def go_on() -> None:
            del actor.pausing[key]
            again = attrs.evolve(item, attempt=item.attempt + 1, failures=item.failures + 1)
            self._attempt(actor, again, options)

        self._at(self._now + delay, lambda: key in actor.pausing, go_on)

    def _cancel(self, actor: Actor, event_id: int) -> None:
        key = actor.number, event_id
        if key in actor.attempts:
            actor.attempts[key].cancel_asked()
        elif key in actor.pausing:
            del actor.pausing[key]
            cancelled = ActivityCancelled(answers=event_id, how="never_started")
            self._tell(actor.instance, cancelled, execution=actor.number)


def _link(actor: Actor, child: ChildScheduled) -> ParentLink:
    return ParentLink(instance=actor.instance, execution=actor.number, event_id=child.id)


def _outcome_of(root: Actor, last: Event) -> outcome.Outcome[Any]:
    """What the caller gets: the code's own, as long as nothing of ours is in it."""
    if isinstance(last, CancelledEvent):
        return outcome.Error(OrchestrationCancelled("the orchestration was cancelled", reason=last.reason))
    result = root.result
    assert result is not None
    error = result.error if isinstance(result, outcome.Error) else None
    if not isinstance(error, BaseExceptionGroup) or error.subgroup((Cancelled, ContinueAsNew)) is None:
        return result
    essence = essence_of(error)  # as the runtime records it: nothing of our own stands beside it
    assert essence is not None
    return outcome.Error(essence)


def _taken_back(actor: Actor, result: TurnResult) -> list[Action]:
    """What was scheduled and cancelled in one turn: nobody could take it in between, so it never starts."""
    cancelled = [action.event_id for action in result.actions if isinstance(action, CancelActivity)]
    found: list[Action] = []
    for action in result.actions:
        if isinstance(action, ScheduleActivity) and action.event.id in cancelled:
            actor.pausing[actor.number, action.event.id] = None
            found.append(action)
    return found
