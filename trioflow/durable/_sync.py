"""`Event`: a flag that tasks of one orchestration wait for.

Laws: it is set once and never cleared; waiters go on in the order in which they came. It belongs to the orchestration
that made it and is no part of the history: to be woken from outside, use `wait_event`.
Who calls it: user code. Read next: `_parking.py`.
"""

from __future__ import annotations

from typing import Literal

import attrs

from trioflow._kernel import (
    Abort,
    RaiseCancel,
    Realm,
    Task,
    checkpoint,
    current_kernel,
    current_realm,
    current_task,
    sealed,
    wait_task_rescheduled,
)


@attrs.frozen
class EventStatistics:
    """What is known of an event.

    Attributes:
        tasks_waiting: how many tasks wait for it.
    """

    tasks_waiting: int


@sealed
@attrs.define(eq=False, repr=False)
class Event:
    """Something that happens once, and that tasks may wait for."""

    _realm: Realm = attrs.field(factory=current_realm, init=False)
    _is_set: bool = attrs.field(default=False, init=False)
    _waiters: dict[Task, None] = attrs.field(factory=dict, init=False)  # a dict for its order

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._is_set

    def set(self) -> None:
        """It happens now: whoever waits goes on."""
        self._realm.require("event")
        kernel = current_kernel()
        self._is_set = True
        waiters, self._waiters = self._waiters, {}
        for task in waiters:
            kernel.wake(task)

    async def wait(self) -> None:
        """Wait until it has happened; a checkpoint, even if it has."""
        task = current_task()
        if self._is_set:
            await checkpoint()
            return
        self._realm.require("event")
        self._waiters[task] = None

        def abort(_: RaiseCancel) -> Abort:
            del self._waiters[task]
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    def statistics(self) -> EventStatistics:
        """Return what is known of it."""
        return EventStatistics(tasks_waiting=len(self._waiters))

    def __bool__(self) -> Literal[True]:  # not NoReturn: what follows an `if event:` would not be type-checked
        text = "an Event is neither true nor false; `event.is_set()` says whether it has happened"
        raise NotImplementedError(text)  # as trio does

    def __repr__(self) -> str:
        return f"<durable.Event, {'set' if self._is_set else f'{len(self._waiters)} waiting'}>"


EventStatistics.__module__ = Event.__module__ = "trioflow.durable"
