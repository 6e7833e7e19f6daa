"""Who writes the log records of a worker's tasks: an instance whose turn is run, or an attempt of an activity.

Laws: set at the begin of a task; whoever begins a task for another takes over nothing but the worker.

Who calls it: `_conductor.py`, `_activities.py`, `testing.run_durable`. Read next: `trioflow._util._log_context`.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from trioflow._util import LogContext, log_context
from trioflow.abc import LockedActivity, LockedTurn


def of_turn(turn: LockedTurn) -> LogContext:
    """An instance that is locked here, as far as its lock tells of it; its execution knows more, once it has begun."""
    lock = turn.lock
    return attrs.evolve(
        _worker(), instance=lock.instance, execution=lock.execution, orchestration=turn.name, version=turn.version
    )


def of_attempt(item: LockedActivity, headers: Mapping[str, str] | None = None) -> LogContext:
    """An attempt of an activity."""
    return attrs.evolve(
        _worker(),
        instance=item.lock.instance,
        execution=item.lock.execution,
        activity=item.name,
        attempt=item.attempt,
        headers=headers or {},
    )


def _worker() -> LogContext:
    here = log_context.get()
    return LogContext(worker=here.worker, messages=here.messages)
