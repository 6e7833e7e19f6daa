"""Who writes a log record: for which instance, in which attempt, on which worker.

Laws: a frozen record in a `contextvars` variable, set once by whoever begins a task that works for somebody, so it
follows into child tasks and into threads; never a payload; what a user gives to a record himself wins; nothing here
raises, whatever fields a record is given.

Must never know: instances, activities, handlers. Who calls it: `_runtime` sets it, the loggers of `activity` and
`durable` and the filter of `telemetry` read it. Read next: `_discretion.py`.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

import attrs

FIELDS: Final = (
    *("instance", "execution", "orchestration", "version", "activity", "attempt", "worker"),
    *("trace_id", "span_id"),
)
"""What a log record may tell of whoever wrote it."""

_TRACEPARENT: Final = re.compile("[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")


@attrs.frozen(kw_only=True)
class LogContext:
    """Who works here. None where there is no such thing.

    Attributes:
        headers: of the execution or of the activity, for its trace context.
        messages: whether log records may tell messages of exceptions.
    """

    instance: str | None = None
    execution: int | None = None
    orchestration: str | None = None
    version: str | None = None
    activity: str | None = None
    attempt: int | None = None
    worker: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    messages: bool = False


NOBODY: Final = LogContext()

log_context: Final[ContextVar[LogContext]] = ContextVar("trioflow.log_context", default=NOBODY)
"""Who works in this task or thread."""


def log_fields(of: LogContext | None = None) -> dict[str, str | int]:
    """What is known, by the names in `FIELDS`; of this task or thread, unless somebody else is given."""
    who = log_context.get() if of is None else of
    known: dict[str, str | int] = {}
    for name in FIELDS[:-2]:
        value = getattr(who, name)
        if value is not None:
            known[name] = value
    trace = _trace(who)
    if trace is not None:
        known["trace_id"], known["span_id"] = trace
    return known


def log_extra(given: Mapping[str, Any] | None = None, of: LogContext | None = None) -> dict[str, Any]:
    """For `extra=`: what a user gave, and beside it what is known. A name that `logging` has for itself, such as
    "message", gets an underscore behind: it would be refused, and the record be lost.
    """
    taken = {"message", "asctime", *vars(logging.makeLogRecord({}))}
    extra: dict[str, Any] = {(f"{name}_" if name in taken else name): value for name, value in (given or {}).items()}
    for name, value in log_fields(of).items():
        if name not in taken:
            extra.setdefault(name, value)
    return extra


def _trace(who: LogContext) -> tuple[str, str] | None:
    """Ids of trace and span. In an activity the current span counts first, which may be the body's own; in a turn,
    where no span is current but one that the whole runtime was opened in, what the execution was started with.
    """
    found = _TRACEPARENT.fullmatch(who.headers.get("traceparent", ""))
    stored = None if found is None else (found[1], found[2])
    if who.activity is None and stored is not None:
        return stored
    return _current_span() or stored


def _current_span() -> tuple[str, str] | None:
    """Ids of OpenTelemetry's current span; nobody has one where its API was never imported."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.trace import get_current_span

    span = get_current_span().get_span_context()
    return (f"{span.trace_id:032x}", f"{span.span_id:016x}") if span.is_valid else None
