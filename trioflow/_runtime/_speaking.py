"""Who writes the log records of a worker's tasks: an instance whose turn is run, or an attempt of an activity.

Laws: set at the begin of a task; whoever begins a task for another takes over nothing but the worker.

Who calls it: `_conductor.py`, `_activities.py`, `testing.run_durable`. Read next: `trioflow._util._log_context`.
"""

from __future__ import annotations

from collections.abc import Mapping

from trioflow._runtime._holds import Hold
from trioflow._util import LogContext, log_context
from trioflow.abc import LockedActivity


def of_turn(hold: Hold) -> LogContext:
    """An instance that is held here, as far as its lock tells of it; its execution knows more, once it has begun."""
    here, lock = log_context.get(), hold.lock
    return LogContext(
        instance=lock.instance,
        execution=lock.execution,
        orchestration=hold.name,
        version=hold.version,
        worker=here.worker,
        messages=here.messages,
    )


def of_attempt(item: LockedActivity, headers: Mapping[str, str] | None = None) -> LogContext:
    """An attempt of an activity."""
    here, lock = log_context.get(), item.lock
    return LogContext(
        instance=lock.instance,
        execution=lock.execution,
        activity=item.name,
        attempt=item.attempt,
        worker=here.worker,
        headers=headers or {},
        messages=here.messages,
    )
