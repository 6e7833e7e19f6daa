"""From facts to spans: who draws what.

Law: the same fact is told once, and replays tell nothing, so nothing is drawn twice. Who calls it: `_opentelemetry.py`.
Read next: `_executions.py`, then `_starts.py` and `_attempts.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from trioflow.abc import Administered, AttemptEnded, Fact, StartAnswered, Subject, TurnRan
from trioflow.telemetry._attempts import Attempts
from trioflow.telemetry._context import context_of, headers_of
from trioflow.telemetry._drawn import Drawn
from trioflow.telemetry._executions import spans_of_administration, spans_of_turn
from trioflow.telemetry._pen import Pen
from trioflow.telemetry._starts import Starts
from trioflow.telemetry._traced import Traced


@attrs.define(eq=False)
class Spans:
    """All that are drawn with one pen."""

    _pen: Pen
    _detail: bool  # whether every turn is drawn
    starts: Starts = attrs.field(init=False)
    attempts: Attempts = attrs.field(init=False)
    _last: tuple[Subject, Traced | None] | None = attrs.field(default=None, init=False)  # a turn asks, and is told of

    def __attrs_post_init__(self) -> None:
        self.starts = Starts(self._pen)
        self.attempts = Attempts(self._pen)

    def activity_headers(self, subject: Subject, within: str) -> dict[str, str]:
        """The part of the execution that asks for an activity: its attempts are beneath that."""
        traced = self._recorded(subject)
        return _as_given(subject) if traced is None else headers_of(traced.part(within))

    def saw(self, fact: Fact) -> None:
        """Draw what it shows."""
        match fact:
            case AttemptEnded():  # the most frequent first
                self.attempts.ended(fact)
            case StartAnswered():
                self.starts.answered(fact)
            case TurnRan() | Administered():
                traced = self._recorded(fact.subject)
                if traced is not None:
                    self._draw(self._spans_of(traced, fact))

    def _recorded(self, subject: Subject) -> Traced | None:
        last = self._last
        if last is None or last[0] is not subject:
            last = self._last = subject, Traced.recorded(subject)
        return last[1]

    def _spans_of(self, traced: Traced, fact: TurnRan | Administered) -> Iterable[Drawn]:
        if isinstance(fact, TurnRan):
            return spans_of_turn(traced, fact, messages=self._pen.messages, detail=self._detail)
        return spans_of_administration(traced, fact, messages=self._pen.messages)

    def _draw(self, spans: Iterable[Drawn]) -> None:
        for drawn in spans:
            self._pen.draw(drawn)


def _as_given(subject: Subject) -> dict[str, str]:
    """Of an execution that is not recorded: its attempts learn just that."""
    given = context_of(subject.headers)
    return {} if given is None else headers_of(given)
