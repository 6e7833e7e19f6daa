"""Scopes with deadlines under the names that people know, and sleeping.

Laws: a sleep is a scope that sleeps for ever. Unlike other scopes it is an operation of its branch, so its timer is
named by the operation number; one that does not have to wait takes none. Whatever is not a time is refused before
anything happens.
Must never know: timers. Who calls it: user code. Read next: `_deadlines.py`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from math import inf, isnan
from types import TracebackType
from typing import NoReturn

import attrs

from trioflow._kernel._current import current_task
from trioflow._kernel._scope import CancelScope, current_time
from trioflow._kernel._traps import abort_succeeds, checkpoint, give_up, wait_task_rescheduled
from trioflow._util import TooSlowError


def move_on_at(deadline: float, *, shield: bool = False) -> CancelScope:
    """A scope that is cancelled at `deadline`: what is in it is left, and the program goes on behind it."""
    return CancelScope(deadline=deadline, shield=shield)


def move_on_after(seconds: float, *, shield: bool = False) -> CancelScope:
    """A scope that is cancelled `seconds` after it is entered. Raises ValueError for less than none, or NaN."""
    _require_duration(seconds)
    return CancelScope(relative_deadline=seconds, shield=shield)


def fail_at(deadline: float, *, shield: bool = False) -> AbstractContextManager[CancelScope]:
    """Like `move_on_at`, but raises `TooSlowError` behind a block that was cancelled by it."""
    return _Failing(move_on_at(deadline, shield=shield))


def fail_after(seconds: float, *, shield: bool = False) -> AbstractContextManager[CancelScope]:
    """Like `move_on_after`, but raises `TooSlowError` behind a block that was cancelled by it."""
    return _Failing(move_on_after(seconds, shield=shield))


@attrs.define(eq=False)
class _Failing(AbstractContextManager[CancelScope]):
    """A scope behind which `TooSlowError` is raised if it was cancelled by itself. No generator: since Python 3.12 one
    that is left with another error than it was given makes a cycle.
    """

    _scope: CancelScope

    def __enter__(self) -> CancelScope:
        return self._scope.__enter__()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> bool:
        over = self._scope.__exit__(kind, exc, tb)
        if self._scope.cancelled_caught:
            raise TooSlowError("the block was not done when its deadline came")
        return over


async def sleep(seconds: float) -> None:
    """Wait for that many seconds; a checkpoint, even for none. Raises ValueError for less than none, or NaN."""
    _require_duration(seconds)
    if seconds == 0:
        await checkpoint()
    else:
        await sleep_until(current_time() + seconds)


async def sleep_until(deadline: float) -> None:
    """Wait until `current_time()` is at least `deadline`; a checkpoint, even if it is by now."""
    scope = CancelScope(deadline=deadline)
    task = current_task()
    if task._status.effectively_cancelled or task._barred:
        await give_up()
    if task._kernel.now < deadline < inf:
        task._operations += 1
        scope._timer_stem = f"{task.place}#{task._operations}"
    with scope:
        await sleep_forever()


async def sleep_forever() -> NoReturn:
    """Wait until cancelled."""
    await wait_task_rescheduled(abort_succeeds)
    raise RuntimeError("a task that sleeps for ever was rescheduled by somebody else")


def _require_duration(seconds: float) -> None:
    if seconds < 0:
        raise ValueError("`seconds` must be non-negative")
    if isnan(seconds):
        raise ValueError("`seconds` must not be NaN")
