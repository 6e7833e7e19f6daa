"""What a history holds was let through once: limits that were lowered since are for what is new."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.engine.driving import Driven
from trioflow import durable
from trioflow._engine import Message, run_turn
from trioflow.app import App
from trioflow.errors import EncodeError, LimitExceeded
from trioflow.history import Limits
from trioflow.testing import check_replay

LONG = "n" * 200
MEDIUM = "x" * 500
LARGE = "x" * 5_000
DEEP: Any = [[[[[[[[1]]]]]]]]
LOW = Limits(
    payload_size=1_000,
    depth=2,
    id_length=100,
    event_name_length=100,
    kv_key_length=100,
    kv_value_size=100,
    kv_keys=1,
    status_size=100,
)

helpers = App("helpers")


@helpers.activity
async def act(value: Any) -> Any: ...


@helpers.orchestration
async def child(value: Any) -> Any: ...


async def _key() -> None:
    durable.kv[f"{LONG}{durable.random()}"] = 1


async def _value() -> None:
    durable.kv["one"] = MEDIUM


async def _keys() -> None:
    durable.kv[f"one {durable.random()}"] = 1
    durable.kv[f"two {durable.random()}"] = 2


async def _status() -> None:
    durable.set_status(MEDIUM)


async def _patch() -> None:
    assert durable.patched(f"{LONG}{durable.random()}")


async def _events() -> None:
    async for _ in durable.events(LONG):
        raise AssertionError("nobody raises it")


STEPS: dict[str, tuple[Callable[[], Awaitable[Any]], str]] = {
    "arguments": (lambda: act(LARGE), "payload_size"),
    "depth": (lambda: act(DEEP), "depth"),
    "arguments of a child": (lambda: child(LARGE), "payload_size"),
    "id of a child": (lambda: child.options(id=f"{LONG}{durable.random()}")(1), "id_length"),
    "id of a detached": (lambda: durable.start_detached(child, 1, id=f"{LONG}{durable.random()}"), "id_length"),
    "arguments of a detached": (lambda: durable.start_detached(child, LARGE), "payload_size"),
    "event": (lambda: durable.wait_event(LONG), "event_name_length"),
    "events": (_events, "event_name_length"),
    "id of another": (lambda: durable.read_status(LONG), "id_length"),
    "key of another": (lambda: durable.read_kv("i-2", LONG), "kv_key_length"),
    "key": (_key, "kv_key_length"),
    "value": (_value, "kv_value_size"),
    "keys": (_keys, "kv_keys"),
    "status": (_status, "status_size"),
    "change": (_patch, "id_length"),
}


def under(limits: Limits, step: Callable[[], Awaitable[Any]], seen: list[str]) -> App:
    """Code that takes a step twice, the second time after an event."""
    app = App("family", limits=limits)
    app.include(helpers)

    async def again() -> None:
        await durable.wait_event("go")
        try:
            await step()
        except LimitExceeded as exc:
            seen.append(exc.limit)

    @app.orchestration
    async def main() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(step)
            nursery.start_soon(again)

    return app


@pytest.mark.parametrize("what", STEPS)
def test_what_is_recorded_is_beyond_no_limit(what: str) -> None:
    """A history made under high limits is replayed under low ones, which then hold for what is asked for anew."""
    step, limit = STEPS[what]
    seen: list[str] = []
    app = under(Limits(), step, seen)
    one = Driven(app.find_orchestration("main"), app=app)
    one.start()
    low = under(LOW, step, seen)
    check_replay(low, one.history)
    message = Message(99, one.now + 1, one.event("go"))
    run_turn(low.find_orchestration("main"), one.history, [message], one.now + 1, app=low)
    assert seen == [limit]


@pytest.mark.parametrize("what", [what for what in STEPS if what not in ("keys", "change", "events")])
def test_what_was_refused_is_refused_again(what: str) -> None:
    """A step that was beyond a limit, and another that the code took instead, are the same on every replay."""
    step, limit = STEPS[what]
    seen: list[str] = []
    app = App("family", limits=LOW)
    app.include(helpers)

    @app.orchestration
    async def main() -> None:
        try:
            await step()
        except LimitExceeded as exc:
            seen.append(exc.limit)
        durable.kv["one"] = 1
        durable.set_status("small")
        await act(1)

    one = Driven(app.find_orchestration("main"), app=app)
    one.start()
    check_replay(app, one.history)
    assert list(dict.fromkeys(seen)) == [limit]
    assert one.kinds == ["OrchestrationStarted", "KeyValueSet", "StatusSet", "ActivityScheduled"]


def test_what_nothing_can_be_called_is_refused_again() -> None:
    """A key that is none is refused on every replay, whatever was said next."""
    seen: list[str] = []
    app = App("family")
    app.include(helpers)

    @app.orchestration
    async def main() -> None:
        nothing: Any = None
        try:
            durable.kv[nothing] = "small"
            seen.append("let through")
        except EncodeError:
            seen.append("refused")
        durable.set_status("small")
        await act(1)

    one = Driven(app.find_orchestration("main"), app=app)
    one.start()
    check_replay(app, one.history)
    assert list(dict.fromkeys(seen)) == ["refused"]


def test_what_is_said_in_another_way_is_measured_anew() -> None:
    """Status and values are not compared; one that the history does not hold has to be within the limits of today."""
    app = App("family", limits=LOW)
    app.include(helpers)
    says, refused = ["small"], list[str]()

    @app.orchestration
    async def main() -> None:
        for text in says:
            try:
                durable.set_status(text)
            except LimitExceeded as exc:
                refused.append(exc.limit)
        await act(1)

    one = Driven(app.find_orchestration("main"), app=app)
    one.start()
    says[:] = ["other", MEDIUM, "small"]
    check_replay(app, one.history)
    assert refused == ["status_size"]
    says[:] = ["small"]


def test_what_is_read_back_is_beyond_no_limit() -> None:
    """An event with a name too long by now is taken, and what is too deep by now is read."""
    app, low = App("high"), App("low", limits=LOW)

    async def main() -> Any:
        await durable.wait_event("go")
        return durable.wait_event_nowait(LONG)[0][0][0][0][0][0][0][0]

    for each in (app, low):
        each.orchestration(main)
    one = Driven(app.find_orchestration("main"), app=app)
    one.start()
    one.turn(one.event(LONG, DEEP))
    one.turn(one.event("go"))
    assert one.result() == 1
    check_replay(low, one.history)


@pytest.mark.parametrize("how", ["returns", "continues"])
def test_an_end_that_is_recorded_is_beyond_no_limit(how: str) -> None:
    """The result of an execution, or what it continued with, is compared with the history as it is."""

    async def main(value: str = "") -> str:
        if how == "continues":
            durable.continue_as_new(LARGE)
        return LARGE

    app, low = App("high"), App("low", limits=LOW)
    for each in (app, low):
        each.orchestration(main)
    one = Driven(app.find_orchestration("main"), app=app)
    one.start()
    check_replay(low, one.history)
