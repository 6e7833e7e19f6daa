"""What no store takes: ids that are empty, endless or unprintable, and payloads that would choke it.

Laws: checked before anything is written, and the same for every store; the error names the limit. This is the last
wall, not the one people meet: clients and the engine check their `Limits` before, and may have been told to allow more.
How long a history may be is the engine's affair: a store that refused a commit could not record that the instance was
stopped.

Who calls it: the rules that take an id or a payload from outside.
"""

from __future__ import annotations

from trioflow.abc import CommitTurn, OutMessage, StartInstance
from trioflow.errors import LimitExceeded, PayloadError
from trioflow.history import Limits

PAYLOAD_SIZE = 64 * 1024 * 1024  # bytes of one payload
check_id = Limits().check_id


def is_id(value: str) -> bool:
    """Whether anything can have this id; what cannot is not there, and no driver needs to be asked."""
    try:
        check_id("id", value)
    except PayloadError:
        return False
    return True


def check_payload(what: str, payload: bytes | None) -> None:
    """A payload fits the limit."""
    if payload is not None and len(payload) > PAYLOAD_SIZE:
        raise LimitExceeded(
            f"The {what} has {len(payload)} bytes; {PAYLOAD_SIZE} are allowed. Store large data elsewhere and pass a "
            "reference to it.",
            limit="payload_size",
            allowed=PAYLOAD_SIZE,
            actual=len(payload),
        )


def check_start(request: StartInstance) -> None:
    """A start from a client or out of a turn."""
    check_id("instance id", request.instance)
    check_id("orchestration name", request.name)
    check_payload("input of the orchestration", request.start.payload)


def check_message(message: OutMessage) -> None:
    """A message from a client."""
    check_id("instance id", message.instance)
    check_payload("message", message.draft.payload)


def check_commit(request: CommitTurn) -> None:
    """What a turn brings that the engine did not make itself."""
    for start in request.starts:
        check_id("instance id", start.instance)
    for new in request.activities:
        check_payload(f"input of activity {new.name!r}", new.payload)
    for key, value in request.kv_set.items():
        check_id("kv key", key)
        check_payload(f"kv value {key!r}", value)
    check_payload("status", request.status)
