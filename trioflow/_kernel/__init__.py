"""The kernel: a deterministic scheduler of coroutines with trio's semantics, which asks for what it cannot do itself.
Floor 1.

General layout: user code awaits `_traps.py`, through `_timeouts.py`, `_nursery.py`, `_operations.py` and the verbs of
`durable`; the scheduler `_scheduler.py` steps tasks (`_task.py`); cancellation flows from scopes (`_scope.py`,
`_deadlines.py`) down the tree (`_status.py`). `_guard.py` keeps the rest of the process out, `_foreign.py` explains,
`_drop.py` ends, `_tree.py` shows. Read first: `_traps.py`.
"""

from trioflow._kernel._cancelled import Cancelled as Cancelled, Dropped as Dropped
from trioflow._kernel._current import (
    Realm as Realm,
    current_kernel as current_kernel,
    current_realm as current_realm,
    current_task as current_task,
    in_kernel as in_kernel,
)
from trioflow._kernel._deadlines import TimerClosed as TimerClosed, TimerOpened as TimerOpened
from trioflow._kernel._drawing import draw as draw, say_when as say_when
from trioflow._kernel._fatal import FATAL as FATAL
from trioflow._kernel._guard import at_a_stretch as at_a_stretch
from trioflow._kernel._idle import wait_all_tasks_blocked as wait_all_tasks_blocked
from trioflow._kernel._nursery import Nursery as Nursery, open_nursery as open_nursery
from trioflow._kernel._operations import (
    Asked as Asked,
    OnCancel as OnCancel,
    Operation as Operation,
    OperationCancelAsked as OperationCancelAsked,
    next_operation_key as next_operation_key,
    perform as perform,
    take_operation_key as take_operation_key,
)
from trioflow._kernel._raising import raise_as_it_was as raise_as_it_was
from trioflow._kernel._scheduler import Kernel as Kernel
from trioflow._kernel._scope import (
    CancelScope as CancelScope,
    current_effective_deadline as current_effective_deadline,
    current_time as current_time,
)
from trioflow._kernel._sealed import NoConstructor as NoConstructor, sealed as sealed
from trioflow._kernel._spawn import coroutine_of as coroutine_of
from trioflow._kernel._start import TASK_STATUS_IGNORED as TASK_STATUS_IGNORED, TaskStatus as TaskStatus
from trioflow._kernel._task import Task as Task
from trioflow._kernel._timeouts import (
    fail_after as fail_after,
    fail_at as fail_at,
    move_on_after as move_on_after,
    move_on_at as move_on_at,
    sleep as sleep,
    sleep_forever as sleep_forever,
    sleep_until as sleep_until,
)
from trioflow._kernel._traps import (
    Abort as Abort,
    RaiseCancel as RaiseCancel,
    cancel_shielded_checkpoint as cancel_shielded_checkpoint,
    checkpoint as checkpoint,
    checkpoint_counts as checkpoint_counts,
    checkpoint_if_cancelled as checkpoint_if_cancelled,
    wait_task_rescheduled as wait_task_rescheduled,
)
from trioflow._kernel._tree import (
    TreeBranch as TreeBranch,
    TreeScope as TreeScope,
    TreeWait as TreeWait,
    public_name as public_name,
)
from trioflow._kernel._watching import (
    Watcher as Watcher,
    around as around,
    cancelled_by as cancelled_by,
    label_of as label_of,
    labelled as labelled,
    runs_user_code as runs_user_code,
)

__all__ = (
    "FATAL",
    "TASK_STATUS_IGNORED",
    "Abort",
    "Asked",
    "CancelScope",
    "Cancelled",
    "Dropped",
    "Kernel",
    "NoConstructor",
    "Nursery",
    "OnCancel",
    "Operation",
    "OperationCancelAsked",
    "RaiseCancel",
    "Realm",
    "Task",
    "TaskStatus",
    "TimerClosed",
    "TimerOpened",
    "TreeBranch",
    "TreeScope",
    "TreeWait",
    "Watcher",
    "around",
    "at_a_stretch",
    "cancel_shielded_checkpoint",
    "cancelled_by",
    "checkpoint",
    "checkpoint_counts",
    "checkpoint_if_cancelled",
    "coroutine_of",
    "current_effective_deadline",
    "current_kernel",
    "current_realm",
    "current_task",
    "current_time",
    "draw",
    "fail_after",
    "fail_at",
    "in_kernel",
    "label_of",
    "labelled",
    "move_on_after",
    "move_on_at",
    "next_operation_key",
    "open_nursery",
    "perform",
    "public_name",
    "raise_as_it_was",
    "runs_user_code",
    "say_when",
    "sealed",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "take_operation_key",
    "wait_all_tasks_blocked",
    "wait_task_rescheduled",
)
