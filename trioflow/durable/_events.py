"""Events from outside: each name has a mailbox, first in first out, kept until somebody takes it.

Laws: a wait that is cancelled consumes nothing; waiters of one name are served in the order in which they began to
wait; an event is decoded by the type its taker declares.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast, overload

from trioflow._ambient import AskEvent, Host, current_host
from trioflow._kernel import perform
from trioflow._util import WouldBlock
from trioflow.errors import DecodeError, EventTypeError
from trioflow.history import CarriedEvent, EventWaited

T = TypeVar("T")


@overload
async def wait_event(name: str, type: type[T]) -> T: ...
@overload
async def wait_event(name: str, type: Any = Any) -> Any: ...


async def wait_event(name: str, type: Any = Any) -> Any:
    """Take the next event of that name, waiting for it if there is none. A checkpoint.

    Args:
        name: as in `client.raise_event`.
        type: what the event's value must be; not given, plain JSON values.

    Raises:
        EventTypeError: the event does not fit `type`; it is consumed, its raw value is on the error.
    """
    host = current_host()
    _check(name, host)
    event = await perform(AskEvent(name), on_cancel="request")
    return _read(event, type, host)


@overload
def wait_event_nowait(name: str, type: type[T]) -> T: ...
@overload
def wait_event_nowait(name: str, type: Any = Any) -> Any: ...


def wait_event_nowait(name: str, type: Any = Any) -> Any:
    """Take the next event of that name, now. Not a checkpoint.

    Raises:
        WouldBlock: there is none.
        EventTypeError: as `wait_event`.
    """
    host = current_host()
    event = host.take_event(name)
    if event is None:
        host.codec.limits.check_event_name(name)
        raise WouldBlock
    return _read(event, type, host)


@overload
def events(name: str, type: type[T]) -> Events[T]: ...
@overload
def events(name: str, type: Any = Any) -> Events[Any]: ...


def events(name: str, type: Any = Any) -> Events[Any]:
    """All events of that name, as they come: ``async for order in durable.events("order", Order)``. Never ends by
    itself.
    """
    _check(name, current_host())
    return Events(name, type)


class Events(Generic[T]):
    """The async iterator that `events` returns. Breaking out of it takes no event too many."""

    def __init__(self, name: str, type: Any) -> None:
        self._name = name
        self._type = type

    def __aiter__(self) -> Events[T]:
        return self

    async def __anext__(self) -> T:
        return cast(T, await wait_event(self._name, self._type))


def _check(name: str, host: Host) -> None:
    """Refuse a name that no event can have; one that is recorded as waited for was let through once."""
    recorded = host.recorded_next()
    if not isinstance(recorded, EventWaited) or recorded.name != name:
        host.codec.limits.check_event_name(name)


def _read(event: CarriedEvent, type: Any, host: Host) -> Any:
    try:
        return host.codec.decode(event.payload, type, what=f"event {event.name!r}")
    except DecodeError as exc:
        raw = host.codec.decode(event.payload, Any, what=f"event {event.name!r}")
        raise EventTypeError(
            f"event {event.name!r} does not fit what its waiter declared: {exc}; its raw value is in `.value`",
            name=event.name,
            value=raw,
        ) from None
