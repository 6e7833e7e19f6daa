"""Typed definitions: what `@app.activity` and `@app.orchestration` return.

Laws: a call is lazy (it does nothing until it is awaited, and then acts in the branch that awaits it); inside an
orchestration it is a durable step; outside, an activity simply runs and an orchestration refuses. A variant made by
`options` is a value: same signature, other options.
Read next: `_app.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar, cast

import attrs
import trio

from trioflow._ambient import (
    AskActivity,
    AskChild,
    Mode,
    OnCancel,
    OnParentClose,
    current_host,
)
from trioflow._kernel import in_kernel, perform
from trioflow.app._answers import read_activity, read_child
from trioflow.app._options import ON_CANCEL, ActivityOptions
from trioflow.app._retry import Retry
from trioflow.errors import ConfigurationError, NotInOrchestration
from trioflow.history import ArgumentSpec

if TYPE_CHECKING:
    from trioflow.app._app import App

P = ParamSpec("P")
R = TypeVar("R")


class _Unset:
    def __repr__(self) -> str:
        return "<as defined>"


UNSET: Any = _Unset()
"""An option that `options()` leaves as it is."""

CLOSING: Final[dict[OnParentClose, Mode]] = {"cancel": "wait", "wait": "stay", "abandon": "abandon"}
"""What a cancelled call does to its child, by the child's `on_parent_close`, unless `on_cancel` says it."""


def check_function(fn: object, noun: str, name: str | None, *, must_be_async: bool) -> str:
    """The name of a definition made of `fn`, given or its own. Raises ConfigurationError if it cannot be one."""
    if not callable(fn) or isinstance(fn, type | ActivityDefinition | OrchestrationDefinition):
        raise ConfigurationError(f"an {noun} is made of a function, not of {fn!r}")
    if inspect.isasyncgenfunction(fn) or inspect.isgeneratorfunction(fn):
        raise ConfigurationError(f"{fn!r} is a generator; an {noun} returns one value")
    if inspect.iscoroutinefunction(type(fn).__call__) and not inspect.iscoroutinefunction(fn):
        raise ConfigurationError(f"{fn!r} is an object with an async __call__; give the method or a function")
    if must_be_async and not inspect.iscoroutinefunction(fn):
        raise ConfigurationError(f"{fn!r} is not async; write `async def` for an {noun}")
    own: str | None = name or getattr(fn, "__name__", None)
    if own is None:
        raise ConfigurationError(f"{fn!r} has no name of its own; register it with @app.{noun}(name=...)")
    return own


@attrs.define(eq=False, kw_only=True, repr=False)
class ActivityDefinition(Generic[P, R]):
    """A function that touches the world: run at least once, its completion recorded exactly once.

    Inside an orchestration ``await charge(order)`` is a durable step. In plain trio code it simply runs.

    Attributes:
        name: the name it is registered under.
        fn: the raw function.
        settings: how it is run.
    """

    app: App
    name: str
    fn: Callable[P, Awaitable[R]] | Callable[P, R]
    settings: ActivityOptions = attrs.field(factory=ActivityOptions)
    spec: ArgumentSpec
    __name__: str = attrs.field(init=False)
    __doc__: str | None = attrs.field(init=False)
    is_async: bool = attrs.field(init=False)  # else a plain function, which runs in a thread
    _plain: dict[str, Any] = attrs.field(init=False)  # settings as they travel, made once

    def __attrs_post_init__(self) -> None:
        self.__name__ = getattr(self.fn, "__name__", self.name)
        self.__doc__ = self.fn.__doc__
        self.is_async = inspect.iscoroutinefunction(self.fn)
        self._plain = self.settings.to_plain()

    def __repr__(self) -> str:
        return f"<Activity {self.name!r} of {self.app.name!r}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, object, R]:
        call: Any = self._call(args, kwargs)
        call.__qualname__ = self.__name__  # what messages about it show
        return call  # type: ignore[no-any-return]

    async def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        if not in_kernel():
            return await self._run_plainly(args, kwargs)
        host = current_host()
        settings, recorded = self.settings, host.recorded_next()
        name = host.registered_name(self)
        payload = host.codec.encode_arguments(
            self.spec, args, kwargs, what=("activity", name), recorded=getattr(recorded, "payload", None)
        )
        ask = AskActivity(name, payload, settings.on_cancel, settings.tag, settings.session, self._plain)
        answer = await perform(ask, on_cancel=getattr(recorded, "on_cancel", settings.on_cancel))
        return read_activity(answer, host, self.spec.returns, name)  # type: ignore[no-any-return]

    async def _run_plainly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        if self.is_async:
            return await cast(Awaitable[R], self.fn(*args, **kwargs))
        return await trio.to_thread.run_sync(lambda: cast(R, self.fn(*args, **kwargs)))

    def options(
        self,
        *,
        retry: Retry = UNSET,
        tag: str | None = UNSET,
        session: str | None = UNSET,
        timeout: float | None = UNSET,
        schedule_timeout: float | None = UNSET,
        heartbeat_timeout: float | None = UNSET,
        on_cancel: OnCancel = UNSET,
        name: str = UNSET,
    ) -> ActivityDefinition[P, R]:
        """A variant with the same signature: ``nursery.start_soon(charge.options(tag="gpu"), order)``.

        Args:
            retry: when a failed attempt is made again.
            tag: only workers that take this tag run it; None is for workers that take untagged work.
            session: activities of one session run in one process, one worker at a time.
            timeout: seconds for each attempt; see `Retry`.
            schedule_timeout: seconds within which some worker has to begin it; at that time it has timed out, also if
                no worker of its tag is there, and is not run. Says nothing of attempts that were begun.
            heartbeat_timeout: seconds that an attempt may be silent: from its start to its first `activity.heartbeat`,
                and from each to the next. One that is silent for longer is stopped, and counts as timed out.
            on_cancel: what a cancelled caller does: "wait" for its real end (as trio does for a thread), "request" its
                end and go on, or "abandon" it.
            name: another registered name to call with the same arguments.
        """
        given: dict[str, Any] = {
            "retry": retry,
            "tag": tag,
            "session": session,
            "timeout": timeout,
            "schedule_timeout": schedule_timeout,
            "heartbeat_timeout": heartbeat_timeout,
            "on_cancel": on_cancel,
        }
        changed = {key: value for key, value in given.items() if value is not UNSET}
        if name is not UNSET:
            self.app.limits.check_id("activity name", name)
        return attrs.evolve(
            self,
            settings=attrs.evolve(self.settings, **changed),
            name=self.name if name is UNSET else name,
        )


@attrs.define(eq=False, kw_only=True, repr=False)
class OrchestrationDefinition(Generic[P, R]):
    """A function whose every step is recorded and replayed.

    Inside an orchestration ``await checkout(order)`` runs it as a child. Elsewhere use `client.start`, or
    `testing.run_durable` in tests.

    Attributes:
        name: the name it is registered under.
        version: its version, pinned by each execution at its first turn.
        fn: the raw function.
    """

    app: App
    name: str
    version: str = "1.0.0"
    fn: Callable[P, Coroutine[Any, Any, R]]
    spec: ArgumentSpec
    child_id: str | None = None
    child_version: str | None = None
    on_cancel: OnCancel | None = None  # None: as `on_parent_close` says
    on_parent_close: OnParentClose = "cancel"
    __name__: str = attrs.field(init=False)
    __doc__: str | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.__name__ = getattr(self.fn, "__name__", self.name)
        self.__doc__ = self.fn.__doc__

    def __repr__(self) -> str:
        return f"<Orchestration {self.name!r} {self.version} of {self.app.name!r}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, object, R]:
        if not in_kernel():
            raise NotInOrchestration(
                f"orchestration {self.name!r} was called where no orchestration runs; start it with "
                f"`await client.start({self.__name__}, ...)`, or in a test "
                f"`await trioflow.testing.run_durable({self.__name__}, ...)`; the raw function is `{self.__name__}.fn`"
            )
        call: Any = self._call(args, kwargs)
        call.__qualname__ = self.__name__
        return call  # type: ignore[no-any-return]

    async def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        host = current_host()
        name, recorded = host.registered_name(self), host.recorded_next()
        if self.child_id is not None and getattr(recorded, "instance", None) != self.child_id:
            host.codec.limits.check_id("instance id", self.child_id)
        payload = host.codec.encode_arguments(
            self.spec, args, kwargs, what=("orchestration", name), recorded=getattr(recorded, "payload", None)
        )
        mode = self.on_cancel or CLOSING[self.on_parent_close]
        ask = AskChild(name, self.child_version, self.child_id, payload, mode, self.on_parent_close)
        answer = await perform(ask, on_cancel=getattr(recorded, "on_cancel", mode))
        return read_child(answer, host, self.spec.returns, name)  # type: ignore[no-any-return]

    def options(
        self,
        *,
        id: str | None = UNSET,
        version: str | None = UNSET,
        on_cancel: OnCancel | None = UNSET,
        on_parent_close: OnParentClose = UNSET,
    ) -> OrchestrationDefinition[P, R]:
        """A variant with the same signature.

        Args:
            id: the child's instance id; None makes one from the place of the call, which never collides.
            version: an exact version; None is what the app of its worker uses: see `App.use_version`.
            on_parent_close: what the closing of its parent does to the child, whether that is the cancellation of this
                call or the parent's end. "cancel": a cancelled call asks the child to unwind and waits for its real
                end, and a parent that ends ends it. "wait": a cancelled call waits until the child has ended by
                itself; a parent that is terminated cannot wait, and leaves it alone. "abandon": a cancelled call goes
                on at once, and the child lives on.
            on_cancel: what a cancelled call does where that is to be another thing: "wait" for the child's real end
                after asking it to unwind, "request" that and go on, or "abandon" the child, which then outlives its
                parent unless that is terminated. None follows from `on_parent_close`.

        Raises:
            ConfigurationError: an option is none of these words.
            EncodeError, LimitExceeded: the id or the version is none that can be recorded.
        """
        if id is not UNSET and id is not None and not in_kernel():  # where it is, the call checks it
            self.app.limits.check_id("instance id", id)
        if version is not UNSET and version is not None:
            self.app.limits.check_id("version", version)
        if on_cancel not in (UNSET, None, *ON_CANCEL):
            raise ConfigurationError(f"on_cancel= must be one of {', '.join(ON_CANCEL)}, not {on_cancel!r}")
        if on_parent_close not in (UNSET, "cancel", "wait", "abandon"):
            raise ConfigurationError(f"on_parent_close= must be cancel, wait or abandon, not {on_parent_close!r}")
        return attrs.evolve(
            self,
            child_id=self.child_id if id is UNSET else id,
            child_version=self.child_version if version is UNSET else version,
            on_cancel=self.on_cancel if on_cancel is UNSET else on_cancel,
            on_parent_close=self.on_parent_close if on_parent_close is UNSET else on_parent_close,
        )
