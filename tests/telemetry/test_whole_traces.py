"""Whole traces of orchestrations that a runtime runs: one tree, whoever ran which part of it, and true times."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import StatusCode

import trioflow
from tests.runtime.programs import EPOCH, virtual_store
from tests.telemetry.seeing import Seen
from trioflow import durable
from trioflow.abc import Env, Store
from trioflow.history import ChildScheduled, Event, TimerCreated, TimerFired
from trioflow.telemetry._drawn import nanoseconds

CANARY = "canary-4111-1111"


@pytest.fixture
def tries() -> list[str]:
    """The attempts that activities made."""
    return []


@pytest.fixture
def app(tries: list[str]) -> trioflow.App:
    """A shop with something of everything."""
    app = trioflow.App("traced")

    @app.activity(retry=trioflow.Retry(max_attempts=3, initial=10, jitter=0))
    async def charge(card: str) -> str:
        tries.append(card)
        if tries.count(card) < 2:
            raise ValueError(card)
        return card

    @app.activity
    async def forever() -> None:
        await trio.sleep_forever()

    @app.activity
    async def refuse(card: str) -> None:
        raise ExceptionGroup(card, [ValueError(card)])

    @app.orchestration
    async def ship(card: str) -> str:
        await durable.sleep(5)
        return card

    @app.orchestration
    async def audit(rounds: int) -> None:
        if rounds:
            durable.continue_as_new(rounds - 1)

    @app.orchestration
    async def order(card: str) -> str:
        await charge(card)
        with durable.move_on_after(30):
            await forever()
        async with durable.open_nursery() as nursery:
            nursery.start_soon(ship, card)
            nursery.start_soon(durable.sleep, 7)
        await durable.start_detached(audit, 1, id="audit-1")
        return str(await durable.wait_event("signed"))

    @app.orchestration
    async def refused(card: str) -> None:
        await refuse(card)

    return app


class VirtualEnv(Env):
    """Wall time by trio's clock, as the store has it."""

    def now(self) -> float:
        """The same as the store's."""
        return EPOCH + trio.current_time()


@asynccontextmanager
async def traced(app: trioflow.App, store: Store, seen: Seen) -> AsyncIterator[trioflow.Client]:
    """A runtime of a process whose telemetry is `seen`, and its client."""
    async with trioflow.open_runtime(app, store, instruments=[seen.instrument], env=VirtualEnv()) as runtime:
        yield runtime.client


def definition(app: trioflow.App, name: str) -> Any:
    """By name."""
    return next(one for key, one in app.definitions() if key[1] == name)


def merged(*processes: Seen) -> Seen:
    """What a collector has of several processes."""
    all_of_them = Seen()
    for one in processes:
        all_of_them.exporter.export(one.all)
    return all_of_them


def span_of(seen: Seen, name: str, instance: str) -> ReadableSpan:
    """The one of an instance."""
    (span,) = [one for one in seen.all if one.name == name and (one.attributes or {})["trioflow.instance"] == instance]
    return span


def span_id(span: ReadableSpan) -> int:
    """Its id."""
    assert span.context is not None
    return span.context.span_id


def at(event: Event) -> int:
    """When, as spans say it."""
    return nanoseconds(event.at)


async def run_order(app: trioflow.App, store: Store, seen: Seen) -> list[Event]:
    """An order from a client's request to its end, with all that it starts; its history."""
    async with traced(app, store, seen) as client:
        with seen.user.start_as_current_span("request"):
            handle = await client.start(definition(app, "order"), CANARY, id="order-1")
        await handle.raise_event("signed", CANARY)
        assert await handle.result() == CANARY
        await client.handle("audit-1").result()
        return await client.history("order-1")


async def test_an_order_is_one_tree(app: trioflow.App, autojump_clock: trio.testing.MockClock) -> None:
    """Retries, timeouts, branches, children and waits beneath the client's span; what is detached in its own trace."""
    seen = Seen()
    await run_order(app, virtual_store(), seen)
    assert seen.tree() == [
        *("audit", "  audit: continued as new"),
        *("audit", "  audit: completed"),
        *("request", "  start order", "    order"),
        *("      charge", "      order: completed", "      charge"),
        *("      deadline", "        deadline: timed out", "        forever"),
        "      sleep",
        *("      start ship", "        ship", "          ship: completed", "          sleep"),
        *("      start audit", "      wait signed"),
    ]
    first, second = sorted((span for span in seen.all if span.name == "audit"), key=lambda span: span.start_time or 0)
    assert [link.context.span_id for link in first.links] == [span_id(seen.only("start audit"))]
    assert [link.context.span_id for link in second.links] == [span_id(first)]


async def test_times_are_those_of_the_history(app: trioflow.App, autojump_clock: trio.testing.MockClock) -> None:
    """To the nanosecond, however fast the clock of the test runs."""
    seen = Seen()
    history = await run_order(app, virtual_store(), seen)
    begin, end = history[0], history[-1]
    whole = seen.only("order: completed")
    assert (whole.start_time, whole.end_time) == (at(begin), at(end))
    assert seen.only("order").start_time == seen.only("order").end_time == at(begin)
    timeout = seen.only("deadline: timed out")
    created = next(event for event in history if isinstance(event, TimerCreated))
    fired = next(event for event in history if isinstance(event, TimerFired))
    assert (timeout.start_time, timeout.end_time) == (at(created), at(fired))
    assert (timeout.attributes or {})["trioflow.deadline"] == created.deadline == created.at + 30
    asleep = span_of(seen, "sleep", "order-1")
    assert (asleep.attributes or {})["trioflow.deadline"] == fired.at + 7
    one, two = sorted((span for span in seen.all if span.name == "charge"), key=lambda span: span.start_time or 0)
    assert (two.attributes or {})["trioflow.waited"] == pytest.approx(10)
    assert [link.context.span_id for link in two.links] == [span_id(one)]
    assert seen.only("forever").status.status_code is StatusCode.UNSET
    assert (seen.only("forever").attributes or {})["trioflow.cancelled"] is True


async def test_a_trace_goes_on_in_another_process(
    app: trioflow.App, tries: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    """A runtime ends in the middle, another replays and goes on: one tree, nothing of it twice, nothing in the air."""
    one, two, store = Seen(), Seen(), virtual_store()
    async with traced(app, store, one) as client:
        await client.start(definition(app, "order"), CANARY, id="order-1")
        await trio.sleep(20)
        assert tries == [CANARY, CANARY]
    assert "order: completed" not in [span.name for span in one.all]
    async with traced(app, store, two) as client:
        handle = client.handle("order-1")
        await handle.raise_event("signed", CANARY)
        await handle.result()
        await client.handle("audit-1").result()
    both = merged(one, two)
    assert sorted(both.tree()) == sorted(
        [
            *("audit", "  audit: continued as new"),
            *("audit", "  audit: completed"),
            *("start order", "  order"),
            *("    charge", "    order: completed", "    charge"),
            *("    deadline", "      deadline: timed out", "      forever: given back", "      forever"),
            "    sleep",
            *("    start ship", "      ship", "        ship: completed", "        sleep"),
            *("    start audit", "    wait signed"),
        ]
    )
    turns = [span for span in both.all if span.name == "turn"]
    assert any((span.attributes or {})["trioflow.turn.replayed"] for span in turns)


async def test_what_is_not_recorded_is_recorded_nowhere(
    app: trioflow.App, autojump_clock: trio.testing.MockClock
) -> None:
    """The client's process decides; a runtime that would record everything records nothing of it."""
    client_side, store, worker = Seen(ALWAYS_OFF), virtual_store(), Seen(ALWAYS_ON)
    async with trioflow.connect(store, app, instruments=[client_side.instrument], env=VirtualEnv()) as client:
        await client.start(definition(app, "order"), CANARY, id="order-1")
    async with traced(app, store, worker) as client:
        handle = client.handle("order-1")
        await handle.raise_event("signed", CANARY)
        await handle.result()
        await client.handle("audit-1").result()
    assert not client_side.all
    assert not worker.all


async def test_a_group_is_unwrapped_and_no_payload_gets_out(
    app: trioflow.App, autojump_clock: trio.testing.MockClock
) -> None:
    """Arguments, results, events and messages of exceptions are in no span and in no metric."""
    seen = Seen()
    await run_order(app, virtual_store(), seen)
    async with traced(app, virtual_store(), seen) as client:
        handle = await client.start(definition(app, "refused"), CANARY, id="refused-1")
        with pytest.raises(BaseException):
            await handle.result()
    assert (seen.only("refuse").attributes or {})["error.type"] == "ValueError"
    assert (seen.only("refused: failed").attributes or {})["error.type"] == "ValueError"
    told = "".join(span.to_json() for span in seen.all)
    metrics = seen.reader.get_metrics_data()
    assert metrics is not None
    assert CANARY not in told
    assert CANARY not in metrics.to_json()
    assert "-1" in told
    assert "order-1" not in metrics.to_json()


async def test_metrics_agree_with_the_histories(app: trioflow.App, autojump_clock: trio.testing.MockClock) -> None:
    """Starts, ends and attempts are as many as the store has events of them, though two runtimes shared the work."""
    one, two, store = Seen(), Seen(), virtual_store()
    async with traced(app, store, one) as client:
        for number in range(3):
            await client.start(definition(app, "ship"), CANARY, id=f"ship-{number}")
        await client.start(definition(app, "order"), CANARY, id="order-1")
        await trio.sleep(20)
    async with traced(app, store, two) as client:
        await client.handle("order-1").raise_event("signed", CANARY)
        await client.handle("order-1").result()
        await client.handle("audit-1").result()
        executions = [*((f"ship-{number}", 1) for number in range(3)), ("order-1", 1), ("audit-1", 1), ("audit-1", 2)]
        children = [event.instance for event in await client.history("order-1") if isinstance(event, ChildScheduled)]
        executions += [(child, 1) for child in children]
        events = [event for execution in executions for event in await client.history(*execution)]
    kinds = Counter(type(event).__name__ for event in events)
    counts: Counter[str] = Counter()
    for seen in (one, two):
        for name, points in seen.metrics().items():
            counts[name] += sum(point if isinstance(point, int | float) else point[0] for point in points.values())
    ended = sum(event.ends for event in events)
    assert counts["trioflow.orchestration.starts"] == kinds["OrchestrationStarted"] == len(executions)
    assert counts["trioflow.orchestration.ends"] == counts["trioflow.orchestration.duration"] == ended
    settled = kinds["ActivityCompleted"] + kinds["ActivityFailed"] + kinds["ActivityCancelled"]
    retried, back = counts["trioflow.activity.retries"], 1
    assert retried == 1
    assert counts["trioflow.activity.attempts"] == settled + retried + back
    assert counts["trioflow.activity.waited"] == back  # nothing else has been in a queue
    assert counts["trioflow.client.starts"] == 4
    assert counts["trioflow.cache.replayed"] > 0


async def test_a_process_that_is_configured_need_not_say_so_again(
    app: trioflow.App, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runtime and client tell the providers of the process by themselves; an empty list of instruments is nobody."""
    seen = Seen()
    monkeypatch.setattr("trioflow.telemetry._opentelemetry.get_tracer_provider", lambda: seen.tracers)
    monkeypatch.setattr("trioflow.telemetry._opentelemetry.get_meter_provider", lambda: seen.meters)
    for instruments, spans in (([], 0), (None, 1)):
        async with trioflow.open_runtime(app, virtual_store(), instruments=instruments, env=VirtualEnv()) as runtime:
            handle = await runtime.client.start(definition(app, "ship"), CANARY)
            await handle.result()
        assert [span.name for span in seen.all].count("ship: completed") == spans
    assert seen.tree() == ["start ship", "  ship", "    ship: completed", "    sleep"]
    assert seen.metrics()["trioflow.orchestration.ends"]
