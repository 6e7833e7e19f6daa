"""What tests of programs use inside them: `Sequencer`, `assert_checkpoints`, `wait_all_tasks_blocked`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

import trioflow
from trioflow import durable
from trioflow.durable import lowlevel
from trioflow.errors import NotInOrchestration
from trioflow.testing import Sequencer, assert_checkpoints, assert_no_checkpoints, run_durable, wait_all_tasks_blocked


async def test_blocks_run_in_the_order_of_their_numbers() -> None:
    """Whoever comes first waits for the numbers before its own, across all tasks."""
    log: list[int] = []

    async def worker(seq: Sequencer, *numbers: int) -> None:
        for number in numbers:
            async with seq(number):
                log.append(number)
                await lowlevel.checkpoint()
                log.append(number)

    async def main() -> None:
        seq = Sequencer()
        async with durable.open_nursery() as nursery:
            nursery.start_soon(worker, seq, 2, 5)
            nursery.start_soon(worker, seq, 1, 3)
            nursery.start_soon(worker, seq, 0, 4)

    await run_durable(main)
    assert log == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


async def test_a_block_that_fails_lets_the_next_one_start() -> None:
    """How a block ends makes no difference, and a number is used once."""

    async def main() -> None:
        seq = Sequencer()
        with pytest.raises(KeyError):
            async with seq(0):
                raise KeyError
        async with seq(1):
            pass
        with pytest.raises(RuntimeError, match=r"^Attempted to reuse sequence point 1$"):
            async with seq(1):
                raise AssertionError

    await run_durable(main)


async def test_a_cancelled_wait_breaks_the_sequence() -> None:
    """Nobody waits for ever: those who wait, and those who come later, are told."""

    async def waits(seq: Sequencer) -> None:
        with pytest.raises(RuntimeError, match=r"^sequence broken!$"):
            async with seq(4):
                raise AssertionError

    async def main() -> None:
        seq = Sequencer()
        async with durable.open_nursery() as nursery:
            nursery.start_soon(waits, seq)
            await wait_all_tasks_blocked()
            with durable.CancelScope() as scope:
                scope.cancel()
                with pytest.raises(RuntimeError, match=r"^Sequencer wait cancelled -- sequence broken$"):
                    async with seq(3):
                        raise AssertionError
        with pytest.raises(RuntimeError, match=r"^sequence broken!$"):
            async with seq(0):
                raise AssertionError

    await run_durable(main)


async def test_a_checkpoint_is_both_halves() -> None:
    """One that only lets others run, or only notices cancellation, is no checkpoint, nor is it none."""

    async def main() -> None:
        with assert_checkpoints():
            await durable.sleep(0)
        with assert_checkpoints():
            await lowlevel.checkpoint_if_cancelled()
            await lowlevel.cancel_shielded_checkpoint()
        for half in lowlevel.checkpoint_if_cancelled, lowlevel.cancel_shielded_checkpoint:
            with pytest.raises(AssertionError, match=r"^assert_checkpoints block did not yield!$"):
                with assert_checkpoints():
                    await half()
            with pytest.raises(AssertionError, match=r"^assert_no_checkpoints block yielded!$"):
                with assert_no_checkpoints():
                    await half()
        with assert_no_checkpoints():
            durable.current_time()

    await run_durable(main)


async def test_a_block_that_raises_has_shown_enough() -> None:
    """`assert_checkpoints` lets errors pass; `assert_no_checkpoints` counts what came before them."""

    async def main() -> None:
        with pytest.raises(KeyError), assert_checkpoints():
            raise KeyError
        with pytest.raises(KeyError), assert_no_checkpoints():
            raise KeyError
        with pytest.raises(AssertionError, match="yielded"), assert_no_checkpoints():
            await durable.sleep(0)
            raise KeyError

    await run_durable(main)


app = trioflow.App("inside")


@app.activity
async def number() -> int:
    """An activity."""
    return 1


@app.orchestration
async def child() -> int:
    """A child."""
    return 1


async def nothing() -> None:
    """Ends at once."""


VERBS: dict[str, Callable[[], Awaitable[object]]] = {
    "activity": number,
    "child": child,
    "gather": lambda: durable.gather(),
    "gather of one": lambda: durable.gather(nothing),
    "map": lambda: durable.map(lambda _: nothing(), []),
    "race": lambda: durable.race(nothing),
    "record": lambda: durable.record(lambda: 1),
    "sleep": lambda: durable.sleep(1),
    "sleep until": lambda: durable.sleep_until(0),
    "start detached": lambda: durable.start_detached(child),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_every_durable_verb_is_a_checkpoint(verb: str) -> None:
    """It lets others run and notices cancellation, also when there is nothing to do or the answer is at hand."""

    async def main() -> None:
        with assert_checkpoints():
            await VERBS[verb]()
        with durable.CancelScope() as scope:
            scope.cancel()
            await VERBS[verb]()
            raise AssertionError
        assert scope.cancelled_caught

    await run_durable(main, app=app)


def test_they_need_an_orchestration() -> None:
    """Elsewhere there is no task whose checkpoints could be counted."""
    with pytest.raises(NotInOrchestration), assert_checkpoints():
        raise AssertionError


def test_a_sequencer_is_not_for_subclassing() -> None:
    """It promises its behaviour exactly."""
    with pytest.raises(TypeError, match="cannot be subclassed"):
        type("Mine", (Sequencer,), {})
