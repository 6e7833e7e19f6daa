"""An application: the activities, orchestrations and exceptions that belong together. A value, never a global.

Laws: a name means one thing; a definition knows its app, and a runtime knows what its app includes; nothing happens at
import time but filling dictionaries. Read next: `durable`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, ParamSpec, TypeVar, overload

from trioflow._ambient import OnCancel
from trioflow.app._definitions import ActivityDefinition, OrchestrationDefinition, check_function
from trioflow.app._options import ActivityOptions
from trioflow.app._registry import Registry, parse_version
from trioflow.app._retry import NO_RETRY, Retry
from trioflow.errors import ConfigurationError
from trioflow.history import ArgumentSpec, FailureCodec, Limits, PayloadCodec

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound=type[Exception])


class App:
    """A set of definitions that run together.

    Args:
        name: for people, logs and traces.
        limits: what payloads and ids may be.
    """

    def __init__(self, name: str, *, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.limits.check_id("app name", name)
        self.name = name
        self.codec = PayloadCodec(limits=self.limits)
        self.failures = FailureCodec(self.codec)
        self.registry = Registry(name)
        self.undead: list[object] = []  # branches that could not be ended when they were dropped; never freed

    def __repr__(self) -> str:
        own = self.registry
        return f"<App {self.name!r} [{len(own.activities)} activities, {len(own.orchestrations)} orchestrations]>"

    # -- defining

    @overload
    def activity(self, fn: Callable[P, Awaitable[R]], /) -> ActivityDefinition[P, R]: ...

    @overload
    def activity(self, fn: Callable[P, R], /) -> ActivityDefinition[P, R]: ...

    @overload
    def activity(
        self,
        /,
        *,
        name: str | None = None,
        retry: Retry = NO_RETRY,
        tag: str | None = None,
        session: str | None = None,
        timeout: float | None = None,
        schedule_timeout: float | None = None,
        heartbeat_timeout: float | None = None,
        on_cancel: OnCancel = "wait",
    ) -> ActivityDecorator: ...

    def activity(
        self, fn: Callable[..., Any] | None = None, /, *, name: str | None = None, **settings: Any
    ) -> ActivityDefinition[..., Any] | ActivityDecorator:
        """Register an activity: a function that touches the world.

        ``async def`` runs in the runtime's trio thread, plain ``def`` in a worker thread. The options are those of
        `ActivityDefinition.options`. Raises ConfigurationError for a name that is taken or a function that cannot be
        one.
        """
        decorator = ActivityDecorator(self, name, ActivityOptions(**settings))
        return decorator if fn is None else decorator(fn)

    @overload
    def orchestration(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> OrchestrationDefinition[P, R]: ...

    @overload
    def orchestration(
        self, /, *, name: str | None = None, version: str = "1.0.0"
    ) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], OrchestrationDefinition[P, R]]: ...

    def orchestration(
        self, fn: Callable[..., Any] | None = None, /, *, name: str | None = None, version: str = "1.0.0"
    ) -> Any:
        """Register an orchestration: an ``async def`` whose every step is recorded and replayed.

        Several versions of one name may be registered. Raises ConfigurationError for a (name, version) that is taken.
        """

        def define(fn: Callable[..., Coroutine[Any, Any, Any]]) -> OrchestrationDefinition[..., Any]:
            own_name = check_function(fn, "orchestration", name, must_be_async=True)
            self.limits.check_id("orchestration name", own_name)
            parse_version(version)
            definition = OrchestrationDefinition(
                app=self, name=own_name, version=version, fn=fn, spec=ArgumentSpec.of(fn)
            )
            self.registry.add_orchestration(definition)
            return definition

        return define if fn is None else define(fn)

    def exception(self, cls: E, *, name: str | None = None) -> E:
        """Register an exception class: raised by an activity or a child, it comes back as itself. Usable as a
        decorator.
        """
        self.failures.register(cls, name)
        return cls

    def include(self, other: App, *, prefix: str = "") -> None:
        """Make everything of another app part of this one, its names behind `prefix`. What it gains later is included
        too. Raises ConfigurationError for a cycle, or where the two mean different things by one name.
        """
        self.registry.include(other.registry, prefix)
        try:
            self.failures.include(other.failures)
        except ConfigurationError:
            self.registry.included.pop()
            raise

    # -- finding

    def definitions(self) -> Iterator[tuple[tuple[str, ...], Any]]:
        """All definitions, included ones too, as ((noun, name[, version]), definition)."""
        return self.registry.definitions()

    def find_activity(self, name: str) -> ActivityDefinition[Any, Any]:
        """The activity of that name; raises UnregisteredError that suggests near ones."""
        return self.registry.find_activity(name)

    def find_orchestration(self, name: str, version: str | None = None) -> OrchestrationDefinition[Any, Any]:
        """The orchestration of that name: the exact version, or the newest. Raises UnregisteredError."""
        return self.registry.find_orchestration(name, version)

    def name_of(self, definition: ActivityDefinition[Any, Any] | OrchestrationDefinition[Any, Any]) -> str:
        """The name under which this app knows a definition; raises ConfigurationError if it does not."""
        if definition.app is self:
            return definition.name
        prefix = self.registry.prefix_of(definition.app.registry)
        if prefix is not None:
            return prefix + definition.name
        raise ConfigurationError(
            f"{definition.name!r} belongs to app {definition.app.name!r}, which is not part of the app {self.name!r} "
            f"that runs here; call `include` on the app that the runtime was opened with: app.include(...)"
        )


class ActivityDecorator:
    """What `app.activity(...)` with options returns; applied to a function it registers it."""

    def __init__(self, app: App, name: str | None, settings: ActivityOptions) -> None:
        self._app, self._name, self._settings = app, name, settings

    @overload
    def __call__(self, fn: Callable[P, Awaitable[R]], /) -> ActivityDefinition[P, R]: ...

    @overload
    def __call__(self, fn: Callable[P, R], /) -> ActivityDefinition[P, R]: ...

    def __call__(self, fn: Callable[..., Any], /) -> ActivityDefinition[..., Any]:
        app, name = self._app, check_function(fn, "activity", self._name, must_be_async=False)
        app.limits.check_id("activity name", name)
        definition: ActivityDefinition[..., Any] = ActivityDefinition(
            app=app, name=name, fn=fn, settings=self._settings, spec=ArgumentSpec.of(fn)
        )
        app.registry.add_activity(definition)
        return definition
