"""Waiting with a held instance for the activities that run here, and listening meanwhile for messages to it.

Laws: a wait that is soon over costs no task, no timer and no look into the store; one that lasts is listened for by a
task of its own; it ends when there is something to look at, when a message waits, and when a deadline has come.

Must never know: turns, activities. Who calls it: `_conductor.py`. Read next: `_holds.py`.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import attrs
import trio

from trioflow._runtime._clock import StoreClock
from trioflow._runtime._holds import Hold
from trioflow._runtime._troubles import persistently
from trioflow.abc import Env, Store, instance_topic

QUIET: Final = 0.02
"""Seconds for which an instance is waited with before anybody listens for messages to it."""

LOOK_AGAIN: Final = 0.05
"""Seconds between two looks into an inbox that turned out to be empty."""


@attrs.define(eq=False)
class Vigils:
    """Waits of one worker's holds. `poll`: seconds after which a hold is woken in any case, if it has a deadline."""

    _store: Store
    _env: Env
    _clock: StoreClock
    _poll: float
    _young: deque[tuple[float, Hold, trio.Event, float]] = attrs.field(
        factory=deque
    )  # since when, how long; oldest first
    _some: trio.Event = attrs.field(factory=trio.Event)  # set once there is one while the task waits for that
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def stop(self) -> None:
        """Listen no more."""
        self._scope.cancel()

    async def keep(self, hold: Hold, most: float = math.inf) -> None:
        """Return once the hold was woken; also if a message waits for it, or its deadline has come, or after so many
        seconds. A checkpoint.
        """
        over = hold.changed = trio.Event()
        left = self._left(hold)
        if left < QUIET:
            with trio.move_on_after(left):
                await over.wait()
            return
        if not self._young:
            self._some.set()
        self._young.append((self._env.monotonic(), hold, over, most))
        await over.wait()

    def _left(self, hold: Hold) -> float:
        """Seconds until its deadline."""
        return math.inf if hold.wake_at is None else max(hold.wake_at - self._clock.now(), 0.0)

    async def run(self) -> None:
        """Give each wait that lasts a task that listens."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                while True:
                    while not self._young:
                        self._some = trio.Event()
                        await self._some.wait()
                    rest = self._attend_to_oldest(nursery)
                    if rest > 0:
                        await trio.sleep(rest)

    def _attend_to_oldest(self, nursery: trio.Nursery) -> float:
        """See whether it is over or lasts. Returns the seconds before it is to be seen to again."""
        since, hold, over, most = self._young[0]
        rest = since + QUIET - self._env.monotonic()
        if not over.is_set() and rest > 0:
            return rest
        self._young.popleft()
        if not over.is_set():
            nursery.start_soon(self._listen, hold, over, most - QUIET)
        return 0.0

    async def _listen(self, hold: Hold, over: trio.Event, most: float) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear, hold, over)
            with trio.move_on_after(min(self._left(hold), math.inf if hold.wake_at is None else self._poll, most)):
                await over.wait()
            nursery.cancel_scope.cancel()
        over.set()

    async def _hear(self, hold: Hold, over: trio.Event) -> None:
        """End the wait when a message is in the inbox."""
        lock = hold.lock
        with self._store.signals.watch(instance_topic(lock.instance)) as watch:
            while True:
                seen = watch.seen
                record = await persistently("looking for messages", self._store.read_instance, lock.instance)
                if record is None or record.queued or record.execution != lock.execution:
                    over.set()
                    return
                await trio.sleep(LOOK_AGAIN)
                with trio.move_on_after(self._poll):
                    await watch.wait_beyond(seen)
