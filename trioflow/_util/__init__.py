"""Small tools that know nothing of trioflow. Floor 0."""

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
    "TASK_STATUS_IGNORED",
    "BrokenResourceError",
    "BusyResourceError",
    "ClosedResourceError",
    "EndOfChannel",
    "TooSlowError",
    "TrioInternalError",
    "WouldBlock",
)
