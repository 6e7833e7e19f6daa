"""Hearing soon that the orchestration asked for the end of an activity which runs here.

Laws: an activity that ends quickly costs no task for this; one that lasts is listened for by a task of its own; nothing
said between its start and that moment is missed. What this process asked for is heard at once. Where other processes
write to the store, a look at the instance, about once a second at most and only after they wrote, tells whether it has
gone on; if so the lease is renewed early, and the answer says whether an end was asked for. A store that says nothing
of other processes leaves that to the next renewal.

Who calls it: `_activities.py`.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import attrs
import trio

from trioflow._runtime._body import Attempt
from trioflow._runtime._leases import LeaseKeeper
from trioflow.abc import Env, Store, Watch, activity_topic
from trioflow.errors import StoreError

SOON: Final = 0.02
"""Seconds after which a task listens for an attempt that still runs, and between two looks that are urgent."""

LOOK_AFTER: Final = 1.0
"""Seconds that an attempt has lasted, or since the last look, before its instance is looked at."""


@attrs.define(eq=False)
class Ear:
    """What is listened with for one attempt."""

    attempt: Attempt
    watch: Watch
    since: float
    seen: int  # bumps of its topic, or of all
    general: int  # of these, bumps of all topics at once
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    revision: int | None = None  # of the instance when it was last looked at
    listened: bool = False  # by a task of its own, which then ends the watch
    closed: bool = False

    def close(self) -> None:
        """The attempt has ended."""
        self.closed = True
        self.scope.cancel()
        if not self.listened:
            self.watch.__exit__(None, None, None)


@attrs.define(eq=False)
class Ears:
    """Listens for all attempts of a runtime."""

    _env: Env
    _store: Store
    _keeper: LeaseKeeper[Attempt]
    _anything: Watch  # of a topic that nobody bumps: tells bumps of everything from those of one attempt
    _young: deque[Ear] = attrs.field(factory=deque)  # oldest first
    _some: trio.Event = attrs.field(factory=trio.Event)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def stop(self) -> None:
        """Listen no more."""
        self._scope.cancel()

    def open(self, attempt: Attempt) -> Ear:
        """Begin to hear for an attempt; `Ear.close` ends it."""
        watch = self._store.signals.watch(activity_topic(attempt.token))
        watch.__enter__()
        ear = Ear(attempt, watch, self._env.monotonic(), watch.seen, self._anything.seen)
        self._young.append(ear)
        self._some.set()
        return ear

    async def run(self) -> None:
        """Give each attempt that lasts a task that listens."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                await self._run(nursery)

    async def _run(self, nursery: trio.Nursery) -> None:
        while True:
            while not self._young:
                self._some = trio.Event()
                await self._some.wait()
            rest = self._attend_to_oldest(nursery)
            if rest > 0:
                await trio.sleep(rest)

    def _attend_to_oldest(self, nursery: trio.Nursery) -> float:
        """See whether it has ended or lasts. Returns the seconds before it is to be seen to again."""
        ear = self._young[0]
        rest = ear.since + SOON - self._env.monotonic()
        if not ear.closed and rest > 0:
            return rest
        self._young.popleft()
        if not ear.closed:
            ear.listened = True
            nursery.start_soon(self._listen, ear)
        return 0.0

    async def _listen(self, ear: Ear) -> None:
        look_at = ear.since + LOOK_AFTER
        looked = 0  # bumps of all topics at once that a look has followed: at first none, not even those before us
        try:
            with ear.scope:
                while True:
                    seen, general = ear.watch.seen, self._anything.seen
                    if seen - ear.seen > general - ear.general:
                        ear.attempt.cancel_asked()
                        return
                    rest = look_at - self._env.monotonic() if general > looked else math.inf
                    if rest > 0:
                        with trio.move_on_after(rest):
                            await ear.watch.wait_beyond(seen)
                        continue
                    look_at, looked = self._env.monotonic() + await self._look(ear), general
        finally:
            ear.watch.__exit__(None, None, None)

    async def _look(self, ear: Ear) -> float:
        """Have the lease renewed now if the instance has gone on. Returns seconds before there is to be another look:
        few where a request to cancel waits for its turn.
        """
        try:
            record = await self._store.read_instance(ear.attempt.lock.instance)
        except StoreError:
            return LOOK_AFTER  # at the latest, the next renewal tells
        if record is None or record.revision != ear.revision:
            ear.revision = None if record is None else record.revision
            self._keeper.hasten(ear.attempt)
        return SOON if record is not None and record.cancel_queued else LOOK_AFTER
