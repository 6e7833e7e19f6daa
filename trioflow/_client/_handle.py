"""A handle: one instance, seen from outside.

Laws: a handle holds an id and a client, no state of the instance; waiting is woken by the store's hints, and looks
again now and then in case a hint was lost; a result follows the instance through continue-as-new.

Must never know: runtimes. Who calls it: users; `_client.py` makes them. Read next: `_lookout.py`, `_info.py`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import attrs
import trio

from trioflow._client._info import InstanceInfo, plain, result_of
from trioflow._client._lookout import Lookout
from trioflow._client._tree import InstanceTree
from trioflow.abc import InstanceRecord, State
from trioflow.errors import InstanceNotFound
from trioflow.history import Event

if TYPE_CHECKING:
    from trioflow._client._client import Client

R = TypeVar("R")


@attrs.frozen(eq=False)
class Handle(Generic[R]):
    """One instance of an orchestration, to wait for, to look at and to steer.

    Attributes:
        id: the instance's id.
        client: whose handle it is.
    """

    id: str
    client: Client = attrs.field(repr=False)

    async def result(self, timeout: float | None = None, *, wait_parked: bool = False) -> R:  # noqa: ASYNC109 - as promised
        """Wait for the end and return what the orchestration returned.

        Args:
            timeout: seconds to wait at most.
            wait_parked: go on waiting while the instance is parked, instead of raising.

        Raises:
            OrchestrationFailed: it raised; the cause is the exception it raised, where its class is known here.
            OrchestrationCancelled: it was cancelled and has unwound.
            OrchestrationTerminated: it was terminated.
            InstanceParked: it cannot go on until somebody acts; after `resume` or `terminate` it is waited for again.
            InstanceNotFound: there is no such instance.
            trio.TooSlowError: `timeout` has passed.
        """
        with trio.fail_after(math.inf if timeout is None else timeout):
            record = await self._wait(wait_parked=wait_parked)
        return cast(R, result_of(record, self.client.app, self.client.codec))

    async def _wait(self, *, wait_parked: bool) -> InstanceRecord:
        """The record once it has ended, or is parked and nobody has done anything about it."""
        with Lookout(self.client.store.signals, self.id, self.client.poll_interval) as lookout:
            while True:
                lookout.about_to_look()
                record = await self.client.read(self.id)
                stuck = record.state is State.PARKED and not record.control_queued
                if record.state.ended or (stuck and not wait_parked):
                    return record
                await lookout.until_next(record.revision)

    async def status(self) -> Any:
        """What the code last passed to `durable.set_status`, as plain JSON data; None before it did."""
        return plain((await self.client.read(self.id)).status, self.client.app)

    def watch(self) -> StatusChanges:
        """An async iterator of the status, from now on: the present one, then each change, until the instance ends.

        Changes that follow each other faster than they are taken are seen as one.
        """
        return StatusChanges(self)

    async def info(self) -> InstanceInfo:
        """What is known of the instance."""
        return await self.client.get(self.id)

    async def raise_event(self, name: str, value: Any = None, *, dedupe_key: str | None = None) -> None:
        """Send it an event: see `Client.raise_event`."""
        await self.client.raise_event(self.id, name, value, dedupe_key=dedupe_key)

    async def cancel(self, reason: str | None = None) -> None:
        """Ask it to unwind: see `Client.cancel`."""
        await self.client.cancel(self.id, reason=reason)

    async def terminate(self, reason: str | None = None) -> None:
        """End it without unwinding: see `Client.terminate`."""
        await self.client.terminate(self.id, reason=reason)

    async def suspend(self, reason: str | None = None) -> None:
        """Stop it for a while: see `Client.suspend`."""
        await self.client.suspend(self.id, reason=reason)

    async def resume(self) -> None:
        """Let it go on: see `Client.resume`."""
        await self.client.resume(self.id)

    async def history(self, execution: int | None = None) -> list[Event]:
        """What happened: see `Client.history`."""
        return await self.client.history(self.id, execution)

    async def tree(self) -> InstanceTree:
        """What it does, branch by branch: see `Client.tree`."""
        return await self.client.tree(self.id)

    async def kv(self) -> dict[str, Any]:
        """The instance's durable values, as plain JSON data."""
        return await self.client.kv(self.id)


@attrs.define(eq=False)
class StatusChanges:
    """Iterates over the status of an instance: see `Handle.watch`."""

    _handle: Handle[Any]
    _last: bytes | None = None
    _over: bool = False

    def __aiter__(self) -> StatusChanges:
        return self

    async def __anext__(self) -> Any:
        client = self._handle.client
        with Lookout(client.store.signals, self._handle.id, client.poll_interval) as lookout:
            while not self._over:
                lookout.about_to_look()
                record = await client.read(self._handle.id)
                self._over = record.state.ended
                if record.status is not None and record.status != self._last:
                    self._last = record.status
                    return plain(record.status, client.app)
                if not self._over:
                    await lookout.until_next(record.revision)
        raise StopAsyncIteration


def not_found(id: str) -> InstanceNotFound:
    """The error for an id that nobody has."""
    return InstanceNotFound(f"no instance has the id {id!r}; ids are case-sensitive, and a deleted instance is gone")
