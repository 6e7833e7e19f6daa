"""`CancelScope`: where cancellation comes from.

Laws: a scope is used for one `with` block of one kernel. It is cancelled by `cancel`, by its deadline, or not at all;
once cancelled it stays so. On the way out it catches exactly the `Cancelled`s that are its own: those that reach it
while it is cancelled and nothing outside is. Scopes close in the opposite order of opening; where they do not, the
error says so and what was left inside stays cancelled.
Must never know: nurseries, operations. Who calls it: user code, `_nursery.py`, `_deadlines.py`. Read next:
`_nursery.py`.
"""

from __future__ import annotations

from math import inf, isnan
from types import TracebackType
from typing import TYPE_CHECKING, Self

import attrs

from trioflow._kernel._cancelled import CancelReason, Cancelled
from trioflow._kernel._current import CURRENT, Realm, current_task, running_kernel
from trioflow._kernel._deadlines import DEADLINE_REASON, Timer
from trioflow._kernel._raising import raise_as_it_was
from trioflow._kernel._sealed import sealed
from trioflow._kernel._status import CancelStatus

if TYPE_CHECKING:
    from trioflow._kernel._deadlines import Deadlines
    from trioflow._kernel._task import Task

MISNESTING = (
    "Scopes and nurseries must be closed in the opposite order of opening, by the task that opened them. This one was "
    "not, and what is left inside it is now cancelled. Usual causes: a `yield` inside a scope or nursery in a "
    "generator that is not a context manager; `__enter__` or `__aenter__` called by hand; an ExitStack that closes "
    "scopes crosswise."
)


@sealed
@attrs.define(eq=False, repr=False)
class CancelScope:
    """A block of code that can be cancelled as a whole: trio's `CancelScope`, whose deadline is kept through crashes.

    Args:
        deadline: the time (as `current_time` tells it) at which the scope is cancelled.
        relative_deadline: the same as seconds from when the block is entered; only one of the two may be given.
        shield: whether cancellation from outside is kept out.

    Raises:
        ValueError: a deadline is NaN, a relative one negative, or both are given.
    """

    # With the aliases that attrs gives them anyway: not every type checker knows its rule.
    _deadline: float = attrs.field(default=inf, kw_only=True, alias="deadline")
    _relative_deadline: float = attrs.field(default=inf, kw_only=True, alias="relative_deadline")
    _shield: bool = attrs.field(default=False, kw_only=True, alias="shield")

    _label: str | None = attrs.field(default=None, init=False)  # for watchers: what a verb has opened it for

    cancelled_caught: bool = attrs.field(default=False, init=False)  # whether a Cancelled of ours ended the block

    _cancel_called: bool = attrs.field(default=False, init=False)  # never goes back to False
    _cancel_reason: CancelReason | None = attrs.field(default=None, init=False)  # the first one counts
    _entered: bool = attrs.field(default=False, init=False)
    # The kernel that the scope belongs to; None only for one made outside of any and not entered yet.
    _realm: Realm | None = attrs.field(default=None, init=False)
    # Not None exactly while the block runs, as are the two below.
    _status: CancelStatus | None = attrs.field(default=None, init=False)
    _task: Task | None = attrs.field(default=None, init=False)
    _deadlines: Deadlines | None = attrs.field(default=None, init=False)
    _entry: int = attrs.field(default=0, init=False)  # order of entering, within the kernel

    # Owned by `Deadlines`: what is registered there (inf for nothing), whether that changed since the last block, and
    # the timer that the world knows of.
    _registered: float = attrs.field(default=inf, init=False)
    _touched: bool = attrs.field(default=False, init=False)
    _timer: Timer | None = attrs.field(default=None, init=False)
    # The stem of our timers' keys, once known, and how many had it. A sleep brings its own stem: the key of its
    # operation.
    _timer_stem: str | None = attrs.field(default=None, init=False)
    _revision: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._deadline = float(self._deadline)
        self._relative_deadline = float(self._relative_deadline)
        if isnan(self._deadline):
            raise ValueError("deadline must not be NaN")
        if isnan(self._relative_deadline):
            raise ValueError("relative deadline must not be NaN")
        if self._relative_deadline < 0:
            raise ValueError("timeout must be non-negative")
        if self._relative_deadline != inf and self._deadline != inf:
            raise ValueError("Cannot specify both a deadline and a relative deadline")
        kernel = CURRENT.kernel
        if kernel is not None:
            self._realm = kernel.realm

    # -- the block ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        task = current_task()
        kernel = running_kernel()
        if self._realm is not kernel.realm:
            self._require_realm()
            self._realm = kernel.realm
        if self._entered:
            raise RuntimeError("a CancelScope may be used for a single 'with' block; make a new one for each")
        self._entered = True
        self._task = task
        self._deadlines = kernel.deadlines
        self._entry = kernel.deadlines.next_entry()
        if self._relative_deadline != inf:
            self._deadline = kernel.now + self._relative_deadline
            self._relative_deadline = inf
        if kernel.now >= self._deadline:
            self._cancel(DEADLINE_REASON)
        self._status = CancelStatus(self, task._status)
        task._activate(self._status)
        self._register()
        if kernel.watcher is not None:
            kernel.watcher.scope_entered(self)
        return self

    def __exit__(
        self, etype: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        remaining = self._close(exc)
        if remaining is None:
            return True
        if remaining is exc:
            return False
        try:
            raise_as_it_was(remaining)
        finally:
            del remaining, exc, traceback  # no cycle through the traceback

    def _close(self, exc: BaseException | None) -> BaseException | None:
        """End the block; returns what is left of the exception that ended it."""
        status = self._status
        if status is None:
            return _corrupted(f"attempt to exit {self!r}, which had already been exited", exc)
        task = current_task()
        if task._status is status:
            task._activate(status.parent)
        elif not status.abandoned:
            inside = task._status
            if not status.encloses(inside):
                return _corrupted(f"{self!r} was closed from unrelated {task!r}", exc)
            exc = _corrupted(f"{self!r} was closed by {task!r} that is still within its child {inside.scope!r}", exc)
            task._activate(status.parent)
        if exc is not None and (
            (status.effectively_cancelled and not status.parent_cancellation_reaches)
            or (status.abandoned and task._status is not status)
        ):
            exc = self._catch(exc)
        watcher = task._kernel.watcher
        if watcher is not None:
            watcher.scope_left(self, exc)
        status.close()
        self._status = self._task = None
        self._register()
        self._deadlines = None
        return exc

    def _catch(self, exc: BaseException) -> BaseException | None:
        """Take our own Cancelled, or Cancelleds, out of an exception; returns the rest."""
        if isinstance(exc, Cancelled):
            self.cancelled_caught = True
            return None
        if not isinstance(exc, BaseExceptionGroup):
            return exc
        ours, rest = exc.split(Cancelled)
        if ours is None:
            return exc
        self.cancelled_caught = True
        return rest

    # -- cancelling -----------------------------------------------------------------------------------------------

    def cancel(self, reason: str | None = None) -> None:
        """Cancel the block: the tasks in it get `Cancelled` at their next checkpoint, or now if they wait at one.

        Calling it again does nothing, and before the block is entered it cancels it from the start.
        """
        self._require_realm()
        kernel = CURRENT.kernel
        task = None if kernel is None else kernel.running
        self._cancel(CancelReason("explicit", None if task is None else repr(task), reason))

    def _cancel(self, reason: CancelReason | None) -> None:
        if self._cancel_called:
            return
        if self._cancel_reason is None:
            self._cancel_reason = reason
        self._cancel_called = True
        self._register()
        if self._status is not None:
            self._status.recalculate()

    @property
    def cancel_called(self) -> bool:
        """Whether the scope was cancelled, by a call or by time; whether that had an effect is `cancelled_caught`."""
        if not self._cancel_called and (self._status is not None or not self._entered):
            # Time may have come in the middle of a step, by a change of the deadline: say so at once.
            kernel = CURRENT.kernel
            if kernel is not None and kernel.now >= self._deadline:
                self._cancel(DEADLINE_REASON)
        return self._cancel_called

    @property
    def shield(self) -> bool:
        """Whether cancellation from outside is kept out; may be changed at any time."""
        return self._shield

    @shield.setter
    def shield(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise TypeError("shield must be a bool")
        self._require_realm()
        self._shield = value
        if self._status is not None:
            self._status.recalculate()

    def _require_realm(self) -> None:
        """Refuse to be changed from another kernel; from outside of all, whoever drives ours may."""
        if self._realm is not None and CURRENT.kernel is not None:
            self._realm.require("cancel scope")

    # -- deadlines ------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """The time at which the scope is cancelled, inf for never; may be changed at any time."""
        self._require_absolute()
        return self._deadline

    @deadline.setter
    def deadline(self, value: float) -> None:
        if isnan(value):
            raise ValueError("deadline must not be NaN")
        self._require_absolute()
        self._require_realm()
        self._deadline = float(value)
        self._register()

    @property
    def relative_deadline(self) -> float:
        """Seconds until the scope is cancelled: before it is entered from entering, afterwards from now."""
        if self._entered:
            return self._deadline - running_kernel().now
        self._require_relative()
        return self._relative_deadline

    @relative_deadline.setter
    def relative_deadline(self, value: float) -> None:
        if isnan(value):
            raise ValueError("relative deadline must not be NaN")
        if value < 0:
            raise ValueError("relative deadline must be non-negative")
        if self._entered:
            self._require_realm()
            self._deadline = running_kernel().now + float(value)
            self._register()
        else:
            self._require_relative()
            self._relative_deadline = value

    @property
    def is_relative(self) -> bool | None:
        """Whether a scope that is not entered yet has a relative deadline; None once it is entered."""
        return None if self._entered else self._relative_deadline != inf

    def _require_absolute(self) -> None:
        if self._relative_deadline != inf:
            raise RuntimeError("Unentered relative cancel scope does not have an absolute deadline")

    def _require_relative(self) -> None:
        if self._deadline != inf:
            raise RuntimeError("Unentered non-relative cancel scope does not have a relative deadline")

    def _register(self) -> None:
        """Tell `Deadlines` if the deadline at which we are to expire changed."""
        if self._deadlines is None:
            return
        wanted = self._deadline
        if self._cancel_called or self._task is None or self._task._barred:
            wanted = inf  # nothing to expire, or nothing that the world should hear of
        if wanted != self._registered:
            old, self._registered = self._registered, wanted
            self._deadlines.register(self, old, wanted)

    def _next_timer_key(self) -> str:
        """The key of the timer for the deadline we have now: ``0.1@2``, and ``0.1@2~2`` once it changed."""
        if self._timer_stem is None:
            task = self._task
            assert task is not None  # only open scopes have timers
            task._scopes += 1
            self._timer_stem = f"{task.place}@{task._scopes}"
        self._revision += 1
        return self._timer_stem if self._revision == 1 else f"{self._timer_stem}~{self._revision}"

    # -- looks ----------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        binding = "active" if self._status is not None else "exited" if self._entered else "unbound"
        state = ""
        if self._cancel_called:
            state = ", cancelled"
        elif self._deadline != inf and CURRENT.kernel is not None:
            left = self._deadline - CURRENT.kernel.now
            state = f", deadline is {abs(left):.2f} seconds {'from now' if left >= 0 else 'ago'}"
        return f"<durable.CancelScope, {binding}{state}>"


CancelScope.__module__ = "trioflow.durable"


def _corrupted(what: str, context: BaseException | None) -> RuntimeError:
    error = RuntimeError(f"Cancel scope stack corrupted: {what}\n{MISNESTING}")
    error.__context__ = context
    return error


def current_effective_deadline() -> float:
    """When the calling task will be cancelled, as far as is known: inf for never, -inf if it is cancelled now."""
    return current_task()._status.effective_deadline()


def current_time() -> float:
    """The time of the last event, in seconds since the Unix epoch; it stands still while code runs, never goes back."""
    return running_kernel().now
