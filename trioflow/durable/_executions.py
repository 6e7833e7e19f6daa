"""Beginning other executions: `continue_as_new` and `start_detached`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from trioflow._ambient import AskDetached, ContinueAsNew, current_host
from trioflow._kernel import perform
from trioflow.errors import InstanceExists
from trioflow.history import ArgumentSpec, DetachedRefused, DetachedStarted


class Orchestration(Protocol):
    """What `start_detached` needs of an orchestration's definition."""

    @property
    def spec(self) -> ArgumentSpec: ...

    @property
    def child_id(self) -> str | None: ...

    @property
    def child_version(self) -> str | None: ...


def continue_as_new(*args: Any, version: str | None = None) -> NoReturn:
    """End this execution and begin the next one of this instance, with these arguments and a fresh history.

    It unwinds like an exception: nurseries cancel and await their children, `finally` blocks run durably, sagas are not
    compensated. Unread events, kv, status and the parent's wait are carried over. Not a checkpoint.

    Args:
        args: for the next execution, by the orchestration's own signature; a `functools.partial` of the orchestration,
            as the only one, brings keyword arguments.
        version: the version the next execution runs; None is what the app of its worker uses: see `App.use_version`.

    Raises:
        EncodeError, LimitExceeded: an argument or the version is none that can be recorded.
    """
    host = current_host()
    if version is not None:
        host.codec.limits.check_id("version", version)
    kwargs: dict[str, Any] = {}
    if len(args) == 1 and isinstance(args[0], functools.partial):  # which no payload can be
        args, kwargs = args[0].args, args[0].keywords
    raise ContinueAsNew(host.own_arguments(args, kwargs), version)


async def start_detached(
    orchestration: Orchestration | functools.partial[Any] | Callable[..., Any] | str, *args: Any, id: str | None = None
) -> str:
    """Start a new root instance and return its id, once it is certain to exist. A checkpoint.

    Args:
        orchestration: a definition (or a `functools.partial` of one, for keyword arguments), or a registered name.
        args: its arguments.
        id: its instance id; None is that of the definition's `options(id=)`, or else one made from the place of this
            call, which never collides.

    Raises:
        TypeError: what is to be started is no orchestration.
        InstanceExists: the id is taken.
        UnregisteredError: nobody registered that name.
    """
    host = current_host()
    kwargs: dict[str, Any] = {}
    if isinstance(orchestration, functools.partial):
        args, kwargs, orchestration = (*orchestration.args, *args), orchestration.keywords, orchestration.func
    if isinstance(orchestration, str):
        name, definition = orchestration, host.orchestration_named(orchestration)
    elif hasattr(orchestration, "child_version"):
        name, definition = host.registered_name(orchestration), orchestration
    else:
        raise TypeError(
            f"durable.start_detached takes an orchestration, made with @app.orchestration, or its name, "
            f"not {orchestration!r}"
        )
    wanted = definition.child_id if id is None else id
    recorded = host.recorded_next()
    if wanted is not None and getattr(recorded, "instance", None) != wanted:
        host.codec.limits.check_id("instance id", wanted)
    payload = host.codec.encode_arguments(
        definition.spec, args, kwargs, what=("orchestration", name), recorded=getattr(recorded, "payload", None)
    )
    answer = await perform(AskDetached(name, definition.child_version, wanted, payload), on_cancel="wait")
    if isinstance(answer, DetachedRefused):
        raise InstanceExists(answer.failure.message)
    assert isinstance(answer, DetachedStarted), answer
    return answer.instance
