"""What a runtime and a client tell their instruments: frozen records of what has happened, each told once.

Laws: a fact is told after it is so: what a turn did, after its commit. Nothing is told of a replay. Times are seconds
on the store's clock, durations are seconds. Facts carry events, and thus payloads: whoever passes them on decides what
of them leaves the process, and by default nothing does.

Must never know: who listens. Who makes them: `_runtime`, `_client`. Read next: `_instruments.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from trioflow._ambient import Span
from trioflow.abc._administration import QueueDepths
from trioflow.history import Event, Failure, OrchestrationStarted, ParentLink


@attrs.frozen(kw_only=True)
class Subject:
    """An execution. `headers` and `seed` are as its start has them; empty where its history cannot be read."""

    instance: str
    execution: int
    name: str
    version: str | None
    started_at: float
    headers: Mapping[str, str] = attrs.field(factory=dict)
    seed: str = ""
    parent: ParentLink | None = None

    @classmethod
    def of(cls, started: OrchestrationStarted) -> Subject:
        """The execution that this event begins."""
        return cls(
            instance=started.instance,
            execution=started.execution,
            name=started.name,
            version=started.version,
            started_at=started.at,
            headers=started.headers,
            seed=started.seed,
            parent=started.parent,
        )


@attrs.frozen(kw_only=True)
class Start:
    """An execution is about to be asked for, or to begin.

    Attributes:
        by: "client"; "parent" and "detached", by the operation `key` of `asker`; "continued", behind `asker`; or
            "worker": it begins, and nobody has given it headers.
        seed: of the new execution; unlike that of any other.
        at: when.
    """

    by: Literal["client", "parent", "detached", "continued", "worker"]
    instance: str
    name: str
    seed: str
    at: float
    asker: Subject | None = None
    key: str = ""


@attrs.frozen(kw_only=True)
class StartAnswered:
    """A client's start was answered; `error` is the class of what it raised. An "attached" one made nothing new."""

    start: Start
    at: float
    how: Literal["created", "attached", "refused"]
    error: str | None = None


@attrs.frozen(kw_only=True)
class TurnRan:
    """A turn was evaluated and committed.

    Attributes:
        subject: of whom.
        worker: by whom.
        began: when the worker set about it.
        committing: when it was evaluated, and its commit began.
        ended: when its commit was answered.
        events: what it added to the history.
        spans: which parts of the program it opened and closed.
        cached: whether the live execution was at hand.
        replayed: events that were replayed because it was not.
        attempts: times the instance was taken since its last commit; more than 1 after crashes.
        unread: events received that nobody has taken.
        length: of the history, in events.
    """

    subject: Subject
    worker: str
    began: float
    committing: float
    ended: float
    events: tuple[Event, ...]
    spans: tuple[Span, ...]
    cached: bool
    replayed: int
    attempts: int
    unread: int
    length: int


@attrs.frozen(kw_only=True)
class Administered:
    """An instance was suspended, resumed, parked or ended without its code: `events` say which."""

    subject: Subject
    worker: str
    at: float
    events: tuple[Event, ...]


@attrs.frozen(kw_only=True)
class Attempt:
    """One attempt of an activity begins.

    Attributes:
        headers: those that were stored with the activity.
        born: it began in the runtime that had asked for it, at once: it has never been in a queue.
    """

    instance: str
    execution: int
    event_id: int
    name: str
    attempt: int  # from 1; attempts that were lost count
    failures: int  # attempts before that failed
    tag: str | None
    session: str | None
    worker: str
    scheduled_at: float
    began: float
    headers: Mapping[str, str]
    born: bool = False

    @property
    def waited(self) -> float:
        """Seconds since it was scheduled, back-offs and earlier attempts included."""
        return max(self.began - self.scheduled_at, 0.0)


@attrs.frozen(kw_only=True)
class AttemptEnded:
    """An attempt has ended, and that is recorded.

    Attributes:
        attempt: which.
        at: when its body ended.
        how: "completed", "failed" and "cancelled" are told to the orchestration; "retried": it failed and is tried
            again; "given back": it was not run to its end, by a runtime that stops;
            "lost": its lease was lost, and its outcome was refused or is nobody's business.
        failure: what it raised, whose message may hold anything that the activity had at hand; one of the type
            "trioflow.ActivityTimedOut" where its time was over.
        retry_in: seconds until the next attempt.
    """

    attempt: Attempt
    at: float
    how: Literal["completed", "failed", "cancelled", "retried", "given back", "lost"]
    failure: Failure | None = None
    retry_in: float | None = None


@attrs.frozen(kw_only=True)
class LeaseLost:
    """A lease ran out, or was taken away, while its holder still worked."""

    what: Literal["turn", "activity"]
    instance: str
    worker: str


@attrs.frozen(kw_only=True)
class QueuesSeen:
    """A look at the queues."""

    depths: QueueDepths


@attrs.frozen(kw_only=True)
class WaitEnded:
    """A client's wait for a result, a status or a value is over."""

    seconds: float
    how: Literal["answered", "cancelled", "failed"]  # "cancelled": also where its timeout has passed


@attrs.frozen(kw_only=True)
class StoreCommitted:
    """A store has made a transaction durable: so many operations in so many seconds."""

    operations: int
    seconds: float


Fact = StartAnswered | TurnRan | Administered | AttemptEnded | LeaseLost | QueuesSeen | WaitEnded | StoreCommitted
