"""Ways into a store for whoever is not async: a trio run in a thread, and stores that are held open in it.

Who calls it: `state_machine.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from trioflow.abc import Store


class TrioLoop:
    """A trio run in a thread of its own, for rules that are not async."""

    def __init__(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main, ready), daemon=True)
        self._thread.start()
        ready.wait()

    async def _main(self, ready: threading.Event) -> None:
        self._token, self._over = trio.lowlevel.current_trio_token(), trio.Event()
        async with trio.open_nursery() as self.nursery:
            ready.set()
            await self._over.wait()

    def call(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Run an async function there."""
        return trio.from_thread.run(fn, *args, trio_token=self._token)

    def close(self) -> None:
        """End it."""
        trio.from_thread.run_sync(self._over.set, trio_token=self._token)
        self._thread.join()


@attrs.define(eq=False)
class Side:
    """A way into a store: it is open in a task of its own, as somebody would have it open in a block."""

    store: Store
    _over: trio.Event = attrs.field(factory=trio.Event)
    _closed: trio.Event = attrs.field(factory=trio.Event)

    async def close(self) -> None:
        """Leave the block."""
        self._over.set()
        await self._closed.wait()

    async def hold(self, task_status: trio.TaskStatus[Side]) -> None:
        """The block."""
        async with self.store:
            task_status.started(self)
            await self._over.wait()
        self._closed.set()

    def __getattr__(self, verb: str) -> Any:
        return getattr(self.store, verb)


async def keep_open(store: Store, task_status: trio.TaskStatus[Side]) -> None:
    """For `nursery.start`: a way into this store."""
    await Side(store).hold(task_status)
