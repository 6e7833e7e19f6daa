"""From an async function to a coroutine and a name, with errors that show the right spelling.

Law: what is spawned is an async function and its arguments, never a coroutine object; whatever else is given gets an
error that says how to write it. Who calls it: `_scheduler.py`, `testing`. Read next: `_nursery.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from types import CoroutineType
from typing import Any

USE_ACTIVITY = "An orchestration awaits trioflow's own primitives; call other libraries from an activity."


def coroutine_of(async_fn: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> Coroutine[Any, Any, Any]:
    """Call `async_fn` and make sure that what comes back is a coroutine that can be stepped."""
    if not callable(async_fn):
        raise _not_a_function(async_fn)
    made = async_fn(*args)
    # The class that nearly all have comes first: an abstract one takes its time to know its own.
    if not isinstance(made, (CoroutineType, Coroutine)):
        raise _not_a_coroutine(async_fn, made)
    if getattr(made, "cr_frame", None) is None:
        return _wrapped(made)  # written in C, or a class of its own: give it a frame to be looked at
    return made


async def _wrapped(coro: Coroutine[Any, Any, Any]) -> Any:
    return await coro


def name_of(async_fn: Callable[..., object], name: object) -> str:
    """The name of a task: as given, or the function's."""
    if isinstance(name, str):
        return name
    given = async_fn if name is None else name
    while isinstance(given, partial):
        given = given.func
    own = getattr(given, "__qualname__", None)
    home = getattr(given, "__module__", None)
    if own is not None and home is not None:
        return f"{home}.{own}"
    own = own or getattr(given, "__name__", None)  # of a method written in C, or a definition
    if own is not None:
        return str(own)
    # A plain object's repr is an address, which differs from replay to replay; that of a function with data in it shows
    # them. Only what was given as a name is shown as it is.
    return type(given).__qualname__ if name is None or type(given).__repr__ is object.__repr__ else repr(given)


def _looks_foreign(value: object) -> bool:
    """Whether it is a future of asyncio, or a deferred of twisted or tornado."""
    return hasattr(value, "_asyncio_future_blocking") or type(value).__name__ in ("Deferred", "Future")


def _not_a_function(value: object) -> TypeError:
    if isinstance(value, Coroutine):
        name = getattr(value, "__qualname__", "fn")
        value.close()  # or Python would warn that it was never awaited, as if that were the mistake
        return TypeError(
            f"trioflow was expecting an async function, but instead it got a coroutine object {value!r}. It was called "
            f"already; leave the call to whoever runs it:\n  nursery.start_soon({name}(...))   # wrong\n"
            f"  nursery.start_soon({name}, ...)   # right"
        )
    if _looks_foreign(value):
        return TypeError(
            f"trioflow was expecting an async function, but instead it got {value!r}, which belongs to another async "
            f"library. {USE_ACTIVITY}"
        )
    return TypeError(f"trioflow was expecting an async function, but instead it got {value!r}, which cannot be called")


def _not_a_coroutine(async_fn: object, made: object) -> TypeError:
    name = getattr(async_fn, "__qualname__", repr(async_fn))
    if _looks_foreign(made):
        return TypeError(
            f"trioflow was expecting an async function, but {name} returned {made!r}, which belongs to another async "
            f"library. {USE_ACTIVITY}"
        )
    if inspect.isasyncgen(made):
        return TypeError(f"expected an async function but got an async generator: {name}. Iterate it inside a function")
    return TypeError(f"trioflow expected an async function, but {name} appears to be synchronous: it returned {made!r}")
