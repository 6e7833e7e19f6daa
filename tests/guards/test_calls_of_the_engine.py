"""What a step costs in the pure floors, counted in function calls: no clock is read, so nothing here depends on the
machine.

Laws: a count is exact and the same in every run of one Python; bounds are a fifth above what was counted when they
were set, since Pythons differ. Who fails here has made each step of every orchestration dearer, or one that grows with
its history. What took how long is another question: see `tests/bench`.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import pytest

from trioflow import durable
from trioflow._engine import Execution, Message
from trioflow._kernel import Kernel
from trioflow._kernel._guard import keep_out
from trioflow.app import App, OrchestrationDefinition, encode_options
from trioflow.history import (
    ActivityCompleted,
    ActivityScheduled,
    Event,
    EventCodec,
    OrchestrationStarted,
    PayloadCodec,
)

Definition = OrchestrationDefinition[Any, Any]
CODEC = EventCodec()
FEW = 100
app = App("guards")


@app.activity
async def step(value: int) -> int:
    """Never runs here."""
    return value


@app.orchestration
async def chain(steps: int) -> int:
    """One after the other."""
    for number in range(steps):
        await step(number)
    return steps


@app.orchestration
async def fan(width: int) -> int:
    """All at once."""
    return len(await durable.gather(*(step(number) for number in range(width))))


def calls(work: Callable[[], object]) -> Counter[CodeType]:
    """How often which Python function was called."""
    counted: Counter[CodeType] = Counter()

    def tell(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            counted[frame.f_code] += 1

    before = sys.getprofile()
    gc.collect()
    gc.disable()  # what others left behind is not ours
    sys.setprofile(tell)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return counted


def run(definition: Definition, size: int) -> list[Event]:
    """Run to the end, each event worded as for a store; returns the history."""
    execution = Execution(app, definition)
    payload = app.codec.encode_arguments(definition.spec, (size,))
    drafts: list[Event] = [OrchestrationStarted(instance="i", name=definition.name, payload=payload, seed="5eed")]
    history: list[Event] = []
    while not execution.ended:
        now = float(len(history))
        result = execution.run([Message(seq, now, draft) for seq, draft in enumerate(drafts)], now)
        for event in result.events:
            CODEC.encode(event)
        for action in result.actions:
            encode_options(action.options, {})  # type: ignore[union-attr]
        history += result.events
        drafts = [
            ActivityCompleted(answers=event.id, payload=b"1")
            for event in result.events
            if isinstance(event, ActivityScheduled)
        ]
    execution.close()
    return history


def replay(definition: Definition, history: list[Event]) -> None:
    """From scratch."""
    execution = Execution(app, definition)
    for _ in execution.replay(history):
        pass
    assert execution.ended
    execution.close()


@pytest.mark.parametrize(("definition", "most"), [(chain, 66), (fan, 89)], ids=["chain", "fan"])
def test_a_replayed_step_costs_no_more_calls(definition: Definition, most: int) -> None:
    """A step is two events: an activity asked for, and its answer."""
    history = run(definition, FEW)
    assert len(history) == 2 * FEW + 2
    counted = calls(lambda: replay(definition, history)).total() / FEW
    assert most / 2 < counted < most, counted


@pytest.mark.parametrize(("definition", "most"), [(chain, 112), (fan, 113)], ids=["chain", "fan"])
def test_a_live_step_costs_no_more_calls(definition: Definition, most: int) -> None:
    """From the answer of one activity to the next one's item, as bytes."""
    run(definition, 1)  # hooks are made at their first use
    counted = calls(lambda: run(definition, FEW)).total() / FEW
    assert most / 2 < counted < most, counted


@pytest.mark.parametrize("definition", [chain, fan], ids=["chain", "fan"])
def test_a_step_is_evaluated_written_and_read_once(definition: Definition) -> None:
    """The kernel runs once for each delivered event; a step's arguments are encoded once and its result is decoded
    once, live and in a replay alike. A replay keeps the rest of the process out once, and so does closing.
    """
    history = run(definition, FEW)
    for work in (lambda: run(definition, FEW), lambda: replay(definition, history)):
        counted = calls(work)
        live = counted[EventCodec.encode.__code__] > 0
        assert counted[Kernel.run_until_blocked.__code__] == FEW + 1
        assert counted[PayloadCodec.encode_arguments.__code__] == FEW + live  # and those it was started with
        assert counted[PayloadCodec.decode.__code__] == FEW
        assert live or counted[keep_out.__code__] == 2
        assert counted[EventCodec.encode.__code__] == live * (2 * FEW + 2)


@pytest.mark.parametrize("size", [300, pytest.param(5_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("definition", [chain, fan], ids=["chain", "fan"])
def test_a_history_of_twice_the_length_costs_twice_the_calls(definition: Definition, size: int) -> None:
    """Live, where everything that is fanned out comes in, and from scratch: nothing grows with what was before."""
    run(definition, 1)
    once, twice = run(definition, size), run(definition, 2 * size)
    works: list[tuple[Callable[[], object], Callable[[], object]]] = [
        (lambda: run(definition, size), lambda: run(definition, 2 * size)),
        (lambda: replay(definition, once), lambda: replay(definition, twice)),
    ]
    for few, many in works:
        expected = 2 * calls(few).total()
        assert calls(many).total() == pytest.approx(expected, rel=0.01)
