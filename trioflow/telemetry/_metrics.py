"""Every metric, once: its name, kind, unit, meaning and labels; and what each fact adds to which.

Laws: pure; what is counted is counted once, by the fact that tells of it. Labels come from names in code and from
closed lists, never from ids, payloads or messages, so their number is bounded.

Must never know: OpenTelemetry. Who calls it: `_meter.py`; the documentation shows the table. Read next: `_meter.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, assert_never

import attrs

from trioflow._ambient import PartClosed
from trioflow.abc import (
    Administered,
    AttemptEnded,
    Fact,
    LeaseLost,
    QueueDepths,
    QueuesSeen,
    StartAnswered,
    StoreCommitted,
    Subject,
    TurnRan,
    WaitEnded,
)
from trioflow.history import (
    ActivityFailed,
    Category,
    Event,
    Failure,
    OrchestrationFailed,
    OrchestrationStarted,
    Parked,
)
from trioflow.telemetry._attributes import (
    ACTIVITY,
    CACHED,
    CATEGORY,
    LEASE,
    NAME,
    OUTCOME,
    QUEUE,
    STATE,
    VERSION,
    Attributes,
    Value,
)
from trioflow.telemetry._errors import bounded
from trioflow.telemetry._executions import ENDINGS

QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LONG: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0)
DAYS: Final = (0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0)
SOME: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 5_000.0, 10_000.0, 50_000.0)


@attrs.frozen(eq=False)
class Metric:
    """One metric. `bounds`: of a histogram's buckets; `detail`: measured where details are asked for."""

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    unit: str
    means: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    detail: bool = False


UNLABELLED: Final[Attributes] = MappingProxyType({})


class Measurement(NamedTuple):
    """So much of it."""

    metric: Metric
    value: float
    labels: Attributes = UNLABELLED


WHAT: Final = (NAME, VERSION)

STARTS: Final = Metric("trioflow.orchestration.starts", "counter", "{execution}", "executions that have begun", WHAT)
ENDS: Final = Metric(
    "trioflow.orchestration.ends", "counter", "{execution}", "executions that have ended", (*WHAT, OUTCOME, CATEGORY)
)
LASTED: Final = Metric("trioflow.orchestration.duration", "histogram", "s", "from begin to end", (*WHAT, OUTCOME), DAYS)
LENGTH: Final = Metric(
    "trioflow.orchestration.history", "histogram", "{event}", "events in the history at the end", WHAT, SOME
)
PARKED: Final = Metric(
    "trioflow.orchestration.parked", "counter", "{execution}", "times that one could not go on", (*WHAT, CATEGORY)
)
MAILBOX: Final = Metric(
    "trioflow.orchestration.mailbox",
    "histogram",
    "{event}",
    "events that nobody has taken, after a turn that left any",
    WHAT,
    SOME,
)
POISON: Final = Metric(
    "trioflow.poison", "counter", "{item}", "instances and activities that were taken and never ended", (NAME, ACTIVITY)
)
TURN: Final = Metric("trioflow.turn.duration", "histogram", "s", "turns, with their commits", (*WHAT, CACHED), QUICK)
TURN_COMMIT: Final = Metric(
    "trioflow.turn.commit",
    "histogram",
    "s",
    "the commits of turns, if details are asked for",
    WHAT,
    QUICK,
    detail=True,
)
HITS: Final = Metric("trioflow.cache.hits", "counter", "{turn}", "turns of an execution that was at hand", WHAT)
MISSES: Final = Metric("trioflow.cache.misses", "counter", "{turn}", "turns that had to replay a history", WHAT)
REPLAYED: Final = Metric("trioflow.cache.replayed", "counter", "{event}", "events that were replayed", WHAT)
RETAKEN: Final = Metric(
    "trioflow.turn.retries", "counter", "{turn}", "times that an instance was taken and no turn committed", WHAT
)
ATTEMPTS: Final = Metric(
    "trioflow.activity.attempts",
    "counter",
    "{attempt}",
    "attempts of activities that have ended",
    (ACTIVITY, OUTCOME, CATEGORY),
)
ATTEMPT: Final = Metric(
    "trioflow.activity.duration", "histogram", "s", "attempts of activities", (ACTIVITY, OUTCOME), LONG
)
QUEUED: Final = Metric(
    "trioflow.activity.waited",
    "histogram",
    "s",
    "from asking for an activity to its first attempt, of those that were in a queue",
    (ACTIVITY,),
    LONG,
)
RETRIES: Final = Metric(
    "trioflow.activity.retries", "counter", "{attempt}", "failed attempts that are tried again", (ACTIVITY, CATEGORY)
)
LEASES: Final = Metric(
    "trioflow.lease.losses", "counter", "{lease}", "leases that were lost while their holder still worked", (LEASE,)
)
DEPTH: Final = Metric("trioflow.queue.depth", "gauge", "{item}", "what is in the store's queues", (QUEUE, STATE))
AGE: Final = Metric(
    "trioflow.queue.age", "gauge", "s", "how long the first that is ready has waited; 0 if none is", (QUEUE,)
)
CLIENT_STARTS: Final = Metric(
    "trioflow.client.starts", "counter", "{start}", "starts that a client asked for", (NAME, OUTCOME)
)
WAITS: Final = Metric("trioflow.client.waits", "histogram", "s", "waits of clients", (OUTCOME,), LONG)
COMMIT: Final = Metric("trioflow.store.commit", "histogram", "s", "transactions that change something", (), QUICK)
BATCH: Final = Metric(
    "trioflow.store.batch", "histogram", "{operation}", "operations that such a transaction held", (), SOME
)

COUNTED: Final = (OrchestrationStarted, Parked, *ENDINGS)
"""Events that are measured, of the many that are not."""

METRICS: Final = (
    STARTS,
    ENDS,
    LASTED,
    LENGTH,
    PARKED,
    MAILBOX,
    POISON,
    TURN,
    TURN_COMMIT,
    RETAKEN,
    HITS,
    MISSES,
    REPLAYED,
    ATTEMPTS,
    ATTEMPT,
    QUEUED,
    RETRIES,
    LEASES,
    DEPTH,
    AGE,
    CLIENT_STARTS,
    WAITS,
    COMMIT,
    BATCH,
)


def measurements(fact: Fact) -> Iterator[Measurement]:
    """What a fact tells of them."""
    match fact:
        case TurnRan():
            return _turn(fact)
        case Administered():
            return _events(fact.subject, _what(fact.subject), fact.events)
        case AttemptEnded():
            return _attempt(fact)
        case QueuesSeen():
            return _depths(fact.depths)
        case _:
            return _small(fact)


def _small(fact: StartAnswered | LeaseLost | WaitEnded | StoreCommitted) -> Iterator[Measurement]:
    match fact:
        case StartAnswered():
            yield Measurement(CLIENT_STARTS, 1, {NAME: fact.start.name, OUTCOME: fact.how})
        case LeaseLost():
            yield Measurement(LEASES, 1, {LEASE: fact.what})
        case WaitEnded():
            yield Measurement(WAITS, fact.seconds, {OUTCOME: fact.how})
        case StoreCommitted():
            yield Measurement(COMMIT, fact.seconds)
            yield Measurement(BATCH, fact.operations)
        case _:
            assert_never(fact)


def _depths(seen: QueueDepths) -> Iterator[Measurement]:
    for queue, depth in (("turns", seen.turns), ("activities", seen.activities)):
        for state, number in (("ready", depth.ready), ("leased", depth.leased), ("later", depth.later)):
            yield Measurement(DEPTH, number, {QUEUE: queue, STATE: state})
        yield Measurement(AGE, depth.oldest or 0.0, {QUEUE: queue})


def _what(subject: Subject) -> dict[str, Value]:
    """Which code; one that never ran any has no version."""
    return {NAME: subject.name, **({} if subject.version is None else {VERSION: subject.version})}


def _turn(fact: TurnRan) -> Iterator[Measurement]:
    what = _what(fact.subject)
    yield Measurement(TURN, max(fact.ended - fact.began, 0.0), {**what, CACHED: fact.cached})
    yield Measurement(TURN_COMMIT, max(fact.ended - fact.committing, 0.0), what)
    if fact.unread:
        yield Measurement(MAILBOX, fact.unread, what)
    if fact.cached:
        yield Measurement(HITS, 1, what)
    elif fact.replayed:  # one that has not begun has nothing to be cached
        yield Measurement(MISSES, 1, what)
        yield Measurement(REPLAYED, fact.replayed, what)
    if fact.attempts > 1:
        yield Measurement(RETAKEN, fact.attempts - 1, what)
    yield from _events(fact.subject, what, fact.events)
    if fact.events and fact.events[-1].ends:
        yield Measurement(LENGTH, fact.length, what)
    for span in fact.spans:
        if isinstance(span, PartClosed) and _poisoned(span):
            yield Measurement(POISON, 1, {ACTIVITY: span.part.name})


def _events(subject: Subject, what: dict[str, Value], events: Sequence[Event]) -> Iterator[Measurement]:
    for event in events:
        if type(event) in COUNTED:
            yield from _event(subject, what, event)


def _event(subject: Subject, what: dict[str, Value], event: Event) -> Iterator[Measurement]:
    how = ENDINGS.get(type(event))
    if how is not None:
        labels = {**what, OUTCOME: how}
        yield Measurement(LASTED, max(event.at - subject.started_at, 0.0), labels)
        yield Measurement(ENDS, 1, labels | _category(getattr(event, "failure", None)))
    match event:
        case OrchestrationStarted():
            yield Measurement(STARTS, 1, what)
        case Parked():
            yield Measurement(PARKED, 1, what | _category(event.failure))
    if isinstance(event, Parked | OrchestrationFailed) and event.failure.category == Category.POISON:
        yield Measurement(POISON, 1, {NAME: subject.name})


def _poisoned(closed: PartClosed) -> bool:
    """An activity that fails as poison has no attempt that tells of it."""
    answer = closed.answer
    return isinstance(answer, ActivityFailed) and answer.failure.category == Category.POISON


def _attempt(fact: AttemptEnded) -> Iterator[Measurement]:
    attempt, category = fact.attempt, _category(fact.failure)
    labels: dict[str, Value] = {ACTIVITY: attempt.name, OUTCOME: fact.how}
    yield Measurement(ATTEMPTS, 1, labels | category)
    yield Measurement(ATTEMPT, max(fact.at - attempt.began, 0.0), labels)
    if attempt.attempt == 1 and not attempt.born and fact.how != "given back":  # then the first is still to come
        yield Measurement(QUEUED, attempt.waited, {ACTIVITY: attempt.name})
    if fact.how == "retried":
        yield Measurement(RETRIES, 1, {ACTIVITY: attempt.name} | category)


def _category(failure: Failure | None) -> dict[str, Value]:
    return {} if failure is None else {CATEGORY: bounded(failure.category)}
