"""What would differ from run to run, made the same for ever: time, randomness, recorded values, version gates.

Laws: every answer follows from the history; each branch has its own random stream, so a draw added in one branch
changes no other.
"""

from __future__ import annotations

import contextlib
import datetime
import inspect
import random as _random
import typing
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, TypeVarTuple, Unpack, cast

from trioflow._ambient import Host, OrchestrationInfo, current_host
from trioflow._kernel import (
    cancel_shielded_checkpoint,
    checkpoint_if_cancelled,
    current_kernel,
    current_task,
    current_time,
    take_operation_key,
)
from trioflow.errors import OperationFailed
from trioflow.history import Failure

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def now() -> datetime.datetime:
    """The time of the last delivered event on the store's clock, in UTC. Never decreases. Not a checkpoint."""
    return datetime.datetime.fromtimestamp(current_time(), datetime.UTC)


def rng() -> _random.Random:
    """This branch's own random stream, the same on every replay. Not a checkpoint."""
    return current_host().stream(current_task())


def random() -> float:
    """A float in [0, 1) from this branch's stream. Not a checkpoint."""
    return rng().random()


def uuid4() -> uuid.UUID:
    """A UUID from this branch's stream. Not a checkpoint."""
    return uuid.UUID(int=rng().getrandbits(128), version=4)


async def record(fn: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
    """Run a small nondeterministic function once and keep its result. A checkpoint.

    For what is quick and local, like reading a setting; what touches the world is an activity. `fn` is synchronous, may
    run again if the turn is retried, and its exception is recorded too. Its result is decoded by the function's
    declared return type.
    """
    if inspect.iscoroutinefunction(fn):
        raise TypeError(f"durable.record takes a synchronous function; make {fn!r} an activity")
    await checkpoint_if_cancelled()
    host = current_host()
    name = getattr(fn, "__qualname__", repr(type(fn)))
    what = f"the result of record({name})"
    returns = _returns(fn)

    def run() -> bytes:
        with _without_verbs():
            value = fn(*args)
        return host.codec.encode(value, returns, what=what)

    recorded = host.record(take_operation_key(), name, run)
    await cancel_shielded_checkpoint()
    assert recorded is not None  # else the turn has ended here
    if recorded.failure is not None:
        raise _failed(name, recorded.failure, host)
    return cast(T, host.codec.decode(cast(bytes, recorded.payload), returns, what=what))


def _failed(name: str, failure: Failure, host: Host) -> BaseException:
    """The exception to raise, made here: the frame that raises it must not hold it, or it would be a cycle."""
    exc = host.failures.to_exception(failure)
    if exc is not None:
        return exc
    return OperationFailed(f"{name} failed: {failure}", type=failure.type, message=failure.message)


@contextlib.contextmanager
def _without_verbs() -> Iterator[None]:
    kernel = current_kernel()
    kernel.forbidden = (
        "durable.record runs its function once and never on a replay, so that function may use no durable verb, "
        "whose effects would be missing then; call the verb before, and pass its result as an argument"
    )
    try:
        yield
    finally:
        kernel.forbidden = None


def _returns(fn: Callable[..., Any]) -> Any:
    if isinstance(fn, type):
        return fn
    try:
        return typing.get_type_hints(fn).get("return", Any)
    except (TypeError, NameError, AttributeError):
        return Any  # a builtin or callable object: plain JSON values


def patched(change: str) -> bool:
    """Whether this execution runs the code behind the version gate `change`. Not a checkpoint.

    True for an execution that reaches the gate for the first time live, and on all its replays; False for one that had
    passed here before the gate was written. Fixed per execution at the first call.
    """
    return current_host().patched(change)


def info() -> OrchestrationInfo:
    """What the orchestration may know of itself, at the point of its history being evaluated. Not a checkpoint."""
    return current_host().info()
