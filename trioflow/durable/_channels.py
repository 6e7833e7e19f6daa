"""Memory channels: values passed between the tasks of one orchestration, with a buffer of a given size.

Laws: values arrive in the order in which they were sent; waiting senders and receivers are served first come first
served. A send or receive that is cancelled has not happened. Receivers wait only if the buffer is empty, senders only
if it is full. When the last end of one side is closed, the other side hears of it: receivers of `EndOfChannel`, once
the buffer is empty, senders of `BrokenResourceError`, at once. A channel is no part of the history.
Who calls it: user code. Read next: `_safe_channels.py`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from math import inf
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast, final

import attrs
from outcome import Error, Value

from trioflow._kernel import (
    Abort,
    Kernel,
    NoConstructor,
    RaiseCancel,
    Realm,
    Task,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_kernel,
    current_realm,
    current_task,
    sealed,
    wait_task_rescheduled,
)
from trioflow._util import BrokenResourceError, ClosedResourceError, EndOfChannel, WouldBlock

T = TypeVar("T")


@attrs.frozen
class MemoryChannelStatistics:
    """What is known of a channel.

    Attributes:
        current_buffer_used: how many values are in the buffer.
        max_buffer_size: how many may be.
        open_send_channels: how many sending ends are open: the first one, and clones.
        open_receive_channels: how many receiving ends are open.
        tasks_waiting_send: how many tasks wait to send.
        tasks_waiting_receive: how many tasks wait to receive.
        peak_buffer_used: the most values that ever were in the buffer at once.
    """

    current_buffer_used: int
    max_buffer_size: float
    open_send_channels: int
    open_receive_channels: int
    tasks_waiting_send: int
    tasks_waiting_receive: int
    peak_buffer_used: int


@attrs.define(eq=False, repr=False)
class _Queue(Generic[T]):
    """The tasks that wait at one side of a channel, first come first served."""

    # Where each waits (the `_tasks` of one end) and what it sends.
    _waiting: OrderedDict[Task, tuple[dict[Task, None], T]] = attrs.field(factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, at: dict[Task, None], value: T) -> Any:
        """Wait at one end until somebody takes the task out and wakes it."""
        task = current_task()
        self._waiting[task] = at, value
        at[task] = None

        def abort(_: RaiseCancel) -> Abort:
            self._remove(task)
            return Abort.SUCCEEDED

        return await wait_task_rescheduled(abort)

    def take(self, kernel: Kernel, answer: object) -> T:
        """Wake the first one with an answer; returns what it sends."""
        task = next(iter(self._waiting))
        kernel.wake(task, Value(answer))
        return self._remove(task)

    def fail(self, kernel: Kernel, tasks: Iterable[Task], error: type[Exception]) -> None:
        """Wake some with an error each."""
        for task in list(tasks):
            self._remove(task)
            kernel.wake(task, Error(error()))

    def fail_all(self, kernel: Kernel, error: type[Exception]) -> None:
        """Wake all with an error each."""
        self.fail(kernel, self._waiting, error)

    def _remove(self, task: Task) -> T:
        at, value = self._waiting.pop(task)
        del at[task]
        return value


@attrs.define(eq=False, repr=False)
class _Channel(Generic[T]):
    """What the ends of one channel share."""

    max_buffer_size: float
    realm: Realm = attrs.field(factory=current_realm)
    buffer: deque[T] = attrs.field(factory=deque)
    peak: int = 0
    senders: int = 0  # open ends
    receivers: int = 0
    sending: _Queue[T] = attrs.field(factory=_Queue)
    receiving: _Queue[None] = attrs.field(factory=_Queue)

    def kernel(self) -> Kernel:
        """The kernel that the channel belongs to; raises for whoever may not use it."""
        self.realm.require("channel")
        return current_kernel()


@attrs.define(eq=False, repr=False)
class _End(Generic[T]):
    """What the two kinds of ends have in common."""

    _channel: _Channel[T]
    _closed: bool = attrs.field(default=False, init=False)
    _tasks: dict[Task, None] = attrs.field(factory=dict, init=False)  # who waits at this very end, in order

    def statistics(self) -> MemoryChannelStatistics:
        """Return what is known of the channel."""
        channel = self._channel
        return MemoryChannelStatistics(
            current_buffer_used=len(channel.buffer),
            max_buffer_size=channel.max_buffer_size,
            open_send_channels=channel.senders,
            open_receive_channels=channel.receivers,
            tasks_waiting_send=len(channel.sending),
            tasks_waiting_receive=len(channel.receiving),
            peak_buffer_used=channel.peak,
        )

    def close(self) -> None:
        """Close this end; who waits at it gets ClosedResourceError. Not a checkpoint. Closing again does nothing."""
        kernel = self._channel.kernel()
        if not self._closed:
            self._closed = True
            self._close(kernel)

    async def aclose(self) -> None:
        """Close this end, as `close`; a checkpoint."""
        self.close()
        await checkpoint()

    def _close(self, kernel: Kernel) -> None: ...

    def _require_open(self) -> Kernel:
        kernel = self._channel.kernel()
        if self._closed:
            raise ClosedResourceError("this end of the channel was closed")
        return kernel

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        channel = self._channel
        state = "closed" if self._closed else f"{len(channel.buffer)}/{channel.max_buffer_size} buffered"
        return f"<durable.{type(self).__name__}, {state}>"


@sealed
@attrs.define(eq=False, repr=False)
class MemorySendChannel(_End[T], metaclass=NoConstructor):
    """The end of a channel that values are sent into, made by `open_memory_channel`."""

    def __attrs_post_init__(self) -> None:
        self._channel.senders += 1

    def send_nowait(self, value: T) -> None:
        """Send a value, now. Not a checkpoint.

        Raises:
            WouldBlock: the buffer is full and nobody waits to receive.
            BrokenResourceError: all receiving ends are closed.
            ClosedResourceError: this end is closed.
        """
        if not self._try(value):
            raise WouldBlock

    async def send(self, value: T) -> None:
        """Send a value, waiting for room in the buffer or a receiver; a checkpoint. A cancelled one has sent nothing.

        Raises:
            BrokenResourceError: all receiving ends are closed, or are meanwhile.
            ClosedResourceError: this end is closed, or is meanwhile.
        """
        await checkpoint_if_cancelled()
        if self._try(value):
            await cancel_shielded_checkpoint()
        else:
            await self._channel.sending.wait(self._tasks, value)

    def clone(self) -> MemorySendChannel[T]:
        """Another end of the same channel: receivers hear of the end when all are closed.

        Raises ClosedResourceError if this one is closed.
        """
        self._require_open()
        return MemorySendChannel._create(self._channel)

    def _try(self, value: T) -> bool:
        kernel, channel = self._require_open(), self._channel
        if channel.receivers == 0:
            raise BrokenResourceError("all receiving ends of the channel were closed")
        if channel.receiving:
            channel.receiving.take(kernel, value)
        elif len(channel.buffer) < channel.max_buffer_size:
            channel.buffer.append(value)
            channel.peak = max(channel.peak, len(channel.buffer))
        else:
            return False
        return True

    def _close(self, kernel: Kernel) -> None:
        channel = self._channel
        channel.sending.fail(kernel, self._tasks, ClosedResourceError)
        channel.senders -= 1
        if channel.senders == 0:
            channel.receiving.fail_all(kernel, EndOfChannel)


@sealed
@attrs.define(eq=False, repr=False)
class MemoryReceiveChannel(_End[T], metaclass=NoConstructor):
    """The end of a channel that values come out of, made by `open_memory_channel`. ``async for`` receives them all."""

    def __attrs_post_init__(self) -> None:
        self._channel.receivers += 1

    def receive_nowait(self) -> T:
        """Receive a value, now. Not a checkpoint.

        Raises:
            WouldBlock: the buffer is empty and nobody waits to send.
            EndOfChannel: as that, and all sending ends are closed.
            ClosedResourceError: this end is closed.
        """
        value = self._try()
        if value is _NOTHING:
            raise WouldBlock
        return cast(T, value)

    async def receive(self) -> T:
        """Receive a value, waiting for one; a checkpoint. A cancelled one has received nothing.

        Raises:
            EndOfChannel: the buffer is empty and all sending ends are closed, or are meanwhile.
            ClosedResourceError: this end is closed, or is meanwhile.
        """
        await checkpoint_if_cancelled()
        value = self._try()
        if value is _NOTHING:
            value = await self._channel.receiving.wait(self._tasks, None)
        else:
            await cancel_shielded_checkpoint()
        return cast(T, value)

    def clone(self) -> MemoryReceiveChannel[T]:
        """Another end of the same channel. Each value goes to one of them; senders hear of it when all are closed.

        Raises ClosedResourceError if this one is closed.
        """
        self._require_open()
        return MemoryReceiveChannel._create(self._channel)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except EndOfChannel:
            raise StopAsyncIteration from None

    def _try(self) -> object:
        kernel, channel = self._require_open(), self._channel
        if channel.sending:
            channel.buffer.append(channel.sending.take(kernel, None))
        if channel.buffer:
            return channel.buffer.popleft()
        if channel.senders == 0:
            raise EndOfChannel("all sending ends of the channel were closed")
        return _NOTHING

    def _close(self, kernel: Kernel) -> None:
        channel = self._channel
        channel.receiving.fail(kernel, self._tasks, ClosedResourceError)
        channel.receivers -= 1
        if channel.receivers == 0:
            channel.sending.fail_all(kernel, BrokenResourceError)
            channel.buffer.clear()


_NOTHING = object()  # what `_try` gives if there is no value: any value can be sent


@final
class open_memory_channel(tuple[MemorySendChannel[T], MemoryReceiveChannel[T]]):  # noqa: N801 - called as a function
    """Open a channel: returns its two ends, the sending and the receiving one.

    A class only so that one can write ``open_memory_channel[int](10)``. Not a checkpoint.

    Args:
        max_buffer_size: how many values may be on their way before `send` waits; 0 hands each over, `math.inf` never
            waits.

    Raises:
        TypeError: that is no whole number, nor `math.inf`.
        ValueError: it is below zero.
    """

    __slots__ = ()

    def __new__(  # type: ignore[misc]  # it returns what it looks like
        cls, max_buffer_size: float
    ) -> tuple[MemorySendChannel[T], MemoryReceiveChannel[T]]:
        if not isinstance(max_buffer_size, int) and max_buffer_size != inf:
            raise TypeError("max_buffer_size must be an integer or math.inf")
        if max_buffer_size < 0:
            raise ValueError("max_buffer_size must be >= 0")
        channel: _Channel[T] = _Channel(max_buffer_size)
        return MemorySendChannel[T]._create(channel), MemoryReceiveChannel[T]._create(channel)

    def __init__(self, max_buffer_size: float) -> None: ...


MemoryChannelStatistics.__module__ = open_memory_channel.__module__ = "trioflow.durable"
MemoryReceiveChannel.__module__ = MemorySendChannel.__module__ = "trioflow.durable"
