"""Cancelling children: wait, request, abandon, and what an execution that ends does about those it leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.driving import START, Driven, actions, kinds
from trioflow import durable
from trioflow._engine import CancelActivity, CancelChild, Execution, ScheduleActivity, run_turn
from trioflow.app import App
from trioflow.errors import ChildTerminated, NondeterminismError
from trioflow.history import (
    ChildCancelled,
    ChildCompleted,
    ChildFailed,
    ChildScheduled,
    ChildTerminated as ChildTerminatedEvent,
    Event,
    OrchestrationFailed,
    OrchestrationTerminated,
)

app = App("families")


@app.activity
async def step(name: str) -> str:
    """Never runs here."""
    return name


@app.orchestration
async def child(name: str) -> str:
    """Never runs here."""
    return name


def children(driven: Driven) -> list[ChildScheduled]:
    """All children asked for so far."""
    return [event for event in driven.history if isinstance(event, ChildScheduled)]


async def patient(on_cancel: Any) -> list[object]:
    """Five seconds of patience with a child, then a step of its own."""
    got: object = None
    with durable.move_on_after(5) as scope:
        got = await child.options(on_cancel=on_cancel)("c")
        await durable.lowlevel.checkpoint()
    return [got, scope.cancelled_caught, await step("after")]


def begun(on_cancel: str) -> tuple[Driven, ChildScheduled]:
    """Up to where the patience is over."""
    driven = Driven(patient, on_cancel, app=app)
    driven.start()
    (asked,) = children(driven)
    assert asked.on_cancel == on_cancel
    return driven, asked


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (lambda id: ChildCompleted(answers=id, payload=b'"value"'), "value"),
        (lambda id: ChildCancelled(answers=id, reason="asked"), None),
    ],
)
def test_wait_stays_until_the_child_is_terminal(answer: Any, got: object) -> None:
    """The branch gets what happened: the value of a child that went through, or `Cancelled`."""
    driven, asked = begun("wait")
    late = driven.turn(now=START + 6)
    assert kinds(late) == ["TimerFired", "ChildCancelRequested"]
    assert late.actions == (CancelChild(asked),)
    assert kinds(driven.turn(driven.event("news"))) == ["EventReceived"]  # it waits, whatever else happens
    assert kinds(driven.turn(answer(asked.id))) == [answer(0).__class__.__name__, "ActivityScheduled"]
    driven.complete(driven.scheduled[0], "done")
    assert driven.result() == [got, True, "done"]
    driven.close()


def test_terminating_the_child_is_the_way_out_of_waiting() -> None:
    """A child that never ends by itself can be terminated; the branch then gets `ChildTerminated`."""

    async def program() -> str:
        with durable.move_on_after(5):
            try:
                await child("c")
            except ChildTerminated as exc:
                return str(exc)
        return "cancelled"

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(now=START + 6)
    driven.turn(ChildTerminatedEvent(answers=children(driven)[0].id, reason="too slow"))
    assert driven.result() == "child 'child' was terminated: too slow"
    driven.close()


@pytest.mark.parametrize("late", [ChildCompleted(answers=0, payload=b'"late"'), ChildCancelled(answers=0)])
def test_request_asks_and_goes_on(late: Event) -> None:
    """The child is asked, the branch goes on in the same segment; what comes later is no event."""
    driven, asked = begun("request")
    result = driven.turn(now=START + 6)
    assert kinds(result) == ["TimerFired", "ChildCancelRequested", "ActivityScheduled"]
    assert actions(result) == ["CancelChild", "ScheduleActivity"]
    assert kinds(driven.turn(type(late)(**{**_fields(late), "answers": asked.id}))) == []
    driven.complete(driven.scheduled[0], "done")
    assert driven.result() == [None, True, "done"]
    driven.close()


def test_abandon_asks_nothing_and_the_child_outlives_its_parent() -> None:
    """The branch goes on; neither it nor the end of the execution asks for the child's end."""
    driven, asked = begun("abandon")
    result = driven.turn(now=START + 6)
    assert kinds(result) == ["TimerFired", "ActivityScheduled"]
    assert actions(result) == ["ScheduleActivity"]
    ended = driven.complete(driven.scheduled[0], "done")
    assert (ended.ended, ended.actions) == (True, ())
    assert asked.on_parent_close == "cancel"
    driven.close()


def _fields(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in ("payload", "reason") if hasattr(event, name)}


@pytest.mark.parametrize("on_cancel", ["wait", "request", "abandon"])
def test_a_child_hears_the_reason(on_cancel: str) -> None:
    """What the client said goes to the child with the request, and only once."""

    async def program() -> None:
        await child.options(on_cancel=on_cancel)("c")  # type: ignore[arg-type]

    driven = Driven(program, app=app)
    driven.start()
    (asked,) = children(driven)
    result = driven.cancel("withdrawn")
    told = [] if on_cancel == "abandon" else [CancelChild(asked, "withdrawn")]
    assert list(result.actions) == told
    assert result.ended is (on_cancel != "wait")
    if on_cancel == "wait":
        assert driven.turn(ChildCancelled(answers=asked.id, reason="withdrawn")).actions == ()
    driven.close()


@pytest.mark.parametrize("on_cancel", ["wait", "request", "abandon"])
def test_termination_ends_children_whatever_was_said(on_cancel: str) -> None:
    """Also one that was asked or abandoned already: termination leaves nothing behind."""
    driven, asked = begun(on_cancel)
    driven.turn(now=START + 6)
    result = driven.turn(OrchestrationTerminated(reason="enough"))
    assert [action.event for action in result.actions if hasattr(action, "reason")] == [asked]
    driven.close()


def test_a_child_that_could_not_be_started_is_told_although_the_branch_was_cancelled() -> None:
    """The refusal of its id is what happened."""

    async def program() -> str:
        with durable.move_on_after(5):
            try:
                await child("c")
            except Exception as exc:
                return type(exc).__name__
        return "cancelled"

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(now=START + 6)
    failure = app.failures.to_failure(LookupError("taken"))
    driven.turn(ChildFailed(answers=children(driven)[0].id, failure=failure))
    assert driven.result() == "LookupError"
    driven.close()


# -- replay


@pytest.mark.parametrize("definition", [step, child])
@pytest.mark.parametrize(("then", "today"), [("wait", "request"), ("request", "wait"), ("request", "abandon")])
def test_an_operation_is_replayed_with_the_mode_it_was_asked_for_with(then: str, today: str, definition: Any) -> None:
    """A deploy that changes `on_cancel` changes what is asked for from then on, not what runs."""
    mode = [then]

    async def program() -> str:
        with durable.move_on_after(5):
            await definition.options(on_cancel=mode[0])("c")
        await step("after")
        return "done"

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(now=START + 6)
    driven.live.close()
    mode[0] = today
    replayed = Execution(app, driven.definition)
    for _ in replayed.replay(driven.history):
        pass
    assert replayed.length == len(driven.history)
    replayed.close()


@pytest.mark.parametrize("definition", [step, child])
@pytest.mark.parametrize(("then", "today"), [("wait", "request"), ("request", "abandon"), ("abandon", "wait")])
def test_the_recorded_mode_holds_for_what_is_cancelled_at_once(then: str, today: str, definition: Any) -> None:
    """Also where the operation is asked for and cancelled behind one event."""
    mode = [then]

    async def program() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(definition.options(on_cancel=mode[0]), "c")
            await durable.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await step("after")

    driven = Driven(program, app=app)
    driven.start()
    driven.live.close()
    mode[0] = today
    replayed = Execution(app, driven.definition)
    for _ in replayed.replay(driven.history):
        pass
    assert replayed.length == len(driven.history)
    replayed.close()


def test_a_child_that_was_given_up_is_terminated_live_as_in_replay() -> None:
    """Its end is no event, so nobody can know of it; `Driven` compares the actions of both."""

    async def program() -> None:
        with durable.move_on_after(5):
            await child.options(on_cancel="request")("c")
        await durable.sleep_forever()

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(now=START + 6)
    asked = next(event for event in driven.history if type(event).__name__ == "ChildScheduled")
    driven.turn(ChildCancelled(answers=asked.id))
    result = driven.turn(OrchestrationTerminated(reason="enough"))
    assert actions(result) == ["TerminateChild"]
    driven.close()


def test_a_child_does_not_hear_what_another_branch_raised() -> None:
    """An exception may show anything, an address or a card number: the child is told that there was one."""

    async def fails() -> None:
        await durable.sleep(1)
        raise ValueError("card 4711", object())

    async def program() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(child, "c")
            nursery.start_soon(fails)

    driven = Driven(program, app=app)
    driven.start()
    result = driven.turn(now=START + 2)
    reasons = [action.reason for action in result.actions if isinstance(action, CancelChild)]
    assert reasons == ["another branch of its parent failed"]
    driven.close()


def test_a_request_that_is_recorded_has_to_be_made_again() -> None:
    """Code that no longer cancels the child disagrees with its history."""
    patience = [5.0]

    async def program() -> None:
        with durable.move_on_after(patience[0]):
            await child("c")

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(now=START + 6)
    patience[0] = 7
    with pytest.raises(NondeterminismError):
        run_turn(driven.definition, driven.history, [], START + 6, app=app)


# -- what is left behind


async def forgetful(shield: bool, end: str) -> str:
    """Ends with an activity and a child in a nursery that was entered and never left."""

    async def both() -> None:
        with durable.CancelScope(shield=shield):
            await durable.gather(step("left"), child("left"))

    nursery = await durable.open_nursery().__aenter__()
    nursery.start_soon(both)
    await durable.wait_event("go")
    if end == "raise":
        raise ValueError("gone")
    return "gone"


@pytest.mark.parametrize("end", ["return", "raise"])
@pytest.mark.parametrize("shield", [False, True])
def test_nothing_is_left_running_by_an_execution_that_ends(shield: bool, end: str) -> None:
    """By its branch, or, where a shield keeps that from hearing, by the end of the execution: each is asked, once."""
    driven = Driven(forgetful, shield, end, app=app)
    driven.start()
    (asked,) = children(driven)
    result = driven.turn(driven.event("go"))
    assert result.ended
    assert [action for action in result.actions if isinstance(action, CancelActivity)] == [
        CancelActivity(driven.scheduled[0].id)
    ]
    assert [action.event for action in result.actions if isinstance(action, CancelChild)] == [asked]
    driven.close()


def test_what_an_ending_asks_for_never_starts() -> None:
    """A branch that outlives the main function and asks for a step in its cleanup: the step is taken back at once."""

    async def program() -> None:
        async def cleanup() -> None:
            try:
                await durable.sleep_forever()
            finally:
                with durable.CancelScope(shield=True):
                    await step("cleanup")

        nursery = await durable.open_nursery().__aenter__()
        nursery.start_soon(cleanup)
        await durable.wait_event("go")

    driven = Driven(program, app=app)
    driven.start()
    result = driven.turn(driven.event("go"))
    asked = [action.event.id for action in result.actions if isinstance(action, ScheduleActivity)]
    assert result.ended
    assert [action.event_id for action in result.actions if isinstance(action, CancelActivity)] == asked
    assert len(asked) == 1
    driven.close()


def test_continue_as_new_out_of_an_open_nursery_fails_and_leaves_nothing() -> None:
    """The nursery that was never left is an error beside it, and its activity is asked to end."""

    async def program(n: int) -> None:
        async def stuck() -> None:
            with durable.CancelScope(shield=True):
                await step("left")

        nursery = await durable.open_nursery().__aenter__()
        nursery.start_soon(stuck)
        await durable.wait_event("go")
        durable.continue_as_new(n + 1)

    driven = Driven(program, 1, app=app)
    driven.start()
    result = driven.turn(driven.event("go"))
    assert result.actions == (CancelActivity(driven.scheduled[0].id),)
    assert isinstance(driven.last, OrchestrationFailed)
    driven.close()


@pytest.mark.parametrize("mode", ["request", "abandon"])
def test_an_activity_given_up_is_not_asked_again_at_the_end(mode: Any) -> None:
    """One was asked when it was given up; the other is meant to run on."""

    async def program() -> None:
        with durable.move_on_after(5):
            await step.options(on_cancel=mode)("left")

    driven = Driven(program, app=app)
    driven.start()
    result = driven.turn(now=START + 6)
    assert actions(result) == (["CancelActivity"] if mode == "request" else [])
    assert result.ended
    driven.close()
