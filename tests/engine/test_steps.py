"""Activities, events, timers and branches: history | program | messages -> events, actions, outcome."""

from __future__ import annotations

import pytest

from tests.engine.driving import START, Driven, actions, kinds
from trioflow import durable
from trioflow.app import App
from trioflow.errors import ActivityFailed, ActivityPoisoned, ActivityTimedOut, EventTypeError, HistoryError
from trioflow.history import (
    ActivityCompleted,
    ActivityFailed as ActivityFailedEvent,
    Category,
    EventReceived,
    EventWaited,
    Failure,
    OrchestrationCompleted,
    OrchestrationFailed,
    TimerCreated,
    TimerFired,
)

app = App("steps")


@app.activity
async def echo(value: int) -> int:
    """The activity of these tests; it never runs."""
    return value


@app.activity(name="other")
async def other(value: int = 0) -> int:
    """Another one."""
    return value


def test_a_program_without_steps_completes_in_its_first_turn() -> None:
    """Started and completed are one segment."""

    async def program(x: int) -> int:
        return x + 1

    driven = Driven(program, 41)
    result = driven.start()
    assert kinds(result) == ["OrchestrationStarted", "OrchestrationCompleted"]
    assert result.ended
    assert result.actions == ()
    assert result.wake_at is None
    assert driven.result() == 42
    driven.close()


def test_a_chain_schedules_one_step_at_a_time() -> None:
    """Each completion opens a segment with the next schedule behind it; places count the branch's operations."""

    async def program() -> int:
        return await echo(1) + await echo(value=2)

    driven = Driven(program, app=app)
    first = driven.start()
    assert kinds(first) == ["OrchestrationStarted", "ActivityScheduled"]
    assert actions(first) == ["ScheduleActivity"]
    second = driven.complete(driven.scheduled[0], 10)
    assert kinds(second) == ["ActivityCompleted", "ActivityScheduled"]
    driven.complete(driven.scheduled[1], 20)
    assert driven.result() == 30
    assert [event.place for event in driven.scheduled] == ["0#1", "0#2"]
    assert driven.scheduled[0].payload == b'{"value":1}'
    driven.close()


def test_what_is_not_answered_is_in_flight() -> None:
    """From its schedule to its answer."""

    async def program() -> None:
        await durable.gather(echo(1), echo(2))
        await echo(3)

    driven = Driven(program, app=app)
    driven.start()
    counted = [driven.live.in_flight]
    for index in range(3):
        driven.complete(driven.scheduled[index], 0)
        counted.append(driven.live.in_flight)
    assert counted == [2, 1, 1, 0]
    assert driven.scheduled[1].payload == b'{"value":2}'
    driven.close()


def test_branches_count_for_themselves() -> None:
    """A place is the spawner's place and its spawn number; completions in any order reach the right branch."""

    async def program() -> list[int]:
        return list(await durable.gather(echo(1), echo(2), echo(3)))

    driven = Driven(program, app=app)
    driven.start()
    assert [event.place for event in driven.scheduled] == ["0.1#1", "0.2#1", "0.3#1"]
    a, b, c = driven.scheduled
    driven.turn(driven.completion(c, 30), driven.completion(a, 10))
    driven.complete(b, 20)
    assert driven.result() == [10, 20, 30]
    driven.close()


def test_a_duplicate_or_unasked_answer_is_dropped_without_an_event() -> None:
    """Messages that answer nothing are consumed and leave no trace."""

    async def program() -> int:
        return await echo(1) + await echo(2)

    driven = Driven(program, app=app)
    driven.start()
    first = driven.scheduled[0]
    result = driven.turn(
        driven.completion(first, 1), driven.completion(first, 99), ActivityCompleted(answers=77, payload=b"0")
    )
    assert kinds(result) == ["ActivityCompleted", "ActivityScheduled"]
    assert result.consumed == (2, 3, 4)
    driven.close()


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure(type="builtins.ValueError", message="no"), ActivityFailed),
        (Failure(type="elsewhere.Unknown", message="no"), ActivityFailed),
        (Failure(type="x", message="died", category=Category.POISON), ActivityPoisoned),
        (Failure(type="trioflow.ActivityTimedOut", message="slow", category=Category.INFRASTRUCTURE), ActivityTimedOut),
    ],
)
def test_a_failed_activity_raises_what_it_means(failure: Failure, expected: type[Exception]) -> None:
    """The program can catch it and go on."""

    async def program() -> str:
        try:
            await echo(1)
        except Exception as exc:
            return type(exc).__name__ if isinstance(exc, expected) else f"unexpected {exc!r}"
        return "nothing"

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(ActivityFailedEvent(answers=driven.scheduled[0].id, failure=failure))
    assert "unexpected" not in driven.result()
    assert driven.result() != "nothing"
    driven.close()


def test_an_uncaught_failure_fails_the_execution() -> None:
    """The failure keeps type and message."""

    async def program() -> None:
        raise LookupError("gone")

    driven = Driven(program)
    driven.start()
    assert isinstance(driven.last, OrchestrationFailed)
    assert driven.last.failure.type.endswith("LookupError")
    assert driven.last.failure.message == "gone"
    driven.close()


def test_a_result_that_cannot_be_serialized_fails_the_execution() -> None:
    """The failure says that it is a matter of the code, not of trying again."""

    async def program() -> object:
        return object()

    driven = Driven(program)
    driven.start()
    assert isinstance(driven.last, OrchestrationFailed)
    assert driven.last.failure.category is Category.CONFIGURATION
    assert not driven.last.failure.retryable
    driven.close()


def test_events_are_buffered_and_taken_in_order() -> None:
    """Raised before or after the wait, first in is first out."""

    async def program() -> list[int]:
        return [await durable.wait_event("e", int), await echo(0), await durable.wait_event("e", int)]

    driven = Driven(program, app=app)
    driven.start()
    assert isinstance(driven.last, EventWaited)
    result = driven.turn(driven.event("e", 1), driven.event("e", 2))
    assert kinds(result) == ["EventReceived", "ActivityScheduled", "EventReceived"]
    assert result.unread == 1
    done = driven.complete(driven.scheduled[0], 0)
    assert kinds(done) == ["ActivityCompleted", "EventWaited", "OrchestrationCompleted"]
    assert driven.result() == [1, 0, 2]
    driven.close()


def test_events_raised_before_the_start_turn_wait_in_the_mailbox() -> None:
    """An event behind the start message is there when it is first waited for; one before it is not lost either."""

    async def program() -> int:
        await echo(0)
        return await durable.wait_event("e", int)

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(driven.event("e", 5))
    driven.complete(driven.scheduled[0])
    assert driven.result() == 5
    driven.close()


def test_several_waiters_are_served_in_wait_order_and_a_cancelled_wait_consumes_nothing() -> None:
    """The second waiter gives up; the first and third get the events."""
    got: list[tuple[str, int]] = []

    async def program() -> list[list[object]]:
        result: list[list[object]] = []

        async def wait(name: str, patience: float) -> None:
            with durable.move_on_after(patience):
                result.append([name, await durable.wait_event("e", int)])

        async with durable.open_nursery() as nursery:
            nursery.start_soon(wait, "a", 100)
            nursery.start_soon(wait, "b", 5)
            nursery.start_soon(wait, "c", 100)
        return result

    driven = Driven(program)
    driven.start()
    driven.turn(now=START + 10)
    driven.turn(driven.event("e", 1), now=START + 11)
    driven.turn(driven.event("e", 2), now=START + 12)
    assert driven.result() == [["a", 1], ["c", 2]]
    assert got == []
    driven.close()


def test_an_event_of_the_wrong_type_is_consumed_and_raises() -> None:
    """The raw value is on the error."""

    async def program() -> object:
        try:
            await durable.wait_event("e", int)
        except EventTypeError as exc:
            return [exc.name, exc.value, await durable.wait_event("e", int)]
        return None

    driven = Driven(program)
    driven.start()
    driven.turn(driven.event("e", "text"), driven.event("e", 3))
    assert driven.result() == ["e", "text", 3]
    driven.close()


def test_wait_event_nowait_takes_or_raises() -> None:
    """It takes no operation number and records nothing."""

    async def program() -> list[object]:
        try:
            durable.wait_event_nowait("e")
        except durable.WouldBlock:
            await echo(1)
        return [durable.wait_event_nowait("e"), durable.wait_event_nowait("f", str)]

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(driven.event("f", "y"), driven.event("e", "x"))
    driven.complete(driven.scheduled[0])
    assert driven.result() == ["x", "y"]
    assert driven.scheduled[0].place == "0#1"
    driven.close()


def test_async_iteration_over_events_takes_no_event_too_many() -> None:
    """What is left is listed in the terminal event."""

    async def program() -> int:
        total = 0
        async for value in durable.events("n", int):
            total += value
            if total > 2:
                break
        return total

    driven = Driven(program)
    driven.start()
    driven.turn(*(driven.event("n", n) for n in (1, 2, 3)))
    assert driven.result() == 3
    assert isinstance(driven.last, OrchestrationCompleted)
    assert [(event.name, event.payload) for event in driven.last.unread] == [("n", b"3")]
    driven.close()


def test_a_sleep_is_one_timer_and_one_wake_up() -> None:
    """The deadline is durable as wake_at; the fired timer only brings the time."""

    async def program() -> float:
        await durable.sleep(60)
        return durable.current_time()

    driven = Driven(program)
    first = driven.start()
    assert first.wake_at == START + 61
    timer = driven.last
    assert isinstance(timer, TimerCreated)
    assert timer.deadline == START + 61
    assert timer.place == "0#1"
    assert kinds(driven.turn(now=START + 60)) == []
    second = driven.turn(now=START + 70)
    assert kinds(second) == ["TimerFired", "OrchestrationCompleted"]
    assert driven.result() == START + 70
    driven.close()


def test_a_deadline_that_is_past_expires_at_once_without_a_timer() -> None:
    """`move_on_after(0)` is seen at the first checkpoint."""

    async def program() -> bool:
        with durable.move_on_after(0) as scope:
            await echo(1)
        return scope.cancelled_caught

    driven = Driven(program, app=app)
    assert kinds(driven.start()) == ["OrchestrationStarted", "OrchestrationCompleted"]
    assert driven.result() is True
    driven.close()


def test_a_closed_deadline_is_recorded_as_cancelled_at_the_next_block() -> None:
    """Timers belong to blocks: one that was never open at a block leaves no trace."""

    async def program() -> None:
        with durable.move_on_after(30):
            with durable.move_on_after(20):
                pass
            await echo(1)
        await echo(2)

    driven = Driven(program, app=app)
    assert kinds(driven.start()) == ["OrchestrationStarted", "ActivityScheduled", "TimerCreated"]
    result = driven.complete(driven.scheduled[0])
    assert kinds(result) == ["ActivityCompleted", "ActivityScheduled", "TimerCancelled"]
    assert result.wake_at is None
    driven.close()


def test_equal_deadlines_expire_together() -> None:
    """Nested equal timeouts: the outer one catches, as in trio."""

    async def program() -> list[bool]:
        with durable.move_on_after(5) as outer:
            with durable.move_on_after(5) as inner:
                await durable.sleep_forever()
        return [outer.cancelled_caught, inner.cancelled_caught]

    driven = Driven(program)
    driven.start()
    result = driven.turn(now=START + 6)
    assert kinds(result) == ["TimerFired", "OrchestrationCompleted"]
    assert driven.result() == [True, False]
    driven.close()


def test_messages_and_due_times_are_merged_by_store_time() -> None:
    """A worker that comes late decides the race as one that was on time: the event came before the deadline."""

    async def program() -> list[object]:
        got: list[object] = []
        with durable.move_on_after(10):
            got.append(await durable.wait_event("e"))
            got.append(await durable.wait_event("e"))
            got.append(await durable.wait_event("e"))
        return got

    driven = Driven(program)
    driven.start()
    opened = driven.history[0].at
    late = opened + 100
    result = driven.turn(
        driven.event("e", 1),
        driven.event("e", 2),
        driven.event("e", 3),
        now=late,
        arrived=[opened + 3, opened + 9, opened + 11],
    )
    assert driven.result() == [1, 2]
    assert [type(event) for event in result.events if event.delivered] == [EventReceived, EventReceived, TimerFired]
    assert [event.at for event in result.events if event.delivered] == [opened + 3, opened + 9, opened + 10]
    driven.close()


def test_a_late_worker_gives_the_whole_of_a_timeout_opened_now() -> None:
    """With no deadline in between, an event's time is the turn's, so what is opened after it has not expired yet."""

    async def program() -> bool:
        await durable.wait_event("go")
        with durable.move_on_after(30) as scope:
            await echo(1)
        return scope.cancelled_caught

    driven = Driven(program, app=app)
    driven.start()
    result = driven.turn(driven.event("go"), now=START + 1000, arrived=[START + 5])
    assert result.wake_at == START + 1030
    driven.complete(driven.scheduled[0], 1)
    assert driven.result() is False
    driven.close()


def test_time_never_decreases() -> None:
    """A store whose clock steps back does not take the program with it."""

    async def program() -> list[float]:
        times = []
        for _ in range(3):
            await durable.wait_event("tick")
            times.append(durable.current_time())
        return times

    driven = Driven(program)
    driven.start()
    driven.turn(driven.event("tick"), now=START + 50)
    driven.turn(driven.event("tick"), now=START + 20)
    driven.turn(driven.event("tick"), now=START + 60)
    assert driven.result() == [START + 50, START + 50, START + 60]
    driven.close()


def test_map_is_bounded_and_places_follow_the_items() -> None:
    """Two run at once; results are in item order; an item's place is its position whatever finished first."""

    async def program() -> list[int]:
        return await durable.map(echo, [5, 6, 7, 8], limit=2)

    driven = Driven(program, app=app)
    driven.start()
    assert len(driven.scheduled) == 2
    driven.complete(driven.scheduled[1], 60)
    driven.complete(driven.scheduled[2], 70)
    driven.complete(driven.scheduled[0], 50)
    driven.complete(driven.scheduled[3], 80)
    assert driven.result() == [50, 60, 70, 80]
    assert [event.place for event in driven.scheduled] == ["0.1#1", "0.2#1", "0.3#1", "0.4#1"]
    driven.close()


def test_a_history_that_does_not_begin_is_refused() -> None:
    """The first message must be the start."""

    async def program() -> None: ...

    driven = Driven(program)
    with pytest.raises(HistoryError, match="OrchestrationStarted"):
        driven.turn(driven.event("e"))
    driven.close()


def test_an_execution_says_what_it_runs() -> None:
    """The definition it was made of, whatever its app would choose by now: it is what gets pinned."""

    async def program() -> None:
        await echo(1)

    driven = Driven(program)
    assert driven.live.definition is driven.definition
    driven.close()
