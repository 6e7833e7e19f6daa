"""Metrics: what each fact adds to which, and what a reader of the SDK finds."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tests.telemetry.seeing import EPOCH, Seen, attempt, ended, start, started, subject, turn
from trioflow._ambient import Part, PartClosed, PartOpened
from trioflow.abc import (
    Administered,
    Fact,
    LeaseLost,
    QueueDepth,
    QueueDepths,
    QueuesSeen,
    StartAnswered,
    StoreCommitted,
    WaitEnded,
)
from trioflow.history import (
    ActivityFailed,
    Category,
    Event,
    Failure,
    OrchestrationCancelled,
    OrchestrationCompleted,
    OrchestrationContinuedAsNew,
    OrchestrationFailed,
    OrchestrationTerminated,
    Parked,
    Suspended,
)
from trioflow.telemetry import OpenTelemetry
from trioflow.telemetry._attributes import ATTRIBUTES
from trioflow.telemetry._meter import Waiting, _shared
from trioflow.telemetry._metrics import METRICS, measurements
from trioflow.telemetry._opentelemetry import _release

CODE = {"trioflow.name": "order", "trioflow.version": "1.0.0"}
FAILURE = Failure(type="builtins.ValueError", message="4111")
POISON = Failure(type="trioflow.Poisoned", message="4111", category=Category.POISON)
PART = Part(key="0#1", within="", kind="activity", name="charge", at=EPOCH)
DEPTHS = QueueDepths(
    turns=QueueDepth(ready=1, leased=2, later=3, oldest=4.5),
    activities=QueueDepth(ready=0, leased=0, later=0),
    tagged={},
)


def _waiting_of(meters: MeterProvider) -> Waiting:
    """What was measured and is not told yet."""
    OpenTelemetry(None, meters, traces=False).saw(LeaseLost(what="turn", instance="order-1", worker="w1"))
    waiting = _shared[meters.get_meter("trioflow", _release())]
    waiting.tell()
    return waiting


def told(fact: Fact, *besides: str) -> dict[str, Any]:
    """What a fact adds, by name, each with its own labels; those that start with one of `besides` are left out."""
    found: dict[str, Any] = {}
    for one in measurements(fact):
        name = one.metric.name.removeprefix("trioflow.")
        if not name.startswith(besides):
            assert name not in found
            found[name] = (one.value, {key.removeprefix("trioflow."): value for key, value in one.labels.items()})
    return found


def by_admin(*events: Event) -> Administered:
    """Something took a turn's place."""
    return Administered(subject=subject(), worker="w1", at=EPOCH, events=events)


def code(**more: Any) -> dict[str, Any]:
    """The labels that say which code, and more."""
    return {"name": "order", "version": "1.0.0", **more}


def test_a_turn_is_measured() -> None:
    """With its commit, its mailbox if that is not empty, and whether the live execution was at hand."""
    assert "orchestration.mailbox" not in told(turn(Suspended(id=2), unread=0))
    assert told(turn(Suspended(id=2), unread=3)) == {
        "turn.duration": (0.75, code(**{"turn.cached": True})),
        "turn.commit": (0.5, code()),
        "orchestration.mailbox": (3, code()),
        "cache.hits": (1, code()),
    }


def test_a_replay_is_measured() -> None:
    """A turn that had to replay is a miss; the first turn has nothing to replay and is neither."""
    assert told(turn(Suspended(id=9), cached=False, replayed=8, attempts=3), "turn.d", "turn.c", "orch") == {
        "cache.misses": (1, code()),
        "cache.replayed": (8, code()),
        "turn.retries": (2, code()),
    }
    assert told(turn(cached=False), "turn.d", "turn.c", "orch") == {}


def test_a_beginning_is_counted_once() -> None:
    """By the event that begins the history, in whichever turn that is."""
    assert told(turn(started()), "turn", "cache", "orchestration.m") == {"orchestration.starts": (1, code())}


@pytest.mark.parametrize(
    ("event", "how", "category"),
    [
        (OrchestrationCompleted(id=9, at=EPOCH + 9, payload=b""), "completed", {}),
        (OrchestrationCancelled(id=9, at=EPOCH + 9), "cancelled", {}),
        (OrchestrationTerminated(id=9, at=EPOCH + 9), "terminated", {}),
        (OrchestrationContinuedAsNew(id=9, at=EPOCH + 9, payload=b""), "continued as new", {}),
        (OrchestrationFailed(id=9, at=EPOCH + 9, failure=FAILURE), "failed", {"category": "application"}),
    ],
)
def test_an_end_is_counted_once(event: Event, how: str, category: dict[str, str]) -> None:
    """By the event that ends the history, whether a turn or an administrator wrote it."""
    end = {
        "orchestration.duration": (9.0, code(outcome=how)),
        "orchestration.ends": (1, code(outcome=how, **category)),
    }
    assert told(turn(event, length=9), "turn", "cache", "orchestration.m") == {
        **end,
        "orchestration.history": (9, code()),
    }
    assert told(by_admin(event)) == end


def test_what_cannot_go_on_is_counted() -> None:
    """Who has to act is a label; poison is counted apart, be it an instance or an activity."""
    assert told(by_admin(Parked(id=2, failure=FAILURE))) == {"orchestration.parked": (1, code(category="application"))}
    assert told(by_admin(Parked(id=2, failure=POISON)))["poison"] == (1, {"name": "order"})
    assert told(by_admin(OrchestrationFailed(id=2, at=EPOCH, failure=POISON)))["poison"] == (1, {"name": "order"})
    closed = PartClosed(part=PART, at=EPOCH, how="failed", answer=ActivityFailed(answers=2, failure=POISON))
    assert told(turn(Suspended(id=2), spans=(PartOpened(PART), closed)))["poison"] == (1, {"activity": "charge"})
    other = PartClosed(part=PART, at=EPOCH, how="failed", answer=ActivityFailed(answers=2, failure=FAILURE))
    assert "poison" not in told(turn(Suspended(id=2), spans=(other,)))


def test_a_category_of_another_release_is_other() -> None:
    """The number of labels stays bounded whatever a history holds."""
    strange = Failure(type="x", message="", category="surprise")  # type: ignore[arg-type]
    assert told(by_admin(Parked(id=2, failure=strange)))["orchestration.parked"][1]["category"] == "other"
    assert told(ended(attempt(), "failed", failure=strange))["activity.attempts"][1]["category"] == "other"


@pytest.mark.parametrize(
    ("number", "how", "more"),
    [(1, "completed", ("waited",)), (2, "completed", ()), (1, "given back", ()), (1, "retried", ("waited", "retries"))],
)
def test_an_attempt_is_measured(number: int, how: str, more: tuple[str, ...]) -> None:
    """Time in the queue is that of the first attempt which is run to its end, so back-offs are not in it."""
    category = {"category": Category.APPLICATION} if how == "retried" else {}
    found = told(ended(attempt(attempt=number), how, failure=FAILURE if category else None))
    assert found.pop("activity.attempts") == (1, {"activity": "charge", "outcome": how, **category})
    assert found.pop("activity.duration") == (3.0, {"activity": "charge", "outcome": how})
    expected = {"waited": (2.0, {"activity": "charge"}), "retries": (1, {"activity": "charge", **category})}
    assert found == {f"activity.{name}": expected[name] for name in more}


def test_what_was_never_in_a_queue_has_not_waited_in_it() -> None:
    """It began with the commit that asked for it; all else is measured."""
    found = told(ended(attempt(born=True)))
    assert set(found) == {"activity.attempts", "activity.duration"}


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        (LeaseLost(what="turn", instance="order-1", worker="w1"), {"lease.losses": (1, {"lease": "turn"})}),
        (WaitEnded(seconds=1.5, how="answered"), {"client.waits": (1.5, {"outcome": "answered"})}),
        (StoreCommitted(operations=7, seconds=0.25), {"store.commit": (0.25, {}), "store.batch": (7, {})}),
        (
            StartAnswered(start=start("client"), at=EPOCH, how="refused", error="InstanceExists"),
            {"client.starts": (1, {"name": "order", "outcome": "refused"})},
        ),
    ],
)
def test_small_facts_are_measured(fact: Fact, expected: dict[str, Any]) -> None:
    """One measurement for each thing that happened."""
    assert told(fact) == expected


def test_every_metric_is_measured_with_its_labels() -> None:
    """The table and the code agree: no metric is never told, none has a label that the table lacks."""
    seen: dict[str, set[str]] = {}
    failing = ended(attempt(), "retried", failure=FAILURE)
    closed = PartClosed(part=PART, at=EPOCH, how="failed", answer=ActivityFailed(answers=2, failure=POISON))
    end = OrchestrationFailed(id=9, at=EPOCH, failure=POISON)
    facts: list[Fact] = [
        turn(started(), end, spans=(closed,), cached=False, replayed=2, attempts=2),
        turn(Suspended(id=2), unread=1),
        by_admin(Parked(id=2, failure=POISON)),
        failing,
        LeaseLost(what="turn", instance="order-1", worker="w1"),
        QueuesSeen(depths=DEPTHS),
        StartAnswered(start=start("client"), at=EPOCH, how="created"),
        WaitEnded(seconds=1, how="failed"),
        StoreCommitted(operations=1, seconds=1),
    ]
    for fact in facts:
        for one in measurements(fact):
            seen.setdefault(one.metric.name, set()).update(one.labels)
    assert seen == {metric.name: set(metric.labels) for metric in METRICS}


def test_the_table_is_sound() -> None:
    """Names are unique, labels are explained, bounds rise; no label can hold an id."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert all(label in ATTRIBUTES for label in metric.labels)
        assert "trioflow.instance" not in metric.labels
        assert "trioflow.worker" not in metric.labels
        assert list(metric.bounds) == sorted(set(metric.bounds))
        assert bool(metric.bounds) == (metric.kind == "histogram")


def test_a_reader_finds_them(seen: Seen) -> None:
    """Counters add up, histograms have the bounds of the table, gauges show the last look."""
    for number in range(3):
        seen.instrument.saw(ended(attempt(event_id=number)))
    seen.instrument.saw(turn(started()))
    seen.instrument.saw(QueuesSeen(depths=QueueDepths(turns=DEPTHS.activities, activities=DEPTHS.turns, tagged={})))
    seen.instrument.saw(QueuesSeen(depths=DEPTHS))
    found = seen.metrics()
    labels = (("trioflow.activity", "charge"), ("trioflow.outcome", "completed"))
    assert found["trioflow.activity.attempts"] == {labels: 3}
    assert found["trioflow.activity.duration"] == {labels: (3, 9.0)}
    assert found["trioflow.orchestration.starts"] == {tuple(CODE.items()): 1}
    assert found["trioflow.queue.depth"][("trioflow.queue", "turns"), ("trioflow.state", "later")] == 3
    assert found["trioflow.queue.age"] == {
        (("trioflow.queue", "activities"),): 0.0,
        (("trioflow.queue", "turns"),): 4.5,
    }


@pytest.mark.parametrize("detail", [True, False])
def test_details_are_measured_where_they_are_asked_for(*, detail: bool) -> None:
    """The commits of turns; how long transactions take is told without them."""
    seen = Seen(detail=detail)
    seen.instrument.saw(turn(started()))
    assert ("trioflow.turn.commit" in seen.metrics()) == detail
    assert "trioflow.turn.duration" in seen.metrics()


def test_bounds_are_those_of_the_table(seen: Seen) -> None:
    """The SDK's own are made for milliseconds."""
    seen.instrument.saw(StoreCommitted(operations=1, seconds=0.002))
    data = seen.reader.get_metrics_data()
    assert data is not None
    bounds = {
        metric.name: tuple(metric.data.data_points[0].explicit_bounds)  # type: ignore[union-attr]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
    assert bounds == {metric.name: metric.bounds for metric in METRICS if metric.name.startswith("trioflow.store")}


def test_two_instruments_of_one_provider_add_up(seen: Seen) -> None:
    """As of a client and a runtime in one process; a gauge shows what either has seen last."""
    other = OpenTelemetry(seen.tracers, seen.meters)
    other.saw(QueuesSeen(depths=DEPTHS))
    for one in (other, seen.instrument):
        one.saw(StoreCommitted(operations=1, seconds=1))
        one.saw(LeaseLost(what="turn", instance="order-1", worker="w1"))
    found = seen.metrics()
    assert found["trioflow.lease.losses"] == {(("trioflow.lease", "turn"),): 2}
    assert found["trioflow.store.batch"] == {(): (2, 2)}
    assert found["trioflow.queue.depth"][("trioflow.queue", "turns"), ("trioflow.state", "ready")] == 1


def test_a_hundred_values_wait_for_a_reader_at_most(seen: Seen) -> None:
    """Then they are told, and a reader is shown all of them, whatever still waits."""
    waiting, sizes = _waiting_of(seen.meters).values, list[int]()
    for _ in range(120):
        seen.instrument.saw(StoreCommitted(operations=3, seconds=1))
        sizes.append(len(waiting))
    assert (max(sizes), sizes[49]) == (98, 0)
    assert seen.metrics()["trioflow.store.batch"] == {(): (120, 360)}
    assert not waiting


def test_a_value_keeps_the_context_that_it_was_measured_in(seen: Seen) -> None:
    """An exemplar names the span of whoever waited, not that of whoever has the values told."""
    with seen.user.start_as_current_span("mine") as mine:
        seen.instrument.saw(WaitEnded(seconds=1, how="answered"))
    seen.instrument.saw(StoreCommitted(operations=3, seconds=1))
    with seen.user.start_as_current_span("a reader's"):
        data = seen.reader.get_metrics_data()
    assert data is not None
    found = {metric.name: metric.data for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    waits, batch = (
        [e for p in found[name].data_points for e in p.exemplars]
        for name in ("trioflow.client.waits", "trioflow.store.batch")
    )
    assert [exemplar.span_id for exemplar in waits] == [mine.get_span_context().span_id]
    assert not batch


def test_counters_go_with_their_meter() -> None:
    """What has been counted is kept for as long as the meter is, and keeps nothing alive itself."""
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    instrument = OpenTelemetry(None, provider, traces=False)
    instrument.saw(LeaseLost(what="turn", instance="order-1", worker="w1"))
    instrument.saw(StoreCommitted(operations=3, seconds=1))  # it waits
    del instrument
    meter = ref(provider.get_meter("trioflow", _release()))
    assert meter() in _shared
    del provider
    gc.collect()
    assert meter() is None


def test_who_is_made_before_the_process_has_a_provider_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """With whichever is there when the first fact is told, and with all others that use it."""
    instrument, seen = OpenTelemetry(traces=False), Seen()
    monkeypatch.setattr("trioflow.telemetry._opentelemetry.get_meter_provider", lambda: seen.meters)
    for one in (instrument, OpenTelemetry(traces=False)):
        one.saw(LeaseLost(what="turn", instance="order-1", worker="w1"))
    assert seen.metrics()["trioflow.lease.losses"] == {(("trioflow.lease", "turn"),): 2}


def test_either_half_can_be_left_out() -> None:
    """Spans without metrics, metrics without spans, and neither: the other half is silent."""
    for traces, metrics in ((True, False), (False, True), (False, False)):
        seen = Seen(traces=traces, metrics=metrics)
        headers = seen.instrument.headers(start("client"))
        within = seen.instrument.activity_headers(subject(), "")
        one = attempt()
        with seen.instrument.inside(one):
            pass
        seen.instrument.saw(turn(started()))
        seen.instrument.saw(ended(one))
        assert bool(seen.all) is bool(headers) is bool(within) is traces
        assert bool(seen.metrics()) is metrics
