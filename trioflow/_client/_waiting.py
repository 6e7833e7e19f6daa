"""Waiting for something about an instance: its end, a status, a value.

Laws: whoever waits is woken by the store's hints and looks again now and then, as `_lookout.py` says; what cannot come
any more is an error and not waited for: the instance has ended, or is parked and nobody has done anything about it.

Must never know: runtimes. Who calls it: `_handle.py`, `_restarting.py`. Read next: `_lookout.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NoReturn, TypeVar

import attrs
import trio

from trioflow._client._checks import within
from trioflow._client._info import result_of
from trioflow._client._lookout import Lookout
from trioflow._client._requests import until_answered
from trioflow.abc import Ended, InstanceRecord, State, WaitEnded, end_topic, instance_topic
from trioflow.errors import InstanceFinished

if TYPE_CHECKING:
    from trioflow._client._steering import Steering

T = TypeVar("T")

NOTHING: Final = nullcontext()


@attrs.frozen
class Found(Generic[T]):
    """What was waited for."""

    value: T


async def wait_until(
    client: Steering,
    id: str,
    look: Callable[[InstanceRecord], Awaitable[Found[T] | None]],
    topic: Callable[[str], str] = instance_topic,
) -> T:
    """What `look` finds, now or once the instance has moved, as hints of that topic tell. Raises InstanceNotFound, and
    what `look` raises.
    """
    with Lookout(client.store.signals, topic(id), client.poll_interval) as lookout, _timed(client):
        while True:
            lookout.about_to_look()
            record = await client.read(id)
            found = await look(record)
            if found is not None:
                return found.value
            await lookout.until_next(record.revision)


def _timed(client: Steering) -> AbstractContextManager[None]:
    """Instruments are told how long a wait took, and how it ended; without them nobody looks at a clock."""
    return _told(client) if client.instruments else NOTHING


@contextmanager
def _told(client: Steering) -> Iterator[None]:
    how: Literal["answered", "cancelled", "failed"] = "answered"
    since = client.env.monotonic()
    try:
        yield
    except trio.Cancelled:
        how = "cancelled"
        raise
    except BaseException:
        how = "failed"
        raise
    finally:
        client.instruments.saw(WaitEnded(seconds=client.env.monotonic() - since, how=how))


async def wait_ended(client: Steering, id: str) -> InstanceRecord:
    """The record once the instance has ended."""

    async def look(record: InstanceRecord) -> Found[InstanceRecord] | None:
        return Found(record) if record.state.ended else None

    return await wait_until(client, id, look, end_topic)


async def wait_for_outcome(
    client: Steering, id: str, *, wait_parked: bool, seen_ends: tuple[int, int] | None
) -> InstanceRecord | Ended:
    """How the instance has ended, or, unless `wait_parked`, that it stands still and nobody acts. What a runtime here
    has just committed need not be read. `seen_ends`: what had been heard of ends before it was started, if known.
    """
    signals = client.store.signals
    with Lookout(signals, end_topic(id), client.poll_interval) as lookout, _timed(client):
        if signals.seen_ends() == seen_ends:  # then it goes on
            lookout.about_to_look()
            await lookout.until_next(0)
        while (end := lookout.told) is None:
            lookout.about_to_look()
            record = await client.read(id)
            if record.state.ended or (is_stuck(record) and not wait_parked):
                return record
            await lookout.until_next(record.revision)
        return end


def is_stuck(record: InstanceRecord) -> bool:
    """Parked, and nobody has done anything about it."""
    return record.state is State.PARKED and not record.control_queued


async def wait_for_value(
    client: Steering,
    id: str,
    read: Callable[[InstanceRecord], Awaitable[bytes | None]],
    until: Callable[[Any], bool] | None,
    type: Any,
    *,
    timeout: float | None,  # noqa: ASYNC109 - as promised by the handle
    what: str,
) -> Any:
    """What `read` finds once it is there and `until` says yes to it, decoded.

    It is read once for each revision. Raises InstanceFinished, InstanceParked, DecodeError, trio.TooSlowError.
    """
    seen: tuple[int, int] | None = None

    async def look(record: InstanceRecord) -> Found[Any] | None:
        nonlocal seen
        if seen != (record.execution, record.revision):
            seen = (record.execution, record.revision)
            payload = await read(record)
            if payload is not None:
                value = client.app.codec.decode(payload, type, what=what)
                if until is None or until(value):
                    return Found(value)
        if record.state.ended or is_stuck(record):
            _will_not_come(client, record, what)
        return None

    with within(timeout):
        return await wait_until(client, id, look)


def _will_not_come(client: Steering, record: InstanceRecord, what: str) -> NoReturn:
    if record.state is State.PARKED:
        result_of(record, client.app, client.codec)  # raises InstanceParked, which says why
    raise InstanceFinished(f"instance {record.instance!r} is {record.state.value}, and {what} is not as waited for")


async def read_value(client: Steering, id: str, key: str) -> bytes | None:
    """One durable value, encoded; None where there is none."""
    client.app.limits.check_kv_key(key)
    return (await until_answered(client.store.read_kv, id)).get(key)
