"""Reading what other instances say of themselves: a durable step whose answer is recorded.

Law: what was read is part of the history, so a replay sees what the code saw, whatever has happened since.
"""

from __future__ import annotations

from typing import Any, TypeVar, overload

from trioflow._ambient import ANY_WORKER, READ_KV, READ_STATUS, AskActivity, current_host
from trioflow._kernel import perform
from trioflow.errors import ActivityFailed
from trioflow.history import ActivityCompleted, ActivityFailed as ActivityFailedEvent

T = TypeVar("T")
D = TypeVar("D")


@overload
async def read_kv(instance_id: str, key: str, type: type[T]) -> T | None: ...
@overload
async def read_kv(instance_id: str, key: str, type: type[T], default: D) -> T | D: ...
@overload
async def read_kv(instance_id: str, key: str, type: Any = Any, default: Any = None) -> Any: ...


async def read_kv(instance_id: str, key: str, type: Any = Any, default: Any = None) -> Any:
    """A value of another instance's `durable.kv`, as of its last commit. A durable step: a checkpoint, and recorded.

    Any worker can carry it out, whatever its tags.

    Args:
        instance_id: whose; it may run, have ended, or be the one that asks.
        key: of which value.
        type: as what; a value that does not fit it raises DecodeError.
        default: the answer if there is no such instance, or it has no such key.

    Raises:
        ActivityFailed: the store could not tell.
    """
    return await _read(READ_KV, instance_id, {"key": key}, type, default)


@overload
async def read_status(instance_id: str, type: type[T]) -> T | None: ...
@overload
async def read_status(instance_id: str, type: type[T], default: D) -> T | D: ...
@overload
async def read_status(instance_id: str, type: Any = Any, default: Any = None) -> Any: ...


async def read_status(instance_id: str, type: Any = Any, default: Any = None) -> Any:
    """What another instance has said by `durable.set_status`, as of its last commit. As `read_kv`.

    Args:
        instance_id: whose.
        type: as what.
        default: the answer if there is no such instance, or it has not said anything.
    """
    return await _read(READ_STATUS, instance_id, {}, type, default)


async def _read(name: str, instance_id: str, further: dict[str, str], type_: Any, default: Any) -> Any:
    host = current_host()
    codec = host.codec
    recorded = host.recorded_next()
    then = getattr(recorded, "payload", None)
    payload = codec.encode({"instance": instance_id, **further}, what=name, recorded=then)
    if payload != then:
        codec.limits.check_id("instance id", instance_id)
        if "key" in further:
            codec.limits.check_kv_key(further["key"])
    ask = AskActivity(name, payload, tag=ANY_WORKER)
    answer = await perform(ask, on_cancel=getattr(recorded, "on_cancel", ask.on_cancel))
    if isinstance(answer, ActivityFailedEvent):
        failure = answer.failure
        raise ActivityFailed(
            f"instance {instance_id!r} could not be read: {failure}",
            type=failure.type,
            message=failure.message,
            category=failure.category.value,
            retryable=failure.retryable,
            attempts=failure.attempts,
        )
    assert isinstance(answer, ActivityCompleted), answer
    text: str | None = codec.decode(answer.payload, str | None, what=f"the answer of {name}")
    return default if text is None else codec.decode(text.encode(), type_, what=f"what {instance_id!r} has stored")
