"""`gather`, `race` and `map`: nurseries with a result.

Laws: they raise as a nursery does; when one returns, every branch it opened has ended; a branch's place is the position
of its argument, whatever finished first. Each is a checkpoint even with nothing to do: it looks for cancellation before
it begins, which the end of a nursery does not do.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from types import CoroutineType
from typing import Any, TypeVar, overload

from trioflow._kernel import checkpoint_if_cancelled, open_nursery
from trioflow.durable._sync import Event

T = TypeVar("T")
A = TypeVar("A")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")

Work = Awaitable[T] | Callable[[], Awaitable[T]]
"""Something to be awaited once: an awaitable, or an async function without arguments."""


@overload
async def gather(a: Work[T1], /) -> tuple[T1]: ...
@overload
async def gather(a: Work[T1], b: Work[T2], /) -> tuple[T1, T2]: ...
@overload
async def gather(a: Work[T1], b: Work[T2], c: Work[T3], /) -> tuple[T1, T2, T3]: ...
@overload
async def gather(a: Work[T1], b: Work[T2], c: Work[T3], d: Work[T4], /) -> tuple[T1, T2, T3, T4]: ...
@overload
async def gather(*work: Work[T]) -> tuple[T, ...]: ...


async def gather(*work: Work[Any]) -> tuple[Any, ...]:
    """Run all at once and return their results in argument order. A checkpoint.

    Each is an awaitable, or an async function without arguments, and runs in a branch of its own. The first to raise
    cancels the others; what was raised comes out as an exception group, as from a nursery.
    """
    results: list[Any] = [None] * len(work)

    async def run(index: int, item: Work[Any]) -> None:
        results[index] = await _started(item)

    await _run_all(work, run)
    return tuple(results)


@overload
async def race(a: Work[T1], b: Work[T2], /) -> tuple[int, T1 | T2]: ...
@overload
async def race(a: Work[T1], b: Work[T2], c: Work[T3], /) -> tuple[int, T1 | T2 | T3]: ...
@overload
async def race(a: Work[T1], b: Work[T2], c: Work[T3], d: Work[T4], /) -> tuple[int, T1 | T2 | T3 | T4]: ...
@overload
async def race(*work: Work[T]) -> tuple[int, T]: ...


async def race(*work: Work[Any]) -> tuple[int, Any]:
    """Run all at once; return the index and value of the first to end, in history order. A checkpoint.

    The others are cancelled and have ended when this returns; what they completed with meanwhile is dropped. If the
    first to end raised, that comes out as from a nursery.
    """
    if not work:
        raise ValueError("race() needs at least one competitor")
    finish: list[tuple[int, Any]] = []

    async def run(index: int, item: Work[Any]) -> None:
        value = await _started(item)
        if not finish:
            finish.append((index, value))
            nursery.cancel_scope.cancel(reason="another competitor has won the race")

    _check(work)
    try:
        await checkpoint_if_cancelled()
        async with open_nursery() as nursery:
            for index, item in enumerate(work):
                nursery.start_soon(run, index, item, name=_name_of(item))
    finally:
        _close_unstarted(work)
    return finish[0]


async def map(  # noqa: A001  # the verb has this name; the builtin is not used here
    fn: Callable[[A], Awaitable[T]], items: Iterable[A], *, limit: int | None = None
) -> list[T]:
    """Run ``fn(item)`` for all items, at most `limit` at once, and return the results in item order. A checkpoint.

    The first to raise cancels the others and no further item begins; what was raised comes out as from a nursery.
    """
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ValueError(f"map(limit=...) must be a whole number, at least 1, or None, not {limit!r}")
    results: dict[int, T] = {}
    running = 0
    slot = Event()

    async def run(index: int, item: A) -> None:
        nonlocal running
        try:
            results[index] = await fn(item)
        finally:
            running -= 1
            slot.set()

    count = 0
    await checkpoint_if_cancelled()
    async with open_nursery() as nursery:
        for count, item in enumerate(items, 1):
            if running == limit:
                slot = Event()
                await slot.wait()
                await checkpoint_if_cancelled()  # what made room may be a failure
            running += 1
            nursery.start_soon(run, count - 1, item, name=_name_of(fn))
    return [results[index] for index in range(count)]


async def _run_all(work: tuple[Work[Any], ...], run: Callable[[int, Work[Any]], Awaitable[None]]) -> None:
    _check(work)
    try:
        await checkpoint_if_cancelled()
        async with open_nursery() as nursery:
            for index, item in enumerate(work):
                nursery.start_soon(run, index, item, name=_name_of(item))
    finally:
        _close_unstarted(work)


def _started(item: Work[T]) -> Awaitable[T]:
    # The class that nearly all have comes first: an abstract one takes its time to know its own.
    return item if isinstance(item, (CoroutineType, Awaitable)) else item()


def _name_of(item: object) -> object:
    """What to call the branch: the user's function, never an address."""
    while isinstance(item, functools.partial):
        item = item.func
    return getattr(item, "__qualname__", None) or getattr(item, "__name__", None) or type(item).__qualname__


def _check(work: tuple[object, ...]) -> None:
    for item in work:
        if not (isinstance(item, (CoroutineType, Awaitable)) or callable(item)):
            _close_unstarted(work)
            raise TypeError(
                f"{item!r} can neither be awaited nor called; give an awaitable such as charge(order), "
                f"or an async function without arguments"
            )


def _close_unstarted(work: tuple[object, ...]) -> None:
    for item in work:
        # A coroutine that has ended has no frame.
        if type(item) is CoroutineType and item.cr_frame and inspect.getcoroutinestate(item) == inspect.CORO_CREATED:
            item.close()
