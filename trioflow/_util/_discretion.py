"""What a log record says of an exception of somebody else's code: by default nothing that it may have had at hand.

Laws: a message may repeat any value of the program, so it is told only where the log context allows messages; the
class, and the line where it was raised, show no value.

Who calls it: everybody here who logs an exception. Read next: nothing; this is the end.
"""

from __future__ import annotations

import os
import traceback

from trioflow._util._log_context import log_context


def described(exc: BaseException) -> str:
    """The class and the line; where messages are allowed, the class and the message."""
    name = type(exc).__qualname__
    if log_context.get().messages:
        return f"{name}: {exc}"
    return f"{name}{_place(exc)}"


def with_traceback(exc: BaseException) -> BaseException | None:
    """For `exc_info=`: a traceback ends with the message, so there is one only where messages are allowed."""
    return exc if log_context.get().messages else None


def _place(exc: BaseException) -> str:
    """Where it was raised."""
    place = ""
    for frame, line in traceback.walk_tb(exc.__traceback__):
        code = frame.f_code
        place = f" (at {os.path.basename(code.co_filename)}:{line} in {code.co_name})"
    return place
