"""trio's exception classes and its ignored task status: the only names of trio that the pure floors may use.

Law: this module re-exports, nothing more. A person who catches `trio.TooSlowError` catches ours: they are the same
    class.
"""

from trio import (
    TASK_STATUS_IGNORED as TASK_STATUS_IGNORED,
    BrokenResourceError as BrokenResourceError,
    BusyResourceError as BusyResourceError,
    ClosedResourceError as ClosedResourceError,
    EndOfChannel as EndOfChannel,
    TooSlowError as TooSlowError,
    TrioInternalError as TrioInternalError,
    WouldBlock as WouldBlock,
)
