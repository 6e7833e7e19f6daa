"""The sessions that this runtime has: claimed with the items it takes, renewed while used, given back at the end.

Laws: a runtime that has no session asks the store nothing about any; a session that is idle is given back at the
renewal; whatever is lost here is found out by the store, which hands a session's items only to its owner.

Who calls it: `_worker.py` runs it, `_activities.py` tells it what was taken. Read next: `_activities.py`.
"""

from __future__ import annotations

import attrs
import trio

from trioflow._runtime._options import RuntimeOptions
from trioflow._runtime._troubles import log, persistently, told
from trioflow.abc import RenewSessions, SessionClaim, Store
from trioflow.errors import StoreError


@attrs.define(eq=False)
class SessionKeeper:
    """Keeps sessions."""

    store: Store
    options: RuntimeOptions
    worker: str
    held: dict[str, None] = attrs.field(factory=dict, init=False)  # as far as is known here
    _any: bool = attrs.field(default=False, init=False)  # something was taken at some time; what is held may be unknown
    _used: trio.Event = attrs.field(factory=trio.Event, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    @property
    def claim(self) -> SessionClaim | None:
        """What to ask for when looking for items."""
        options = self.options
        return SessionClaim(lease=options.session_lease, limit=options.sessions) if options.sessions else None

    def took(self, session: str | None) -> None:
        """An item of a session was taken, so the session is ours."""
        if session is not None:
            self.held[session] = None
            self._any = True
            self._used.set()

    async def run(self) -> None:
        """Renew what is used, until `end`."""
        with self._scope:
            while True:
                await self._used.wait()
                await trio.sleep(self.options.renew_after(self.options.session_lease))
                await self._renew()

    async def _renew(self) -> None:
        self._used = trio.Event()  # first: what is taken meanwhile is not forgotten
        options = self.options
        request = RenewSessions(worker=self.worker, lease=options.session_lease, idle=options.idle)
        answer = await persistently("renewing sessions", self.store.renew_sessions, request)
        self.held = dict.fromkeys(answer.held)
        if self.held:
            self._used.set()

    def end(self) -> None:
        """Renew no more."""
        self._scope.cancel()

    async def stop(self) -> None:
        """Give everything back, if the store can be reached: leases run out otherwise."""
        if self._any:
            self.held = {}
            try:
                await self.store.release_sessions(self.worker)
            except StoreError as exc:
                log.info("sessions of %s are left to run out: %s", self.worker, told(exc))
