"""The client: everything one may ask of a store about orchestrations, without running any.

Laws: what is wrong is refused here, before anything is written (ids, names, argument types, sizes); every write carries
a request id and is repeated by it until its outcome is known; nothing here runs user code, but for `tree`, which has to
replay it (`_tree.py`).

Must never know: runtimes, the engine (which `_tree.py` alone does). Who calls it: users, activities (through
`activity.client()`). Read next: `_handle.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Final, Literal, ParamSpec, TypeVar, cast, overload

import attrs

from trioflow._client._beginning import FirstTurn, begin
from trioflow._client._checks import check_count, check_seconds, checked_attributes
from trioflow._client._handle import Handle
from trioflow._client._info import InstanceInfo, decode_row, describe, draft_of, plain
from trioflow._client._management import Management
from trioflow._client._requests import until_answered
from trioflow._client._restarting import restart
from trioflow._client._tree import InstanceTree, tree_of
from trioflow._client._waiting import read_value
from trioflow._util import shown
from trioflow.abc import StartInstance
from trioflow.app import OrchestrationDefinition
from trioflow.errors import ConfigurationError, history_cut_short
from trioflow.history import REPLAY_SEMANTICS, Event, OrchestrationStarted

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
IfExists = Literal["fail", "attach", "replace_finished"]
_IF_EXISTS: Final = ("fail", "attach", "replace_finished")


@attrs.define(eq=False, repr=False)
class Client(Management):
    """Starts orchestrations, steers them, asks about them, and administers them.

    Attributes:
        app: whose names, types and exceptions it knows.
        store: where everything is.
    """

    first_turn: Callable[[str], FirstTurn | None] | None = attrs.field(default=None, init=False)  # of its runtime

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
            version: an exact version; None is what the worker which begins it uses: the newest that it knows, unless
                `App.use_version` says otherwise.
            if_exists: "fail" raises InstanceExists; "attach" gives a handle to what is there if it runs the same
                orchestration; "replace_finished" begins anew where the old one has ended.
            delay: seconds before it begins; it is visible at once, and may be suspended or terminated before.
            attributes: texts to find it by.

        Raises:
            UnregisteredError: the app has no such orchestration or version.
            EncodeError: an argument does not fit its declared type.
            TypeError: the arguments do not fit the signature.
            LimitExceeded: the id or the arguments are too large.
            InstanceExists: the id is taken, or belongs to another orchestration than is to be attached to.
        """
        wanted, kwargs = id, {}
        if isinstance(orchestration, functools.partial):
            args, kwargs = (*orchestration.args, *args), orchestration.keywords
            orchestration = cast(OrchestrationDefinition[..., Any], orchestration.func)  # checked below
        if isinstance(orchestration, OrchestrationDefinition):
            wanted = orchestration.child_id if id is None else id
            version = orchestration.child_version if version is None else version
        if version is not None:
            self.app.limits.check_id("version", version)
        name, definition = self._resolve(orchestration, version)
        if if_exists not in _IF_EXISTS:
            raise ConfigurationError(f"if_exists= must be one of {', '.join(_IF_EXISTS)}, not {shown(if_exists)}")
        if delay is not None:
            check_seconds("delay", delay)
        instance = self._new_id(name) if wanted is None else self.checked(wanted)
        started = OrchestrationStarted(
            instance=instance,
            name=name,
            version=version,
            payload=self._arguments(name, definition, args, kwargs),
            seed=self.env.token(),
        )
        first_turn = None if delay or self.first_turn is None else self.first_turn(instance)
        request = StartInstance(
            request_id=self.env.ordered_token(),
            instance=instance,
            name=name,
            version=version,
            semantics=REPLAY_SEMANTICS,
            start=draft_of(started, self.codec),
            attributes=checked_attributes(attributes),
            delay=delay or 0.0,
            if_exists=if_exists,
            born=None if first_turn is None else first_turn.born,
        )
        self.env.reached("client.before_start")
        seen_ends = self.store.signals.seen_ends()
        with first_turn or nullcontext():
            answer = await begin(self, started, request)
            if first_turn is not None:
                first_turn.answered(answer)
        self.env.reached("client.after_start")
        return Handle(instance, self, seen_ends if answer.created else None)

    def _resolve(self, orchestration: object, version: str | None) -> tuple[str, OrchestrationDefinition[..., Any]]:
        if isinstance(orchestration, str):
            self.app.limits.check_id("orchestration name", orchestration)
            return orchestration, self.app.find_orchestration(orchestration, version)
        if not isinstance(orchestration, OrchestrationDefinition):
            raise ConfigurationError(
                f"start takes an `@app.orchestration` or the name of one, not {shown(orchestration)}; "
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
        return f"{name[:400]}-{self.env.ordered_token()[:24]}"

    def handle(self, id: str) -> Handle[Any]:
        """A handle to an instance, which need not exist yet."""
        return Handle(self.checked(id), self)

    async def restart(self, id: str, *, force: bool = False, latest: bool = False) -> Handle[Any]:
        """Begin an instance again from its beginning, as a new execution of the same id.

        It gets the input that its current execution began with (after a continue-as-new that is what this was called
        with), and keeps its name and attributes. Status, kv and unread events are gone; earlier histories stay, and
        execution numbers go on. It is nobody's child, even if it was: whoever waited for it was told of its end. Its
        own former children stay; where the code gives a child the id that one of them has, and that has ended, the new
        one takes its place as the next execution of that id.

        Args:
            id: the instance.
            force: if it has not ended it is terminated, and this waits for its end and that of the children which end
                with it, for which a runtime is needed.
            latest: begin as a start without a version does, with the newest version that the worker knows, or what
                `App.use_version` says; otherwise with the one that the current execution ran, asked for or not.

        Raises:
            InstanceNotFound: it is not there.
            InstanceNotFinished: it has not ended, and `force` was not given.
            InstanceExists: somebody else began it again meanwhile.
            HistoryError: its input cannot be read, or was never recorded since it had not begun; nothing was ended.
            ConfigurationError: `force` was asked for by an activity of the instance itself, or of one below it, which
                would end before it could begin the instance again; nothing was ended.
        """
        await restart(self, self.checked(id), force=force, latest=latest)
        return Handle(id, self)

    # -- asking

    async def get(self, id: str) -> InstanceInfo:
        """What is known of an instance. Raises InstanceNotFound."""
        return describe(await self.read(id), self.app, self.codec)

    async def history(self, id: str, execution: int | None = None) -> list[Event]:
        """The events of an execution, the current one if not said; none of one that was pruned or never was.

        Raises:
            InstanceNotFound: it is not there.
            HistoryError: an event cannot be read.
            StoreCorrupt: events of the current execution are lost.
            ConfigurationError: that is no number of an execution.
        """
        if execution is not None:
            check_count("execution", execution)
        record = await self.read(id)  # somebody is there
        number = record.execution if execution is None else execution
        rows = await until_answered(self.store.read_history, id, number)
        short = number == record.execution and len(rows) < record.history_length
        if short and (await self.read(id)).execution == number:  # else it has gone on, and this one was pruned
            raise history_cut_short(id, len(rows), record.history_length)
        return [decode_row(self.codec, row) for row in rows]

    async def tree(self, id: str) -> InstanceTree:
        """What an instance does, as of its last commit: branches, scopes, what each waits for and at which line.

        Found out by replaying its code from the stored history; plain Python in it runs, as in every replay, and
        nothing durable does. Needs no runtime, but an app with that version of the orchestration.

        Raises:
            InstanceNotFound: there is no such instance.
            UnregisteredError: this client's app does not have the orchestration, in the version that the instance runs.
            NondeterminismError: the code does not do what the history says it did.
            StoreCorrupt: events of its history are lost.
            HistoryError, PayloadError, SpinError: the history cannot be read, or not be replayed to its end.
        """
        return await tree_of(self, self.checked(id))

    @overload
    async def kv_value(self, id: str, key: str, type: type[T]) -> T: ...
    @overload
    async def kv_value(self, id: str, key: str, type: Any = Any) -> Any: ...

    async def kv_value(self, id: str, key: str, type: Any = Any) -> Any:
        """One durable value, decoded as `type`, plain JSON data if not given.

        Raises:
            KeyError: the instance has no such value, or is not there.
            DecodeError: the value does not fit `type`.
        """
        value = await read_value(self, self.checked(id), key)
        if value is None:
            raise KeyError(key)
        return self.app.codec.decode(value, type, what=f"kv value {key!r}")

    async def kv(self, id: str) -> dict[str, Any]:
        """An instance's durable values, as plain JSON data; empty if there is no such instance."""
        values = await until_answered(self.store.read_kv, self.checked(id))
        return {key: plain(value, self.app) for key, value in values.items()}
