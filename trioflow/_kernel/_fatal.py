"""What ends the whole run at once, wherever in user code it comes up: Ctrl-C, the end of the process, no memory left.

Laws: none of these is the program's doing, so none may become part of a history. A program that is on its way out
because of one takes no further step: what its `finally` blocks and handlers ask for is not asked, and an error that
they raise instead is no failure of the program.
Who calls it: `_traps.py` before each wait, `_scheduler.py` when a task ends. Read next: `_traps.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioflow._kernel._scheduler import Kernel

FATAL = (KeyboardInterrupt, SystemExit, MemoryError)

# How far back exceptions are followed: they may have been tied into a circle by hand.
DEPTH = 100


def notice(exc: BaseException | None, kernel: Kernel) -> None:
    """A task handles `exc` while it begins to wait, or has ended with it: abort the run if something fatal is behind.

    What whoever runs the kernel was handling when they did is none of the program's business.
    """
    for _ in range(DEPTH):
        if exc is None or exc is kernel.outside:
            return
        if isinstance(exc, FATAL):
            kernel.abort(exc)
            return
        exc = exc.__context__
