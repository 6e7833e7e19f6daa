"""From the result of a turn to the transaction that writes it: pure.

Laws: every event, action and message of a result has its place in the commit, and nothing else is added; event ids are
the engine's; what a start or a refusal tells the orchestration is worded here, before it is known which of them it will
be.

Must never know: how to reach a store. Who calls it: `_conductor.py`. Read next: `_holds.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from trioflow._engine import (
    Action,
    CancelActivity,
    CancelChild,
    ContinueAsNewAction,
    ScheduleActivity,
    StartChild,
    StartDetached,
    TellParent,
    TerminateChild,
    TurnResult,
)
from trioflow._runtime._headers import Headers
from trioflow.abc import (
    BornLeased,
    CommitTurn,
    Draft,
    EventRow,
    NewActivity,
    NextExecution,
    OutMessage,
    Parent,
    SettleActivity,
    StartInstance,
    State,
    Subject,
    TurnLock,
)
from trioflow.app import TIMED_OUT, encode_options
from trioflow.history import (
    ActivityFailed,
    CancelRequested,
    Category,
    ChildFailed,
    ChildScheduled,
    DetachedRefused,
    DetachedScheduled,
    DetachedStarted,
    Event,
    EventCodec,
    Failure,
    OrchestrationCancelled,
    OrchestrationCompleted,
    OrchestrationContinuedAsNew,
    OrchestrationFailed,
    OrchestrationStarted,
    OrchestrationTerminated,
    ParentLink,
)

STATES: Final[Mapping[type[Event], State]] = {
    OrchestrationCompleted: State.COMPLETED,
    OrchestrationFailed: State.FAILED,
    OrchestrationCancelled: State.CANCELLED,
    OrchestrationTerminated: State.TERMINATED,
    OrchestrationContinuedAsNew: State.PENDING,
}
"""What each terminal event leaves an instance as; continued as new, it waits for its next execution to begin."""


@attrs.define(eq=False)
class Actions:
    """What the actions of a turn come to, by the columns of a commit."""

    activities: list[NewActivity] = attrs.field(factory=list)
    cancel_activities: list[int] = attrs.field(factory=list)
    starts: list[StartInstance] = attrs.field(factory=list)
    messages: list[OutMessage] = attrs.field(factory=list)
    next_execution: NextExecution | None = None


@attrs.frozen
class Around:
    """What the words of one commit share."""

    lock: TurnLock
    request_id: str
    born: Mapping[int, BornLeased]
    subject: Subject | None
    within: Mapping[int, str]  # new activities by event id: the part of the execution around each
    given: dict[str, tuple[Mapping[str, str], bytes]]  # by that part: headers of activities, and them as `data`


@attrs.frozen(kw_only=True)
class TurnWriter:
    """Words commits. `new_token` gives 128 random bits as hex: request ids, seeds."""

    codec: EventCodec
    new_token: Callable[[], str]
    headers: Headers

    def commit(
        self,
        result: TurnResult,
        lock: TurnLock,
        revision: int,
        *,
        request_id: str,
        subject: Subject | None,
        version: str | None,
        consumed: tuple[int, ...],
        born: Mapping[int, BornLeased],
        settle: tuple[SettleActivity, ...],
        keep: float | None,
    ) -> CommitTurn:
        """The transaction for a turn's result.

        Args:
            result: what the engine said.
            lock: under which the turn ran.
            revision: from which it was computed.
            request_id: of the commit, unique for ever.
            subject: whose turn it is, where instruments listen.
            version: pins the execution, at its first turn.
            consumed: seqs of inbox messages that were delivered or filtered out.
            born: the activities that start here at once, by event id.
            settle: attempts whose outcome this turn delivers.
            keep: seconds for which to go on holding the lock.
        """
        actions = Actions()
        if result.actions:
            around = Around(lock, request_id, born, subject, result.within, {})
            for action in result.actions:
                self._add(actions, action, around)
        last = type(result.events[-1]) if result.ended else None
        return CommitTurn(
            request_id=request_id,
            lock=lock,
            revision=revision,
            events=tuple(map(self.row, result.events)),
            consumed=consumed,
            state=State.WAITING if last is None else STATES[last],
            wake_at=result.wake_at,
            version=version,
            unread=result.unread,
            unread_bytes=result.unread_bytes,
            status=result.status,
            kv_set=result.kv_set,
            kv_cleared=result.kv_cleared,
            activities=tuple(actions.activities),
            cancel_activities=tuple(actions.cancel_activities),
            cancel_all_activities=last is OrchestrationTerminated,
            starts=tuple(actions.starts),
            messages=tuple(actions.messages),
            next_execution=actions.next_execution,
            settle=settle,
            keep=keep,
        )

    def row(self, event: Event) -> EventRow:
        """An event that has happened."""
        return EventRow(event.id, event.at, *self.codec.encode(event))

    def draft(self, event: Event) -> Draft:
        """An event that has not happened yet."""
        return Draft(*self.codec.encode(event))

    def _add(self, to: Actions, action: Action, around: Around) -> None:
        lock = around.lock
        match action:
            case ScheduleActivity():
                to.activities.append(self._new_activity(action, around))
            case CancelActivity():
                to.cancel_activities.append(action.event_id)
            case StartChild():
                to.starts.append(self._child(action.event, around))
            case StartDetached():
                to.starts.append(self._detached(action.event, around))
            case CancelChild():
                to.messages.append(self._to_child(action.event, lock, CancelRequested(reason=action.reason)))
            case TerminateChild():
                to.messages.append(self.terminate_child(action.event, lock, action.reason))
            case TellParent():
                to.messages.append(self.tell_parent(action.parent, action.answer))
            case ContinueAsNewAction():
                start = self.headers.continued(action.start, around.subject)
                to.next_execution = NextExecution(
                    start=self.draft(start), version=action.version, semantics=start.semantics
                )

    def tell_parent(self, parent: ParentLink, answer: Event) -> OutMessage:
        """The answer to whoever waits for a child."""
        return OutMessage(instance=parent.instance, execution=parent.execution, draft=self.draft(answer))

    def terminate_child(self, child: ChildScheduled, lock: TurnLock, reason: str | None) -> OutMessage:
        """The end of a child whose parent was terminated."""
        event = OrchestrationTerminated(reason=reason or "its parent was terminated")
        return self._to_child(child, lock, event, control=True)

    def _to_child(self, child: ChildScheduled, lock: TurnLock, event: Event, *, control: bool = False) -> OutMessage:
        """To the child itself: where its id was taken, somebody else has it."""
        parent = Parent(instance=lock.instance, execution=lock.execution, event_id=child.id)
        return OutMessage(instance=child.instance, child_of=parent, draft=self.draft(event), control=control)

    # -- starts

    def _child(self, event: ChildScheduled, around: Around) -> StartInstance:
        lock, refused = around.lock, ChildFailed(answers=event.id, failure=_id_is_taken("child", event.instance))
        return self._start(
            event,
            around,
            parent=ParentLink(instance=lock.instance, execution=lock.execution, event_id=event.id),
            on_started=None,
            on_refused=self._to_self(lock, refused),
        )

    def _detached(self, event: DetachedScheduled, around: Around) -> StartInstance:
        lock, refused = around.lock, DetachedRefused(answers=event.id, failure=_id_is_taken("instance", event.instance))
        return self._start(
            event,
            around,
            parent=None,
            on_started=self._to_self(lock, DetachedStarted(answers=event.id, instance=event.instance)),
            on_refused=self._to_self(lock, refused),
        )

    def _start(
        self,
        event: ChildScheduled | DetachedScheduled,
        around: Around,
        *,
        parent: ParentLink | None,
        on_started: OutMessage | None,
        on_refused: OutMessage | None,
    ) -> StartInstance:
        seed = self.new_token()
        started = OrchestrationStarted(
            instance=event.instance,
            name=event.name,
            version=event.version,
            payload=event.payload,
            seed=seed,
            parent=parent,
            headers=self.headers.asked(event, seed, around.subject),
        )
        waiting = None
        if parent is not None:
            waiting = Parent(instance=parent.instance, execution=parent.execution, event_id=parent.event_id)
        return StartInstance(
            request_id=f"{around.request_id}:{event.id}",
            instance=event.instance,
            name=event.name,
            version=event.version,
            semantics=started.semantics,
            start=self.draft(started),
            parent=waiting,
            on_started=on_started,
            on_refused=on_refused,
        )

    # -- activities

    def _new_activity(self, action: ScheduleActivity, around: Around) -> NewActivity:
        event, limit = action.event, action.options.get("schedule_timeout")
        within = around.within.get(event.id, "")
        given = around.given.get(within)
        if given is None:
            asker = around.subject
            headers = {} if asker is None else self.headers.for_activity(asker, within)
            given = around.given[within] = headers, encode_options({}, headers)
        return NewActivity(
            event_id=event.id,
            name=event.name,
            tag=event.tag,
            session=event.session,
            data=encode_options(action.options, given[0]) if action.options else given[1],
            payload=event.payload,
            born=around.born.get(event.id),
            start_within=limit,
            late=None if limit is None else self.draft(never_begun(event.id, event.name, limit)),
        )

    def _to_self(self, lock: TurnLock, event: Event) -> OutMessage:
        return OutMessage(instance=lock.instance, execution=lock.execution, draft=self.draft(event))


def never_begun(event_id: int, name: str, limit: float) -> ActivityFailed:
    """What an orchestration is told when nobody has begun an activity in time."""
    failure = Failure(
        type=TIMED_OUT,
        message=f"activity {name!r} was not taken within {limit:g} s",
        category=Category.INFRASTRUCTURE,
        attempts=0,
    )
    return ActivityFailed(answers=event_id, failure=failure)


def _id_is_taken(noun: str, instance: str) -> Failure:
    return Failure(
        type="trioflow.InstanceExists",
        message=f"the {noun} was not started: an instance with the id {instance!r} exists already",
        category=Category.APPLICATION,
        retryable=False,
    )
