"""`patched` and `info`: what an execution knows of itself, the same live and on replay."""

from __future__ import annotations

import pytest

from tests.engine.driving import Driven, define, kinds
from trioflow import durable
from trioflow._engine import run_turn
from trioflow.app import App
from trioflow.errors import LimitExceeded
from trioflow.history import ParentLink

app = App("gates")


@app.activity
async def step(value: int = 0) -> int:
    """Never runs here."""
    return value


async def before() -> list[object]:
    """The code without the gate."""
    return [await step(1), await step(2)]


async def after() -> list[object]:
    """The code with the gate in front of the first step, asked three times."""
    first = durable.patched("twice")
    value = await step(1 if not first else 10)
    again = durable.patched("twice")
    return [first, again, value, await step(2), durable.patched("twice")]


def test_an_execution_that_comes_to_the_gate_live_is_marked() -> None:
    """True for it and on all its replays; the mark is one event, however often it asks."""
    driven = Driven(after, app=app)
    assert kinds(driven.start()) == ["OrchestrationStarted", "PatchMarked", "ActivityScheduled"]
    driven.complete(driven.scheduled[0], 5)
    driven.complete(driven.scheduled[1], 6)
    assert driven.result() == [True, True, 5, 6, True]
    assert driven.kinds.count("PatchMarked") == 1
    driven.close()


def test_an_execution_that_had_passed_the_gate_stays_on_the_old_side() -> None:
    """Also where it asks again, live, later: the answer is fixed at the first call."""
    old = Driven(before, app=app)
    old.start()
    new = Driven(define(after), app=app)
    for _ in new.live.replay(old.history):
        pass
    new.history, new.now, new.seq = list(old.history), old.now, old.seq
    new.complete(new.scheduled[0], 5)
    new.complete(new.scheduled[1], 6)
    assert new.result() == [False, False, 5, 6, False]
    assert "PatchMarked" not in new.kinds


def test_an_execution_that_has_not_reached_the_gate_takes_the_new_side() -> None:
    """Its history was written by the old code, and the gate lies beyond it."""

    async def gated_later() -> list[object]:
        return [await step(1), durable.patched("later"), await step(2)]

    old = Driven(before, app=app)
    old.start()
    new = Driven(define(gated_later), app=app)
    for _ in new.live.replay(old.history):
        pass
    new.history, new.now, new.seq = list(old.history), old.now, old.seq
    result = new.complete(new.scheduled[0], 5)
    assert kinds(result) == ["ActivityCompleted", "PatchMarked", "ActivityScheduled"]
    new.complete(new.scheduled[1], 6)
    assert new.result() == [5, True, 6]


def test_a_change_needs_a_name() -> None:
    """An empty one is refused."""

    async def program() -> None:
        durable.patched("")

    driven = Driven(program)
    driven.start()
    assert driven.kinds[-1] == "OrchestrationFailed"
    with pytest.raises(LimitExceeded):
        driven.app.limits.check_id("change", "")
    driven.close()


def test_info_is_that_of_the_point_of_history_being_evaluated() -> None:
    """Length and size count what had happened when the code ran, live and cold alike."""

    async def program() -> list[list[object]]:
        seen: list[list[object]] = []

        def look() -> None:
            info = durable.info()
            seen.append([info.history_length, info.history_size])

        look()
        for number in range(3):
            await step(number)
            look()
            durable.set_status(number)
            look()
        return seen

    driven = Driven(program, app=app)
    driven.start()
    for number in range(3):
        driven.complete(driven.scheduled[number], number)
    lengths = [length for length, _ in driven.result()]
    sizes = [size for _, size in driven.result()]
    assert lengths == [1, 3, 3, 6, 6, 9, 9]
    assert sizes == sorted(sizes)
    assert sizes[0] > 64
    driven.close()


def test_info_names_the_execution() -> None:
    """Instance, execution, name, version and parent are those it was started with."""

    async def program() -> list[object]:
        info = durable.info()
        assert info.parent is not None
        return [info.instance, info.execution, info.name, info.version, info.parent.event_id, durable.info() == info]

    driven = Driven(program)
    driven.start(execution=3, parent=ParentLink(instance="p", execution=1, event_id=9))
    assert driven.result() == ["i-1", 3, "program", "1.0.0", 9, True]
    driven.close()


def test_is_replaying_says_whether_it_was_done_before() -> None:
    """True while a recorded segment is evaluated, False beyond it."""
    seen: list[bool] = []

    async def program() -> None:
        seen.append(durable.info().is_replaying)
        await step()
        seen.append(durable.info().is_replaying)

    driven = Driven(define(program), app=app)
    driven.start()
    completion = driven.completion(driven.scheduled[0], 1)
    seen.clear()
    driven.turn(completion)
    assert seen == [False, *[True, False] * 2]  # live; then cold, from the start, traced and not
    driven.close()
    seen.clear()
    run_turn(driven.definition, driven.history, [], driven.now, app=app)
    assert seen == [True, True]
