"""What a trace tells of an execution, in terms of its history: which part of the program was open from when to when,
and within which other part. Frozen records, no behaviour.

Laws: everything follows from the history, so each replay finds the same; times are those of events, on the store's
clock; what belongs together is said by keys, which are unique within the execution. A payload is in none of them.
Must never know: trace ids, exporters. Who makes them: `_engine/_tracing.py`, which is to be read next.
"""

from __future__ import annotations

from typing import Literal

import attrs

from trioflow.history import Answer

SpanKind = Literal["branch", "scope", "sleep", "activity", "child", "detached", "event"]

How = Literal["completed", "failed", "cancelled", "timed out", "dropped"]
"""How a part ended; "dropped": the execution was ended from outside while it was open."""


@attrs.frozen(kw_only=True)
class Part:
    """A part of the program.

    Attributes:
        key: a branch's place, an operation's key, or a scope's timer or label, such as "0.1", "0.1#2", "0.1@1".
        within: the key of the innermost part around it; "" is the execution itself.
        kind: what it is.
        name: of the branch's function, the activity, the event; of a scope, what it is for.
        at: since when it is open.
        due: a scope's or sleep's deadline as it was first told to the store; None if it has none.
        instance: the id of what is started.
    """

    key: str
    within: str
    kind: SpanKind
    name: str
    at: float
    due: float | None = None
    instance: str | None = None


@attrs.frozen
class PartOpened:
    """A part that others may be within is open now."""

    part: Part


@attrs.frozen(kw_only=True)
class PartClosed:
    """A part has ended.

    Attributes:
        part: which.
        at: when.
        how: how.
        error: the class of what it raised; of a group that holds one exception, that one's.
        answer: the event that ended it, where it is an operation that one ended.
    """

    part: Part
    at: float
    how: How
    error: str | None = None
    answer: Answer | None = None


Span = PartOpened | PartClosed
