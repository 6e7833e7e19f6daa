"""`as_safe_channel`: write ``yield``, iterate safely.

Laws: the generator runs in one task of its own, so that scopes and nurseries in it nest, whoever iterates; it is asked
for a value only when somebody receives one, and is closed when the block ends. What it or the block raised comes out as
it was raised if it is one exception, else as the group.
Who calls it: user code. Read next: `_combinators.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from types import TracebackType
from typing import Generic, ParamSpec, Self, TypeVar

import attrs

from trioflow._kernel import TASK_STATUS_IGNORED, Cancelled, TaskStatus, open_nursery, raise_as_it_was
from trioflow._util import BrokenResourceError, EndOfChannel
from trioflow.durable._channels import MemoryReceiveChannel, MemorySendChannel, open_memory_channel
from trioflow.durable._limits import Semaphore

P = ParamSpec("P")
T = TypeVar("T")


@attrs.frozen(eq=False, repr=False)
class SafeChannel(Generic[T]):
    """The values of a generator, to be received one by one or with ``async for``. Made by `as_safe_channel`."""

    _values: MemoryReceiveChannel[T]
    _wanted: Semaphore  # released once for each value that somebody asks for

    async def receive(self) -> T:
        """Run the generator to its next value; a checkpoint.

        Raises:
            EndOfChannel: it has ended.
            ClosedResourceError: this was closed.
        """
        self._wanted.release()
        return await self._values.receive()

    async def aclose(self) -> None:
        """Receive no more; a checkpoint. The generator is closed when the block ends, or before."""
        await self._values.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except EndOfChannel:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()


SafeChannel.__module__ = "trioflow.durable"


def as_safe_channel(
    fn: Callable[P, AsyncGenerator[T, None]],
) -> Callable[P, AbstractAsyncContextManager[SafeChannel[T]]]:
    """Make an async generator function safe to iterate, as a decorator.

    ``async with fn(...) as values:`` gives a channel, and ``async for value in values:`` iterates it. Unlike a bare
    generator it may yield in scopes and nurseries, and is closed when the block ends.
    """

    @asynccontextmanager
    @wraps(fn)
    async def values_of(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[SafeChannel[T]]:
        send, receive = open_memory_channel[T](0)
        wanted = Semaphore(0)
        try:
            async with open_nursery() as nursery:
                # Started, not only spawned: from here on the generator will be closed, whatever happens.
                await nursery.start(_drive, fn(*args, **kwargs), send, wanted)
                with receive:
                    yield SafeChannel(receive, wanted)
                nursery.cancel_scope.cancel(reason="the block of as_safe_channel has ended")
        except BaseExceptionGroup as group:
            alone = _alone(group)
            if alone is None:
                group.add_note(
                    "Encountered exception during cleanup of generator object, as well as exception in the "
                    "contextmanager body - unable to unwrap."
                )
                raise
            raise_as_it_was(alone)

    return values_of


def _alone(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The only member of a group, or the only one beside `Cancelled`; None if there are several."""
    members = [exc for exc in group.exceptions if not isinstance(exc, Cancelled)] or [group.exceptions[0]]
    return members[0] if len(members) == 1 else None


async def _drive(
    generator: AsyncGenerator[T, None],
    send: MemorySendChannel[T],
    wanted: Semaphore,
    *,
    task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
) -> None:
    """Run the generator from value to value, each when it is asked for, and close it at the end."""
    with send:
        try:
            task_status.started()
            while True:
                await wanted.acquire()
                if not send.statistics().open_receive_channels:
                    return  # nobody could receive what it would come up with
                try:
                    value = await anext(generator)
                except StopAsyncIteration:
                    return
                try:
                    await send.send(value)
                except BrokenResourceError:
                    return  # closed while the generator ran
        finally:
            await _close(generator)


async def _close(generator: AsyncGenerator[T, None]) -> None:
    """`aclose`, which does not know that its GeneratorExit may come back in a group."""
    try:
        await generator.aclose()
    except BaseExceptionGroup as group:
        exits, others = group.split(GeneratorExit)
        left = [] if others is None else list(others.exceptions)
        if exits is not None and len(_leaves(exits)) > 1:
            left.append(AssertionError("More than one GeneratorExit found."))  # only one of them can be ours
        if left:
            raise group.derive(left) from None


def _leaves(exc: BaseException) -> list[BaseException]:
    """What a group holds in the end."""
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for member in exc.exceptions for leaf in _leaves(member)]
    return [exc]
