"""How the operations of an execution are called in its tree: for people, so never with what they were asked with.

Who calls it: `_execution.py`. Read next: `trioflow._kernel._tree`, which asks.
"""

from __future__ import annotations

from typing import Final

from trioflow._ambient import Ask, AskActivity, AskChild, AskDetached, AskEvent
from trioflow._engine._asking import Whence, instance_of
from trioflow._kernel import Operation
from trioflow.history import OrchestrationStarted

KINDS: Final[dict[type[Ask], str]] = {
    AskActivity: "activity",
    AskChild: "child",
    AskDetached: "detached start",
    AskEvent: "event",
}


def called(operation: Operation, started: OrchestrationStarted) -> tuple[str, str, str | None]:
    """The kind of an operation, the name of what it waits for, and the instance id of what it has started."""
    ask: Ask = operation.request  # type: ignore[assignment]  # nothing else is ever asked of this kernel
    instance = None
    if isinstance(ask, AskChild | AskDetached):
        instance = instance_of(ask, Whence(0, 0.0, operation.key, started.instance, started.execution))
    return KINDS[type(ask)], ask.name, instance
