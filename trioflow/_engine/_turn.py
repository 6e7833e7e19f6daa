"""A whole turn as a pure function: what the engine promises, in one line.

Law: the same definition, history, messages and time give the same result, always and everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trioflow._engine._execution import Execution
from trioflow._engine._results import Message, TurnResult
from trioflow.app import App, OrchestrationDefinition
from trioflow.history import Event


def run_turn(
    definition: OrchestrationDefinition[Any, Any],
    history: Sequence[Event],
    messages: Sequence[Message],
    now: float,
    *,
    app: App | None = None,
    step_limit: int = 1_000_000,
    traced: bool = False,
) -> TurnResult:
    """Replay `history` from scratch, deliver `messages` and due times as of `now`, and say what follows.

    Raises NondeterminismError, HistoryError, PayloadError or SpinError where the turn cannot be run; nothing has
    happened then.
    """
    execution = Execution(app or definition.app, definition, step_limit=step_limit, traced=traced)
    try:
        list(execution.replay(history))  # to its end, without a pause
        return execution.run(messages, now)
    finally:
        execution.close()
