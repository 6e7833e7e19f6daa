"""The client: everything one may ask of a store about orchestrations, without running any.

Laws: what is wrong is refused here, before anything is written (ids, names, argument types, sizes); every write carries
a request id and is repeated by it until its outcome is known; nothing here runs user code, but for `tree`, which has to
replay it (`_tree.py`).

Must never know: runtimes, the engine (which `_tree.py` alone does). Who calls it: users, activities (through
`activity.client()`). Read next: `_handle.py`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal, ParamSpec, TypeVar, cast, overload

import attrs

from trioflow._client._handle import Handle, not_found
from trioflow._client._info import InstanceInfo, decode_row, describe, plain
from trioflow._client._requests import until_answered
from trioflow._client._tree import InstanceTree, tree_of
from trioflow.abc import Draft, Env, InstanceRecord, OutMessage, PostMessage, StartInstance, Store
from trioflow.app import App, OrchestrationDefinition
from trioflow.errors import ConfigurationError, EncodeError
from trioflow.history import (
    REPLAY_SEMANTICS,
    CancelRequested,
    Event,
    EventCodec,
    EventReceived,
    OrchestrationStarted,
    OrchestrationTerminated,
    Resumed,
    Suspended,
)

P = ParamSpec("P")
R = TypeVar("R")
IfExists = Literal["fail", "attach", "replace_finished"]
_IF_EXISTS: Final = ("fail", "attach", "replace_finished")
POLL_INTERVAL: Final = 2.0
"""Seconds after which a waiting client looks again although nobody woke it."""


@attrs.define(eq=False, repr=False)
class Client:
    """Starts orchestrations and asks about them.

    Attributes:
        app: whose names, types and exceptions it knows.
        store: where everything is.
    """

    app: App
    store: Store
    _env: Env = attrs.field(factory=Env, alias="env")
    poll_interval: float = POLL_INTERVAL  # `math.inf` for a store that wakes everybody by itself
    codec: EventCodec = attrs.field(factory=EventCodec, init=False)

    def __repr__(self) -> str:
        return f"<Client of {self.app.name!r}>"

    # -- starting

    @overload
    async def start(
        self,
        orchestration: OrchestrationDefinition[P, R],
        *args: Any,
        id: str | None = None,
        version: str | None = None,
        if_exists: IfExists = "fail",
        delay: float | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Handle[R]: ...

    @overload
    async def start(
        self,
        orchestration: functools.partial[Any] | str,
        *args: Any,
        id: str | None = None,
        version: str | None = None,
        if_exists: IfExists = "fail",
        delay: float | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Handle[Any]: ...

    async def start(
        self,
        orchestration: OrchestrationDefinition[..., Any] | functools.partial[Any] | str,
        *args: Any,
        id: str | None = None,
        version: str | None = None,
        if_exists: IfExists = "fail",
        delay: float | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Handle[Any]:
        """Start an orchestration; once this returns, it survives any crash.

        Args:
            orchestration: the definition (or a `functools.partial` of it, for keyword arguments), or the name it is
                registered under. What a variant made by `options` says of id and version holds where it is not said
                here.
            args: its arguments.
            id: of the new instance; made from the name if not given.
            version: an exact version; None is the newest that the worker which begins it knows.
            if_exists: "fail" raises InstanceExists; "attach" gives a handle to what is there; "replace_finished" begins
                anew where the old one has ended.
            delay: seconds before it begins; it is visible at once, and may be suspended or terminated before.
            attributes: texts to find it by.

        Raises:
            UnregisteredError: the app has no such orchestration or version.
            EncodeError: an argument does not fit its declared type.
            TypeError: the arguments do not fit the signature.
            LimitExceeded: the id or the arguments are too large.
            InstanceExists: the id is taken.
        """
        wanted, kwargs = id, {}
        if isinstance(orchestration, functools.partial):
            args, kwargs = (*orchestration.args, *args), orchestration.keywords
            orchestration = cast(OrchestrationDefinition[..., Any], orchestration.func)  # checked below
        if isinstance(orchestration, OrchestrationDefinition):
            wanted = orchestration.child_id if id is None else id
            version = orchestration.child_version if version is None else version
        name, definition = self._resolve(orchestration, version)
        if if_exists not in _IF_EXISTS:
            raise ConfigurationError(f"if_exists= must be one of {', '.join(_IF_EXISTS)}, not {if_exists!r}")
        if delay is not None and not 0 <= delay < float("inf"):
            raise ConfigurationError(f"delay= must be a number of seconds, at least 0, not {delay!r}")
        instance = self._new_id(name) if wanted is None else self._checked(wanted)
        started = OrchestrationStarted(
            instance=instance,
            name=name,
            version=version,
            payload=self._arguments(name, definition, args, kwargs),
            seed=self._env.token(),
        )
        request = StartInstance(
            request_id=self._env.token(),
            instance=instance,
            name=name,
            version=version,
            semantics=REPLAY_SEMANTICS,
            start=self._draft(started),
            attributes=_checked_attributes(attributes or {}),
            delay=delay or 0.0,
            if_exists=if_exists,
        )
        self._env.reached("client.before_start")
        await until_answered(lambda: self.store.start_instance(request))
        self._env.reached("client.after_start")
        return Handle(instance, self)

    def _resolve(self, orchestration: object, version: str | None) -> tuple[str, OrchestrationDefinition[..., Any]]:
        if isinstance(orchestration, str):
            self.app.limits.check_id("orchestration name", orchestration)
            return orchestration, self.app.find_orchestration(orchestration, version)
        if not isinstance(orchestration, OrchestrationDefinition):
            raise ConfigurationError(
                f"start takes an `@app.orchestration` or the name of one, not {orchestration!r}; "
                "write `await client.start(checkout, order)`, without calling it first, or for keyword arguments "
                "`await client.start(functools.partial(checkout, order, gift=True))`"
            )
        name = self.app.name_of(orchestration)
        return name, self.app.find_orchestration(name, version) if version is not None else orchestration

    def _arguments(
        self, name: str, definition: OrchestrationDefinition[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bytes:
        return self.app.codec.encode_arguments(
            definition.spec, args, kwargs, what=f"arguments of orchestration {name!r}"
        )

    def _new_id(self, name: str) -> str:
        return f"{name[:400]}-{self._env.token()[:12]}"

    def handle(self, id: str) -> Handle[Any]:
        """A handle to an instance, which need not exist yet."""
        return Handle(self._checked(id), self)

    # -- steering

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

    async def cancel(self, id: str, *, reason: str | None = None) -> None:
        """Ask an instance to unwind: its `finally` blocks and shielded scopes run, durably.

        One that is suspended, parked, or not yet begun because its start is delayed hears of it when it goes on; until
        then `get(id).cancel_queued` tells of it. `terminate` does not wait.

        Raises InstanceNotFound, InstanceFinished.
        """
        await self._post(id, CancelRequested(reason=_checked_reason(reason)))

    async def terminate(self, id: str, *, reason: str | None = None) -> None:
        """End an instance, its activities and its children without unwinding. Works on parked and suspended ones too.

        Raises InstanceNotFound, InstanceFinished.
        """
        await self._post(id, OrchestrationTerminated(reason=_checked_reason(reason)), control=True)

    async def suspend(self, id: str, *, reason: str | None = None) -> None:
        """Stop an instance until `resume`; what arrives meanwhile is kept, and its clock runs on.

        A parked instance stands still already: it stays parked, and tells why.

        Raises InstanceNotFound, InstanceFinished.
        """
        await self._post(id, Suspended(reason=_checked_reason(reason)), control=True)

    async def resume(self, id: str) -> None:
        """Let a suspended or parked instance go on; a parked one tries again what it could not do.

        Raises InstanceNotFound, InstanceFinished.
        """
        await self._post(id, Resumed(), control=True)

    async def _post(
        self, id: str, event: Event, *, request_id: str | None = None, control: bool = False, mailbox: bool = False
    ) -> None:
        message = OutMessage(instance=self._checked(id), draft=self._draft(event), control=control, mailbox=mailbox)
        request = PostMessage(
            request_id=request_id or self._env.token(),
            message=message,
            mailbox_limit=self.app.limits.mailbox_events,
        )
        self._env.reached("client.before_post")
        await until_answered(lambda: self.store.post_message(request))
        self._env.reached("client.after_post")

    # -- asking

    async def get(self, id: str) -> InstanceInfo:
        """What is known of an instance. Raises InstanceNotFound."""
        return describe(await self.read(id), self.app, self.codec)

    async def history(self, id: str, execution: int | None = None) -> list[Event]:
        """The events of an execution, the current one if not said. Raises InstanceNotFound, HistoryError."""
        number = (await self.read(id)).execution if execution is None else execution
        rows = await until_answered(lambda: self.store.read_history(id, number))
        return [decode_row(self.codec, row) for row in rows]

    async def tree(self, id: str) -> InstanceTree:
        """What an instance does, as of its last commit: branches, scopes, what each waits for and at which line.

        Found out by replaying its code from the stored history; plain Python in it runs, as in every replay, and
        nothing durable does. Needs no runtime, but an app with that version of the orchestration.

        Raises:
            InstanceNotFound: there is no such instance.
            UnregisteredError: this client's app does not have the orchestration, in the version that the instance runs.
            NondeterminismError: the code does not do what the history says it did.
            HistoryError, PayloadError, SpinError: the history cannot be read, or not be replayed to its end.
        """
        return await tree_of(self, self._checked(id))

    async def kv(self, id: str) -> dict[str, Any]:
        """An instance's durable values, as plain JSON data; empty if there is no such instance."""
        values = await until_answered(lambda: self.store.read_kv(self._checked(id)))
        return {key: plain(value, self.app) for key, value in values.items()}

    async def read(self, id: str) -> InstanceRecord:
        """The store's own record of an instance, not decoded. Raises InstanceNotFound."""
        record = await until_answered(lambda: self.store.read_instance(self._checked(id)))
        if record is None:
            raise not_found(id)
        return record

    # -- checks

    def _checked(self, id: str) -> str:
        self.app.limits.check_id("instance id", id)
        return id

    def _draft(self, event: Event) -> Draft:
        encoded = self.codec.encode(event)
        return Draft(encoded.kind, encoded.data, encoded.payload)


def _request_id(id: str, name: str, key: str) -> str:
    """The same request id for the same instance, event name and key."""
    if not isinstance(key, str):
        raise EncodeError(f"dedupe_key= must be a str, not {type(key).__name__}")
    text = "\0".join((id, name, key)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16, person=b"dedupe").hexdigest()


def _checked_reason(reason: str | None) -> str | None:
    if reason is not None:
        if not isinstance(reason, str):
            raise EncodeError(f"reason= must be a str, not {type(reason).__name__}")
        try:
            reason.encode()
        except UnicodeEncodeError:
            raise EncodeError("reason= holds half a surrogate pair: it is not valid Unicode text") from None
    return reason


def _checked_attributes(attributes: Mapping[Any, Any]) -> dict[str, str]:
    for key, value in attributes.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise EncodeError(f"attributes= maps texts to texts; {key!r} does not")
    return dict(attributes)
