"""Small tools that know nothing of trioflow. Floor 0."""

from trioflow._util._discretion import (
    described as described,
    with_traceback as with_traceback,
)
from trioflow._util._log_context import (
    FIELDS as FIELDS,
    LogContext as LogContext,
    log_context as log_context,
    log_extra as log_extra,
    log_fields as log_fields,
)
from trioflow._util._numbers import (
    FAR as FAR,
    MANY as MANY,
    is_count as is_count,
    is_seconds as is_seconds,
    is_time_limit as is_time_limit,
    shown as shown,
)
from trioflow._util._trio_errors import (
    TASK_STATUS_IGNORED as TASK_STATUS_IGNORED,
    BrokenResourceError as BrokenResourceError,
    BusyResourceError as BusyResourceError,
    ClosedResourceError as ClosedResourceError,
    EndOfChannel as EndOfChannel,
    TooSlowError as TooSlowError,
    TrioInternalError as TrioInternalError,
    WouldBlock as WouldBlock,
)

__all__ = (
    "FAR",
    "FIELDS",
    "MANY",
    "TASK_STATUS_IGNORED",
    "BrokenResourceError",
    "BusyResourceError",
    "ClosedResourceError",
    "EndOfChannel",
    "LogContext",
    "TooSlowError",
    "TrioInternalError",
    "WouldBlock",
    "described",
    "is_count",
    "is_seconds",
    "is_time_limit",
    "log_context",
    "log_extra",
    "log_fields",
    "shown",
    "with_traceback",
)
