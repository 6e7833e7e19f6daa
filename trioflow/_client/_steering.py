"""A client's base: what it holds, how it reads an instance, and the messages by which it steers one.

Laws: what is wrong is refused here, before anything is written; every message carries a request id and is repeated by
it until its outcome is known.

Must never know: runtimes. Who calls it: `_management.py` and `_client.py`, which add to it. Read next: the
former.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import attrs

from trioflow._client._checks import check_text
from trioflow._client._info import draft_of, not_found
from trioflow._client._requests import until_answered
from trioflow.abc import Env, InstanceRecord, Instruments, OutMessage, PostMessage, Store
from trioflow.app import App
from trioflow.errors import EncodeError
from trioflow.history import (
    CancelRequested,
    Event,
    EventCodec,
    EventReceived,
    OrchestrationTerminated,
    Resumed,
    Suspended,
)

POLL_INTERVAL: Final = 2.0
"""Seconds after which a waiting client looks again although nobody woke it."""


@attrs.define(eq=False, repr=False)
class Steering:
    """Sends events and control messages to instances.

    Attributes:
        app: whose names, types and exceptions it knows.
        store: where everything is.
        env: time and randomness.
        poll_interval: seconds after which it looks again although nobody woke it; `math.inf` for a store that wakes
            everybody by itself.
        instruments: who is told of what it does.
        codec: of events.
    """

    app: App
    store: Store
    env: Env = attrs.field(factory=Env)
    poll_interval: float = POLL_INTERVAL
    instruments: Instruments = attrs.field(factory=Instruments)
    codec: EventCodec = attrs.field(factory=EventCodec, init=False)

    async def raise_event(self, id: str, name: str, value: Any = None, *, dedupe_key: str | None = None) -> None:
        """Send an event to an instance; it waits in the instance's mailbox until the code takes it.

        Args:
            id: the instance.
            name: the event's name.
            value: plain JSON data, or an instance of a class that `durable.wait_event` names.
            dedupe_key: a second event with the same key, within an hour, is not a second event.

        Raises:
            InstanceNotFound, InstanceFinished: nobody is there to take it.
            MailboxFull: too many events wait there already.
        """
        self.app.limits.check_event_name(name)
        declared = (
            Any if value is None or isinstance(value, (str, int, float, bool, list, dict, tuple)) else type(value)
        )
        payload = self.app.codec.encode(value, declared, what=f"event {name!r}")
        key = None if dedupe_key is None else _request_id(id, name, dedupe_key)
        await self._post(id, EventReceived(name=name, payload=payload), request_id=key, mailbox=True)

    async def cancel(self, id: str, reason: str | None = None) -> None:
        """Ask an instance to unwind: its `finally` blocks and shielded scopes run, durably.

        One that is suspended or parked hears of it when it goes on; until then `get(id).cancel_queued` tells of it.
        `terminate` does not wait. One that has not begun, and that no worker is about to begin, ends at once.

        Raises InstanceNotFound, InstanceFinished.
        """
        await self._post(id, CancelRequested(reason=self._reason(reason)))

    async def terminate(self, id: str, reason: str | None = None) -> None:
        """End an instance, its activities and its children without unwinding. Works on parked and suspended ones too.

        Raises InstanceNotFound, InstanceFinished.
        """
        await self._post(id, OrchestrationTerminated(reason=self._reason(reason)), control=True)

    async def suspend(self, id: str, reason: str | None = None) -> None:
        """Stop an instance until `resume`; what arrives meanwhile is kept, and its clock runs on.

        A parked instance stands still already: it stays parked, and tells why.

        Raises InstanceNotFound, InstanceFinished.
        """
        await self._post(id, Suspended(reason=self._reason(reason)), control=True)

    async def resume(self, id: str) -> None:
        """Let a suspended or parked instance go on; a parked one tries again what it could not do.

        Raises InstanceNotFound, InstanceFinished.
        """
        await self._post(id, Resumed(), control=True)

    async def _post(
        self, id: str, event: Event, *, request_id: str | None = None, control: bool = False, mailbox: bool = False
    ) -> None:
        message = OutMessage(
            instance=self.checked(id), draft=draft_of(event, self.codec), control=control, mailbox=mailbox
        )
        request = PostMessage(
            request_id=request_id or self.env.ordered_token(),
            message=message,
            mailbox_limit=self.app.limits.mailbox_events,
            mailbox_bytes=self.app.limits.mailbox_bytes,
        )
        self.env.reached("client.before_post")
        await until_answered(self.store.post_message, request)
        self.env.reached("client.after_post")

    # -- parts

    async def read(self, id: str) -> InstanceRecord:
        """The store's own record of an instance, not decoded. Raises InstanceNotFound."""
        record = await until_answered(self.store.read_instance, self.checked(id))
        if record is None:
            raise not_found(id)
        return record

    def checked(self, id: str) -> str:
        """The id, if it can be one. Raises LimitExceeded, EncodeError."""
        self.app.limits.check_id("instance id", id)
        return id

    def _reason(self, reason: str | None) -> str | None:
        if reason is not None:
            check_text("reason", reason)
            self.app.limits.check_size("reason_length", "the reason", len(reason))
        return reason


def _request_id(id: str, name: str, key: str) -> str:
    """The same request id for the same instance, event name and key."""
    if not isinstance(key, str):
        raise EncodeError(f"dedupe_key= must be a str, not {type(key).__name__}")
    text = "\0".join((id, name, key)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16, person=b"dedupe").hexdigest()
