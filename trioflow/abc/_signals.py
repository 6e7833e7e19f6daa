"""Hints that something changed, within one process: level-triggered counters one can wait on; and what commits cost.

Laws: a hint is never needed for correctness, only for speed; a waiter says what it has seen, so a change between
looking and waiting is not missed; a topic that nobody waits for costs one dictionary entry while it is waited for, none
after; an end that a runtime has committed is told, beside the hint, to whoever waits for it in its trio run. Whoever
runs activities is told at once which of them are to end; that is no part of `bump_all`.

Must run in one trio thread. Who bumps: stores, after their commits. Who waits: dispatchers and clients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Self

import attrs
import trio

from trioflow.abc._records import EventRow, State

TURNS = "turns"
"""Topic: an instance may have become eligible."""

ACTIVITIES = "activities"
"""Topic: an activity may have become eligible."""

LEASED = "leased"
"""Topic: an activity was leased to whoever scheduled it, so one may become eligible when that lease runs out."""


END: Final = "end/"
ACTIVITY: Final = "activity/"


def instance_topic(instance: str) -> str:
    """Topic: something about this instance was committed."""
    return f"instance/{instance}"


def end_topic(instance: str) -> str:
    """Topic: this instance has ended, stands still until somebody acts, or is gone."""
    return END + instance


def activity_topic(token: str) -> str:
    """Topic: the cancellation of the activity leased under this token was asked for."""
    return ACTIVITY + token


@attrs.frozen(kw_only=True)
class Ended:
    """How an execution has ended, as its record tells, too."""

    instance: str
    name: str
    version: str | None
    state: State
    last_event: EventRow


@attrs.define(eq=False)
class Signals:
    """Counters by topic; `bump_all` stands for "anything may have changed" (another process wrote)."""

    everything: int = 0  # bumps of all topics at once
    ends: int = 0  # bumps of topics of ends, watched or not
    counts: dict[str, int] = attrs.field(factory=dict)  # bumps of a topic that somebody watches
    waiting: dict[str, dict[trio.Event, None]] = attrs.field(factory=dict)  # topic -> to be set at its next bump
    watchers: dict[str, int] = attrs.field(factory=dict)  # topic -> how many watch it; absent means nobody
    on_cancel: list[Callable[[str], object]] = attrs.field(factory=list)  # told of tokens of activities that are to end
    answers: dict[str, list[list[Ended]]] = attrs.field(factory=dict)  # by instance: to be filled when it ends
    on_commit: list[Callable[[int, float], None]] = attrs.field(factory=list)  # told of operations and seconds

    def watch(self, *topics: str) -> Watch:
        """A context manager; inside it `seen` and `wait_beyond` work for these topics, taken together."""
        return Watch(self, topics)

    def bump(self, topic: str) -> None:
        """Wake whoever waits for this topic."""
        if topic.startswith(END):
            self.ends += 1
        if topic in self.watchers:
            self.counts[topic] += 1
            for event in self.waiting.pop(topic, ()):
                event.set()
        if topic.startswith(ACTIVITY):
            for listener in self.on_cancel:
                listener(topic.removeprefix(ACTIVITY))

    def seen_ends(self) -> tuple[int, int]:
        """What has been heard of ends so far: while it is the same, nothing that was there has ended."""
        return self.everything, self.ends

    def tell_end(self, end: Ended) -> None:
        """Whoever waits for this end need not read it: it was committed here."""
        for answer in self.answers.get(end.instance, ()):
            answer.append(end)

    @contextmanager
    def await_end(self, instance: str) -> Iterator[list[Ended]]:
        """A list that holds the ends which are told of meanwhile; some are not, and have to be read."""
        answer: list[Ended] = []
        self.answers.setdefault(instance, []).append(answer)
        try:
            yield answer
        finally:
            waiting = self.answers[instance]
            waiting[:] = [one for one in waiting if one is not answer]
            if not waiting:
                del self.answers[instance]

    def committed(self, operations: int, seconds: float) -> None:
        """A transaction with so many operations was made durable in so many seconds."""
        for listener in self.on_commit:
            listener(operations, seconds)

    def bump_all(self) -> None:
        """Wake everybody."""
        self.everything += 1
        waiting, self.waiting = self.waiting, {}
        for events in waiting.values():
            for event in events:
                event.set()


@attrs.define(eq=False)
class Watch:
    """Somebody's interest in topics, from `__enter__` to `__exit__`."""

    _signals: Signals
    _topics: tuple[str, ...]

    def __enter__(self) -> Self:
        signals = self._signals
        for topic in self._topics:
            signals.watchers[topic] = signals.watchers.get(topic, 0) + 1
            signals.counts.setdefault(topic, 0)
        return self

    def __exit__(self, *exc: object) -> None:
        signals = self._signals
        for topic in self._topics:
            signals.watchers[topic] -= 1
            if not signals.watchers[topic]:
                del signals.watchers[topic]
                del signals.counts[topic]
                signals.waiting.pop(topic, None)

    @property
    def seen(self) -> int:
        """How often they were bumped; take this *before* looking at the store."""
        signals, seen = self._signals, self._signals.everything
        for topic in self._topics:
            seen += signals.counts[topic]
        return seen

    def seen_of(self, topic: str) -> int:
        """How often one of them was bumped."""
        return self._signals.counts[topic] + self._signals.everything

    async def wait_beyond(self, seen: int) -> None:
        """Return once one was bumped after `seen` was taken. A checkpoint."""
        waiting = self._signals.waiting
        while self.seen == seen:
            event = trio.Event()
            for topic in self._topics:
                waiting.setdefault(topic, {})[event] = None
            try:
                await event.wait()
            finally:
                for topic in self._topics:
                    waiting.get(topic, {}).pop(event, None)
        await trio.lowlevel.checkpoint()
