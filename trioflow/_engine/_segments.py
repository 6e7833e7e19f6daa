"""A history as segments, and the comparison of what the code asks for with what it asked for then.

Laws: a segment is one delivered event and everything asked for until the program blocked; what is asked for is compared
as a set, by place; the comparison is complete at each block, before anything later is delivered. Administrative events
(suspended, resumed, parked) belong to no segment.

Must never know: the kernel. Who calls it: `_execution.py`. Read next: `_asking.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import attrs

from trioflow.errors import HistoryError, NondeterminismError
from trioflow.history import (
    ActivityScheduled,
    AskedAt,
    Asking,
    ChildScheduled,
    DetachedScheduled,
    Event,
    EventWaited,
    KeyValueCleared,
    KeyValueSet,
    Recorded,
    StatusSet,
    TimerCreated,
)

Said = KeyValueSet | KeyValueCleared | StatusSet
"""What is not compared, but was let through by the limits of its time."""


@attrs.define(eq=False)
class Segment:
    """One delivered event, and what the history says was asked for behind it."""

    opening: Event
    size: int = 0  # bytes of the events behind the first, about
    ending: Event | None = None  # the terminal event among those, if the execution ended here
    asked: dict[str, Event] = attrs.field(factory=dict, init=False)  # by `key_of`; only what is compared
    said: deque[Said] | None = None  # in order, as far as the code has not said it again; None: nothing was said

    def add(self, event: Event) -> None:
        """Take the next event of the history."""
        self.size += size_of(event)
        if isinstance(event, AskedAt):
            self.asked[event.place] = event
        elif isinstance(event, Asking):
            self.asked[key_of(event)] = event
        elif isinstance(event, Said):
            self.said = self.said or deque()
            self.said.append(event)
        elif event.ends:
            self.ending = event

    def say(self, event: Said) -> None:
        """The code says something (a draft). That it is another thing than was said then is no error; from there on the
        limits of today hold, up to the end of the segment.
        """
        if self.said and self.said[0].placed(event.id, event.at) == event:
            self.said.popleft()


def size_of(event: Event) -> int:
    """Bytes of an event, about: the same whether it is new or replayed."""
    return 64 + len(getattr(event, "payload", None) or b"")


def key_of(event: Asking) -> str:
    """What identifies something asked for about an earlier event, as its place does anything else."""
    return f"{type(event).__name__} {event.about}"


def segments(history: Iterable[Event]) -> Iterator[Segment]:
    """Cut a history. Raises HistoryError where it cannot be one: ids with gaps, an asked event before any delivered
    one.
    """
    current: Segment | None = None
    for expected_id, event in enumerate(history, 1):
        if event.id != expected_id:
            raise HistoryError(f"the history goes on with event {event.id} where {expected_id} should be")
        if event.delivered:
            if current is not None:
                yield current
            current = Segment(event)
        elif event.administrative:
            continue
        elif current is None:
            raise HistoryError(f"the history begins with {describe(event)}; it should begin with OrchestrationStarted")
        else:
            current.add(event)
    if current is not None:
        yield current


def describe(event: Event) -> str:
    """An event as one line of an error message. Never shows a payload."""
    kind = type(event).__name__
    match event:
        case ActivityScheduled() | EventWaited() | Recorded():
            return f"{kind} {event.name!r} at {event.place}"
        case ChildScheduled() | DetachedScheduled():
            return f"{kind} {event.name!r} as {event.instance!r} at {event.place}"
        case TimerCreated():
            return f"{kind} for {event.deadline!r} at {event.place}"
        case Asking():
            return f"{kind} of event {event.about}"
    return kind


def mismatch(
    *, owner: str, place: str, segment: Segment, expected: str | None, actual: str | None, source: str | None = None
) -> NondeterminismError:
    """The error that shows both sides."""
    where = f" ({source})" if source else ""
    opening = segment.opening
    return NondeterminismError(
        f"{owner}: the code does not do what its history says it did, at {place}{where}, after event {opening.id} "
        f"({type(opening).__name__}).\n"
        f"  expected: {expected or 'nothing'}\n"
        f"  actual:   {actual or 'nothing'}\n"
        f"Code that has recorded steps must keep asking for them; guard a change with durable.patched(...) or a new "
        f"version, or bring the old code back and resume the instance.",
        place=place,
        expected=expected,
        actual=actual,
    )
