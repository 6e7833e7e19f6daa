"""A simulated world for generated programs: the engine alone, with a store's memory and an exact clock.

Laws: what comes of an activity, and when, stands in its input; messages enter an inbox in one order, whatever the mode;
turns take no time. So all modes must give the same histories. What a mode changes: whether live executions are kept,
whether a turn's result is lost before it is written, how many of the messages that have arrived are taken at once, and
whether everything is decoded again from what was written. When nothing more would happen, the world raises every event
once more, then cancels, then terminates: a case always ends.
Who calls it: the tests of this folder. Read next: `invariants.py`.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from tests.generated.frames import Stage
from tests.generated.invariants import next_deadline
from tests.generated.language import Case
from tests.generated.playing import staged
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
    run_turn,
)
from trioflow.history import (
    ActivityCancelRequested,
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    Answer,
    CancelRequested,
    ChildCancelRequested,
    ChildFailed,
    ChildScheduled,
    DetachedRefused,
    DetachedScheduled,
    DetachedStarted,
    Event,
    EventCodec,
    EventReceived,
    Failure,
    OrchestrationStarted,
    OrchestrationTerminated,
    ParentLink,
)

START = 1000.0
ROOT = "root"
TURNS = 2_000  # of one case; more means that it does not end
CODEC = EventCodec()


@attrs.frozen(kw_only=True)
class Mode:
    """How a case is run."""

    evict: bool = False  # every live execution is dropped after every turn, and replayed from what was written
    crash: bool = False  # every turn's result is lost, and evaluated once more
    one_by_one: bool = False  # messages that arrived at the same instant are taken in turns of their own
    cold: bool = False  # every turn is also evaluated by the pure function
    prefixes: bool = False  # in the end every prefix of every history is replayed
    stop_after: int | None = None  # turns, after which everything is dropped


@attrs.define(eq=False)
class Job:
    """An activity that runs."""

    stops: int | None
    done_at: float
    over: bool = False


@attrs.define(eq=False)
class Actor:
    """One instance."""

    instance: str
    execution: int = 1
    name: str = "whole"
    live: Execution | None = None
    history: list[Event] = attrs.field(factory=list)
    inbox: deque[Message] = attrs.field(factory=deque)
    wake_at: float | None = None
    ended: bool = False
    jobs: dict[tuple[int, int], Job] = attrs.field(factory=dict)


@attrs.define(eq=False)
class World:
    """One run of a case."""

    case: Case
    mode: Mode = attrs.field(factory=Mode)
    stage: Stage = attrs.field(init=False)
    actors: dict[str, Actor] = attrs.field(factory=dict)
    histories: dict[tuple[str, int], list[Event]] = attrs.field(factory=dict)  # by instance and execution
    boundaries: list[tuple[str, int, int]] = attrs.field(factory=list)  # of turns: instance, execution, length
    logs: list[tuple[str, str]] = attrs.field(factory=list)
    kv: dict[str, bytes] = attrs.field(factory=dict)  # of the root, as a client reads it
    now: float = START
    turns: int = 0
    _later: list[tuple[float, int, str, int | None, Event]] = attrs.field(factory=list)
    _sequence: int = 0
    _raised: dict[str, int] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.stage = staged(self.case)

    # -- running

    def run(self) -> World:
        """To the end; then everything is dropped."""
        try:
            self.go_on()
        finally:
            self.close()
        if self.mode.prefixes:
            self._replay_prefixes()
        return self

    def go_on(self) -> None:
        """To the end, or as far as the mode says."""
        self._begin(ROOT, "whole", _arguments(None), None)
        for happening in sorted(self.case.outside, key=lambda happening: happening.after):
            self._bring(START + happening.after, ROOT, None, self._happening(ROOT, happening.what))
        nudges = self._nudges()
        while self.turns != self.mode.stop_after:
            actor = self._ready()
            if actor is not None:
                self._turn(actor)
            elif not self._pass_time() and not next(nudges, None):
                break

    def close(self) -> None:
        """Drop what is alive."""
        for actor in self.actors.values():
            self._drop(actor)

    def _ready(self) -> Actor | None:
        """An instance with messages, or whose time has come. One is served until it has nothing to do."""
        for actor in self.actors.values():
            if not actor.ended and (actor.inbox or (actor.wake_at is not None and actor.wake_at <= self.now)):
                return actor
        return None

    def _pass_time(self) -> bool:
        """On to the next instant at which something happens, if there is one."""
        due = [actor.wake_at for actor in self.actors.values() if not actor.ended and actor.wake_at is not None]
        if self._later:
            due.append(self._later[0][0])
        if not due:
            return False
        self.now = max(self.now, min(due))
        while self._later and self._later[0][0] <= self.now:
            _, _, instance, execution, event = heapq.heappop(self._later)
            self._post(instance, execution, event)
        return True

    def _nudges(self) -> Iterator[bool]:
        """Everything waits: do something about it, until all have ended."""
        for what in (*"abab", "cancel"):
            for actor in [actor for actor in self.actors.values() if not actor.ended]:
                self._post(actor.instance, None, self._happening(actor.instance, what))
                yield True
        while True:
            waiting = [actor for actor in self.actors.values() if not actor.ended]
            if not waiting:
                return
            self._post(waiting[0].instance, None, OrchestrationTerminated(reason="the end"))
            yield True

    # -- messages

    def _happening(self, instance: str, what: str) -> Event:
        """Something from outside; the events of an instance are numbered."""
        if what == "cancel":
            return CancelRequested(reason="by a client")
        number = self._raised[instance] = self._raised.get(instance, 0) + 1
        return EventReceived(name=what, payload=str(number).encode())

    def _bring(self, at: float, instance: str, execution: int | None, event: Event) -> None:
        """Post something at a time, be it now."""
        if at <= self.now and self.turns:
            self._post(instance, execution, event)
            return
        self._sequence += 1
        heapq.heappush(self._later, (at, self._sequence, instance, execution, event))

    def _post(self, instance: str, execution: int | None, event: Event) -> None:
        actor = self.actors[instance]
        if not actor.ended and execution in (None, actor.execution):
            self._sequence += 1
            actor.inbox.append(Message(self._sequence, self.now, _written(event)))

    # -- turns

    def _turn(self, actor: Actor) -> None:
        self.turns += 1
        assert self.turns < TURNS, "the case does not end"
        messages = list(actor.inbox)
        if self.mode.one_by_one and (actor.wake_at is None or actor.wake_at > self.now):
            messages = messages[:1]
        result = self._evaluated(actor, messages)
        for _ in result.consumed:
            actor.inbox.popleft()
        assert [event.id for event in result.events] == [
            len(actor.history) + number for number in range(1, len(result.events) + 1)
        ]
        actor.history += map(_written, result.events)
        actor.wake_at = result.wake_at
        assert result.ended or result.wake_at == next_deadline(actor.history)
        assert _asked_in(result.events) == [_wanted(action) for action in result.actions if _wanted(action)]
        actor.ended = result.ended
        self.boundaries.append((actor.instance, actor.execution, len(actor.history)))
        self.logs += [(actor.instance, entry.message % entry.args) for entry in result.logs]
        if actor.instance == ROOT:
            self.kv.update(result.kv_set)
            for key in result.kv_cleared:
                self.kv.pop(key, None)
        for action in result.actions:
            self._carry_out(actor, action)
        if self.mode.evict or actor.ended:
            self._drop(actor)

    def _evaluated(self, actor: Actor, messages: list[Message]) -> TurnResult:
        if self.mode.crash:
            lost = self._live(actor).run(messages, self.now)
            self._drop(actor)
        result = self._live(actor).run(messages, self.now)
        if self.mode.crash:
            assert _comparable(lost) == _comparable(result)
        if self.mode.cold:
            definition = self.stage.app.find_orchestration(actor.name)
            cold = run_turn(definition, actor.history, messages, self.now, app=self.stage.app)
            assert _comparable(cold) == _comparable(result)
        return result

    def _live(self, actor: Actor) -> Execution:
        if actor.live is None:
            actor.live = self._replayed(actor.name, actor.history)
        return actor.live

    def _replayed(self, name: str, history: list[Event]) -> Execution:
        live = Execution(self.stage.app, self.stage.app.find_orchestration(name))
        try:
            for _ in live.replay(history):
                pass
        except BaseException:
            live.close()
            raise
        return live

    def _drop(self, actor: Actor) -> None:
        """Drop a live execution: nothing may come of that."""
        live, actor.live = actor.live, None
        if live is None:
            return
        length = live.length
        live.close()
        assert live._journal.take_turn() == ((), (), ()), "something was done by code that was being dropped"
        assert (live.length, live._host.changed_kv, live._host.changed_status) == (length, {}, None)
        assert not self.stage.app.undead
        assert not live.kernel.tasks

    def _replay_prefixes(self) -> None:
        for instance, execution, length in self.boundaries:
            history = self.histories[instance, execution][:length]
            live = self._replayed(self.actors[instance].name, history)
            assert live.length == length
            live.close()

    # -- what turns want

    def _begin(self, instance: str, name: str, payload: bytes, parent: ParentLink | None) -> bool:
        if instance in self.actors:
            return False
        actor = self.actors[instance] = Actor(instance, name=name)
        self.histories[instance, 1] = actor.history
        self._post(
            instance,
            None,
            OrchestrationStarted(
                instance=instance, name=name, payload=payload, seed=instance.encode().hex(), parent=parent
            ),
        )
        return True

    def _carry_out(self, actor: Actor, action: Action) -> None:
        match action:
            case ScheduleActivity():
                self._schedule(actor, action)
            case CancelActivity():
                self._stop(actor, action.event_id)
            case StartChild():
                link = ParentLink(instance=actor.instance, execution=actor.execution, event_id=action.event.id)
                if not self._begin(action.event.instance, action.event.name, action.event.payload, link):
                    taken = ChildFailed(answers=action.event.id, failure=TAKEN)
                    self._post(actor.instance, actor.execution, taken)
            case StartDetached():
                event, number = action.event, action.event.id
                begun = self._begin(event.instance, event.name, event.payload, None)
                started = DetachedStarted(answers=number, instance=event.instance)
                answer = started if begun else DetachedRefused(answers=number, failure=TAKEN)
                self._post(actor.instance, actor.execution, answer)
            case CancelChild():
                self._post(action.event.instance, None, CancelRequested(reason=action.reason))
            case TerminateChild():
                self._post(action.event.instance, None, OrchestrationTerminated(reason=action.reason))
            case TellParent():
                self._post(action.parent.instance, action.parent.execution, action.answer)
            case ContinueAsNewAction():
                self._continue(actor, action)

    def _continue(self, actor: Actor, action: ContinueAsNewAction) -> None:
        self._drop(actor)
        actor.execution += 1
        actor.ended, actor.wake_at, actor.history = False, None, []
        self.histories[actor.instance, actor.execution] = actor.history
        left, actor.inbox = actor.inbox, deque()
        self._post(actor.instance, None, action.start)
        actor.inbox.extend(message for message in left if not isinstance(message.event, Answer))

    def _schedule(self, actor: Actor, action: ScheduleActivity) -> None:
        event = action.event
        given: dict[str, Any] = json.loads(event.payload)
        answer: Event = ActivityCompleted(answers=event.id, payload=json.dumps(given["value"] * 10).encode())
        if given["fails"]:
            failure = Failure(type="builtins.KeyError", message=str(given["value"]))
            answer = ActivityFailed(answers=event.id, failure=failure)
        job = actor.jobs[actor.execution, event.id] = Job(given["stops"], self.now + given["takes"])
        self._end(actor, job, job.done_at, answer)

    def _end(self, actor: Actor, job: Job, at: float, answer: Event) -> None:
        self._bring(at, actor.instance, actor.execution, answer)
        job.over = at <= self.now

    def _stop(self, actor: Actor, event_id: int) -> None:
        """An activity hears that it should end: it does so a little later, unless it is done before."""
        job = actor.jobs[actor.execution, event_id]
        if job.stops is None or job.done_at <= self.now + job.stops:
            return
        self._later = [
            entry
            for entry in self._later
            if entry[2:4] != (actor.instance, actor.execution) or getattr(entry[4], "answers", 0) != event_id
        ]
        heapq.heapify(self._later)
        self._end(actor, job, self.now + job.stops, ActivityCancelled(answers=event_id))


TAKEN = Failure(type="trioflow.InstanceExists", message="an instance with that id exists already", retryable=False)


def _arguments(key: int | None) -> bytes:
    return json.dumps({"generation": 1, "key": key}, separators=(",", ":")).encode()


def _asked_in(events: Iterable[Event]) -> list[tuple[str, int]]:
    """What a turn's events say that is to be done."""
    found: list[tuple[str, int]] = []
    for event in events:
        match event:
            case ActivityScheduled() | ChildScheduled() | DetachedScheduled():
                found.append((type(event).__name__, event.id))
            case ActivityCancelRequested() | ChildCancelRequested():
                found.append((type(event).__name__, event.about))
    return found


def _wanted(action: Action) -> tuple[str, int] | None:
    """The same of an action; None for what follows from the end of an execution."""
    match action:
        case ScheduleActivity() | StartChild() | StartDetached():
            return type(action.event).__name__, action.event.id
        case CancelActivity():
            return "ActivityCancelRequested", action.event_id
        case CancelChild() if action.reason != "its parent has ended":
            return "ChildCancelRequested", action.event.id
    return None


def _written(event: Event) -> Event:
    """As it is once it was stored and read."""
    return CODEC.decode(event.id, event.at, *CODEC.encode(event))


def _comparable(result: TurnResult) -> tuple[object, ...]:
    return attrs.evolve(result, logs=()), [(entry.message, entry.args) for entry in result.logs]


def play_out(case: Case, mode: Mode | None = None) -> World:
    """Run a case to its end."""
    return World(case, mode or Mode()).run()
