"""How an execution ends, out of how its main task ended.

Laws (SEMANTICS 5): a value completes it, even after a swallowed cancel; its root `Cancelled` alone cancels it;
`ContinueAsNew` alone continues it; anything else fails it, and what stands beside a `ContinueAsNew` or a `Cancelled`
wins over it.

Pure functions. Who calls it: `_execution.py`.
"""

from __future__ import annotations

import outcome

from trioflow._ambient import ContinueAsNew
from trioflow._engine._host import EngineHost
from trioflow._kernel import Cancelled
from trioflow.errors import PayloadError
from trioflow.history import (
    Category,
    Event,
    OrchestrationCancelled,
    OrchestrationCompleted,
    OrchestrationContinuedAsNew,
    OrchestrationFailed,
)


def ending_of(result: outcome.Outcome[object], host: EngineHost, reason: str | None) -> Event:
    """The terminal event, a draft. `reason`: of the root cancellation, if one was requested."""
    unread = host.unread_events()
    if isinstance(result, outcome.Value):
        definition = host.definition
        try:
            payload = host.codec.encode(
                result.value, definition.spec.returns, what=f"the result of orchestration {definition.name!r}"
            )
        except PayloadError as exc:
            failure = host.failures.to_failure(exc, category=Category.CONFIGURATION, retryable=False)
            return OrchestrationFailed(failure=failure, unread=unread)
        return OrchestrationCompleted(payload=payload, unread=unread)
    assert isinstance(result, outcome.Error)
    essence = essence_of(result.error)
    match essence:
        case None:
            return OrchestrationCancelled(reason=reason, unread=unread)
        case ContinueAsNew():
            return OrchestrationContinuedAsNew(payload=essence.payload, version=essence.version)
    return OrchestrationFailed(failure=host.failures.to_failure(essence), unread=unread)


def essence_of(exc: BaseException) -> BaseException | None:
    """What is left of an exception without `Cancelled` and without groups of one around a `ContinueAsNew`; None if
    nothing is.
    """
    if isinstance(exc, Cancelled):
        return None
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    _, rest = exc.split(Cancelled)
    if rest is None:
        return None
    single: BaseException = rest
    while isinstance(single, BaseExceptionGroup) and len(single.exceptions) == 1:
        single = single.exceptions[0]
    if isinstance(single, ContinueAsNew):
        return single
    return _without_twins(rest)


def _without_twins(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What stands beside `ContinueAsNew`; of several branches that all continue as new, the first in delivery order."""
    _, others = group.split(ContinueAsNew)
    if others is not None:
        return others
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
