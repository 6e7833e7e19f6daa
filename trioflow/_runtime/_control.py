"""Commits that need no replay: suspend, resume, terminate, park, and ending what cannot go on. Pure.

Laws: they work over a history that nobody can read; a held instance keeps its messages, its deadlines and its unread
events; one that is cancelled before it began, and that nobody is about to begin, ends, since no code of it has to
unwind; any that ends an instance tells its parent, ends its activities and, as far as its history can be read, those of
its children that are not to outlive it.

Who calls it: `_conductor.py`, with the instance's record fresh from the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import attrs

from trioflow._engine import answer_to_parent, closes
from trioflow._runtime._turns import STATES, TurnWriter
from trioflow.abc import CommitTurn, EventRow, InstanceRecord, MessageRow, OutMessage, State, TurnLock
from trioflow.errors import HistoryError
from trioflow.history import (
    Answer,
    CancelRequested,
    CarriedCancel,
    CarriedEvent,
    ChildScheduled,
    Event,
    EventCodec,
    EventReceived,
    Failure,
    OrchestrationCancelled,
    OrchestrationFailed,
    OrchestrationStarted,
    OrchestrationTerminated,
    ParentLink,
    Parked,
    Suspended,
)

SUSPENDED: Final = "Suspended"
RESUMED: Final = "Resumed"
PAUSING: Final = (SUSPENDED, RESUMED)
TERMINATED: Final = "OrchestrationTerminated"
CANCEL: Final = "CancelRequested"
STARTED: Final = "OrchestrationStarted"


def needs_control(state: State, wake_at: float | None, messages: Sequence[MessageRow]) -> bool:
    """Whether the inbox holds what is carried out without a turn: of one that has not begun, also its termination, and
    its cancellation if its start is delayed.
    """
    kinds = [message.draft.kind for message in messages]
    if state.held or SUSPENDED in kinds or RESUMED in kinds:
        return True
    return STARTED in kinds and (TERMINATED in kinds or (CANCEL in kinds and wake_at is not None))


def asks_for_termination(messages: Sequence[MessageRow]) -> bool:
    """Whether somebody wants it ended."""
    return any(message.draft.kind == TERMINATED for message in messages)


@attrs.frozen(kw_only=True)
class Administration:
    """What commits without a turn are made of."""

    writer: TurnWriter
    lock: TurnLock
    record: InstanceRecord
    messages: tuple[MessageRow, ...]
    history: tuple[EventRow, ...]  # only read for children, when the instance ends
    now: float

    @property
    def _codec(self) -> EventCodec:
        return self.writer.codec

    def control(self) -> CommitTurn:
        """Carry out control messages, in order; the others stay where they are."""
        state, events, consumed = self.record.state, list[Event](), list[int]()
        for message in self.messages:
            kind = message.draft.kind
            if kind not in PAUSING and not (kind == TERMINATED and (state.held or not self._begun)):
                continue
            event = self._read(message)
            consumed.append(message.seq)
            if kind == TERMINATED:
                assert isinstance(event, OrchestrationTerminated)
                return self._ended(event, before=events)
            if isinstance(event, Suspended) and state is State.PARKED:
                continue  # it stands still as it is, and its last event goes on telling why
            state = State.SUSPENDED if isinstance(event, Suspended) else self._back()
            events.append(event)
        if self.may_end_cancelled and (state.held or self.record.wake_at is not None):
            return self.end_cancelled(before=events)
        return self._commit(events, state, tuple(consumed))

    def park(self, failure: Failure) -> CommitTurn:
        """It cannot go on until somebody acts. Nothing is consumed: a later try starts from the same place."""
        return self._commit([Parked(failure=failure)], State.PARKED, self._controls())

    def fail(self, failure: Failure) -> CommitTurn:
        """It ends as failed although its code did not say so."""
        return self._ended(OrchestrationFailed(failure=failure, unread=self._unread()))

    def terminate(self) -> CommitTurn:
        """It ends because somebody said so, and replaying it is not possible."""
        message = next(message for message in self.messages if message.draft.kind == TERMINATED)
        event = self._read(message)
        assert isinstance(event, OrchestrationTerminated)
        return self._ended(event)

    @property
    def may_end_cancelled(self) -> bool:
        """Whether it was cancelled before it began: then no code of it has to unwind."""
        return not self._begun and self._cancellation is not None

    def end_cancelled(self, before: Sequence[Event] = ()) -> CommitTurn:
        """It ends as cancelled, never having begun."""
        asked = self._cancellation
        assert asked is not None  # or it may not
        return self._ended(OrchestrationCancelled(reason=asked.reason), before)

    # -- parts

    @property
    def _begun(self) -> bool:
        """Whether this execution has taken its start: until then that waits in the inbox."""
        return all(message.draft.kind != STARTED for message in self.messages)

    @property
    def _start(self) -> OrchestrationStarted | None:
        """What it is to begin with, as far as that can be read."""
        with suppress(HistoryError):
            for message in self.messages:
                if message.draft.kind == STARTED:
                    event = self._read(message)
                    return event if isinstance(event, OrchestrationStarted) else None
        return None

    @property
    def _cancellation(self) -> CarriedCancel | CancelRequested | None:
        """Who asked for its end: in the inbox, or of the execution before, which carried that on."""
        for message in self.messages:
            if message.draft.kind == CANCEL:
                event = self._read(message)
                assert isinstance(event, CancelRequested)
                return event
        start = self._start
        return None if start is None else start.carried_cancel

    def _back(self) -> State:
        """Where a held instance stands once it is let go."""
        return State.WAITING if self._begun else State.PENDING

    def _controls(self) -> tuple[int, ...]:
        """Control messages, which would make a held instance eligible at once."""
        return tuple(message.seq for message in self.messages if message.draft.kind in PAUSING)

    def _read(self, message: MessageRow) -> Event:
        draft = message.draft
        return self._codec.decode(0, message.at, draft.kind, draft.data, draft.payload)

    def _unread(self) -> tuple[CarriedEvent, ...]:
        """Events in the inbox that will never be taken, and those that the execution before had left to this one."""
        start = self._start
        found = [] if start is None else [*start.carried_events]
        for message in self.messages:
            if message.draft.kind == "EventReceived":
                event = self._read(message)
                assert isinstance(event, EventReceived)
                found.append(CarriedEvent(name=event.name, payload=event.payload))
        return tuple(found)

    def _ended(
        self,
        last: OrchestrationTerminated | OrchestrationFailed | OrchestrationCancelled,
        before: Sequence[Event] = (),
    ) -> CommitTurn:
        events = [*before, attrs.evolve(last, unread=self._unread())]
        why = last.reason if isinstance(last, OrchestrationTerminated) else "its parent has failed"
        messages = [self.writer.terminate_child(child, self.lock, why) for child in self._children() if closes(child)]
        parent = self.record.parent
        if parent is not None:
            link = ParentLink(instance=parent.instance, execution=parent.execution, event_id=parent.event_id)
            messages.append(self.writer.tell_parent(link, answer_to_parent(last, link.event_id)))
        consumed = tuple(message.seq for message in self.messages)
        return self._commit(events, STATES[type(last)], consumed, messages=tuple(messages))

    def _children(self) -> list[ChildScheduled]:
        """Children that have not answered, as far as the history can be read."""
        open_children: dict[int, ChildScheduled] = {}
        for row in self.history:
            if not row.kind.startswith("Child"):
                continue
            try:
                event = self._codec.decode(row.id, row.at, row.kind, row.data, row.payload)
            except HistoryError:
                continue
            if isinstance(event, ChildScheduled):
                open_children[event.id] = event
            elif isinstance(event, Answer):
                open_children.pop(event.answers, None)
        return list(open_children.values())

    def _commit(
        self,
        events: Sequence[Event],
        state: State,
        consumed: tuple[int, ...],
        messages: tuple[OutMessage, ...] = (),
    ) -> CommitTurn:
        first = self.record.history_length + 1
        at = max(self.now, self.record.last_event.at if self.record.last_event else 0.0)
        rows = tuple(
            self.writer.row(attrs.evolve(event, id=first + index, at=at)) for index, event in enumerate(events)
        )
        return CommitTurn(
            request_id=self.writer.new_token(),
            lock=self.lock,
            revision=self.record.revision,
            events=rows,
            consumed=consumed,
            state=state,
            wake_at=None if state.ended else self.record.wake_at,
            unread=self.record.unread,
            unread_bytes=self.record.unread_bytes,
            cancel_all_activities=state.ended,
            messages=messages,
        )
