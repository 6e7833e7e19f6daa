"""What of all that user code raises is nobody's failure: the end of the process, and a cancellation from outside.

Laws: a `trio.Cancelled` is a cancellation from outside only while whoever sees it really is cancelled. Any other is an
old one that was kept and raised again; let through, it would end a nursery that nobody cancelled, without a word.

Who calls it: `_body.py`, `_runner.py`. Read next: nothing; this is the end.
"""

from __future__ import annotations

import math

import trio


def goes_through(exc: BaseException) -> bool:
    """Whether an exception, or one in its group, ends more than what raised it. Other libraries' ends of tasks do not.

    To be asked in the task that caught it, outside of every scope that is the code's own.
    """
    if isinstance(exc, BaseExceptionGroup):
        return any(map(goes_through, exc.exceptions))
    if isinstance(exc, trio.Cancelled):
        return trio.current_effective_deadline() == -math.inf
    return isinstance(exc, (KeyboardInterrupt, SystemExit))
