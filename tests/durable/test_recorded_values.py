"""`record`: a small nondeterministic function runs once, and what came of it is kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from tests.engine.driving import Driven, define, kinds
from trioflow import durable
from trioflow._engine import Execution, run_turn
from trioflow.app import App
from trioflow.errors import EncodeError, NondeterminismError, NotInOrchestration, OperationFailed
from trioflow.history import Recorded

app = App("record")


@app.activity
async def step(value: int = 0) -> int:
    """Never runs here."""
    return value


@app.exception
class Known(Exception):
    """Comes back as itself."""


class Unknown(Exception):
    """Does not."""


@attrs.frozen
class Setting:
    """A typed value."""

    name: str
    level: int


class Calls:
    """Counts how often something ran."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        self.count += 1
        return 7


def raiser(exc: BaseException) -> Callable[[], object]:
    """A function that raises it."""

    def fails() -> None:
        raise exc

    return fails


def test_the_function_runs_live_only_and_its_value_is_kept() -> None:
    """A replay takes the value from the history."""
    calls = Calls()

    async def program() -> list[int]:
        return [await durable.record(calls), await step(), await durable.record(calls)]

    driven = Driven(program, app=app)
    assert kinds(driven.start()) == ["OrchestrationStarted", "Recorded", "ActivityScheduled"]
    recorded = driven.history[1]
    assert isinstance(recorded, Recorded)
    assert recorded.place == "0#1"
    assert driven.scheduled[0].place == "0#2"
    before = calls.count
    driven.live.close()
    driven.live = Execution(driven.app, driven.definition)
    for _ in driven.live.replay(driven.history):
        pass
    assert calls.count == before
    driven.live.close()


def test_the_value_comes_back_as_the_declared_type() -> None:
    """The function's annotation says what it is, or the class if it is one; arguments are passed on."""

    def read(name: str, level: int) -> Setting:
        return Setting(name, level)

    async def program() -> list[object]:
        one = await durable.record(read, "a", 1)
        two = await durable.record(Setting, "b", 2)
        three = await durable.record(functools.partial(max, 3), 2)
        assert type(one) is type(two) is Setting
        return [one.name, two.level, three, await durable.record(int, "7")]

    driven = Driven(program)
    driven.start()
    assert driven.result() == ["a", 2, 3, 7]
    driven.close()


def test_a_function_whose_annotations_cannot_be_read_gives_plain_values() -> None:
    """It is a small function; nothing more is asked of it."""

    def odd() -> Any:
        return [1]

    odd.__annotations__ = {"return": "NoSuchName"}

    async def program() -> object:
        return await durable.record(odd)

    driven = Driven(program)
    driven.start()
    assert driven.result() == [1]
    driven.close()


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (KeyError("k"), KeyError),
        (Known("no"), Known),
        (Unknown("no"), OperationFailed),
    ],
)
def test_its_exception_is_recorded_too(exc: Exception, expected: type[Exception]) -> None:
    """A builtin or registered class comes back as itself, another as `OperationFailed` that tells of it."""

    async def program() -> list[str]:
        try:
            await durable.record(raiser(exc))
        except expected as caught:
            return [type(caught).__name__, getattr(caught, "type", ""), str(await step())]
        return []

    driven = Driven(program, app=app)
    driven.start()
    driven.complete(driven.scheduled[0], 1)
    name, type_, _ = driven.result()
    assert name == expected.__name__
    assert type_.endswith("Unknown") or type_ == ""
    driven.close()


def test_what_cannot_be_serialized_is_a_recorded_failure() -> None:
    """The error says so, live and on replay."""

    async def program() -> str:
        try:
            await durable.record(object)
        except EncodeError as exc:
            return f"{type(exc).__name__} {await step()}"
        return ""

    driven = Driven(program, app=app)
    driven.start()
    driven.complete(driven.scheduled[0], 1)
    assert "EncodeError" in driven.result()
    driven.close()


def test_an_async_function_is_refused() -> None:
    """It should be an activity."""

    async def program() -> str:
        try:
            await durable.record(step.fn)
        except TypeError as exc:
            return str(exc)
        return ""

    driven = Driven(program)
    driven.start()
    assert "make" in driven.result()
    assert "an activity" in driven.result()
    driven.close()


def test_a_cancelled_record_takes_no_number_and_runs_nothing() -> None:
    """It checks for cancellation before anything else."""
    calls = Calls()

    async def program() -> None:
        with durable.move_on_after(0):
            await durable.record(calls)
        await step()

    driven = Driven(program, app=app)
    driven.start()
    assert calls.count == 0
    assert driven.scheduled[0].place == "0#1"
    driven.close()


def test_the_function_may_not_use_durable_verbs() -> None:
    """Their effects would be missing on a replay, when it does not run."""

    def draws() -> float:
        return durable.random()

    async def program() -> list[object]:
        texts: list[object] = []
        for fn in (draws, functools.partial(durable.set_status, 5)):
            try:
                await durable.record(fn)
            except OperationFailed as exc:
                texts.append(exc.type)
        return [*texts, durable.get_status(), durable.random()]

    driven = Driven(program)
    driven.start()
    assert driven.result()[:3] == [f"trioflow.{NotInOrchestration.__name__}"] * 2 + [None]
    driven.close()


def test_the_function_may_not_touch_what_other_branches_see() -> None:
    """Neither an event nor a nursery of the orchestration: a replay would not know of it."""

    async def program() -> list[object]:
        event = durable.Event()
        seen: list[object] = []
        async with durable.open_nursery() as nursery:
            for touch in (event.set, functools.partial(nursery.start_soon, durable.sleep, 1)):
                try:
                    await durable.record(touch)
                except OperationFailed as exc:
                    seen.append(exc.type)
        return [*seen, event.is_set(), len(nursery.child_tasks)]

    driven = Driven(program)
    driven.start()
    assert driven.result() == [f"trioflow.{NotInOrchestration.__name__}"] * 2 + [False, 0]
    driven.close()


def test_what_ends_everything_is_not_recorded() -> None:
    """Ctrl-C during the function leaves the turn, and nothing is committed."""

    async def program() -> None:
        await durable.record(raiser(KeyboardInterrupt()))

    driven = Driven(program)
    with pytest.raises(KeyboardInterrupt):
        driven.start()
    driven.live.close()


def test_a_disagreement_ends_the_turn_even_if_the_code_tries_again_for_ever() -> None:
    """A loop that catches everything and asks again does not hang the thread."""

    def now() -> int:
        return 1

    async def recorded() -> None:
        await durable.record(now)
        await durable.sleep_forever()

    async def stubborn() -> None:
        while True:
            try:
                await durable.record(int)
            except Exception:
                continue

    driven = Driven(recorded)
    driven.start()
    driven.live.close()
    with pytest.raises(NondeterminismError) as info:
        run_turn(define(stubborn), driven.history, [], driven.now)
    assert "Recorded 'int'" in str(info.value.actual)
