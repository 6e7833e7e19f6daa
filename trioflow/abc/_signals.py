"""Hints that something changed, within one process: level-triggered counters one can wait on; and what commits cost.

Laws: a hint is never needed for correctness, only for speed; a waiter says what it has seen, so a change between
looking and waiting is not missed; a topic costs two dictionary entries while it is watched, none after; an end that a
runtime has committed is told, beside the hint, to whoever watches for it in its trio run. Whoever runs activities is
told at once which of them are to end; that is no part of `bump_all`.

Must run in one trio thread. Who bumps: stores, after their commits. Who waits: dispatchers and clients.
"""

from __future__ import annotations

from collections.abc import Callable
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
    counts: dict[str, int] = attrs.field(factory=dict)  # bumps of a topic since somebody watches it
    watches: dict[str, dict[Watch, None]] = attrs.field(factory=dict)  # topic -> who watches it; absent means nobody
    on_cancel: list[Callable[[str], object]] = attrs.field(factory=list)  # told of tokens of activities that are to end
    on_commit: list[Callable[[int, float], None]] = attrs.field(factory=list)  # told of operations and seconds

    def watch(self, *topics: str) -> Watch:
        """A context manager; inside it `seen` and `wait_beyond` work for these topics, taken together."""
        return Watch(self, topics)

    def bump(self, topic: str) -> None:
        """Wake whoever waits for this topic."""
        if topic.startswith(END):
            self.ends += 1
        watches = self.watches.get(topic)
        if watches is not None:
            self.counts[topic] += 1
            for watch in watches:
                watch.bumped.set()
        if topic.startswith(ACTIVITY):
            for listener in self.on_cancel:
                listener(topic.removeprefix(ACTIVITY))

    def seen_ends(self) -> tuple[int, int]:
        """What has been heard of ends so far: while it is the same, nothing that was there has ended."""
        return self.everything, self.ends

    def tell_end(self, end: Ended) -> None:
        """Whoever watches for this end need not read it: it was committed here."""
        for watch in self.watches.get(end_topic(end.instance), ()):
            watch.told = end

    def committed(self, operations: int, seconds: float) -> None:
        """A transaction with so many operations was made durable in so many seconds."""
        for listener in self.on_commit:
            listener(operations, seconds)

    def bump_all(self) -> None:
        """Wake everybody."""
        self.everything += 1
        for watches in self.watches.values():
            for watch in watches:
                watch.bumped.set()


@attrs.define(eq=False)
class Watch:
    """Somebody's interest in topics, from `__enter__` to `__exit__`.

    Attributes:
        told: the end that was committed here meanwhile; not all are told.
        bumped: set by the next bump, if it is not set already.
    """

    _signals: Signals
    _topics: tuple[str, ...]
    told: Ended | None = None
    bumped: trio.Event = attrs.field(factory=trio.Event)

    def __enter__(self) -> Self:
        signals = self._signals
        for topic in self._topics:
            watches = signals.watches.get(topic)
            if watches is None:
                signals.watches[topic], signals.counts[topic] = {self: None}, 0
            else:
                watches[self] = None
        return self

    def __exit__(self, *exc: object) -> None:
        signals = self._signals
        for topic in self._topics:
            watches = signals.watches[topic]
            del watches[self]
            if not watches:
                del signals.watches[topic], signals.counts[topic]

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
        while self.seen == seen:
            if self.bumped.is_set():
                self.bumped = trio.Event()
            await self.bumped.wait()
        await trio.lowlevel.checkpoint()
