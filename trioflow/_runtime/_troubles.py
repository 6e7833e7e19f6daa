"""What to do when the store cannot be reached: wait a little longer each time, and try the same again.

Laws: only errors that may pass are waited out; what the store says for certain (a lost lock, a damaged file) goes to
whoever asked. The request is repeated unchanged, so one whose answer was lost is not carried out twice. Who calls it:
everything in `_runtime` that writes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

import trio

from trioflow._util import described
from trioflow.errors import (
    HistoryError,
    InstanceNotFinished,
    LimitExceeded,
    OutcomeUnknown,
    SpinError,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UnregisteredError,
)

P = ParamSpec("P")
A = TypeVar("A")
log: Final = logging.getLogger("trioflow.runtime")

PASSING: Final = (StoreUnavailable, OutcomeUnknown, StoreFull)
"""Errors of a store that may be over soon."""

DISCREET: Final = (StoreError, HistoryError, InstanceNotFinished, UnregisteredError, SpinError)
"""Errors of our own whose texts show names and numbers, and never a value. Those about payloads may show a part."""

LONGEST_PAUSE: Final = 3.0


def told(exc: BaseException) -> str:
    """An exception as a log record may tell it."""
    if isinstance(exc, LimitExceeded):
        return f"{type(exc).__name__} of {exc.limit!r}"
    return f"{type(exc).__name__}: {exc}" if isinstance(exc, DISCREET) else described(exc)


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return float(min(0.1 * 2.0 ** min(failures - 1, 10), LONGEST_PAUSE))


async def persistently(what: str, call: Callable[P, Awaitable[A]], *args: P.args, **kwargs: P.kwargs) -> A:
    """The answer of `call`, however often the store has to be asked."""
    failures = 0
    while True:
        try:
            answer = await call(*args, **kwargs)
        except PASSING as exc:
            failures += 1
            if failures == 1:
                log.warning("%s: the store did not answer (%s); trying again", what, told(exc))
            await trio.sleep(pause(failures))
        else:
            if failures:
                log.warning("%s: the store answers again after %d failures", what, failures)
            return answer
