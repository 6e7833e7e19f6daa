"""A handle: one instance, seen from outside.

Laws: a handle holds an id and a client, no state of the instance, and, if it has started it, what was heard of ends
before; waiting is woken by the store's hints, and looks again now and then in case a hint was lost; a result follows
the instance through continue-as-new.

Must never know: runtimes. Who calls it: users; `_client.py` makes them. Read next: `_lookout.py`, `_info.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, overload

import attrs

from trioflow._client._checks import within
from trioflow._client._executions import ExecutionInfo
from trioflow._client._info import InstanceInfo, plain, result_of
from trioflow._client._lookout import Lookout
from trioflow._client._tree import InstanceTree
from trioflow._client._waiting import read_value, wait_for_outcome, wait_for_value
from trioflow.abc import InstanceRecord, instance_topic
from trioflow.history import Event

if TYPE_CHECKING:
    from trioflow._client._client import Client

R = TypeVar("R")
T = TypeVar("T")


_STATUS: Final = "the status"


@attrs.frozen(eq=False)
class Handle(Generic[R]):
    """One instance of an orchestration, to wait for, to look at and to steer.

    Attributes:
        id: the instance's id.
        client: whose handle it is.
    """

    id: str
    client: Client = attrs.field(repr=False)
    _seen_ends: tuple[int, int] | None = attrs.field(default=None, repr=False)  # before this handle started it

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
        with within(timeout):
            end = await wait_for_outcome(self.client, self.id, wait_parked=wait_parked, seen_ends=self._seen_ends)
        return cast(R, result_of(end, self.client.app, self.client.codec))

    @overload
    async def status(self, type: type[T]) -> T | None: ...
    @overload
    async def status(self, type: Any = Any) -> Any: ...

    async def status(self, type: Any = Any) -> Any:
        """What the code last passed to `durable.set_status`, as `type`, plain JSON data if not given; None before.

        Raises InstanceNotFound, and DecodeError where the status does not fit `type`.
        """
        status = (await self.client.read(self.id)).status
        return None if status is None else self.client.app.codec.decode(status, type, what=_STATUS)

    @overload
    async def wait_status(
        self,
        until: Callable[[T], bool] | None = None,
        *,
        type: type[T],
        timeout: float | None = None,  # noqa: ASYNC109 - as promised
    ) -> T: ...
    @overload
    async def wait_status(
        self,
        until: Callable[[Any], bool] | None = None,
        *,
        type: Any = Any,
        timeout: float | None = None,  # noqa: ASYNC109 - as promised
    ) -> Any: ...

    async def wait_status(
        self,
        until: Callable[[Any], bool] | None = None,
        *,
        type: Any = Any,
        timeout: float | None = None,  # noqa: ASYNC109 - as promised
    ) -> Any:
        """Wait for a status to which `until` says yes, and return it; without `until`, for any.

        A status that another follows quickly may be passed over: what is looked at is the present one.

        Args:
            until: gets a status; called for each that is seen, the present one first.
            type: what the status is decoded as; plain JSON data if not given.
            timeout: seconds to wait at most.

        Raises:
            InstanceFinished: it has ended, and its last status is not one.
            InstanceParked: it cannot go on until somebody acts.
            InstanceNotFound: there is no such instance.
            DecodeError: a status does not fit `type`.
            trio.TooSlowError: `timeout` has passed.
        """

        async def read(record: InstanceRecord) -> bytes | None:
            return record.status

        return await wait_for_value(self.client, self.id, read, until, type, timeout=timeout, what=_STATUS)

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
        await self.client.cancel(self.id, reason)

    async def terminate(self, reason: str | None = None) -> None:
        """End it without unwinding: see `Client.terminate`."""
        await self.client.terminate(self.id, reason)

    async def suspend(self, reason: str | None = None) -> None:
        """Stop it for a while: see `Client.suspend`."""
        await self.client.suspend(self.id, reason)

    async def resume(self) -> None:
        """Let it go on: see `Client.resume`."""
        await self.client.resume(self.id)

    async def restart(self, *, force: bool = False, latest: bool = False) -> None:
        """Begin it again from its beginning, as a new execution: see `Client.restart`."""
        await self.client.restart(self.id, force=force, latest=latest)

    async def delete(self, *, force: bool = False) -> int:
        """Remove it and all its descendants: see `Client.delete`."""
        return await self.client.delete(self.id, force=force)

    async def prune(self, *, keep: int = 1, older_than: float | None = None) -> int:
        """Remove histories of its earlier executions: see `Client.prune`."""
        return await self.client.prune(self.id, keep=keep, older_than=older_than)

    async def executions(self) -> tuple[ExecutionInfo, ...]:
        """Its executions whose histories are kept: see `Client.executions`."""
        return await self.client.executions(self.id)

    async def history(self, execution: int | None = None) -> list[Event]:
        """What happened: see `Client.history`."""
        return await self.client.history(self.id, execution)

    async def tree(self) -> InstanceTree:
        """What it does, branch by branch: see `Client.tree`."""
        return await self.client.tree(self.id)

    async def kv(self) -> dict[str, Any]:
        """The instance's durable values, as plain JSON data."""
        return await self.client.kv(self.id)

    @overload
    async def kv_value(self, key: str, type: type[T]) -> T: ...
    @overload
    async def kv_value(self, key: str, type: Any = Any) -> Any: ...

    async def kv_value(self, key: str, type: Any = Any) -> Any:
        """One of the instance's durable values: see `Client.kv_value`."""
        return await self.client.kv_value(self.id, key, type)

    @overload
    async def wait_kv(
        self,
        key: str,
        until: Callable[[T], bool] | None = None,
        *,
        type: type[T],
        timeout: float | None = None,  # noqa: ASYNC109 - as promised
    ) -> T: ...
    @overload
    async def wait_kv(
        self,
        key: str,
        until: Callable[[Any], bool] | None = None,
        *,
        type: Any = Any,
        timeout: float | None = None,  # noqa: ASYNC109 - as promised
    ) -> Any: ...

    async def wait_kv(
        self,
        key: str,
        until: Callable[[Any], bool] | None = None,
        *,
        type: Any = Any,
        timeout: float | None = None,  # noqa: ASYNC109 - as promised
    ) -> Any:
        """Wait until `durable.kv` has a value under `key` to which `until` says yes, and return it; as `wait_status`.

        An answer that an orchestration leaves in its `kv` is waited for like this.
        """

        async def read(record: InstanceRecord) -> bytes | None:
            return await read_value(self.client, self.id, key)

        return await wait_for_value(self.client, self.id, read, until, type, timeout=timeout, what=f"kv value {key!r}")


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
        with Lookout(client.store.signals, instance_topic(self._handle.id), client.poll_interval) as lookout:
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
