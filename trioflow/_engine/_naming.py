"""How an execution and its operations are called where people read of them: never with what they were given.

Who calls it: `_execution.py`; whoever logs on behalf of an execution. Read next: `trioflow._kernel._tree`, which asks.
"""

from __future__ import annotations

from contextvars import Context
from typing import Any, Final

from trioflow._ambient import Ask, AskActivity, AskChild, AskDetached, AskEvent
from trioflow._engine._asking import instance_of
from trioflow._kernel import Operation
from trioflow._util import LogContext, log_context
from trioflow.app import OrchestrationDefinition
from trioflow.history import OrchestrationStarted

KINDS: Final[dict[type[Ask], str]] = {
    AskActivity: "activity",
    AskChild: "child",
    AskDetached: "detached start",
    AskEvent: "event",
}


def name_of(operation: Operation, started: OrchestrationStarted | None) -> tuple[str, str, str | None]:
    """The kind of an operation, the name of what it waits for, and the instance id of what it has started."""
    ask: Ask = operation.request  # type: ignore[assignment]  # nothing else is ever asked of this kernel
    instance = None
    assert started is not None  # nothing asks before the first event
    if isinstance(ask, AskChild | AskDetached):
        instance = instance_of(ask, operation.key, started)
    return KINDS[type(ask)], ask.name, instance


def label_of(definition: OrchestrationDefinition[Any, Any], started: OrchestrationStarted | None) -> str:
    """The instance, once it is known, and its code."""
    code = f"orchestration {definition.name!r} {definition.version}"
    return code if started is None else f"instance {started.instance!r} ({code})"


def log_context_of(started: OrchestrationStarted, definition: OrchestrationDefinition[Any, Any]) -> LogContext:
    """Whom the log records of an execution come from: it, on the worker that asks."""
    here = log_context.get()
    return LogContext(
        instance=started.instance,
        execution=started.execution,
        orchestration=started.name,
        version=definition.version,
        worker=here.worker,
        headers=started.headers,
        messages=here.messages,
    )


def context_of(started: OrchestrationStarted, definition: OrchestrationDefinition[Any, Any]) -> Context:
    """The contextvars of an execution: none but what its log records need."""
    context = Context()
    context.run(log_context.set, log_context_of(started, definition))
    return context
