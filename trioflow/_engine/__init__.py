"""History plus messages gives a turn's result: pure, synchronous. Floor 3.

Read first: `_results.py`, `_segments.py`; the heart is `_execution.py`.
"""

from trioflow._engine._execution import Execution as Execution
from trioflow._engine._naming import log_context_of as log_context_of
from trioflow._engine._parting import answer_to_parent as answer_to_parent, closes as closes
from trioflow._engine._results import (
    Action as Action,
    CancelActivity as CancelActivity,
    CancelChild as CancelChild,
    ContinueAsNewAction as ContinueAsNewAction,
    Message as Message,
    ScheduleActivity as ScheduleActivity,
    StartChild as StartChild,
    StartDetached as StartDetached,
    TellParent as TellParent,
    TerminateChild as TerminateChild,
    TurnResult as TurnResult,
)
from trioflow._engine._segments import describe as describe, size_of as size_of
from trioflow._engine._turn import run_turn as run_turn

__all__ = (
    "Action",
    "CancelActivity",
    "CancelChild",
    "ContinueAsNewAction",
    "Execution",
    "Message",
    "ScheduleActivity",
    "StartChild",
    "StartDetached",
    "TellParent",
    "TerminateChild",
    "TurnResult",
    "answer_to_parent",
    "closes",
    "describe",
    "log_context_of",
    "run_turn",
    "size_of",
)
