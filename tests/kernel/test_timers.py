"""Deadlines that outlive a step: which timers the world is told of, under which keys, and what expires when."""

from __future__ import annotations

from math import inf, nan

import pytest

from tests.kernel.helpers import World, finish
from trioflow._kernel import (
    CancelScope,
    current_effective_deadline,
    current_kernel,
    current_time,
    fail_after,
    fail_at,
    move_on_after,
    move_on_at,
    open_nursery,
    perform,
    sleep,
    sleep_forever,
    sleep_until,
)
from trioflow._kernel._deadlines import PRUNE_SLACK
from trioflow._util import TooSlowError
from trioflow.durable import Event


def test_only_deadlines_that_are_open_at_a_block_get_timers() -> None:
    """A scope that came and went within a segment is nobody's business."""

    async def main() -> None:
        with move_on_after(5):
            pass
        with move_on_after(7):
            await perform("a")

    world = World(main, now=100)
    assert world.run() == ["ask 0#1 a", "open 0@1 107"]
    assert world.kernel.next_deadline == 107
    world.answer("0#1")
    assert world.run() == ["close 0@1"]
    assert world.kernel.next_deadline == inf


def test_a_changed_deadline_is_a_new_revision() -> None:
    """The old timer is closed, the new one has the same stem."""

    async def main() -> None:
        with CancelScope(deadline=10) as scope:
            await perform("a")
            scope.deadline = 20
            await perform("b")
            scope.deadline = inf
            await perform("c")
            scope.relative_deadline = 30
            await perform("d")

    world = World(main)
    assert world.run() == ["ask 0#1 a", "open 0@1 10"]
    world.answer("0#1")
    assert world.run() == ["ask 0#2 b", "close 0@1", "open 0@1~2 20"]
    world.answer("0#2")
    assert world.run() == ["ask 0#3 c", "close 0@1~2"]
    world.answer("0#3")
    assert world.run() == ["ask 0#4 d", "open 0@1~3 30"]


def test_a_deadline_that_went_and_came_back_keeps_its_timer() -> None:
    """What is the same at the block was not changed."""

    async def main() -> None:
        with CancelScope(deadline=10) as scope:
            await perform("a")
            scope.deadline = 20
            scope.deadline = 10
            await perform("b")

    world = World(main)
    world.run()
    world.answer("0#1")
    assert world.run() == ["ask 0#2 b"]


def test_timers_close_in_opening_order_and_open_in_entry_order() -> None:
    """Closed ones come first; scopes are numbered in the order they were entered."""

    async def main() -> None:
        with CancelScope(deadline=30) as outer, CancelScope(deadline=20) as inner:
            await perform("a")
            inner.deadline = 21
            outer.deadline = 31
            await perform("b")

    world = World(main)
    assert world.run() == ["ask 0#1 a", "open 0@1 30", "open 0@2 20"]
    world.answer("0#1")
    assert world.run() == ["ask 0#2 b", "close 0@1", "close 0@2", "open 0@1~2 31", "open 0@2~2 21"]


def test_a_timer_that_fired_is_not_closed() -> None:
    """Only a scope that ends otherwise closes its timer."""

    async def main() -> object:
        with move_on_after(5) as scope:
            await sleep_forever()
        return scope.cancelled_caught

    world = World(main)
    assert world.run() == ["open 0@1 5"]
    world.kernel.advance(5)
    assert world.run() == []
    assert world.value is True


def test_a_cancelled_scope_closes_its_timer() -> None:
    """A scope that was cancelled by hand will not need the time."""

    async def main() -> None:
        with move_on_after(5) as scope:
            await perform("a")
            scope.cancel()
            await perform("b")
        await perform("c")

    world = World(main)
    world.run()
    world.answer("0#1")
    assert world.run() == ["ask 0#2 c", "close 0@1"]


def test_deadlines_that_come_expire_together() -> None:
    """As in trio, an inner scope with the same deadline does not hide the outer one."""

    async def main() -> list[bool]:
        with move_on_after(5) as outer:
            with move_on_after(5) as inner:
                await sleep_forever()
            await sleep_forever()
        return [inner.cancelled_caught, outer.cancelled_caught, inner.cancel_called]

    assert finish(main) == [False, True, True]


def test_expiry_goes_by_deadline_then_entry() -> None:
    """All that is due at the new time expires, the earliest first."""
    log: list[str] = []

    async def sleeper(name: str, seconds: float) -> None:
        await sleep(seconds)
        log.append(name)

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(sleeper, "late", 3)
            nursery.start_soon(sleeper, "early", 1)
            nursery.start_soon(sleeper, "late too", 3)

    world = World(main)
    assert world.run() == ["open 0.1#1 3", "open 0.2#1 1", "open 0.3#1 3"]
    world.kernel.advance(10)
    assert world.run() == []
    assert log == ["early", "late", "late too"]


def test_what_is_due_expires_before_anybody_runs() -> None:
    """The first to wake cannot save those that were due with it."""
    caught: list[str] = []

    async def waiter(name: str, event: Event) -> None:
        with move_on_after(3) as scope:
            try:
                await event.wait()
            finally:
                event.set()
        if scope.cancelled_caught:
            caught.append(name)

    async def main() -> None:
        event = Event()
        async with open_nursery() as nursery:
            for name in "abcd":
                nursery.start_soon(waiter, name, event)

    finish(main)
    assert caught == ["a", "b", "c", "d"]


def test_time_never_goes_back() -> None:
    """An older time changes nothing."""

    async def main() -> object:
        await perform("a")
        return current_time()

    world = World(main, now=10)
    world.run()
    world.kernel.advance(8)
    world.kernel.advance(12)
    world.answer("0#1")
    world.run()
    assert world.value == 12


def test_a_deadline_that_is_past_needs_no_timer() -> None:
    """It expires on entry, or before the next step when it is set so."""

    async def main() -> object:
        with move_on_at(1) as early:
            await sleep_forever()
        with CancelScope() as late:
            late.deadline = 2
            await sleep_forever()
        return (early.cancelled_caught, late.cancelled_caught)

    world = World(main, now=5)
    assert world.run() == []
    assert world.value == (True, True)


def test_a_sleep_is_named_by_its_operation() -> None:
    """Its number comes from the branch's operations; one that does not wait takes none."""

    async def main() -> None:
        await perform("a")
        await sleep(0)
        await sleep_until(3)
        with move_on_after(0):
            await sleep(5)
        await sleep(4)
        await perform("b")

    world = World(main, now=10)
    world.run()
    world.answer("0#1")
    assert world.run() == ["open 0#2 14"]
    world.kernel.advance(14)
    assert world.run() == ["ask 0#3 b"]


def test_an_endless_sleep_takes_no_number_and_no_timer() -> None:
    """There is nothing to be told to anybody."""

    async def main() -> None:
        await sleep(inf)

    world = World(main)
    assert world.run() == []
    assert world.kernel.next_deadline == inf


def test_fail_after_and_fail_at_raise_when_they_were_too_slow() -> None:
    """TooSlowError is trio's class; a block that was done in time passes."""

    async def main() -> None:
        with fail_after(5) as scope:
            await sleep(1)
        assert not scope.cancelled_caught
        with pytest.raises(TooSlowError):
            with fail_after(5):
                await sleep_forever()
        with pytest.raises(TooSlowError):
            with fail_at(current_time() + 1, shield=True) as shielded:
                assert shielded.shield
                await sleep_forever()

    finish(main)


@pytest.mark.parametrize("make", [move_on_after, fail_after])
def test_durations_are_checked_where_they_are_written(make: object) -> None:
    """Negative and NaN durations raise ValueError at the call."""
    with pytest.raises(ValueError, match="`seconds` must be non-negative"):
        make(-1)  # type: ignore[operator]
    with pytest.raises(ValueError, match="`seconds` must not be NaN"):
        make(nan)  # type: ignore[operator]


def test_sleeping_checks_its_time() -> None:
    """Negative and NaN times raise ValueError."""

    async def main() -> None:
        with pytest.raises(ValueError, match="non-negative"):
            await sleep(-1)
        with pytest.raises(ValueError, match="NaN"):
            await sleep(nan)
        with pytest.raises(ValueError, match="NaN"):
            await sleep_until(nan)

    finish(main)


def test_the_effective_deadline_takes_shields_and_cancellation_into_account() -> None:
    """It is the earliest that reaches here, and -inf when cancelled."""

    async def main() -> None:
        assert current_effective_deadline() == inf
        with CancelScope(deadline=10) as outer:
            with CancelScope(deadline=20) as inner:
                assert current_effective_deadline() == 10
                inner.shield = True
                assert current_effective_deadline() == 20
                outer.cancel()
                assert current_effective_deadline() == 20
                inner.shield = False
                assert current_effective_deadline() == -inf

    finish(main)


def test_stale_deadlines_are_pruned() -> None:
    """Changing deadlines for ever does not grow the heap, even to and fro."""

    async def main() -> None:
        with CancelScope() as live:
            for turn in range(3 * PRUNE_SLACK):
                live.deadline = 1000 + turn % 2
            await sleep(1)
            kernel = current_kernel()
            assert len(kernel.deadlines.heap) <= 3
            assert kernel.next_deadline == 1001

    finish(main)


def test_a_stale_first_entry_is_passed_over() -> None:
    """The next deadline is the earliest that is still meant, and nothing else expires."""

    async def main() -> bool:
        with CancelScope(deadline=5) as scope:
            scope.deadline = 50
            await perform("a")
        return scope.cancel_called

    world = World(main)
    world.run()
    world.kernel.advance(5)
    assert world.kernel.next_deadline == 50
    world.run()
    world.answer("0#1")
    world.run()
    assert world.value is False


def test_a_driver_may_leave_the_timers_for_later() -> None:
    """Nothing is said of timers until they are asked for, and nothing of those that came and went before."""

    async def main() -> None:
        with move_on_after(5):
            await perform("a")
        await perform("b")

    world = World(main)
    (asked,) = world.kernel.run_until_blocked()
    world._line(asked)
    world.answer("0#1")
    assert world.run() == ["ask 0#2 b"]
