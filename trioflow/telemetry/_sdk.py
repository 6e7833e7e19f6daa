"""Making the SDK's tracer take our ids and our decisions, for our own spans and nobody else's.

Laws: both stand in for what our own tracer had, which goes on to answer whenever nothing is given; what is given counts
for the one span that is being begun. Other tracers of the same provider, and other traces, never see any of it.

Must never know: facts. The SDK is not imported: these have the methods of its `IdGenerator` and `Sampler`.
Who calls it: `_pen.py`.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any, Final

import attrs
from opentelemetry.context import Context


@attrs.define(eq=False)
class Given:
    """What is settled about a span. Inside it, as a context manager, our tracer begins one as it is given.

    Attributes:
        span_id: its id, until it is taken.
        trace_id: of the trace, where it begins one.
        parent: what the sampler is to take for its parent, where another span has decided for it.
    """

    span_id: int | None
    trace_id: int | None = None
    parent: Context | None = None
    _before: Token[Given | None] | None = attrs.field(default=None, init=False)

    def __enter__(self) -> None:
        self._before = _given.set(self)

    def __exit__(self, *raised: object) -> None:
        assert self._before is not None
        _given.reset(self._before)


_given: Final[ContextVar[Given | None]] = ContextVar("trioflow_given_span", default=None)


@attrs.define(eq=False)
class DurableIds:
    """An id generator of the SDK: what is given, else what the one before it makes."""

    before: Any

    def generate_trace_id(self) -> int:
        """The id of a trace that a span begins."""
        given = _given.get()
        return (
            given.trace_id if given is not None and given.trace_id is not None else int(self.before.generate_trace_id())
        )

    def generate_span_id(self) -> int:
        """The id of a span; one that was given is taken once."""
        given = _given.get()
        if given is None or given.span_id is None:
            return int(self.before.generate_span_id())
        span_id, given.span_id = given.span_id, None
        return span_id

    def is_trace_id_random(self) -> bool:
        """Whether the trace id just made was drawn at random: a derived one was not. Older SDKs do not ask."""
        given = _given.get()
        return (given is None or given.trace_id is None) and bool(self.before.is_trace_id_random())


@attrs.define(eq=False)
class KeptDecision:
    """A sampler of the SDK: asks the one before it, which sees the parent that has decided."""

    before: Any

    def should_sample(self, parent_context: Context | None, *about: Any, **more: Any) -> Any:
        """What that one says."""
        given = _given.get()
        if given is not None and given.parent is not None:
            parent_context = given.parent
        return self.before.should_sample(parent_context, *about, **more)

    def get_description(self) -> str:
        """That of the one before it."""
        return str(self.before.get_description())


def install(tracer: Any) -> bool:
    """Make an SDK's tracer take what is given. False if it is none: then it has no place for that."""
    if not hasattr(tracer, "id_generator") or not hasattr(tracer, "sampler"):
        return False
    if not isinstance(tracer.id_generator, DurableIds):  # a provider has one tracer for all who ask by the same name
        tracer.id_generator = DurableIds(tracer.id_generator)
        tracer.sampler = KeptDecision(tracer.sampler)
    return True
