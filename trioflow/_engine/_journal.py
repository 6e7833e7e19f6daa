"""Where an execution writes what it asks for: into new events, or, while it is replayed, against the recorded ones.

Laws: the code that asks never sees the difference; ids count up without gaps, and a draft, which has no id and no time,
gets both here; what disagrees is raised at the block, the first of it.

Who calls it: `_execution.py` and `_host.py`. Read next: `_host.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from trioflow._ambient import LogEntry
from trioflow._engine._results import Action
from trioflow._engine._segments import Segment, describe, key_of, mismatch, size_of
from trioflow.errors import NondeterminismError
from trioflow.history import AskedAt, Asking, Event


@attrs.define(eq=False)
class Journal:
    """The history of one execution, as far as it has got."""

    owner: str  # for messages: "instance 'order-1'"
    length: int = 0  # id of the last event; while replayed, of the last delivered one
    size: int = 0  # bytes of all events, about
    at: float = 0.0  # time of the last delivered event
    opened: tuple[int, int] = (0, 0)  # `length` and `size` with that event, which is being evaluated
    segment: Segment | None = None  # what the history says follows; None while live
    events: list[Event] = attrs.field(factory=list)  # new ones of this turn
    actions: list[Action] = attrs.field(factory=list)
    logs: list[LogEntry] = attrs.field(factory=list)
    _disagreement: NondeterminismError | None = None  # the first of the segment

    @property
    def replaying(self) -> bool:
        """Whether what is asked for now was asked for before."""
        return self.segment is not None

    # -- a segment

    def open(self, event: Event, segment: Segment | None = None) -> None:
        """Begin with a delivered event: recorded (its segment given) or new."""
        self.segment = segment
        self.at = event.at
        if segment is None:
            self.events.append(event)
        self.length = event.id
        self.size += size_of(event)
        self.opened = event.id, self.size

    def close(self) -> None:
        """The program has blocked: raise NondeterminismError if it has not done what was recorded."""
        segment = self.segment
        if segment is None:
            return
        if segment.ending is not None:
            self._disagree("0", describe(segment.ending), None)  # the program goes on
        if segment.asked:
            key, missing = next(iter(segment.asked.items()))
            self._disagree(key, describe(missing), None)
        if self._disagreement is not None:
            raise self._disagreement
        self.size += segment.size
        self.segment = None

    def take_turn(self) -> tuple[tuple[Event, ...], tuple[Action, ...], tuple[LogEntry, ...]]:
        """What is new since the last call."""
        taken = tuple(self.events), tuple(self.actions), tuple(self.logs)
        self.events, self.actions, self.logs = [], [], []
        return taken

    # -- asking

    def say(self, draft: Event) -> None:
        """Something that is not compared: written while live, passed over in replay."""
        if self.segment is None:
            self._append(draft.placed(self.length + 1, self.at))

    def recorded_at(self, place: str) -> Event | None:
        """The recorded event of a place, taken; None while live, or if the history has none there."""
        return None if self.segment is None else self.segment.asked.pop(place, None)

    def ask(
        self,
        event: AskedAt,
        action: Action | None,
        recorded: Event | None,
        source: Callable[[], str | None] | None = None,
    ) -> AskedAt | None:
        """Something asked for that is not what is recorded at its place: new, or, in replay, a disagreement.

        Args:
            event: complete; `length` says which id is next.
            action: what is to be done about it.
            recorded: what the history has at its place.
            source: tells where in the code it was asked for.

        Returns:
            The event, if it is in the history now; None if the history disagrees.
        """
        if self.segment is None:
            self._append(event)
            if action is not None:
                self.actions.append(action)
            return event
        expected, actual = describe(recorded) if recorded else None, describe(event)
        if expected == actual:
            actual += ", with another input"
        self._disagree(event.place, expected, actual, source() if source else None)
        return None

    def ask_about(self, draft: Asking, action: Action | None) -> None:
        """Something asked for about an earlier event."""
        if self.segment is None:
            self._append(draft.placed(self.length + 1, self.at))
            if action is not None:
                self.actions.append(action)
            return
        key = key_of(draft)
        if self.segment.asked.pop(key, None) is None:
            self._disagree(key, None, describe(draft))

    def disagreement(self, place: str, expected: str | None, actual: str | None) -> NondeterminismError:
        """The error for something that cannot wait for the block."""
        assert self.segment is not None
        return mismatch(owner=self.owner, place=place, segment=self.segment, expected=expected, actual=actual)

    def end(self, draft: Event) -> None:
        """The terminal event, recorded or compared."""
        if self.segment is None:
            self._append(draft.placed(self.length + 1, self.at))
            return
        recorded, self.segment.ending = self.segment.ending, None
        if type(recorded) is not type(draft):
            self._disagree("0", describe(recorded) if recorded else None, describe(draft))

    def _append(self, event: Event) -> None:
        self.events.append(event)
        self.length = event.id
        self.size += size_of(event)

    def _disagree(self, place: str, expected: str | None, actual: str | None, source: str | None = None) -> None:
        assert self.segment is not None
        if self._disagreement is None:
            self._disagreement = mismatch(
                owner=self.owner, place=place, segment=self.segment, expected=expected, actual=actual, source=source
            )
