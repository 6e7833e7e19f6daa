"""`durable.Event` and `durable.lowlevel`: the synchronous building blocks."""

from __future__ import annotations

import pytest
from outcome import Error, Value

from tests.kernel.helpers import World, finish
from trioflow._kernel import (
    CancelScope,
    Task,
    cancel_shielded_checkpoint,
    checkpoint,
    current_task,
    open_nursery,
    perform,
    sleep_forever,
)
from trioflow._kernel._traps import give_up
from trioflow.durable import Event, lowlevel
from trioflow.errors import NotInOrchestration


def test_an_event_wakes_its_waiters_in_order() -> None:
    """Once set it stays set; waiting then is a plain checkpoint."""
    log: list[int] = []

    async def waiter(event: Event, number: int) -> None:
        await event.wait()
        log.append(number)

    async def main() -> None:
        event = Event()
        assert not event.is_set()
        async with open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(waiter, event, number)
            await checkpoint()
            assert event.statistics().tasks_waiting == 3
            assert repr(event) == "<durable.Event, 3 waiting>"
            event.set()
            event.set()
            assert event.is_set()
        assert event.statistics().tasks_waiting == 0
        assert repr(event) == "<durable.Event, set>"
        await event.wait()

    finish(main)
    assert log == [0, 1, 2]


def test_a_cancelled_waiter_is_forgotten() -> None:
    """It is no longer counted, and `set` does not wake it."""

    async def main() -> None:
        event = Event()
        async with open_nursery() as nursery:
            nursery.start_soon(event.wait)
            await checkpoint()
            nursery.cancel_scope.cancel()
        assert event.statistics().tasks_waiting == 0
        event.set()

    finish(main)


def test_an_event_is_no_bool() -> None:
    """Mistaking it for its state is an error."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"is_set\(\)"):
            bool(Event())

    finish(main)


def test_an_event_belongs_to_one_orchestration() -> None:
    """It cannot be made outside of one, nor used from another."""
    with pytest.raises(NotInOrchestration):
        Event()
    events: list[Event] = []

    async def owner() -> None:
        events.append(Event())
        await perform("stay")

    async def stranger() -> None:
        with pytest.raises(RuntimeError, match="this event belongs to"):
            events[0].set()
        with pytest.raises(RuntimeError, match="this event belongs to"):
            await events[0].wait()

    World(owner).run()
    other = World(stranger)
    other.run()
    assert other.value is None


def test_reschedule_hands_over_values_and_errors() -> None:
    """The wait returns or raises what it was rescheduled with; custom sleep data is cleared."""
    log: list[object] = []

    async def waiter() -> None:
        current_task().custom_sleep_data = "mine"
        for _ in range(3):
            try:
                log.append(await lowlevel.wait_task_rescheduled(lambda _: lowlevel.Abort.SUCCEEDED))
            except KeyError as error:
                log.append(error)
            assert current_task().custom_sleep_data is None
        current_task().custom_sleep_data = "mine"
        await cancel_shielded_checkpoint()
        assert current_task().custom_sleep_data is None

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(waiter)
            await checkpoint()
            (task,) = nursery.child_tasks
            assert task.custom_sleep_data == "mine"
            error = KeyError()
            for result in (None, Value(5), Error(error)):
                lowlevel.reschedule(task, result)
                with pytest.raises(RuntimeError, match="does not wait"):
                    lowlevel.reschedule(task)
                await checkpoint()
            assert log == [None, 5, error]

    finish(main)


def test_only_a_waiting_task_of_this_orchestration_can_be_rescheduled() -> None:
    """One that has ended, and another instance's, are refused."""
    tasks: list[Task] = []

    async def quick() -> None:
        tasks.append(current_task())

    async def owner() -> None:
        tasks.append(current_task())
        await sleep_forever()

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(quick)
        assert len(tasks) == 2
        for task in tasks:
            with pytest.raises(RuntimeError, match="has ended, or belongs to another orchestration than instance test"):
                lowlevel.reschedule(task)

    World(owner).run()
    finish(main)


def test_a_sleeper_that_is_woken_by_force_says_so() -> None:
    """`sleep_forever` and a cancelled checkpoint are not to be rescheduled."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match="rescheduled by somebody else"):
            async with open_nursery() as nursery:
                nursery.start_soon(sleep_forever)
                await checkpoint()
                (task,) = nursery.child_tasks
                lowlevel.reschedule(task)
                await checkpoint()

    with pytest.raises(BaseException) as caught:
        finish(main)
    assert "rescheduled by somebody else" in repr(caught.value)


def test_a_cancelled_checkpoint_that_is_woken_by_force_says_so() -> None:
    """Whoever gives up waits for its Cancelled only."""

    async def main() -> None:
        with CancelScope() as scope, pytest.raises(RuntimeError, match="that is cancelled was rescheduled"):
            scope.cancel()
            giving_up = give_up()
            giving_up.send(None)
            giving_up.send(Value(None))

    finish(main)


def test_exit_callbacks_run_when_a_task_has_ended() -> None:
    """In order, with the task; a lock uses that to break when its owner goes."""
    log: list[str] = []

    async def child() -> None:
        task = current_task()
        task.on_exit(lambda ended: log.append(f"first {ended.place}"))
        task.on_exit(second := lambda ended: log.append("never"))
        task.on_exit(lambda ended: log.append("third"))
        task.off_exit(second)

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(child)

    finish(main)
    assert log == ["first 0.1", "third"]
