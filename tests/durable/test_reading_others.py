"""`read_kv` and `read_status`: a durable step whose answer is recorded, read as the type asked for."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.engine.driving import Driven, kinds
from trioflow import durable
from trioflow.app import App
from trioflow.errors import ActivityFailed, DecodeError, LimitExceeded
from trioflow.history import ActivityCompleted, ActivityFailed as ActivityFailedEvent, Failure

app = App("readers")


@attrs.frozen
class Point:
    """A typed value."""

    x: int


async def reader(verb: str, as_point: bool) -> list[object]:
    """Reads once, with a default of its own."""
    options: dict[str, Any] = {"type": Point} if as_point else {}
    try:
        if verb == "kv":
            found = await durable.read_kv("other", "k", default="none", **options)
        else:
            found = await durable.read_status("other", default="none", **options)
    except (ActivityFailed, DecodeError) as exc:
        return [type(exc).__name__]
    return [type(found).__name__, found if not isinstance(found, Point) else found.x]


@pytest.mark.parametrize("verb", ["kv", "status"])
@pytest.mark.parametrize(
    ("recorded", "as_point", "got"),
    [
        (b'"{\\"x\\":1}"', True, ["Point", 1]),
        (b'"{\\"x\\":1}"', False, ["dict", {"x": 1}]),
        (b'"null"', False, ["NoneType", None]),
        (b"null", False, ["str", "none"]),
        (b'"5"', True, ["DecodeError"]),
    ],
)
def test_what_was_read_is_recorded(verb: str, recorded: bytes, as_point: bool, got: object) -> None:
    """A value, none, and one that is none; `Driven` replays each, without anybody who could read again."""
    driven = Driven(reader, verb, as_point, app=app)
    assert kinds(driven.start()) == ["OrchestrationStarted", "ActivityScheduled"]
    (asked,) = driven.scheduled
    assert (asked.name, asked.tag) == (f"trioflow:read_{verb}", "trioflow:any-worker")
    assert asked.payload == (b'{"instance":"other","key":"k"}' if verb == "kv" else b'{"instance":"other"}')
    driven.turn(ActivityCompleted(answers=asked.id, payload=recorded))
    assert driven.result() == got
    driven.close()


def test_a_store_that_cannot_tell_is_an_error_that_may_be_caught() -> None:
    """As of any activity."""
    driven = Driven(reader, "kv", False, app=app)
    driven.start()
    failure = Failure(type="trioflow.StoreCorrupt", message="torn")
    driven.turn(ActivityFailedEvent(answers=driven.scheduled[0].id, failure=failure))
    assert driven.result() == ["ActivityFailed"]
    driven.close()


def test_another_key_is_another_step() -> None:
    """Each is asked for and answered for itself."""

    async def program() -> list[object]:
        return list(await durable.gather(durable.read_kv("a", "k", int, 0), durable.read_kv("b", "k", int, 0)))

    driven = Driven(program, app=app)
    driven.start()
    first, second = driven.scheduled
    driven.turn(ActivityCompleted(answers=second.id, payload=b'"2"'))
    driven.turn(ActivityCompleted(answers=first.id, payload=b"null"))
    assert driven.result() == [0, 2]
    driven.close()


@pytest.mark.parametrize(("instance", "key"), [("", "k"), ("i", ""), ("i", "k" * 1000)])
def test_what_nobody_can_have_is_refused_at_the_call(instance: str, key: str) -> None:
    """An empty id, a key that is too long: nothing is asked for."""

    async def program() -> object:
        try:
            await durable.read_kv(instance, key)
        except LimitExceeded as exc:
            return exc.limit
        return None

    driven = Driven(program, app=app)
    driven.start()
    assert driven.result() in ("id_length", "kv_key_length")
    assert driven.scheduled == []
    driven.close()
