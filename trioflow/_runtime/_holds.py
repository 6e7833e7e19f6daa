"""An instance while it is locked here: the lock, what has arrived, and the live execution.

Law: one task serves a hold; others only bring outcomes or bad news and wake it. Who calls it: `_conductor.py`.
"""

from __future__ import annotations

import attrs
import trio

from trioflow._engine import Execution
from trioflow._runtime._body import Attempt
from trioflow.abc import LockedTurn, MessageRow, State, TurnLock
from trioflow.history import Answer


@attrs.frozen
class Finished:
    """An activity that has ended here and whose outcome is to become part of this instance's next turn."""

    attempt: Attempt
    event: Answer


@attrs.define(eq=False)
class Hold:
    """A locked instance."""

    lock: TurnLock
    token: str  # the lock's
    name: str
    version: str | None
    revision: int
    recorded: int  # events in its history, at least
    state: State
    attempts: int  # times it was taken since its last commit
    messages: tuple[MessageRow, ...]  # not yet delivered
    live: Execution | None = None  # stands at `revision`
    finished: list[Finished] = attrs.field(factory=list)  # not yet part of a turn
    fusing: list[Finished] = attrs.field(factory=list)  # part of the turn being evaluated or committed
    wake_at: float | None = None
    overdue: float | None = None  # seconds for which nobody who has its orchestration took it
    began: float = 0.0  # the store's time at which the turn that runs was begun
    replayed: int | None = None  # events that had to be replayed for it; None: the live execution was at hand
    held: bool = True  # the lock is ours, as far as we know
    changed: trio.Event | None = None  # while whoever serves it waits: set when that should look

    @classmethod
    def of(cls, turn: LockedTurn) -> Hold:
        """A hold on what was just locked."""
        return cls(
            lock=turn.lock,
            token=turn.lock.token,
            name=turn.name,
            version=turn.version,
            revision=turn.revision,
            recorded=turn.history_length,
            state=turn.state,
            attempts=turn.attempts,
            messages=turn.messages,
            wake_at=turn.wake_at,
        )

    @property
    def key(self) -> tuple[str, int]:
        """The execution that is held: its instance and number."""
        return self.lock.instance, self.lock.execution

    def wake(self) -> None:
        """Have it looked at."""
        if self.changed is not None:
            self.changed.set()

    # -- as something leased

    def extended(self, until: float) -> None:
        """A commit finds out by itself when the lease has gone."""

    def lost(self) -> None:
        """Somebody else has it."""
        self.held = False
        self.wake()

    def cancel_asked(self) -> None:
        """Turns are not cancelled."""
