"""Drive an execution turn by turn, checking at every step that live continuation and cold replay agree.

Who uses it: all tests of the engine. Whatever a test does through `Driven`, it proves the engine's central property on
the way.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import attrs

from trioflow._ambient import Part, PartClosed, PartOpened
from trioflow._engine import Execution, Message, TurnResult, run_turn
from trioflow.app import App, OrchestrationDefinition
from trioflow.history import (
    ActivityCompleted,
    ActivityScheduled,
    CancelRequested,
    Event,
    EventReceived,
    OrchestrationStarted,
)

Program = Callable[..., Coroutine[Any, Any, Any]]
START = 1000.0
OPEN: list[Driven] = []
"""What the running test drives; closed after it."""


def define(fn: Program) -> OrchestrationDefinition[Any, Any]:
    """An orchestration of an app of its own."""
    return App("test").orchestration(fn)


class Driven:
    """An instance with its history, as a store and a runtime would keep it."""

    def __init__(
        self, program: Program | OrchestrationDefinition[Any, Any], *args: Any, app: App | None = None
    ) -> None:
        self.definition = program if isinstance(program, OrchestrationDefinition) else define(program)
        self.app = app or self.definition.app
        self.live = Execution(self.app, self.definition, traced=True)
        self.closed: list[str] = []
        self.open: dict[str, Part] = {}  # parts of its trace that others may be within
        self.history: list[Event] = []
        self.now = START
        self.seq = 0
        self.args = args
        self.results: list[TurnResult] = []
        OPEN.append(self)

    # -- what happens to it

    def start(self, **fields: Any) -> TurnResult:
        """The first turn."""
        payload = self.app.codec.encode_arguments(self.definition.spec, self.args, {}, what="test")
        started = OrchestrationStarted(
            instance="i-1", name=self.definition.name, payload=payload, seed="5eed", **fields
        )
        return self.turn(started)

    def turn(self, *drafts: Event, now: float | None = None, arrived: Sequence[float] | None = None) -> TurnResult:
        """Deliver drafts in one turn; live and cold must give the same."""
        self.now = self.now + 1 if now is None else now
        messages = []
        for index, draft in enumerate(drafts):
            self.seq += 1
            messages.append(Message(self.seq, arrived[index] if arrived else self.now, draft))
        live = self.live.run(messages, self.now)
        cold = run_turn(self.definition, self.history, messages, self.now, app=self.app, traced=True)
        assert attrs.evolve(live, logs=()) == attrs.evolve(cold, logs=())
        untraced = run_turn(self.definition, self.history, messages, self.now, app=self.app)
        assert attrs.evolve(live, logs=(), spans=(), within={}) == attrs.evolve(untraced, logs=())
        assert [entry.message for entry in live.logs] == [entry.message for entry in cold.logs]
        self._check_spans(live)
        self.history.extend(live.events)
        self.results.append(live)
        assert [event.id for event in self.history] == list(range(1, len(self.history) + 1))
        return live

    def _check_spans(self, result: TurnResult) -> None:
        """Whatever is told of is within something that was opened before, and closes once, not before it opened."""
        for span in result.spans:
            part = span.part
            assert part.within == "" or part.within in self.open, span
            if isinstance(span, PartOpened):
                assert part.key not in self.open, span
                self.open[part.key] = part
            else:
                assert part.at <= span.at, span
                opens = part.kind in ("branch", "scope", "child", "detached")
                assert not opens or self.open[part.key] == part, span
        for span in result.spans:
            if isinstance(span, PartClosed) and span.part.kind in ("branch", "scope"):
                self.closed.append(span.part.key)
        assert len(self.closed) == len(set(self.closed))
        if result.ended:
            lasting = [part.key for part in self.open.values() if part.kind in ("branch", "scope")]
            assert sorted(self.closed) == sorted(lasting)
        assert set(result.within) == {event.id for event in result.events if isinstance(event, ActivityScheduled)}
        assert all(within == "" or within in self.open for within in result.within.values())

    def complete(self, event: ActivityScheduled, value: Any = None) -> TurnResult:
        """An activity returns."""
        return self.turn(self.completion(event, value))

    def completion(self, event: ActivityScheduled, value: Any = None) -> ActivityCompleted:
        """The message that an activity has returned: the value, or any value of its declared type."""
        if value is None:
            value = {str: "ok", int: 0}.get(self.app.find_activity(event.name).spec.returns)
        return ActivityCompleted(answers=event.id, payload=self.app.codec.encode(value, Any, what="test"))

    def event(self, name: str, value: Any = None) -> EventReceived:
        """The message that an event was raised."""
        return EventReceived(name=name, payload=self.app.codec.encode(value, Any, what="test"))

    def cancel(self, reason: str | None = None) -> TurnResult:
        """A client asks for its end."""
        return self.turn(CancelRequested(reason=reason))

    # -- what can be seen

    @property
    def kinds(self) -> list[str]:
        """The history, by kind."""
        return [type(event).__name__ for event in self.history]

    @property
    def scheduled(self) -> list[ActivityScheduled]:
        """All activities asked for so far."""
        return [event for event in self.history if isinstance(event, ActivityScheduled)]

    @property
    def last(self) -> Event:
        """The newest event."""
        return self.history[-1]

    def result(self) -> Any:
        """What it returned."""
        return self.app.codec.decode(self.last.payload, Any, what="test")  # type: ignore[attr-defined]

    def close(self) -> None:
        """Drop the live copy, and check that every prefix that ends at a turn is replayable."""
        self.live.close()
        length = 0
        for result in self.results:
            length += len(result.events)
            replayed = Execution(self.app, self.definition)
            for _ in replayed.replay(self.history[:length]):
                pass
            assert replayed.length == length
            replayed.close()


def kinds(result: TurnResult) -> list[str]:
    """The new events of a turn, by kind."""
    return [type(event).__name__ for event in result.events]


def actions(result: TurnResult) -> list[str]:
    """What a turn wants done, by kind."""
    return [type(action).__name__ for action in result.actions]


__all__ = ("START", "Driven", "actions", "define", "kinds")
