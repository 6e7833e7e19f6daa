"""The private exception behind `continue_as_new`, and what is left of an exception where it reaches the top.

Laws: it unwinds like trio code, so nurseries end their children on its way out. It counts only where it arrives alone;
a `Cancelled` beside it does not count, anything else does.
Pure. Who calls it: `durable` raises it and asks for the essence in sagas, `_engine` at the end of an execution.
"""

from __future__ import annotations

from trioflow._kernel import Cancelled


class ContinueAsNew(BaseException):
    """End this execution and begin the next. Never caught by well-behaved code: it is not an `Exception`."""

    def __init__(self, payload: bytes, version: str | None) -> None:
        super().__init__("continue_as_new: this execution ends and the next begins")
        self.payload = payload
        self.version = version


def essence_of(exc: BaseException) -> BaseException | None:
    """What is left of an exception without `Cancelled` and without groups of one around a `ContinueAsNew`; None if
    nothing is.
    """
    if isinstance(exc, Cancelled):
        return None
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    _, rest = exc.split(Cancelled)
    if rest is None:
        return None
    single: BaseException = rest
    while isinstance(single, BaseExceptionGroup) and len(single.exceptions) == 1:
        single = single.exceptions[0]
    if isinstance(single, ContinueAsNew):
        return single
    return _without_twins(rest)


def _without_twins(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What stands beside `ContinueAsNew`; of several branches that all continue as new, the first in delivery order."""
    _, others = group.split(ContinueAsNew)
    if others is not None:
        return others
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
