"""`on_parent_close`: what the cancellation of a call, and the end of a parent, do to its child."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.engine.driving import START, Driven, actions, kinds
from trioflow import durable
from trioflow._engine import CancelChild, Execution, TerminateChild, run_turn
from trioflow.app import App
from trioflow.errors import ChildCancelled, ChildFailed, ChildTerminated, TrioflowError
from trioflow.history import (
    ActivityScheduled,
    Answer,
    CancelRequested,
    ChildCancelled as ChildCancelledEvent,
    ChildCompleted,
    ChildFailed as ChildFailedEvent,
    ChildScheduled,
    ChildTerminated as ChildTerminatedEvent,
    Event,
    Failure,
    OrchestrationCancelled,
    OrchestrationTerminated,
)

MODES = ("cancel", "wait", "abandon")
app = App("closing")


@app.activity
async def step(name: str) -> str:
    """Never runs here."""
    return name


@app.orchestration
async def child(name: str) -> str:
    """Never runs here."""
    return name


async def patient(options: dict[str, Any]) -> list[object]:
    """Five seconds of patience with a child, then a step of its own."""
    got: object = None
    with durable.move_on_after(5) as scope:
        try:
            got = await child.options(**options)("c")
        except TrioflowError as exc:
            got = type(exc).__name__
        await durable.lowlevel.checkpoint()
        got = "went on in the scope"
    return [got, scope.cancelled_caught, await step("after")]


def begun(**options: Any) -> tuple[Driven, ChildScheduled]:
    """A parent that waits for its child, within the time of its patience."""
    driven = Driven(patient, options, app=app)
    driven.start()
    asked = next(event for event in driven.history if isinstance(event, ChildScheduled))
    return driven, asked


# what is written         on_cancel as recorded, new events, and actions, when the call is cancelled
CALLS: list[tuple[dict[str, str], str, list[str], list[str]]] = [
    ({}, "wait", ["ChildCancelRequested"], ["CancelChild"]),
    ({"on_parent_close": "cancel"}, "wait", ["ChildCancelRequested"], ["CancelChild"]),
    ({"on_parent_close": "wait"}, "stay", [], []),
    ({"on_parent_close": "abandon"}, "abandon", ["ActivityScheduled"], ["ScheduleActivity"]),
    ({"on_parent_close": "wait", "on_cancel": "abandon"}, "abandon", ["ActivityScheduled"], ["ScheduleActivity"]),
    ({"on_parent_close": "abandon", "on_cancel": "wait"}, "wait", ["ChildCancelRequested"], ["CancelChild"]),
    (
        {"on_parent_close": "wait", "on_cancel": "request"},
        "request",
        ["ChildCancelRequested", "ActivityScheduled"],
        ["CancelChild", "ScheduleActivity"],
    ),
]


@pytest.mark.parametrize(("options", "recorded", "events", "wanted"), CALLS)
def test_what_a_cancelled_call_does(
    options: dict[str, str], recorded: str, events: list[str], wanted: list[str]
) -> None:
    """It follows from `on_parent_close`, unless `on_cancel` says another thing."""
    driven, asked = begun(**options)
    assert (asked.on_cancel, asked.on_parent_close) == (recorded, options.get("on_parent_close", "cancel"))
    result = driven.turn(now=START + 6)
    assert kinds(result) == ["TimerFired", *events]
    assert actions(result) == wanted
    driven.close()


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (ChildCompleted(answers=0, payload=b'"value"'), "value"),
        (ChildFailedEvent(answers=0, failure=Failure(type="x.Y", message="no")), ChildFailed.__name__),
        (ChildCancelledEvent(answers=0, reason="by somebody else"), ChildCancelled.__name__),
        (ChildTerminatedEvent(answers=0), ChildTerminated.__name__),
    ],
)
def test_wait_gets_what_happened_and_the_scope_is_seen_at_the_next_checkpoint(answer: Answer, got: str) -> None:
    """As with a shield around the call: a child that somebody else cancelled is an error, not our `Cancelled`."""
    driven, asked = begun(on_parent_close="wait")
    driven.turn(now=START + 6)
    assert kinds(driven.turn(driven.event("news"))) == ["EventReceived"]  # it waits, whatever else happens
    result = driven.turn(attrs.evolve(answer, answers=asked.id))
    assert kinds(result) == [type(answer).__name__, "ActivityScheduled"]
    driven.complete(driven.scheduled[0], "done")
    assert driven.result() == [got, True, "done"]
    driven.close()


def test_wait_holds_a_cancelled_root_until_the_child_has_ended() -> None:
    """A client's cancel reaches the parent's code only after it."""

    async def program() -> None:
        await child.options(on_parent_close="wait")("c")

    driven = Driven(program, app=app)
    driven.start()
    asked = driven.history[1]
    assert driven.cancel("enough").actions == ()
    driven.turn(ChildCompleted(answers=asked.id, payload=b'"value"'))
    assert kinds(driven.results[-1]) == ["ChildCompleted", "OrchestrationCompleted"]  # nothing waited after that
    driven.close()


# -- the parent ends


@pytest.mark.parametrize("cancelled_before", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_termination_ends_the_children_that_are_to_be_cancelled(mode: str, cancelled_before: bool) -> None:
    """Nobody can wait any more: the others live on, whether their call had been cancelled before or not."""
    driven, asked = begun(on_parent_close=mode)
    if cancelled_before:
        driven.turn(now=START + 6)
    result = driven.turn(OrchestrationTerminated(reason="enough"))
    ended = [action for action in result.actions if isinstance(action, TerminateChild)]
    assert ended == ([TerminateChild(asked, "enough")] if mode == "cancel" else [])
    driven.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ["return", "raise", "continue", "cancel"])
def test_any_other_end_asks_the_children_that_are_to_be_cancelled(mode: str, end: str) -> None:
    """Here their branch is shielded, in a nursery that nobody leaves, so that it hears of nothing before the end."""

    async def program(n: int) -> str:
        async def shielded() -> None:
            with durable.CancelScope(shield=True):
                await child.options(on_parent_close=mode)("c")  # type: ignore[arg-type]

        nursery = await durable.open_nursery().__aenter__()
        nursery.start_soon(shielded)
        await durable.wait_event("go")
        if end == "continue":
            durable.continue_as_new(n + 1)
        if end == "raise":
            raise ValueError("gone")
        return "gone"

    driven = Driven(program, 1, app=app)
    driven.start()
    asked = next(event for event in driven.history if isinstance(event, ChildScheduled))
    result = driven.turn(CancelRequested() if end == "cancel" else driven.event("go"))
    assert result.ended
    told = [action for action in result.actions if isinstance(action, CancelChild | TerminateChild)]
    assert told == ([CancelChild(asked, "its parent has ended")] if mode == "cancel" else [])
    driven.close()


# -- replay


@pytest.mark.parametrize("today", MODES)
@pytest.mark.parametrize("then", MODES)
def test_a_deploy_that_changes_it_changes_what_is_asked_for_from_then_on(then: str, today: str) -> None:
    """A child is treated as its event says, live as after a replay by code that says another thing."""
    mode = [then]

    async def program() -> str:
        with durable.move_on_after(5):
            await child.options(on_parent_close=mode[0])("c")  # type: ignore[arg-type]
        await step("after")
        return "done"

    driven = Driven(program, app=app)
    driven.start()
    driven.live.close()
    mode[0] = today
    late = run_turn(driven.definition, driven.history, [], START + 6, app=app)
    assert [type(action).__name__ for action in late.actions] == {
        "cancel": ["CancelChild"],
        "wait": [],
        "abandon": ["ScheduleActivity"],
    }[then]
    replayed = Execution(app, driven.definition)
    for _ in replayed.replay([*driven.history, *late.events]):
        pass
    replayed.close()
    driven.live = Execution(app, driven.definition, traced=True)
    for _ in driven.live.replay(driven.history):
        pass
    result = driven.turn(OrchestrationTerminated())
    assert actions(result) == (["TerminateChild"] if then == "cancel" else [])
    driven.close()


@pytest.mark.parametrize("mode", ["wait", "abandon"])
def test_a_history_of_before_on_parent_close_decided_is_replayed(mode: str) -> None:
    """Its children were recorded with on_cancel "wait", and asked to end when their call was cancelled."""
    driven, asked = begun(on_parent_close="cancel")
    driven.turn(now=START + 6)
    driven.turn(ChildCancelledEvent(answers=asked.id))
    driven.live.close()
    old: list[Event] = [
        attrs.evolve(event, on_parent_close=mode) if isinstance(event, ChildScheduled) else event
        for event in driven.history
    ]
    definition = driven.definition
    payload = app.codec.encode_arguments(definition.spec, ({"on_parent_close": mode},), {}, what="test")
    old[0] = attrs.evolve(old[0], payload=payload)  # type: ignore[call-arg]  # it is OrchestrationStarted
    replayed = Execution(app, definition)
    for _ in replayed.replay(old):
        pass
    assert isinstance(old[-1], ActivityScheduled)
    assert replayed.length == len(old)
    replayed.close()


def test_the_mode_of_a_call_that_waits_out_its_child_is_recorded() -> None:
    """`OrchestrationCancelled` never takes its place: a canceller waits, and the tree says for what."""
    driven, _ = begun(on_parent_close="wait")
    driven.cancel("enough")
    (branch,) = driven.live.branches(driven.now)
    assert branch.cancelled
    assert branch.waits is not None
    assert (branch.waits.on_cancel, branch.waits.cancel_asked) == ("stay", False)
    assert not any(isinstance(event, OrchestrationCancelled) for event in driven.history)
    driven.close()
