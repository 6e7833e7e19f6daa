"""Hearing soon that the orchestration asked for the end of an activity which runs here.

Laws: an activity costs no task for this, however long it lasts. What this process asked for is heard at once. Where
other processes write to the store, a look at the instance, about once a second at most and only after they wrote, tells
whether it has gone on; if so the lease is renewed early, and the answer says whether an end was asked for. A store that
says nothing of other processes leaves that to the next renewal.

Who calls it: `_activities.py`.
"""

from __future__ import annotations

import math
from typing import Final

import attrs
import trio

from trioflow._runtime._body import Attempt
from trioflow._runtime._leases import LeaseKeeper
from trioflow.abc import Env, Signals, Store, Watch, activity_topic
from trioflow.errors import StoreError

SOON: Final = 0.02
"""Seconds between two looks that are urgent."""

NOTHING: Final = "nothing"
"""A topic that nobody bumps: its watch tells of bumps of everything."""

LOOK_AFTER: Final = 1.0
"""Seconds that an attempt has lasted, or since the last look, before its instance is looked at."""


@attrs.define(eq=False)
class Ear:
    """What is listened with for one attempt."""

    attempt: Attempt
    look_at: float  # not before that
    looked: int = 0  # bumps of everything that a look has followed: at first none, not even those before us
    revision: int | None = None  # of the instance when it was last looked at


@attrs.define(eq=False)
class Ears:
    """Listens for all attempts of a runtime."""

    _env: Env
    _store: Store
    _keeper: LeaseKeeper[Attempt]
    _signals: Signals  # the store's, in this trio run
    _open: dict[str, Ear] = attrs.field(factory=dict)  # by topic
    _some: trio.Event = attrs.field(factory=trio.Event)  # set once there is an ear while the task waits for one
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def stop(self) -> None:
        """Listen no more."""
        self._scope.cancel()

    def open(self, attempt: Attempt, now: float) -> None:
        """Begin to hear for an attempt, until `close`."""
        topic = activity_topic(attempt.token)
        self._signals.bells[topic] = attempt.cancel_asked
        if not self._open:
            self._some.set()
        self._open[topic] = Ear(attempt, now + LOOK_AFTER)

    def close(self, attempt: Attempt) -> None:
        """The attempt has ended."""
        topic = activity_topic(attempt.token)
        del self._signals.bells[topic], self._open[topic]

    async def run(self) -> None:
        """Look at the instances of attempts that last, after others have written to the store."""
        with self._scope, self._signals.watch(NOTHING) as anything:
            while True:
                while not self._open:
                    self._some = trio.Event()
                    await self._some.wait()
                await self._run_until_more(anything)

    async def _run_until_more(self, anything: Watch) -> None:
        """Look at what is due, and wait until something else may be."""
        seen = anything.seen
        with trio.move_on_after(await self._look_at_due(seen)):
            await anything.wait_beyond(seen)

    async def _look_at_due(self, seen: int) -> float:
        """Look at what is due after so many bumps. Returns the seconds after which something else may be."""
        now = self._env.monotonic()
        waiting = [ear for ear in self._open.values() if ear.looked < seen]
        async with trio.open_nursery() as nursery:
            for ear in waiting:
                if ear.look_at <= now:
                    ear.looked = seen
                    nursery.start_soon(self._look, ear)
        # An ear that is opened meanwhile is not due before that, either.
        pause = min((ear.look_at - now for ear in waiting), default=LOOK_AFTER) if seen else math.inf
        return max(pause, 0.0)

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
