"""An execution that lives long does not grow, and one that is large costs in proportion."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.engine.driving import START, Driven, define
from trioflow import durable
from trioflow._engine import Execution, Message
from trioflow.app import App
from trioflow.history import ActivityCompleted, Event, EventReceived, OrchestrationStarted

app = App("long")


@app.activity
async def step(value: int = 0) -> int:
    """Never runs here."""
    return value


def test_timers_that_have_fired_are_forgotten() -> None:
    """A loop of sleeps keeps none but those still open."""

    async def program() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(durable.sleep, 1_000_000)
            while True:
                await durable.sleep(1)

    driven = Driven(program)
    driven.start()
    for number in range(300):
        driven.live.run([], START + 2 * number)
    assert len(driven.live._timers.by_key) < 110
    driven.live.close()


@pytest.mark.parametrize("on_cancel", ["abandon", "request"])
def test_activities_given_up_are_forgotten_when_they_end(on_cancel: str) -> None:
    """Their late completion is the last that is known of them."""

    async def program() -> None:
        while True:
            with durable.move_on_after(1):
                await step.options(on_cancel=on_cancel)(1)  # type: ignore[arg-type]

    driven = Driven(program, app=app)
    driven.start()
    for number in range(10):
        driven.turn(now=START + 10 * number + 5)
        assert len(driven.live._unanswered) == 2
        driven.turn(driven.completion(driven.scheduled[number], 1), now=driven.now)
        assert len(driven.live._unanswered) == 1
    driven.close()


def test_every_part_of_a_long_loop_is_forgotten() -> None:
    """Steps, waits, branches, scopes, events: after a thousand rounds nothing of the first is left."""

    async def program() -> None:
        while True:
            with durable.move_on_after(100):
                await durable.gather(step(1), durable.wait_event("e"), durable.record(int))
            durable.uuid4()

    driven = Driven(program, app=app)
    live = driven.live
    events = list(driven.start().events)
    for number in range(200):
        scheduled = next(event for event in reversed(events) if type(event).__name__ == "ActivityScheduled")
        drafts: list[Event] = [ActivityCompleted(answers=scheduled.id, payload=b"1"), driven.event("e")]
        result = live.run([Message(5, START + number, draft) for draft in drafts], START + number)
        events += result.events
    books = (live._unanswered, live._event_waits.by_name, live._host.mailboxes)
    assert [len(book) for book in books] == [1, 1, 0]
    assert len(live.kernel.tasks) == 3
    assert len(live.kernel.deadlines.heap) < 1100
    live.close()


async def chain(n: int) -> int:
    """One step after the other."""
    for number in range(n):
        await step(number)
    return n


async def fan_in(n: int) -> int:
    """All at once."""
    return len(await durable.gather(*(step(number) for number in range(n))))


async def timers(n: int) -> int:
    """So many deadlines."""
    async with durable.open_nursery() as nursery:
        for number in range(n):
            nursery.start_soon(durable.sleep, 1 + number)
    return n


async def waiters(n: int) -> int:
    """All for one name."""
    return len(await durable.gather(*(durable.wait_event("e") for _ in range(n))))


def completions(n: int, every: int) -> Iterator[tuple[Sequence[Event], float]]:
    """Activities complete in the order of their ids."""
    for number in range(n):
        yield [ActivityCompleted(answers=2 + every * number, payload=b"1")], START + 1


FEEDS: list[tuple[Callable[..., object], Callable[[int], Iterator[tuple[Sequence[Event], float]]]]] = [
    (chain, lambda n: completions(n, 2)),
    (fan_in, lambda n: completions(n, 1)),
    (timers, lambda n: (([], START + 2 + number) for number in range(n))),
    (waiters, lambda n: (([EventReceived(name="e", payload=b"1")], START + 1) for _ in range(n))),
]


def seconds(program: object, feed: Callable[[int], Iterator[tuple[Sequence[Event], float]]], n: int) -> float:
    """How long it takes, live and cold."""
    definition = define(program)  # type: ignore[arg-type]
    began = time.perf_counter()
    live = Execution(app, definition)
    payload = app.codec.encode_arguments(definition.spec, (n,), {}, what="test")
    start = OrchestrationStarted(instance="i", name=definition.name, payload=payload, seed="5eed")
    result = live.run([Message(1, START, start)], START)
    history = list(result.events)
    for drafts, now in feed(n):
        result = live.run([Message(2, now, draft) for draft in drafts], now)
        history += result.events
    assert result.ended
    live.close()
    cold = Execution(app, definition)
    for _ in cold.replay(history):
        pass
    assert cold.ended
    cold.close()
    return time.perf_counter() - began


def test_a_replay_pauses_every_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many segments, so that whoever replays can let others run; the end is where the history ends."""
    driven = Driven(chain, 5, app=app)
    driven.start()
    while not driven.live.ended:
        driven.turn(driven.completion(driven.scheduled[-1], 1))
    for stretch, pauses in ((1, 6), (4, 1), (6, 1), (7, 0)):
        monkeypatch.setattr("trioflow._engine._execution.STRETCH", stretch)
        cold = Execution(app, driven.definition)
        assert len(list(cold.replay(driven.history))) == pauses
        assert cold.ended
        assert cold.length == len(driven.history)
        cold.close()
    driven.close()


@pytest.mark.slow
@pytest.mark.parametrize(("program", "feed"), FEEDS, ids=lambda it: getattr(it, "__name__", ""))
def test_cost_is_in_proportion_to_size(
    program: object, feed: Callable[[int], Iterator[tuple[Sequence[Event], float]]]
) -> None:
    """Ten times as large takes about ten times as long, live and cold, not a hundred times."""
    small = min(seconds(program, feed, 1_000) for _ in range(3))
    assert seconds(program, feed, 10_000) < 40 * small
