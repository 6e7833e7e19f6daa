"""From what a worker does to the facts that its instruments are told.

Laws: without an instrument nothing is made; a fact is told once, behind the commit that makes it one. Whoever tells
never fails.

Who calls it: `_runner.py`, `_activities.py`, `_settling.py`, `_conductor.py`, `_turns.py`. Read next:
`trioflow.abc._facts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Literal

import attrs

from trioflow._engine import TurnResult
from trioflow._runtime._body import Attempt
from trioflow._runtime._clock import StoreClock
from trioflow._runtime._holds import Hold
from trioflow._runtime._verdicts import Again, Answered, GiveBack, Nothing, Verdict
from trioflow.abc import (
    Administered,
    Attempt as AttemptFact,
    AttemptEnded,
    EventRow,
    InstanceRecord,
    Instruments,
    LeaseLost,
    Subject,
    TurnRan,
)
from trioflow.errors import HistoryError
from trioflow.history import (
    ActivityCancelled,
    ActivityFailed,
    Event,
    EventCodec,
    OrchestrationStarted,
)

HOW: dict[type[Event], Literal["failed", "cancelled"]] = {ActivityFailed: "failed", ActivityCancelled: "cancelled"}


@attrs.define(eq=False)
class Teller:
    """Tells the instruments of one worker."""

    instruments: Instruments
    worker: str
    clock: StoreClock
    codec: EventCodec

    def __bool__(self) -> bool:
        return bool(self.instruments)

    def now(self) -> float:
        """The store's time, for a fact; where nobody is told, no clock is read."""
        return self.clock.now() if self.instruments.all else 0.0

    # -- turns

    def turn_ran(self, hold: Hold, subject: Subject, result: TurnResult, committing: float, ended: float) -> None:
        """A turn is committed."""
        fact = TurnRan(
            subject=subject,
            worker=self.worker,
            began=hold.began,
            committing=committing,
            ended=ended,
            events=result.events,
            spans=result.spans,
            cached=hold.replayed is None,
            replayed=hold.replayed or 0,
            attempts=hold.attempts,
            unread=result.unread,
            length=result.events[-1].id if result.events else 0,
        )
        self.instruments.saw(fact)

    def administered(self, record: InstanceRecord, first: Event | None, rows: tuple[EventRow, ...], at: float) -> None:
        """Something took a turn's place. `first`: the event that began the execution, or the message that was to, where
        it can be read.
        """
        if not self.instruments.all:
            return
        subject = Subject(
            instance=record.instance,
            execution=record.execution,
            name=record.name,
            version=record.version,
            started_at=record.created_at,
        )
        if isinstance(first, OrchestrationStarted):
            subject = attrs.evolve(
                subject,
                started_at=first.at or record.created_at,
                headers=first.headers,
                seed=first.seed,
                parent=first.parent,
            )
        events = tuple(self.codec.decode(row.id, row.at, row.kind, row.data, row.payload) for row in rows)
        self.instruments.saw(Administered(subject=subject, worker=self.worker, at=at, events=events))

    def read(self, row: EventRow) -> Event | None:
        """An event, if it can be read."""
        try:
            return self.codec.decode(row.id, row.at, row.kind, row.data, row.payload)
        except HistoryError:
            return None

    # -- activities

    def began(self, attempt: Attempt, headers: Mapping[str, str]) -> AttemptFact | None:
        """An attempt begins."""
        if not self.instruments.all:
            return None
        item = attempt.item
        return AttemptFact(
            instance=item.lock.instance,
            execution=item.lock.execution,
            event_id=item.lock.event_id,
            name=item.name,
            attempt=item.attempt,
            failures=item.failures,
            tag=item.tag,
            session=item.session,
            worker=self.worker,
            scheduled_at=item.scheduled_at,
            began=self.clock.now(),
            headers=headers,
            born=attempt.born,
        )

    def inside(self, fact: AttemptFact) -> AbstractContextManager[None]:
        """What is around its body."""
        return self.instruments.inside(fact)

    def ended(self, attempt: Attempt, verdict: Verdict, *, refused: bool = False) -> None:
        """An attempt has ended, and that is recorded, or refused since its lease was lost."""
        fact, attempt.fact = attempt.fact, None
        if fact is None:
            return
        at = self.now() if attempt.ended_at is None else attempt.ended_at
        if refused:
            verdict = Nothing()
        match verdict:
            case Answered():
                told = AttemptEnded(
                    attempt=fact,
                    at=at,
                    how=HOW.get(type(verdict.event), "completed"),
                    failure=verdict.event.failure if isinstance(verdict.event, ActivityFailed) else None,
                )
            case Again():
                told = AttemptEnded(
                    attempt=fact,
                    at=at,
                    how="retried",
                    failure=verdict.failure,
                    retry_in=verdict.delay,
                )
            case GiveBack():
                told = AttemptEnded(attempt=fact, at=at, how="given back")
            case _:
                told = AttemptEnded(attempt=fact, at=at, how="lost")
                self.lease_lost("activity", fact.instance)
        self.instruments.saw(told)

    def lease_lost(self, what: Literal["turn", "activity"], instance: str) -> None:
        """A lease has gone."""
        if self.instruments.all:
            self.instruments.saw(LeaseLost(what=what, instance=instance, worker=self.worker))
