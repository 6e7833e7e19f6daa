"""What ends a turn at once, and what is left then: nothing committed, nothing running, nothing kept."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.engine.driving import START, Driven, actions, define, kinds
from trioflow import durable
from trioflow._engine import CancelChild, Execution, Message, run_turn
from trioflow.app import App
from trioflow.errors import ActivityFailed, DecodeError, HistoryError, NondeterminismError, SpinError
from trioflow.history import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed as ActivityFailedEvent,
    CancelRequested,
    ChildCompleted,
    ChildScheduled,
    DetachedStarted,
    Event,
    Failure,
    OrchestrationCancelled,
    OrchestrationCompleted,
    OrchestrationFailed,
)

app = App("aborting")


@app.activity
async def step(value: int = 0) -> int:
    """Never runs here."""
    return value


@app.activity
async def other_step(value: int = 0) -> int:
    """Never runs here."""
    return value


@app.orchestration
async def child(value: int = 0) -> int:
    """Never runs here."""
    return value


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_ends_everything_leaves_the_turn_whatever_the_code_does(fatal: type[BaseException]) -> None:
    """No nursery waits, no handler sees it twice; the live copy can then only be closed."""
    unwound: list[str] = []

    async def program() -> None:
        async def bad() -> None:
            raise fatal("stop")

        try:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(step)
                nursery.start_soon(bad)
        except BaseException:
            unwound.append("handler")
            await durable.sleep_forever()

    driven = Driven(program, app=app)
    payload = driven.app.codec.encode_arguments(driven.definition.spec, (), {}, what="test")
    with pytest.raises(fatal):
        driven.start()
    assert payload == b"{}"
    with pytest.raises(RuntimeError, match="cannot run"):
        driven.turn(CancelRequested())
    driven.live.close()
    assert driven.history == []


def test_a_turn_that_was_aborted_can_be_run_again() -> None:
    """Nothing of it was kept: a fresh copy does what the first would have done."""
    interrupts = [KeyboardInterrupt()]

    async def program() -> int:
        if interrupts:
            raise interrupts.pop()
        return await step(1)

    driven = Driven(program, app=app)
    with pytest.raises(KeyboardInterrupt):
        driven.start()
    driven.live.close()
    driven.live, driven.seq = Execution(driven.app, driven.definition, traced=True), 0
    assert kinds(driven.start()) == ["OrchestrationStarted", "ActivityScheduled"]


def test_nondeterminism_inside_nested_handlers_still_ends_the_turn() -> None:
    """Handlers, shields, nurseries and `finally` blocks neither hide nor change it."""

    async def was() -> None:
        await step(1)

    async def handlers() -> None:
        while True:
            try:
                async with durable.open_nursery() as nursery:
                    with durable.CancelScope(shield=True):
                        nursery.start_soon(other_step, 2)
                        try:
                            await other_step(1)
                        finally:
                            await durable.sleep(1)
            except BaseException:
                await other_step(3)

    driven = Driven(was, app=app)
    driven.start()
    for messages in ([], [Message(2, START + 5, driven.completion(driven.scheduled[0], 1))]):
        with pytest.raises(NondeterminismError) as info:
            run_turn(define(handlers), driven.history, messages, START + 5, app=app)
        assert info.value.place == "0#1"
    driven.close()


def test_an_answer_to_a_branch_that_has_gone_on_is_nondeterminism() -> None:
    """Live, it would have been dropped without an event."""

    async def waits() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(step.options(on_cancel="abandon"), 1)
            await durable.wait_event("e")

    async def gives_up() -> None:
        with durable.CancelScope() as scope:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(step.options(on_cancel="abandon"), 1)
                await durable.wait_event("e")
                scope.cancel()
        await durable.sleep_forever()

    driven = Driven(waits, app=app)
    driven.start()
    first = driven.scheduled[0]
    history = [
        *driven.history,
        attrs.evolve(driven.event("e"), id=4, at=START + 2),
        attrs.evolve(driven.completion(first, 1), id=5, at=START + 3),
        OrchestrationCompleted(id=6, at=START + 3, payload=b"null"),
    ]
    with pytest.raises(NondeterminismError, match="nobody waits for it"):
        run_turn(define(gives_up), history, [], START + 5, app=app)
    driven.close()


def test_a_cancel_of_what_was_never_recorded_is_reported_with_it() -> None:
    """The activity differs, so its cancellation does, too: one error, for the activity."""

    async def was() -> None:
        with durable.move_on_after(5):
            await step(1)

    async def cancels() -> None:
        with durable.move_on_after(5) as scope:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(step, 1)
                await durable.lowlevel.checkpoint()
                scope.cancel()

    driven = Driven(was, app=app)
    driven.start()
    with pytest.raises(NondeterminismError) as info:
        run_turn(define(cancels), driven.history, [], START + 5, app=app)
    assert info.value.place == "0.1#1"
    driven.close()


def test_a_cancel_that_the_history_does_not_know_is_found() -> None:
    """Cancel requests are compared as what is asked for is."""

    async def patient() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(step, 1)
            await durable.wait_event("e")

    async def impatient() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(step, 1)
            await durable.wait_event("e")
            nursery.cancel_scope.cancel()

    driven = Driven(patient, app=app)
    driven.start()
    driven.turn(driven.event("e"))
    with pytest.raises(NondeterminismError) as info:
        run_turn(define(impatient), driven.history, [], START + 5, app=app)
    assert info.value.expected is None
    assert "ActivityCancelRequested" in str(info.value.actual)
    driven.close()


def test_an_input_that_cannot_be_read_as_todays_type_is_another_input() -> None:
    """Reported as such, not as a decoding error."""
    yesterday, today = App("then"), App("now")

    @yesterday.activity(name="send")
    async def send_text(value: str) -> None: ...

    @today.activity(name="send")
    async def send_number(value: int) -> None: ...

    async def then() -> None:
        await send_text("x")

    async def now() -> None:
        await send_number(1)

    driven = Driven(yesterday.orchestration(name="p")(then))
    driven.start()
    with pytest.raises(NondeterminismError):
        run_turn(today.orchestration(name="p")(now), driven.history, [], START + 5)
    driven.close()


def test_a_recorded_result_that_does_not_fit_ends_the_turn() -> None:
    """No handler in the code can answer for it; the instance parks and goes on when the type is mended."""

    async def program() -> int:
        try:
            return await step(1)
        except Exception:
            return -1

    driven = Driven(program, app=app)
    driven.start()
    with pytest.raises(DecodeError, match="recorded result of activity 'step'"):
        driven.turn(ActivityCompleted(answers=driven.scheduled[0].id, payload=b'"text"'))
    driven.live.close()


def test_a_program_that_never_waits_is_stopped() -> None:
    """The error names the branch that spins."""

    async def program() -> None:
        while True:
            await durable.lowlevel.checkpoint()

    driven = Driven(program)
    driven.live.close()
    driven.live = Execution(driven.app, driven.definition, step_limit=100, traced=True)
    with pytest.raises(SpinError, match="0"):
        driven.start()
    driven.live.close()


def test_a_branch_that_cannot_be_ended_is_reported_once_and_kept() -> None:
    """The garbage collector would run its code where no orchestration runs."""
    own = App("undead")
    done: list[bool] = []

    async def program() -> None:
        while not done:
            try:
                await durable.sleep_forever()
            except BaseException:
                continue

    driven = Driven(own.orchestration(program))
    driven.live.run([Message(1, START, _started(driven))], START)
    with pytest.warns(RuntimeWarning, match="swallowed every exception"):
        driven.live.close()
    driven.live.close()
    (task,) = own.undead
    done.append(True)  # now it may end
    own.undead.clear()
    assert "at 0" in repr(task)


def _started(driven: Driven) -> Event:
    from trioflow.history import OrchestrationStarted

    return OrchestrationStarted(instance="i-1", name=driven.definition.name, payload=b"{}", seed="5eed")


def test_messages_to_an_execution_that_has_ended_are_consumed_without_an_event() -> None:
    """Live or replayed: whoever sends them again gets the same answer."""

    async def program() -> int:
        return 1

    driven = Driven(program)
    driven.start()
    result = driven.turn(driven.event("late"), CancelRequested())
    assert (result.events, result.actions, result.consumed, result.ended) == ((), (), (2, 3), True)
    assert result.wake_at is None
    driven.close()


@pytest.mark.parametrize("shield", [False, True])
@pytest.mark.parametrize("on_parent_close", ["cancel", "abandon"])
def test_a_child_left_in_a_nursery_that_was_never_closed_is_cancelled_once(shield: bool, on_parent_close: Any) -> None:
    """By its branch, or, if a shield keeps that from doing so, by the end of the execution; an abandoned one never."""

    async def program() -> str:
        async def wait() -> None:
            with durable.CancelScope(shield=shield):
                await child.options(on_parent_close=on_parent_close)(1)

        nursery = await durable.open_nursery().__aenter__()
        nursery.start_soon(wait)
        await durable.wait_event("go")
        return "gone"

    driven = Driven(program, app=app)
    driven.start()
    scheduled = next(event for event in driven.history if isinstance(event, ChildScheduled))
    result = driven.turn(driven.event("go"))
    asked = [action.event for action in result.actions if isinstance(action, CancelChild)]
    assert asked == ([] if on_parent_close == "abandon" else [scheduled])
    assert isinstance(driven.last, OrchestrationFailed)
    assert "Nursery" in driven.last.failure.message
    driven.close()


@pytest.mark.parametrize("category", ["poison", "mine"])
def test_a_failure_keeps_its_category_if_it_is_one(category: str) -> None:
    """A program may raise what it likes; the turn survives it."""

    async def program() -> None:
        raise ActivityFailed("no", category=category, attempts=3)

    driven = Driven(program)
    driven.start()
    assert isinstance(driven.last, OrchestrationFailed)
    assert driven.last.failure.category == ("poison" if category == "poison" else "application")
    assert driven.last.failure.attempts == 3
    driven.close()


def test_a_failure_beside_continue_as_new_is_recorded_without_it() -> None:
    """A reader of the failure sees what went wrong, nothing of our own."""

    async def program() -> None:
        async def bad() -> None:
            try:
                await durable.sleep_forever()
            finally:
                raise ValueError("beside")

        async with durable.open_nursery() as nursery:
            nursery.start_soon(bad)
            await durable.wait_event("go")
            durable.continue_as_new()

    driven = Driven(program)
    driven.start()
    driven.turn(driven.event("go"))
    assert isinstance(driven.last, OrchestrationFailed)
    assert [member.type for member in driven.last.failure.members] == ["builtins.ValueError"]
    driven.close()


def test_what_others_may_see_of_an_execution() -> None:
    """Its length, size and end, and its kernel for views."""

    async def program() -> str:
        await step(1)
        return "done"

    driven = Driven(program, app=app)
    driven.start()
    live = driven.live
    assert (live.length, live.ended, live.kernel.outcome) == (2, False, None)
    assert live.size > 128
    assert [branch.place for branch in live.kernel.branches()] == ["0"]
    driven.turn(ActivityFailedEvent(answers=2, failure=Failure(type="x.Y", message="no")))
    assert live.ended
    assert live.kernel.outcome is not None
    assert actions(driven.results[-1]) == []
    driven.close()


def test_a_second_start_message_is_dropped() -> None:
    """An execution begins once."""

    async def program() -> None:
        await durable.sleep_forever()

    driven = Driven(program)
    driven.start()
    assert kinds(driven.turn(_started(driven))) == []
    driven.close()


def test_a_history_that_begins_with_an_administrative_event_still_needs_a_start() -> None:
    """Suspended before it ever ran: it is passed over."""
    from trioflow.history import Resumed, Suspended

    async def program() -> int:
        return 1

    driven = Driven(program)
    history: list[Event] = [Suspended(id=1), Resumed(id=2)]
    result = run_turn(driven.definition, history, [Message(1, START, _started(driven))], START)
    assert [event.id for event in result.events] == [3, 4]
    started = [*history, *result.events]
    assert run_turn(driven.definition, started, [], START).events == ()
    with pytest.raises(HistoryError):
        run_turn(driven.definition, [*history, attrs.evolve(result.events[1], id=3)], [], START)


def test_a_recorded_value_where_the_history_holds_another_step_is_found() -> None:
    """At once, before the function could run."""

    async def was() -> None:
        await step(1)

    async def records() -> None:
        await durable.record(int)

    driven = Driven(was, app=app)
    driven.start()
    with pytest.raises(NondeterminismError) as info:
        run_turn(define(records), driven.history, [], START, app=app)
    assert info.value.expected == "ActivityScheduled 'step' at 0#1"
    assert info.value.actual == "Recorded 'int' at 0#1"
    driven.close()


def test_branches_that_all_end_cancelled_cancel_the_execution() -> None:
    """A group of nothing but `Cancelled` is `Cancelled`."""

    async def program() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(durable.sleep_forever)
            nursery.start_soon(durable.sleep_forever)

    driven = Driven(program)
    driven.start()
    driven.cancel("all of it")
    assert driven.last == OrchestrationCancelled(id=3, at=driven.now, reason="all of it")
    driven.close()


@pytest.mark.parametrize(
    "answer",
    [ChildCompleted(answers=2, payload=b"1"), DetachedStarted(answers=2, instance="x"), ActivityCancelled(answers=2)],
)
def test_an_answer_of_another_kind_is_refused(answer: Event) -> None:
    """The history, or the store, is damaged; the code never sees it, and no payload is shown."""

    async def program() -> None:
        await step(12345)

    driven = Driven(program, app=app)
    driven.start()
    with pytest.raises(HistoryError, match="cannot answer event 2") as info:
        driven.turn(answer)
    assert "12345" not in str(info.value)
    driven.live.close()
