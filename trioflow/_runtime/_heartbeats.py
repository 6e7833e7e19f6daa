"""Ends an attempt that has not sent a heartbeat for as long as it may be silent.

Laws: the time runs from the start of the attempt, and anew from each heartbeat, also one from a thread, whose time is
taken as soon as this thread hears of it: late, never early. An attempt that falls silent has timed out, whatever it
does from then on. Nothing is watched where no `heartbeat_timeout` was given.

Must never know: stores, leases. Who calls it: `_activities.py`, `testing.run_durable`. Read next: `_verdicts.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import trio

from trioflow._runtime._body import Attempt
from trioflow.abc import Env


@attrs.define(eq=False)
class _Watch:
    """The heartbeats of one attempt."""

    attempt: Attempt
    limit: float
    env: Env
    token: trio.lowlevel.TrioToken
    silent_at: float  # on `Env.monotonic`
    noted: bool = False  # a heartbeat came whose time is not taken yet
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def note(self) -> None:
        """A heartbeat, in any thread."""
        self.noted = True
        try:
            self.token.run_sync_soon(self._put_off, idempotent=True)
        except trio.RunFinishedError:
            pass  # a thread that was left behind, and nobody is left to listen

    def _put_off(self) -> None:
        self.noted = False
        self.silent_at = self.env.monotonic() + self.limit

    async def run(self) -> None:
        """End the attempt once it is silent for too long, unless it ends before."""
        with self.scope:
            while self.noted or (left := self.silent_at - self.env.monotonic()) > 0:
                if self.noted:
                    self._put_off()
                    left = self.limit
                await trio.sleep(left)
            self.attempt.fall_silent(self.env.monotonic())


@contextmanager
def listening(attempt: Attempt, env: Env, nursery: trio.Nursery) -> Iterator[None]:
    """Within it, the attempt must not be silent for longer than its options allow."""
    limit = attempt.options.heartbeat_timeout
    if limit is None:
        yield
        return
    watch = _Watch(attempt, limit, env, trio.lowlevel.current_trio_token(), env.monotonic() + limit)
    attempt.on_heartbeat = watch.note
    nursery.start_soon(watch.run)
    try:
        yield
    finally:
        watch.scope.cancel()
