"""An execution in its trace: where its spans belong.

Laws: everything follows from the headers that are stored with the execution. One that began where nobody traced has no
trace; of one that was not to be recorded nothing is, anywhere. Everything of an execution hangs beneath its anchor.

Who calls it: `_executions.py`, `_parts.py`, `_starts.py`. Read next: `_executions.py`.
"""

from __future__ import annotations

import attrs
from opentelemetry.trace import SpanContext

from trioflow.abc import Subject
from trioflow.telemetry._attributes import EXECUTION, INSTANCE, NAME, VERSION, Attributes, Value
from trioflow.telemetry._context import beside, context_of
from trioflow.telemetry._ids import root_id_of, span_id_of


@attrs.frozen
class Traced:
    """An execution that has a trace.

    Attributes:
        subject: whose it is.
        given: the span that its headers name.
        begins: whether the trace begins with it: then that is its own anchor.
        anchor: the span that everything else of it is beneath.
    """

    subject: Subject
    given: SpanContext
    begins: bool = attrs.field(init=False)
    anchor: SpanContext = attrs.field(init=False)
    _parts: dict[str, SpanContext] = attrs.field(factory=dict, init=False, eq=False)  # that were asked for

    @begins.default
    def _begins(self) -> bool:
        return self.given.span_id == root_id_of(self.subject.seed)

    @anchor.default
    def _anchor(self) -> SpanContext:
        return self.given if self.begins else self.span()

    @classmethod
    def of(cls, subject: Subject) -> Traced | None:
        """None if it has none."""
        given = context_of(subject.headers)
        return None if given is None else cls(subject, given)

    @classmethod
    def recorded(cls, subject: Subject) -> Traced | None:
        """None, too, if it was decided when the trace began that nothing of it is drawn."""
        given = context_of(subject.headers)
        return None if given is None or not given.trace_flags.sampled else cls(subject, given)

    def part(self, key: str) -> SpanContext:
        """The span of a part of it that others may be within; "" is the execution itself."""
        if not key:
            return self.anchor
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = self.span("part", key)
        return part

    def span(self, *what: str | int) -> SpanContext:
        """Any span of it. By its seed, since one trace may lead through several stores, which know the same id."""
        whose = self.subject
        return beside(self.given, span_id_of(whose.instance, whose.execution, whose.seed, *what))

    @property
    def whose(self) -> Attributes:
        """What every span of it says."""
        return {INSTANCE: self.subject.instance, EXECUTION: self.subject.execution}

    @property
    def what(self) -> dict[str, Value]:
        """What it runs, too."""
        version = self.subject.version
        return {**self.whose, NAME: self.subject.name, **({} if version is None else {VERSION: version})}
