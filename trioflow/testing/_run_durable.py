"""Run any async function as an orchestration, in memory, here and now.

Laws: time jumps: sleeps, deadlines and pauses before a retry take no time, activities take what they take; what the
code raised, and what a plain function returned, comes out as the very same object, but for what is our own in a group;
activities, their retries and children run by the same rules as anywhere, and what they are given and give is encoded
and decoded as anywhere.

Who calls it: tests of orchestrations. Read next: `_memory_world.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, cast

import trio

from trioflow._kernel import coroutine_of, in_kernel
from trioflow.abc import Env
from trioflow.app import App, OrchestrationDefinition
from trioflow.errors import ConfigurationError, PayloadError
from trioflow.testing._memory_world import MemoryWorld

P = ParamSpec("P")
R = TypeVar("R")

NAME = "run_durable"
"""The name of an orchestration that is only a function."""


async def run_durable(
    fn: OrchestrationDefinition[P, R] | Callable[P, Awaitable[R]],
    *args: Any,
    app: App | None = None,
    env: Env | None = None,
) -> R:
    """Run `fn(*args)` as an orchestration to its end and return what it returned.

    While an activity's body runs, time passes as on trio's clock (with an autojump clock, at once); otherwise it jumps.

    Args:
        fn: an ``@app.orchestration``, whose arguments and result cross the durable border as anywhere, or any async
            function, which gets and gives them as they are.
        args: its arguments; keyword arguments by `functools.partial`.
        app: where activities and children are found; that of the orchestration if not given.
        env: randomness and time.

    Raises:
        Exception: what the code raised, the same object.
        EncodeError: an orchestration returned what its declared type is not, or what cannot be recorded.
        TypeError: `fn` is no async function; the message says what to write.
        OrchestrationCancelled: it was cancelled, or cancelled itself.
        RuntimeError: everything waits and nothing will ever happen; the message says for what.
    """
    if in_kernel():
        raise RuntimeError(
            "run_durable was called inside an orchestration; there, await the function itself, or an "
            "`@app.orchestration` as a child"
        )
    application, definition, payload = _prepared(fn, args, app)
    async with trio.open_nursery() as nursery:
        world = MemoryWorld(application, env or Env(), nursery)
        try:
            result = await world.run(definition, payload)
        finally:
            world.close()
        nursery.cancel_scope.cancel()
    value = result.unwrap()
    if isinstance(fn, OrchestrationDefinition):
        value = _as_a_client_gets_it(value, fn, application)
    return cast(R, value)


def _as_a_client_gets_it(value: Any, definition: OrchestrationDefinition[..., Any], app: App) -> Any:
    """A result that has crossed the durable border."""
    returns, what = definition.spec.returns, f"the result of orchestration {definition.name!r}"
    return app.codec.decode(app.codec.encode(value, returns, what=what), returns, what=what)


def _prepared(
    fn: Callable[..., Any], args: tuple[Any, ...], app: App | None
) -> tuple[App, OrchestrationDefinition[..., Any], bytes]:
    """The app to run in, what to run there, and its encoded arguments."""
    if isinstance(fn, OrchestrationDefinition):
        app = app or fn.app
        app.name_of(fn)  # or say that it is not part of the app
        return app, fn, app.codec.encode_arguments(fn.spec, args, {}, what=f"arguments of orchestration {fn.name!r}")
    try:
        own = _own_app(app)
        definition = own.orchestration(name=NAME)(_first_time_as_given(fn, args))
        return own, definition, own.codec.encode_arguments(definition.spec, args, {}, what=f"arguments of {NAME}")
    except (ConfigurationError, PayloadError, TypeError):
        # They cannot cross a durable border, and need not: only `continue_as_new` would have to pass such arguments on.
        own = _own_app(app)
        return own, own.orchestration(name=NAME)(_without_arguments(fn, args)), b"{}"


def _own_app(app: App | None) -> App:
    """An app of the function's own, which has everything of the given one."""
    own = App(NAME)
    if app is not None:
        own.include(app)
        own.limits, own.codec, own.failures = app.limits, app.codec, app.failures
    return own


def _first_time_as_given(fn: Callable[..., Any], args: tuple[Any, ...]) -> Callable[..., Any]:
    """`fn`, called with the very objects that were given; after `continue_as_new` with what that passed on."""
    waiting = [args]

    @functools.wraps(fn)
    async def call(*recorded: Any, **by_name: Any) -> Any:
        given = waiting.pop() if waiting else None
        return await (_called(fn, recorded, by_name) if given is None else _called(fn, given, {}))

    return call


def _without_arguments(fn: Callable[..., Any], args: tuple[Any, ...]) -> Callable[[], Any]:
    async def call() -> Any:
        return await _called(fn, args, {})

    return call


def _called(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
    """The coroutine; a teaching error for what is no async function."""
    return coroutine_of(functools.partial(fn, **kwargs) if kwargs else fn, args)
