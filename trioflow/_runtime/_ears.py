"""Hearing soon that the orchestration asked for the end of an activity which runs here.

Laws: an activity costs nothing for this unless it lasts, and no task then. What this process asked for is heard at
once. Where other processes write to the store, a look at the instance, about once a second at most and only after they
wrote, tells whether it has gone on; if so the lease is renewed early, and the answer says whether an end was asked for.
A store that says nothing of other processes leaves that to the next renewal.

Who calls it: `_worker.py`.
"""

from __future__ import annotations

import math
from typing import Final

import attrs
import trio

from trioflow._runtime._body import Attempt
from trioflow._runtime._leases import LeaseKeeper
from trioflow.abc import Env, Store, Watch
from trioflow.errors import StoreError

SOON: Final = 0.02
"""Seconds between two looks that are urgent."""

NOTHING: Final = "nothing"
"""A topic that nobody bumps: its watch tells of bumps of everything."""

LOOK_AFTER: Final = 1.0
"""Seconds since an attempt's lease was taken or renewed, or since the last look, before its instance is looked at."""


@attrs.define(eq=False)
class Ear:
    """What is listened with for one attempt that lasts."""

    attempt: Attempt
    look_at: float  # not before that
    looked: int = 0  # bumps of everything that a look has followed: at first none, not even those before us
    revision: int | None = None  # of the instance when it was last looked at


@attrs.define(eq=False)
class Ears:
    """Listens for all attempts of a runtime: those whose leases are kept."""

    _env: Env
    _store: Store
    _keeper: LeaseKeeper[Attempt]
    _lasting: dict[str, Ear] = attrs.field(factory=dict)  # by token
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def stop(self) -> None:
        """Listen no more."""
        self._scope.cancel()

    def _hear(self, token: str) -> None:
        """The end of an activity was asked for in this process."""
        attempt = self._keeper.find(token)
        if attempt is not None:
            attempt.cancel_asked()

    async def run(self) -> None:
        """Listen, and look at the instances of attempts that last, after others have written to the store."""
        signals = self._store.signals
        signals.on_cancel.append(self._hear)
        try:
            with self._scope, signals.watch(NOTHING) as anything:
                while True:
                    await self._keeper.oldest()
                    await self._run_until_more(anything)
        finally:
            signals.on_cancel.remove(self._hear)

    async def _run_until_more(self, anything: Watch) -> None:
        """Look at what is due, and wait until something else may be."""
        seen = anything.seen
        with trio.move_on_after(await self._look_at_due(seen)):
            await anything.wait_beyond(seen)

    async def _look_at_due(self, seen: int) -> float:
        """Look at what is due after so many bumps. Returns the seconds after which something else may be."""
        if not seen:
            return math.inf
        now, before = self._env.monotonic(), self._lasting
        ears = [before.get(attempt.token) or Ear(attempt, since + LOOK_AFTER) for attempt, since in self._keeper.kept()]
        self._lasting = {ear.attempt.token: ear for ear in ears}
        waiting = [ear for ear in ears if ear.looked < seen]
        async with trio.open_nursery() as nursery:
            for ear in waiting:
                if ear.look_at <= now:
                    ear.looked = seen
                    nursery.start_soon(self._look, ear)
        # What begins meanwhile is not due before that, either.
        return max(min((ear.look_at - now for ear in waiting), default=LOOK_AFTER), 0.0)

    async def _look(self, ear: Ear) -> None:
        """Have the lease renewed now if the instance has gone on; say when there may be another look, which is soon
        where a request to cancel waits for its turn.
        """
        lock, again = ear.attempt.lock, LOOK_AFTER
        try:
            record = await self._store.read_instance(lock.instance)
        except StoreError:
            pass  # at the latest, the next renewal tells
        else:
            revision, queued = (None, False) if record is None else (record.revision, record.cancel_queued)
            if record is None or revision != ear.revision:
                ear.revision = revision
                self._keeper.hasten(ear.attempt)
            again = SOON if queued else LOOK_AFTER
        ear.look_at = self._env.monotonic() + again
