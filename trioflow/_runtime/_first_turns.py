"""Instances that a client of this very runtime starts: their first turn is taken with the start, and run here at once.

Laws: only where there is room and nobody waits for it: who came first is served first; a start whose answer is not
known leaves no instance waiting for the end of its lease, as long as the store can be reached.

Must never know: clients, which ask for a `FirstTurn` around each start. Who calls it: `_worker.py` hands it out. Read
next: `_conductor.py`.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import attrs

from trioflow._runtime._conductor import Conductor
from trioflow._runtime._troubles import persistently
from trioflow.abc import BornLeased, ReleaseTurn, Started, TurnLock
from trioflow.errors import OutcomeUnknown, StoreUnavailable


@attrs.define(eq=False)
class FirstTurn:
    """Room for one turn, around a start. `born` goes into the request; `answered` takes what came of it."""

    born: BornLeased
    _instance: str
    _conductor: Conductor
    _since: float
    _answer: Started | None = None

    def __enter__(self) -> Self:
        self._conductor.slots.take()
        return self

    def answered(self, answer: Started) -> None:
        """The store has said how it went."""
        self._answer = answer

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        conductor, answer = self._conductor, self._answer
        conductor.slots.give()
        if conductor.over:
            return  # its leases end with it
        if answer is None and not _is_refusal(exc):
            conductor.work.start_soon(self._let_go, name=f"letting go of {self._instance}")
        if answer is not None and answer.turn is not None:
            conductor.begin(answer.turn, self._since)

    async def _let_go(self) -> None:
        """Nobody knows whether it was started, so nobody runs it on behalf of this start."""
        store = self._conductor.store
        record = await persistently("looking for an instance", store.read_instance, self._instance)
        if record is not None:
            lock = TurnLock(self._instance, record.execution, self.born.token)
            await persistently("giving a turn back", store.release_turn, ReleaseTurn(lock=lock))


def _is_refusal(exc: BaseException | None) -> bool:
    """Whether it says for certain that nothing was started."""
    return isinstance(exc, Exception) and not isinstance(exc, OutcomeUnknown | StoreUnavailable)


def first_turn(conductor: Conductor, instance: str) -> FirstTurn | None:
    """Room for the first turn of an instance that is about to be started; None if others come first."""
    slots, env = conductor.slots, conductor.env
    others_wait = conductor.backlog or slots.wanted or not slots.free
    if others_wait or conductor.runner.stopping or not conductor.options.born_leased:
        return None
    born = BornLeased(worker=conductor.worker, token=env.token(), lease=conductor.options.turn_lease)
    return FirstTurn(born, instance, conductor, env.monotonic())
