"""One live execution: a kernel, what it waits for, and how events reach it.

Laws: events are delivered one at a time, in order; for each, the operation it answers is resumed, then every deadline
that is due expires, then the kernel runs until blocked, and what it asked for goes into the journal right behind the
event. Replay and live continuation are the same code: only the journal knows which it is. An exception out of here
leaves the execution unusable: drop it.

Must never know: stores, codecs of rows, clocks. Who calls it: `_turn.py` and the runtime. Read next: `_turn.py`.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

import attrs

from trioflow._ambient import Ask, AskActivity, AskChild, AskEvent
from trioflow._engine._asking import agrees, can_answer, record
from trioflow._engine._ending import ending_of
from trioflow._engine._host import EngineHost
from trioflow._engine._inbox import Next, time_of, what_is_next
from trioflow._engine._journal import Journal
from trioflow._engine._naming import context_of, label_of, name_of
from trioflow._engine._parting import left_of, parting_actions
from trioflow._engine._results import CancelActivity, CancelChild, Message, TurnResult
from trioflow._engine._segments import Segment, describe, segments
from trioflow._engine._tracing import Trace
from trioflow._engine._waits import EventWaits, OpenTimers
from trioflow._kernel import (
    Kernel,
    Operation,
    TimerClosed,
    TimerOpened,
    TreeBranch,
    at_a_stretch,
)
from trioflow.app import App, OrchestrationDefinition
from trioflow.errors import HistoryError
from trioflow.history import (
    ActivityCancelRequested,
    ActivityCancelled,
    Answer,
    CancelRequested,
    CarriedEvent,
    ChildCancelRequested,
    ChildCancelled,
    ChildScheduled,
    Event,
    EventReceived,
    OrchestrationContinuedAsNew,
    OrchestrationStarted,
    OrchestrationTerminated,
    PatchMarked,
    TimerCancelled,
    TimerCreated,
    TimerFired,
)

CANCELLED: Final = (ActivityCancelled, ChildCancelled)

STRETCH: Final = 256
"""Segments that are replayed without a pause."""


class Execution:
    """One live execution of an orchestration.

    Args:
        app: what the running worker knows; names are resolved in it.
        definition: the pinned version of the orchestration.
        step_limit: kernel steps without blocking after which the turn fails.
        traced: results of turns are to tell the spans of the execution.
    """

    def __init__(
        self,
        app: App,
        definition: OrchestrationDefinition[Any, Any],
        *,
        step_limit: int = 1_000_000,
        traced: bool = False,
    ) -> None:
        self._journal = Journal(f"orchestration {definition.name!r}")
        self._kernel = Kernel(name=definition.name, step_limit=step_limit)
        self._host = EngineHost(app, definition, self._journal, self._kernel.abort)
        self._kernel.host = self._host
        # By the id of the event that recorded it: an operation is unanswered from that event to its answer, also while
        # nobody waits for that any more. It is known as that id; a child, as that event.
        self._unanswered: dict[int, Operation] = {}
        self._event_waits, self._timers = EventWaits(), OpenTimers()
        self._trace = self._kernel.watcher = Trace(self._journal, self._host) if traced else None
        self._ended = False

    # -- what others may see

    @property
    def length(self) -> int:
        """Events in its history."""
        return self._journal.length

    @property
    def size(self) -> int:
        """Bytes of its history, about."""
        return self._journal.size

    @property
    def in_flight(self) -> int:
        """How many operations that it asked for are not answered."""
        return len(self._unanswered)

    @property
    def ended(self) -> bool:
        """Whether its terminal event is written."""
        return self._ended

    @property
    def definition(self) -> OrchestrationDefinition[Any, Any]:
        """What it runs."""
        return self._host.definition

    @property
    def kernel(self) -> Kernel:
        """For views and test hooks; it knows how the main task ended, until it is closed."""
        return self._kernel

    @property
    def started(self) -> OrchestrationStarted | None:
        """Its first event, once it is there."""
        return self._host.started

    @property
    def label(self) -> str:
        """What to call it in messages; may be asked from another thread."""
        return label_of(self._host.definition, self._host.started)

    def branches(self, now: float | None = None) -> tuple[TreeBranch, ...]:
        """Its branches and what they wait for; `now` is the time from which deadlines are counted."""
        return self._kernel.branches(now, lambda operation: name_of(operation, self._host.started))

    def close(self) -> None:
        """Drop it: no durable step is taken, nothing is emitted, user `finally` blocks run (SEMANTICS 7).

        Branches that swallow what ends them, again and again, are reported once, and kept in `App.undead`: the garbage
        collector would run their code where no orchestration runs.
        """
        kernel = self._kernel
        kernel.close()
        kernel.outcome = None  # the traceback of an error leads back here
        _keep_undead(kernel, self._host.app)

    # -- replay and live

    def replay(self, history: Sequence[Event]) -> Iterator[None]:
        """Evaluate a recorded history; yields after every `STRETCH` segments, so that the caller may breathe.

        Raises NondeterminismError where the code does not ask for what it asked for then, HistoryError for what cannot
        be a history.
        """
        if not history:
            return
        self._host.marks.update({event.change: True for event in history if type(event) is PatchMarked})
        ahead = segments(history)
        while at_a_stretch(self._kernel, partial(self._replay_some, ahead)):
            yield
        self._journal.length = history[-1].id

    def _replay_some(self, ahead: Iterator[Segment]) -> bool:
        """Evaluate the next segments; whether there may be more."""
        done = 0
        for segment in islice(ahead, STRETCH):
            if self._ended:
                raise HistoryError(f"the history goes on with event {segment.opening.id} after it has ended")
            self._step(segment.opening, segment)
            done += 1
        return done == STRETCH

    def run(self, messages: Sequence[Message], now: float) -> TurnResult:
        """Deliver messages and due times as of `now`, and say what is to be done. One that has ended only consumes."""
        return at_a_stretch(self._kernel, partial(self._run, messages, now))

    def _run(self, messages: Sequence[Message], now: float) -> TurnResult:
        inbox = deque(messages)
        consumed: list[int] = []
        for message in messages:
            now = max(now, message.at)
        while not self._ended:
            due, last = self._kernel.next_deadline, self._journal.at
            match what_is_next(inbox[0].at if inbox else None, due, now):
                case Next.MESSAGE:
                    message = inbox.popleft()
                    consumed.append(message.seq)
                    if self._is_wanted(message.event):
                        self._step_live(message.event, time_of(message.at, later_due=due <= now, now=now, last=last))
                case Next.DUE:
                    self._step_live(TimerFired(), time_of(due, later_due=bool(inbox), now=now, last=last))
                case _:
                    break
        return self._result(consumed, inbox)

    def _result(self, consumed: list[int], left: deque[Message]) -> TurnResult:
        events, actions, logs = self._journal.take_turn()
        host, trace = self._host, self._trace
        if self._ended:
            if events:
                terminated = isinstance(events[-1], OrchestrationTerminated)
                behind = left_of(self._unanswered, terminated=terminated)
                events, actions = parting_actions(events, actions, host, self._kernel, behind, left)
            if not (events and isinstance(events[-1], OrchestrationContinuedAsNew)):
                consumed = [*consumed, *(message.seq for message in left)]
        status, changed_kv = host.take_turn()
        due = self._kernel.next_deadline
        spans, within = ((), {}) if trace is None else trace.take_turn(ended=self._ended and bool(events))
        return TurnResult(
            events=events,
            consumed=tuple(consumed),
            actions=actions,
            ended=self._ended,
            wake_at=None if self._ended or due == float("inf") else due,
            unread=host.unread,
            unread_bytes=host.unread_bytes,
            status=status,
            kv_set={key: value for key, value in changed_kv.items() if value is not None},
            kv_cleared=tuple(key for key, value in changed_kv.items() if value is None),
            logs=logs,
            spans=spans,
            within=within,
        )

    # -- one event

    def _is_wanted(self, event: Event) -> bool:
        """Whether a message still means something; others are dropped without an event."""
        match event:
            case Answer():
                operation = self._unanswered.get(event.answers)
                if operation is None or operation.waiting:
                    return operation is not None
                # Its branch has gone on without it, so there will be no event. Termination, which ends every child,
                # goes on counting this one, as a replay does.
                if not isinstance(operation.request, AskChild):
                    del self._unanswered[event.answers]
                return False
            case CancelRequested():
                return not self._kernel.cancel_called
            case OrchestrationStarted():
                return self._host.started is None
        return True

    def _step_live(self, draft: Event, at: float) -> None:
        if isinstance(draft, OrchestrationStarted) and draft.version is None:
            draft = attrs.evolve(draft, version=self._host.definition.version)
        self._step(draft.placed(self._journal.length + 1, at), None)

    def _step(self, event: Event, segment: Segment | None) -> None:
        """Deliver one event, run until blocked, account for everything asked."""
        journal, kernel = self._journal, self._kernel
        if self._host.started is None and not isinstance(event, OrchestrationStarted):
            raise HistoryError(f"the first event is {type(event).__name__}; it should be OrchestrationStarted")
        journal.open(event, segment)
        if isinstance(event, Answer):
            self._answer(event)
        elif event.ends:  # terminated
            self._ended = True
            journal.close()
            return
        else:
            self._deliver(event)
        kernel.advance(event.at)
        self._run_until_blocked()
        if kernel.outcome is not None:
            self._ended = True
            journal.end(ending_of(kernel.outcome, self._host, kernel.cancel_reason))
        journal.close()

    def _deliver(self, event: Event) -> None:
        match event:
            case EventReceived():
                self._host.put_event(CarriedEvent(name=event.name, payload=event.payload))
                self._serve(event.name)
            case CancelRequested():
                self._kernel.cancel(event.reason)
            case OrchestrationStarted():
                self._start(event)

    def _start(self, event: OrchestrationStarted) -> None:
        host, kernel = self._host, self._kernel
        host.begin(event)
        kernel.name = self._journal.owner = f"instance {event.instance!r}"
        kernel.advance(event.at)
        definition = host.definition
        args, kwargs = host.codec.decode_arguments(
            definition.spec, event.payload, what=f"the arguments of orchestration {definition.name!r}"
        )
        kernel.start(partial(definition.fn, *args, **kwargs), context=context_of(event, definition))
        if event.carried_cancel is not None:
            kernel.cancel(event.carried_cancel.reason)

    def _answer(self, event: Answer) -> None:
        operation = self._unanswered.pop(event.answers, None)
        if operation is None:
            raise HistoryError(
                f"event {event.id} ({type(event).__name__}) answers event {event.answers}, which nobody asked"
            )
        if operation.task is None:  # live, its answer would have been dropped without an event
            raise self._journal.disagreement(operation.key, f"{describe(event)}, waited for", "nobody waits for it")
        if not can_answer(operation, event):
            raise HistoryError(
                f"event {event.id} ({type(event).__name__}) cannot answer event {event.answers}, at {operation.key}"
            )
        if self._trace is not None:
            self._trace.answered(operation, event)
        if type(event) in CANCELLED and operation.cancel_asked:
            self._kernel.resume_cancelled(operation)
        else:
            self._kernel.resume(operation, event)

    # -- what was asked

    def _run_until_blocked(self) -> None:
        """Blocked means that no answer is at hand either: an event that is there goes on in the same segment."""
        kernel, served = self._kernel, True
        while served:
            served = False
            for asked in kernel.run_until_blocked():
                if type(asked) is Operation:
                    served = self._note_operation(asked) or served
                else:
                    self._note_cancel(asked.operation, asked.reason)
        if kernel.outcome is None:
            for timer in kernel.settle():
                self._note_timer(timer)
        if self._trace is not None:
            self._trace.blocked()

    def _note_operation(self, operation: Operation) -> bool:
        """Account for something asked. Returns whether it was answered at once."""
        ask: Ask = operation.request  # type: ignore[assignment]  # nothing else is ever asked of this kernel
        journal, place, started = self._journal, operation.key, self._host.started
        assert started is not None
        event = recorded = journal.recorded_at(place)
        if recorded is None or not agrees(ask, place, started, recorded, self._host.app):
            made, action = record(ask, place, started, journal.length + 1, journal.at)
            event = journal.ask(made, action, recorded, operation.where)
        if self._trace is not None:
            self._trace.asked(operation, event)
        if type(ask) is AskEvent:
            self._event_waits.begin(operation, ask.name)
            return self._serve(ask.name)
        if event is not None:
            operation.known_as = event if type(event) is ChildScheduled else event.id
            self._unanswered[event.id] = operation
        return False

    def _serve(self, name: str) -> bool:
        """Give unread events of a name to those who wait. Returns whether anybody got one."""
        served = self._event_waits.serve(name, self._host, self._kernel)
        if self._trace is not None:
            self._trace.served(served)
        return bool(served)

    def _note_cancel(self, operation: Operation, reason: str | None) -> None:
        if isinstance(operation.request, AskEvent):
            self._event_waits.end(operation, operation.request.name)
            if self._trace is not None:
                self._trace.given_up(operation)
            return
        match operation.known_as:  # None: the history disagrees about the operation itself, as is said at the block
            case ChildScheduled() as child:
                self._journal.ask_about(ChildCancelRequested(about=child.id), CancelChild(child, reason))
            case int(event_id) if isinstance(operation.request, AskActivity):
                self._journal.ask_about(ActivityCancelRequested(about=event_id), CancelActivity(event_id))

    def _note_timer(self, timer: TimerOpened | TimerClosed) -> None:
        journal = self._journal
        if isinstance(timer, TimerClosed):
            journal.ask_about(TimerCancelled(about=self._timers.close(timer.key)), None)
            return
        event = recorded = journal.recorded_at(timer.key)
        if not isinstance(recorded, TimerCreated) or recorded.deadline != timer.deadline:
            made = TimerCreated(id=journal.length + 1, at=journal.at, place=timer.key, deadline=timer.deadline)
            event = journal.ask(made, None, recorded)
        self._timers.open(timer.key, event.id if event else 0, timer.deadline, self._kernel.now)
        if self._trace is not None:
            self._trace.timer_opened(timer)


def _keep_undead(kernel: Kernel, app: App) -> None:
    """Report tasks that could not be ended, and keep them."""
    undead, kernel.undead = kernel.undead, ()
    if undead:
        app.undead += undead
        warnings.warn(
            f"{kernel.name} was dropped, but {', '.join(map(repr, undead))} swallowed every exception that was to "
            f"end it; such code should catch Exception, and let the rest pass",
            RuntimeWarning,
            stacklevel=3,
        )
