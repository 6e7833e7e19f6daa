"""A background task that lives with whoever has the store open, one of them at a time.

Laws: it runs in a nursery that a user of the store holds open, so it never outlives them all; when its host leaves or
is cancelled it moves to another; who holds a nursery is known by the task, since a store is entered and left in the
same one; a host's exceptions pass as they are, not in a group.

Who calls it: `_store.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import attrs
import trio


@attrs.define(eq=False)
class Home:
    """A nursery that a user of the store holds open."""

    manager: AbstractAsyncContextManager[trio.Nursery]
    nursery: trio.Nursery
    fit: bool = True  # nothing that lived here was cancelled yet


@attrs.define(eq=False)
class Lodger:
    """Keeps `run` going while there is a home."""

    _run: Callable[[], Awaitable[None]]
    _homes: dict[trio.lowlevel.Task, list[Home]] = attrs.field(factory=dict)
    _host: Home | None = None

    async def enter(self) -> None:
        """Offer a home; its task has to call `leave` later. Not a checkpoint."""
        manager = trio.open_nursery()
        home = Home(manager, await manager.__aenter__())
        self._homes.setdefault(trio.lowlevel.current_task(), []).append(home)
        self._settle_down()

    async def leave(self) -> None:
        """Take the home back. Short, and not cancelled half-way."""
        task = trio.lowlevel.current_task()
        home = self._homes[task].pop()
        if not self._homes[task]:
            del self._homes[task]
        home.fit = False
        home.nursery.cancel_scope.shield = True
        home.nursery.cancel_scope.cancel()
        await home.manager.__aexit__(None, None, None)

    def _settle_down(self) -> None:
        if self._host is None:
            homes = [home for own in self._homes.values() for home in own if home.fit]
            if homes:
                self._host = homes[0]
                self._host.nursery.start_soon(self._live, self._host)

    async def _live(self, home: Home) -> None:
        try:
            await self._run()
        finally:
            home.fit = False
            self._host = None
            self._settle_down()
