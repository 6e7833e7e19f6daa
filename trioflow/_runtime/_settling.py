"""Settling attempts that no turn settles: all that are ready in one call.

Laws: what was handed over is settled, or its lease is lost; its lease is kept until then; a cancellation from outside
is not heard, only `stop` and then patience end it. Who calls it: `_activities.py` hands over, `_conductor.py` what a
turn could not settle.
"""

from __future__ import annotations

import math

import attrs
import trio

from trioflow._runtime._body import Attempt
from trioflow._runtime._clock import StoreClock
from trioflow._runtime._leases import LeaseKeeper
from trioflow._runtime._speaking import of_attempt
from trioflow._runtime._telling import Teller
from trioflow._runtime._troubles import log, persistently
from trioflow._runtime._verdicts import Verdict
from trioflow._util import log_extra
from trioflow.abc import CommitActivities, Env, SettleActivity, Store


@attrs.frozen
class Settlement:
    """An attempt and how it is to be settled."""

    attempt: Attempt
    settle: SettleActivity
    verdict: Verdict


@attrs.define(eq=False)
class Settler:
    """Settles what is handed to it."""

    _store: Store
    _env: Env
    _clock: StoreClock
    _keeper: LeaseKeeper[Attempt]
    _teller: Teller
    _ready: list[Settlement] = attrs.field(factory=list)
    _some: trio.Event = attrs.field(factory=trio.Event)
    _stopping: bool = False
    _scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))

    def put(self, settlement: Settlement) -> None:
        """Hand over."""
        self._ready.append(settlement)
        self._some.set()

    def stop(self, patience: float) -> None:
        """Settle what is there, for so many seconds at most, and end."""
        self._stopping = True
        self._scope.deadline = self._env.monotonic() + patience if patience < math.inf else math.inf
        self._some.set()

    async def run(self) -> None:
        """Settle until stopped."""
        with self._scope:
            while self._ready or not self._stopping:
                if not self._ready:
                    self._some = trio.Event()
                    await self._some.wait()
                    continue
                await self._settle_ready()

    async def _settle_ready(self) -> None:
        batch, self._ready = self._ready, []
        self._env.reached("activity.before_commit")
        request = CommitActivities(settle=tuple(settlement.settle for settlement in batch))
        answer = await persistently("settling activities", self._store.commit_activities, request)
        self._env.reached("activity.after_commit")
        self._clock.heard(answer.now)
        lost = {lock.token for lock in answer.lost}
        for settlement in batch:
            self._keeper.drop(settlement.attempt)
            refused = settlement.attempt.token in lost
            self._teller.ended(settlement.attempt, settlement.verdict, refused=refused)
            if refused:
                log.warning(
                    "activity %d of instance %s ended here after its lease was lost; its outcome was refused",
                    settlement.attempt.lock.event_id,
                    settlement.attempt.lock.instance,
                    extra=log_extra(of=of_attempt(settlement.attempt.item)),
                )
