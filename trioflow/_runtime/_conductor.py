"""Serves locked instances, one task each: turn after turn, and staying while an activity of the instance runs here.

Laws: a lock is held between turns only while an activity of the instance runs here, or for a moment while one waits for
room here, and given back as soon as a message or a deadline waits; after a lost lock the live execution is dropped and
nothing else is done; outcomes that no turn took are settled on their own.

Who calls it: `_worker.py`. Read next: `_runner.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import trio

from trioflow._runtime._activities import LAST_WORDS, Activities
from trioflow._runtime._body import Attempt
from trioflow._runtime._dispatcher import Fetched
from trioflow._runtime._evaluating import Evaluator
from trioflow._runtime._holds import Finished, Hold
from trioflow._runtime._leases import LeaseKeeper, Renewed
from trioflow._runtime._options import RuntimeOptions
from trioflow._runtime._runner import TurnRunner
from trioflow._runtime._slots import Slots
from trioflow._runtime._speaking import of_turn
from trioflow._runtime._troubles import log, persistently, told
from trioflow._runtime._verdicts import Answered
from trioflow._runtime._vigils import Vigils
from trioflow._util import log_context
from trioflow.abc import (
    Capabilities,
    Env,
    LockTurns,
    LockedTurn,
    ReleaseTurn,
    RenewTurns,
    Store,
)
from trioflow.errors import LockLost, StoreError
from trioflow.history import REPLAY_SEMANTICS, Answer

PATIENCE: Final = 1.0
"""Seconds for which a lock is held of which no activity runs here, but some wait for room."""


@attrs.define(eq=False)
class Conductor:
    """Runs turns."""

    store: Store
    env: Env
    options: RuntimeOptions
    worker: str
    runner: TurnRunner
    evaluator: Evaluator
    activities: Activities
    vigils: Vigils
    slots: Slots
    keeper: LeaseKeeper[Hold]
    work: trio.Nursery
    backlog: bool = True  # the store had more than there was room for, or has not been asked yet
    over: bool = False  # no work begins any more
    _holds: dict[str, Hold] = attrs.field(factory=dict)  # by instance

    # -- taking

    async def fetch(self, limit: int) -> Fetched:
        """Lock up to `limit` instances and serve them."""
        since = self.env.monotonic()
        request = LockTurns(
            worker=self.worker, limit=limit, lease=self.options.turn_lease, can_run=self._capabilities()
        )
        answer = await persistently("looking for turns", self.store.lock_turns, request)
        self.evaluator.clock.heard(answer.now)
        self.backlog = len(answer.turns) >= limit
        for turn in answer.turns:
            self.begin(turn, since)
        due_in = None if answer.next_due is None else answer.next_due - answer.now
        return Fetched(len(answer.turns), due_in)

    async def adopt(self, limit: int, overdue: float) -> None:
        """Take instances that nobody can run and that have been due for so many seconds, to say so."""
        room = min(limit, self.slots.free)
        if not room:
            return
        since = self.env.monotonic()
        request = LockTurns(
            worker=self.worker,
            limit=room,
            lease=self.options.turn_lease,
            can_run=self._capabilities(),
            others=True,
            overdue=overdue,
        )
        answer = await persistently("looking for what nobody runs", self.store.lock_turns, request)
        for turn in answer.turns:
            self.begin(turn, since, overdue)

    def _capabilities(self) -> Capabilities:
        """What this worker can run, by name, version and semantics."""
        keys = [key for key, _ in self.evaluator.app.definitions() if key[0] == "orchestration"]
        return Capabilities(
            orchestrations=tuple((name, version) for _, name, version in keys), semantics=(REPLAY_SEMANTICS,)
        )

    def begin(self, turn: LockedTurn, since: float, overdue: float | None = None) -> None:
        """Serve an instance whose lease counts from `since`."""
        hold = Hold.of(turn)
        hold.overdue = overdue
        before = self._holds.get(turn.lock.instance)
        if before is not None:
            before.lost()  # the store would not have given it to us again otherwise
        self._holds[turn.lock.instance] = hold
        self.slots.take()
        self.keeper.keep(hold, since)
        self.work.start_soon(self._serve, hold, name=f"turns of {turn.lock.instance}")

    def offer(self, attempt: Attempt, event: Answer) -> bool:
        """Take an outcome into the next turn of its instance, if that is held here."""
        hold = self._holds.get(attempt.lock.instance)
        if (
            hold is None
            or not self.options.fuse
            or not hold.held
            or self.runner.stopping
            or hold.lock.execution != attempt.lock.execution
        ):
            return False
        hold.finished.append(Finished(attempt, event))
        hold.wake()
        return True

    def gone(self, instance: str, execution: int) -> None:
        """An activity ended here without an outcome to fuse: nothing may be left to hold the lock for."""
        hold = self._holds.get(instance)
        if hold is not None and (instance, execution) not in self.activities.presence:
            hold.wake()

    def stop(self) -> None:
        """End the turns that run, give back what is merely held."""
        self.runner.stopping = True
        for hold in self._holds.values():
            hold.wake()

    async def renew(self, holds: Sequence[Hold]) -> Renewed:
        """Ask the store for more time."""
        request = RenewTurns(locks=tuple(hold.lock for hold in holds), lease=self.options.turn_lease)
        answer = await self.store.renew_turns(request)
        return Renewed(tuple(lock.token for lock in answer.lost))

    # -- serving

    async def _serve(self, hold: Hold) -> None:
        log_context.set(of_turn(hold))
        busy = True  # a slot is taken
        try:
            while await self.runner.run(hold):
                if not hold.messages and not hold.finished:
                    self.slots.give()
                    busy = False
                    if not await self._more(hold):
                        break
                    self.slots.take()
                    busy = True
            await self._give_back(hold)
        except LockLost as exc:
            self.evaluator.drop(hold)
            self.runner.teller.lease_lost("turn", hold.lock.instance)
            log.info("a turn of instance %s was dropped: %s", hold.lock.instance, told(exc))
            await self._give_back(hold)  # it may have been an activity's lease that was lost
        except BaseException as exc:
            self.evaluator.drop(hold)
            with trio.move_on_after(LAST_WORDS, shield=True):
                try:
                    await self._give_back(hold, clean=isinstance(exc, trio.Cancelled))
                except StoreError:
                    pass  # its lease runs out
            raise
        finally:
            if busy:
                self.slots.give()
            self._part(hold)

    async def _give_back(self, hold: Hold, *, clean: bool = True) -> None:
        """Let others have it."""
        self.keeper.drop(hold)
        if hold.held:
            request = ReleaseTurn(lock=hold.lock, clean=clean)
            await persistently("giving a turn back", self.store.release_turn, request)
            hold.held = False  # not before: who is cancelled meanwhile comes here once more

    def _part(self, hold: Hold) -> None:
        """What is left: outcomes are settled on their own, the live execution is kept for next time."""
        self.keeper.drop(hold)
        if self._holds.get(hold.lock.instance) is hold:
            del self._holds[hold.lock.instance]
        for done in (*hold.fusing, *hold.finished):
            self.activities.settle(done.attempt, Answered(done.event))
        live, hold.live = hold.live, None
        if live is not None:
            self.evaluator.cache.put(hold.lock.instance, hold.lock.execution, hold.revision, live)

    async def _more(self, hold: Hold) -> bool:
        """Wait while an activity runs here. True: an outcome is ready; False: the lock is better given back."""
        runs = self.activities.presence.runs
        if self._waits(hold) and not runs(hold.key):
            await self.vigils.keep(hold, PATIENCE)
        if self._waits(hold) and runs(hold.key):
            await self.vigils.keep(hold)
        return bool(hold.finished) and hold.held and not self.runner.stopping

    def _waits(self, hold: Hold) -> bool:
        """Whether nothing is to be done with it, and something is to be waited for."""
        return not hold.finished and not self.runner.stopping and hold.key in self.activities.presence
