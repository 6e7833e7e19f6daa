"""How an execution ends, out of how its main task ended.

Laws (SEMANTICS 5): a value completes it, even after a swallowed cancel; its root `Cancelled` alone cancels it;
`ContinueAsNew` alone continues it; anything else fails it, and what stands beside a `ContinueAsNew` or a `Cancelled`
wins over it.

Pure functions. Who calls it: `_execution.py`.
"""

from __future__ import annotations

import outcome

from trioflow._ambient import ContinueAsNew, essence_of
from trioflow._engine._host import EngineHost
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
                result.value,
                definition.spec.returns,
                what=f"the result of orchestration {definition.name!r}",
                recorded=host.recorded_end(OrchestrationCompleted),
            )
        except PayloadError as exc:
            failure = host.failures.to_failure(exc, category=Category.CONFIGURATION, retryable=False)
            return OrchestrationFailed(failure=failure, unread=unread)
        return OrchestrationCompleted(payload=payload, unread=unread)
    assert isinstance(result, outcome.Error)
    try:
        essence = essence_of(result.error)
    except RecursionError as exc:  # groups in groups in groups
        essence = exc
    match essence:
        case None:
            return OrchestrationCancelled(reason=reason, unread=unread)
        case ContinueAsNew():
            return OrchestrationContinuedAsNew(payload=essence.payload, version=essence.version)
    return OrchestrationFailed(failure=host.failures.to_failure(essence), unread=unread)
