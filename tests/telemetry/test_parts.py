"""The spans of branches, scopes and steps: out of hand-made notes, and out of those that the engine takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from tests.telemetry.seeing import EPOCH, Seen, nanoseconds, started, subject, turn
from trioflow import durable
from trioflow._ambient import Part, PartClosed, PartOpened
from trioflow._engine import Execution, Message
from trioflow.abc import Subject
from trioflow.app import App
from trioflow.history import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    CancelRequested,
    Category,
    ChildFailed,
    DetachedRefused,
    Event,
    EventReceived,
    Failure,
    OrchestrationStarted,
)

EXISTS = Failure(type="trioflow.InstanceExists", message="")


def failed(**fields: Any) -> ActivityFailed:
    """An activity's failure."""
    return ActivityFailed(answers=2, failure=Failure(**{"type": "builtins.ValueError", "message": "", **fields}))


def part(kind: Any, name: str = "thing", **fields: Any) -> Part:
    """A part of the main function."""
    return Part(**{"key": "0#1", "within": "", "kind": kind, "name": name, "at": EPOCH + 1, **fields})


def closed(one: Part, how: Any = "completed", **fields: Any) -> PartClosed:
    """Its end, two seconds later."""
    return PartClosed(part=one, at=one.at + 2, how=how, **fields)


@pytest.mark.parametrize(
    ("kind", "name", "shown", "sort"),
    [
        ("branch", "shop.order.<locals>.pay", "branch pay", SpanKind.INTERNAL),
        ("scope", "saga", "saga", SpanKind.INTERNAL),
        ("child", "ship", "start ship", SpanKind.PRODUCER),
        ("detached", "ship", "start ship", SpanKind.PRODUCER),
    ],
)
def test_what_others_may_be_within_is_a_moment(seen: Seen, kind: str, name: str, shown: str, sort: SpanKind) -> None:
    """Drawn as soon as it is open, so that nothing is ever beneath what is not there."""
    seen.instrument.saw(turn(started(), spans=(PartOpened(part(kind, name, due=EPOCH + 60)),)))
    span = seen.only(shown)
    assert span.start_time == span.end_time == nanoseconds(EPOCH + 1)
    assert span.kind is sort
    assert (span.attributes or {})["trioflow.place"] == "0#1"
    assert (span.attributes or {})["trioflow.deadline"] == EPOCH + 60
    assert (span.attributes or {}).get("code.function.name") == (name if kind == "branch" else None)
    assert seen.tree() == ["order", f"  {shown}"]


@pytest.mark.parametrize(
    ("kind", "how", "error", "shown"),
    [
        ("branch", "completed", None, ["branch thing", "  thing: completed"]),
        ("branch", "failed", "ValueError", ["branch thing", "  thing: failed"]),
        ("branch", "cancelled", None, ["branch thing", "  thing: cancelled"]),
        ("branch", "dropped", None, ["branch thing", "  thing: dropped"]),
        ("scope", "timed out", None, ["thing", "  thing: timed out"]),
        ("sleep", "completed", None, ["sleep"]),
        ("sleep", "cancelled", None, ["sleep"]),
        ("event", "completed", None, ["wait thing"]),
        ("event", "cancelled", None, ["wait thing"]),
    ],
)
def test_what_lasts_is_drawn_when_it_is_over(
    seen: Seen, kind: str, how: str, error: str | None, shown: list[str]
) -> None:
    """With its whole duration: beneath its own moment if others may be within it, else where it belongs."""
    one = part(kind, "sleep" if kind == "sleep" else "thing")
    opened = (PartOpened(one),) if kind in ("branch", "scope") else ()
    seen.instrument.saw(turn(started(), spans=opened))
    seen.instrument.saw(turn(CancelRequested(id=2), spans=(closed(one, how, error=error),)))
    assert [
        line.removeprefix("  ") for line in seen.tree() if "order" not in line and "cancel req" not in line
    ] == shown
    span = seen.only(shown[-1].strip())
    told = dict(span.attributes or {})
    assert (span.start_time, span.end_time) == (nanoseconds(EPOCH + 1), nanoseconds(EPOCH + 3))
    assert told["trioflow.outcome"] == how
    assert told.get("error.type") == error
    assert told.get("trioflow.cancelled") == (True if how == "cancelled" else None)
    assert span.status.status_code is (StatusCode.UNSET if error is None else StatusCode.ERROR)


@pytest.mark.parametrize(
    ("how", "answer", "outcome"),
    [
        ("completed", ActivityCompleted(answers=2, payload=b""), None),
        ("failed", failed(), None),
        ("cancelled", ActivityCancelled(answers=2, how="ended"), None),
        ("cancelled", None, None),
        ("cancelled", ActivityCancelled(answers=2, how="never_started"), "cancelled"),
        ("cancelled", ActivityCancelled(answers=2, how="lost"), "lost"),
        ("failed", failed(type="trioflow.ActivityTimedOut", attempts=0), "failed"),
        ("failed", failed(type="trioflow.ActivityPoisoned", category=Category.POISON), "failed"),
        ("failed", failed(type="trioflow.UnregisteredError", category=Category.CONFIGURATION), "failed"),
    ],
)
def test_an_activity_is_drawn_here_only_if_no_attempt_tells_of_it(
    seen: Seen, how: str, answer: Any, outcome: str | None
) -> None:
    """Whoever ran it has drawn its attempts; one that nobody ran, or whose worker is gone, would leave no trace."""
    one = part("activity", "charge")
    seen.instrument.saw(turn(started(), spans=(closed(one, how, answer=answer),)))
    found = [span for span in seen.spans if span.name == "charge"]
    assert [(span.attributes or {})["trioflow.outcome"] for span in found] == ([outcome] if outcome else [])
    assert all((span.attributes or {})["trioflow.activity"] == "charge" for span in found)


@pytest.mark.parametrize(
    ("kind", "answer", "refused"),
    [
        ("child", ChildFailed(answers=2, failure=EXISTS), True),
        ("child", ChildFailed(answers=2, failure=Failure(type="builtins.ValueError", message="")), False),
        ("child", None, False),
        ("detached", DetachedRefused(answers=2, failure=EXISTS), True),
    ],
)
def test_a_start_is_an_error_only_if_it_was_refused(seen: Seen, kind: str, answer: Any, refused: bool) -> None:
    """What became of a child is told by its own execution, beneath the start."""
    one = part(kind, "ship", instance="child-1")
    seen.instrument.saw(turn(started(), spans=(PartOpened(one), closed(one, "failed", answer=answer))))
    assert seen.tree() == ["order", "  start ship", *(["    start ship: refused"] if refused else [])]
    if refused:
        assert seen.only("start ship: refused").status.status_code is StatusCode.ERROR


# -- what the engine notes


class Played:
    """An execution that is driven by hand, and what its turns show."""

    def __init__(self, program: Callable[[], Awaitable[Any]], app: App) -> None:
        self.seen, self.app, self.now, self.seq = Seen(), app, EPOCH, 0
        self.live = Execution(app, app.orchestration(program), traced=True)  # type: ignore[arg-type]
        self.events: list[Event] = []
        self.deliver(OrchestrationStarted(instance="order-1", name="order", payload=b"{}", seed="5eed"), after=0)

    def deliver(self, draft: Event | None = None, after: float = 10) -> None:
        """One turn, so many seconds later."""
        self.now += after
        self.seq += 1
        messages = [] if draft is None else [Message(self.seq, self.now, draft)]
        result = self.live.run(messages, self.now)
        self.events += result.events
        whose: Subject = subject(name="order")
        self.seen.instrument.saw(turn(*result.events, whose=whose, spans=result.spans))

    def complete(self, name: str) -> None:
        """Every activity of that name returns nothing."""
        for event in self.events:
            if isinstance(event, ActivityScheduled) and event.name == name:
                self.deliver(ActivityCompleted(answers=event.id, payload=b"null"))


def test_the_picture_of_a_program_is_its_nursery_tree() -> None:
    """Branches within scopes within branches, sleeps and waits where they were taken, and the end of it all."""
    app = App("pictures")

    @app.activity
    async def pack() -> None: ...

    async def courier() -> None:
        await durable.sleep(20)

    async def clerk() -> None:
        with durable.move_on_after(15):
            await durable.wait_event("signed")
        await pack()

    async def order() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(courier)
            nursery.start_soon(clerk)
        await durable.wait_event("paid")

    played = Played(order, app)
    for _ in range(3):
        played.deliver()
    played.complete("pack")
    played.deliver(EventReceived(name="paid", payload=b"null"))
    played.live.close()
    assert played.seen.tree() == [
        "order",
        "  branch clerk",
        "    clerk: completed",
        "    deadline",
        "      deadline: timed out",
        "      wait signed",
        "  branch courier",
        "    courier: completed",
        "    sleep",
        "  order: completed",
        "  wait paid",
    ]
    assert played.seen.only("sleep").end_time == nanoseconds(EPOCH + 20)
    assert played.seen.only("deadline: timed out").end_time == nanoseconds(EPOCH + 20)  # when a turn found it due
    assert played.seen.only("wait paid").start_time == nanoseconds(EPOCH + 40)


def test_a_cancelled_program_shows_who_was_cancelled() -> None:
    """Each branch and wait that was open, down to the execution, and none of them as an error."""
    app = App("pictures")

    async def clerk() -> None:
        await durable.wait_event("signed")

    async def order() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(clerk)

    played = Played(order, app)
    played.deliver(CancelRequested(reason="4111"))
    played.live.close()
    assert played.seen.tree() == [
        "order",
        "  branch clerk",
        "    clerk: cancelled",
        "    wait signed",
        "  order: cancelled",
        "  cancel requested",
    ]
    assert all(span.status.status_code is StatusCode.UNSET for span in played.seen.spans)
    assert "4111" not in "".join(span.to_json() for span in played.seen.spans)


def test_a_replay_shows_nothing() -> None:
    """What a second worker replays was told by the first; only what it adds is new."""
    app = App("pictures")

    async def order() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(durable.wait_event, "signed")
            nursery.start_soon(durable.sleep, 5)

    played = Played(order, app)
    played.deliver()
    played.live.close()
    before = len(played.seen.all)
    again = Execution(app, next(definition for _, definition in app.definitions()), traced=True)
    for _ in again.replay(played.events):
        pass
    played.live = again
    played.deliver(EventReceived(name="signed", payload=b"null"))
    again.close()
    assert [span.name for span in played.seen.all[before:]] == ["wait signed", "order: completed"]
    assert played.seen.spans
