"""`saga`: steps that can be undone, and the undoing.

Laws: if the block fails or is cancelled, what was registered is run in reverse order, one after the other, shielded;
each is run, whatever the others do. A block that ends well, or continues as new, undoes nothing. Compensations are
ordinary code of the branch, so they are durable as all of it is.
Who calls it: user code. Read next: `_combinators.py`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from math import inf
from types import TracebackType
from typing import Self, TypeVarTuple

import attrs

from trioflow._ambient import ContinueAsNew, essence_of
from trioflow._kernel import (
    FATAL,
    CancelScope,
    Cancelled,
    Dropped,
    checkpoint,
    checkpoint_if_cancelled,
    current_kernel,
    labelled,
    raise_as_it_was,
    sealed,
)
from trioflow._util import FAR, TooSlowError, is_seconds, shown

Args = TypeVarTuple("Args")


@sealed
@attrs.define(eq=False, repr=False)
class Saga:
    """A stack of compensations. Made by `saga`, used with ``async with``."""

    _timeout: float
    _steps: list[Callable[[], Awaitable[object]]] = attrs.field(factory=list, init=False)  # in order of registering
    _used: bool = attrs.field(default=False, init=False)
    _open: bool = attrs.field(default=False, init=False)  # the block runs

    def on_failure(self, fn: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
        """Have ``fn(*args)`` awaited if the block fails or is cancelled. Not a checkpoint.

        Register it behind the step that it undoes, or before, if it can cope with a step that was not done.

        Args:
            fn: an activity, an orchestration, or any async function of the orchestration.
            args: its positional arguments; `functools.partial` brings keyword arguments.

        Raises:
            TypeError: `fn` is no function.
            RuntimeError: the block has not begun, or has ended.
        """
        given: object = fn
        if not callable(given):
            if inspect.iscoroutine(given):
                given.close()  # or Python would warn that it was never awaited, as if that were the mistake
            raise TypeError(f"write `saga.on_failure(refund, receipt)`: a function and its arguments, not {given!r}")
        if not self._open:
            raise RuntimeError("a saga takes compensations only inside its `async with` block")
        self._steps.append(functools.partial(fn, *args))

    async def __aenter__(self) -> Self:
        if self._used:
            raise RuntimeError("a saga may be used for a single `async with` block; make a new one for each")
        self._used = self._open = True
        return self

    async def __aexit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        current_kernel()  # refuses if nothing may act any more
        self._open = False
        if exc is None or isinstance(essence_of(exc), ContinueAsNew):
            self._steps.clear()
            return
        errors = await self._undo()
        if errors:
            try:
                raise_as_it_was(BaseExceptionGroup("a saga failed, and so did compensations", [exc, *errors]))
            finally:
                del exc, errors, traceback  # no cycle through the traceback

    async def _undo(self) -> list[BaseException]:
        """Run what was registered; returns what went wrong."""
        errors: list[BaseException] = []
        scope = labelled(CancelScope(relative_deadline=self._timeout, shield=True), "compensations")
        try:
            with scope:
                await checkpoint()  # a turn that is being aborted ends here, before plain code has run
                while self._steps:
                    await checkpoint_if_cancelled()  # the last one may have ended late
                    try:
                        await self._steps[-1]()
                    except BaseException as exc:
                        if _ends_the_undoing(exc):
                            raise
                        errors.append(exc)
                    self._steps.pop()
        except Exception as exc:  # what came out of a compensation together with the end of the time for all
            errors.append(exc)
        if scope.cancelled_caught:
            left = len(self._steps)
            errors.append(TooSlowError(f"{left} compensations were not done within {self._timeout:g} s"))
        self._steps.clear()
        try:
            return errors
        finally:
            del errors  # this frame is in their tracebacks: holding them here would make a cycle

    def __repr__(self) -> str:
        return f"<durable.Saga, {len(self._steps)} compensations>"


Saga.__module__ = "trioflow.durable"


def _ends_the_undoing(exc: BaseException) -> bool:
    """Whether it is, or has in its group, what is no failure of a compensation: the end of its time, or of the run."""
    ends = (Cancelled, Dropped, *FATAL)
    return isinstance(exc, ends) or (isinstance(exc, BaseExceptionGroup) and exc.subgroup(ends) is not None)


def saga(*, timeout: float | None = None) -> Saga:
    """Steps that are undone in reverse if the block fails or is cancelled: ``async with durable.saga() as saga:``.

    What the block raised is raised again when all compensations have ended. If some of them raised, too, everything
    comes out together, in one exception group, what the block raised first. Entering is no checkpoint; leaving is one
    if there is something to undo, and is not cancelled from outside.

    Args:
        timeout: seconds that all compensations together may take; then the one that runs is cancelled, those that are
            left are not begun, and a `TooSlowError` is reported with the rest. None is for as long as they take.

    Raises:
        ValueError: `timeout` is below zero, NaN, or no number.
    """
    seconds = inf if timeout is None else timeout
    if seconds != inf and not is_seconds(seconds):
        raise ValueError(
            f"saga(timeout=...) must be a number of seconds, at least 0 and at most {FAR:g}, not {shown(timeout)}"
        )
    return Saga(seconds)
