"""Slips of user code that must not become somebody else's trouble: in abort functions, reprs, deadlines, groups."""

from __future__ import annotations

from decimal import Decimal
from math import inf
from typing import Any, NoReturn

import pytest
from trio import TrioInternalError

from tests.kernel.helpers import World, ask, finish
from trioflow._kernel import (
    CancelScope,
    Cancelled,
    checkpoint,
    checkpoint_if_cancelled,
    current_time,
    move_on_after,
    open_nursery,
    perform,
    sleep_forever,
    wait_task_rescheduled,
)
from trioflow.durable import lowlevel
from trioflow.durable._parking import add_parking_lot_breaker


def raises_cancelled(raise_cancel: Any) -> NoReturn:
    """Means `outcome.capture(raise_cancel)`."""
    raise_cancel()


def raises_odd(_: Any) -> NoReturn:
    """What nobody expects."""
    raise BaseException("odd")


def gives_none(_: Any) -> Any:
    """Forgets to answer."""


@pytest.mark.parametrize("abort", [raises_cancelled, raises_odd, gives_none])
@pytest.mark.parametrize("by", ["time", "the driver", "the program", "a deadline set to now"])
def test_a_broken_abort_function_leaves_the_next_run(abort: Any, by: str) -> None:
    """Whoever cancels, be it the driver between two runs, the run that follows says what is broken, and where."""

    async def main() -> None:
        with move_on_after(5):
            async with open_nursery() as nursery:
                nursery.start_soon(wait_task_rescheduled, abort)
                if by == "the program":
                    await checkpoint()
                    nursery.cancel_scope.cancel()
                if by == "a deadline set to now":
                    await checkpoint()
                    nursery.cancel_scope.deadline = current_time()
                    return  # nothing else is left that could be run
                await sleep_forever()

    world = World(main)
    with pytest.raises(TrioInternalError, match="an abort function"):
        world.run()
        if by == "time":
            world.kernel.advance(5)
        else:
            world.kernel.cancel()
        world.run()
    assert world.kernel.outcome is None


def test_a_ctrl_c_in_an_abort_function_is_a_ctrl_c() -> None:
    """It leaves the run as it is."""

    def interrupted(_: Any) -> NoReturn:
        raise KeyboardInterrupt

    async def main() -> None:
        await wait_task_rescheduled(interrupted)

    world = World(main)
    world.run()
    world.kernel.cancel()
    with pytest.raises(KeyboardInterrupt):
        world.run()


def test_an_exception_that_cannot_be_shown_fails_its_nursery_like_any() -> None:
    """Its class stands for it in the reason that others get."""
    reasons: list[str | None] = []

    class Shy(Exception):
        """Cannot be shown."""

        def __repr__(self) -> str:
            raise RuntimeError("no")

    async def bystander() -> None:
        try:
            await sleep_forever()
        except Cancelled as exc:
            reasons.append(exc.reason)
            raise

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(bystander)
            await checkpoint()
            raise Shy

    with pytest.raises(ExceptionGroup) as caught:
        finish(main)
    assert [type(exc) for exc in caught.value.exceptions] == [Shy]
    assert len(reasons) == 1
    assert str(reasons[0]).endswith("raised exception " + Shy.__qualname__)


def test_deadlines_are_floats() -> None:
    """Whatever number was given; what is none is refused where it is given."""

    async def main() -> tuple[Any, ...]:
        with CancelScope(deadline=Decimal("7.5")) as scope, CancelScope(relative_deadline=Decimal(2)) as relative:
            assert type(scope.deadline) is type(relative.deadline) is float
            with pytest.raises((TypeError, ValueError)):
                CancelScope(deadline="soon")  # type: ignore[arg-type]
            return scope.deadline, relative.deadline

    assert finish(main) == (7.5, 2.0)


@pytest.mark.parametrize("change", ["shield", "outer"])
def test_a_deadline_put_into_the_past_counts_at_the_next_change(change: str) -> None:
    """As in trio: when a scope is looked at again in the same step, its time has come."""

    async def main() -> str | None:
        with CancelScope() as outer, CancelScope() as scope:
            scope.relative_deadline = 0
            if change == "shield":
                scope.shield = True
            else:
                outer.cancel()
            try:
                await checkpoint_if_cancelled()
            except Cancelled as exc:
                return exc.source
        return None

    assert finish(main) == "deadline"


def test_a_lot_of_another_orchestration_gets_no_breaker() -> None:
    """It is refused where it is said, not when the task ends."""
    lots: list[Any] = []

    async def owner() -> None:
        lots.append(lowlevel.ParkingLot())
        await sleep_forever()

    async def thief() -> None:
        with pytest.raises(RuntimeError, match="this parking lot belongs"):
            add_parking_lot_breaker(lowlevel.current_task(), lots[0])

    World(owner).run()
    finish(thief)


def test_the_world_hears_of_a_failed_branch_without_its_exception() -> None:
    """What is asked of others says that there was one; what was said to `cancel` is passed on."""

    async def main(reason: str | None) -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(ask, "child")
            await checkpoint()
            if reason is None:
                raise ValueError("card 4711")
            nursery.cancel_scope.cancel(reason=reason)

    heard = []
    for reason in (None, "enough", "half a pair: \ud800", 2_000 * "x"):
        world = World(main, reason)
        heard += [asked.reason for asked in world.kernel.run_until_blocked() if hasattr(asked, "reason")]
    assert heard == ["another branch of its parent failed", "enough", "half a pair: \\ud800", 1_000 * "x"]


def test_an_infinite_deadline_stays_infinite() -> None:
    """Making floats of deadlines leaves the one that never comes as it is."""

    async def main() -> float:
        with CancelScope(deadline=inf) as scope:
            return scope.deadline

    assert finish(main) == inf


def test_a_scope_that_expires_with_the_one_around_it_has_fired() -> None:
    """Its time has come, too: its timer is not taken back."""

    async def main() -> None:
        with move_on_after(1), move_on_after(1):
            await sleep_forever()
        await perform("after")

    world = World(main)
    assert world.run() == ["open 0@1 1", "open 0@2 1"]
    world.kernel.advance(1)
    assert world.run() == ["ask 0#1 after"]
