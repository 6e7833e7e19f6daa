"""Awaiting another library's primitives in an orchestration: each is answered with an error that teaches."""

from __future__ import annotations

import asyncio  # noqa: TID251  # what is guarded against
import types
from collections.abc import Generator
from functools import partial
from typing import Any

import pytest
import trio

from tests.kernel.helpers import World, finish
from trioflow import durable
from trioflow._kernel import open_nursery, perform
from trioflow.errors import ForeignAwaitError


async def trio_sleep_zero() -> None:
    await trio.sleep(0)


async def trio_sleep_forever() -> None:
    await trio.sleep_forever()


async def trio_checkpoint() -> None:
    await trio.lowlevel.checkpoint()


async def trio_event() -> None:
    await trio.Event().wait()


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (trio_sleep_zero, "sleep"),
        (trio_sleep_forever, "sleep_forever"),
        (trio_checkpoint, "lowlevel.checkpoint"),
    ],
)
async def test_trio_s_waits_are_answered_with_their_twins(program: Any, name: str) -> None:
    """What yields without asking trio's runner is named with its durable twin and the line that awaited it."""
    with pytest.raises(ForeignAwaitError) as caught:
        finish(program)
    text = str(caught.value)
    assert f"`trio.{name}` was used in an orchestration ({__file__}:" in text
    assert f"in {program.__name__})" in text
    assert f"Use its durable twin, `durable.{name}`" in text


async def _locks(lock: Any) -> None:
    async with lock:
        raise AssertionError


async def _receives() -> None:
    async for _ in trio.open_memory_channel[int](1)[1]:
        raise AssertionError


async def _hurries() -> None:
    with trio.fail_after(1):
        raise AssertionError


async def _runs_a_process() -> None:
    await trio.run_process(["true"])


async def _waits_for_all() -> None:
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (partial(_locks, trio.Lock()), "trio.Lock"),
        (partial(_locks, trio.StrictFIFOLock()), "trio.StrictFIFOLock"),
        (partial(_locks, trio.Semaphore(1)), "trio.Semaphore"),
        (partial(_locks, trio.CapacityLimiter(1)), "trio.CapacityLimiter"),
        (partial(_locks, trio.Condition()), "trio.Condition"),
        (trio.Lock().acquire, "trio.Lock.acquire"),
        (_receives, "trio.MemoryReceiveChannel"),
        (_hurries, "trio.fail_after"),
        (_runs_a_process, "trio.run_process"),
        (_waits_for_all, "trio.testing.wait_all_tasks_blocked"),
    ],
)
async def test_what_shares_code_is_named_as_itself(program: Any, name: str) -> None:
    """Blocks, iterations and helpers inside trio are named as the user wrote them, at the user's line."""
    with pytest.raises(RuntimeError) as caught:
        finish(program)
    text = getattr(caught.value, "__notes__", [str(caught.value)])[0]
    assert f"`{name}` was used in an orchestration" in text
    assert "contextlib" not in text
    if not name.endswith("acquire"):
        assert f"{__file__}:" in text
    if hasattr(durable, name.split(".")[1]):
        assert f"Use its durable twin, `{name.replace('trio', 'durable')}`" in text


async def test_a_wait_on_a_trio_event_is_explained() -> None:
    """Trio asks for its task first; its own error gets a note."""
    with pytest.raises(RuntimeError) as caught:
        finish(trio_event)
    assert "`durable.Event.wait`" in caught.value.__notes__[0]


def test_the_error_is_raised_where_it_was_awaited() -> None:
    """So the program may clean up, and even go on."""

    async def main() -> str:
        try:
            await trio.sleep(0)
        except ForeignAwaitError:
            await durable.sleep(1)
            return "went on"
        raise AssertionError

    assert finish(main) == "went on"


def test_inside_a_nursery_it_fails_like_any_error() -> None:
    """The others are cancelled, the group says what it was."""

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(durable.sleep_forever)
            nursery.start_soon(trio.sleep, 0)

    with pytest.raises(ExceptionGroup) as caught:
        finish(main)
    assert caught.group_contains(ForeignAwaitError, match=r"`durable\.sleep`")


def test_asyncio_is_named() -> None:
    """Its futures and its sleep are told apart from trio's."""
    loop = asyncio.new_event_loop()

    async def future() -> None:
        await loop.create_future()

    async def naps() -> None:
        await asyncio.sleep(0)

    with pytest.raises(ForeignAwaitError, match="not trioflow's: an asyncio future"):
        finish(future)
    with pytest.raises(ForeignAwaitError, match=r"asyncio: sleep was used in an .*not by asyncio.*activity"):
        finish(naps)
    loop.close()


def test_anything_else_is_shown_as_it_is() -> None:
    """An unknown yield is quoted, with the line."""

    @types.coroutine
    def odd() -> Generator[str, None, None]:
        yield "a strange thing"

    async def main() -> None:
        await odd()

    with pytest.raises(ForeignAwaitError, match=r"'a strange thing' \(.*test_foreign_awaits\.py:\d+, in"):
        finish(main)


def test_a_foreign_yield_below_an_async_generator_is_found() -> None:
    """The walk goes through `async for`."""

    async def generates() -> Any:
        await trio.sleep(0)
        yield 1

    async def main() -> None:
        async for _ in generates():
            pass

    with pytest.raises(ForeignAwaitError, match=r"generates\)\. Use its durable twin, `durable\.sleep`"):
        finish(main)


def test_our_own_frames_are_no_user_code() -> None:
    """The line that is named is the program's, whatever of trioflow's is above it."""

    class Odd:
        def send(self, value: Any) -> Any:
            raise AssertionError

        throw = close = send

        def __await__(self) -> Generator[str, None, None]:
            yield "odd"

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(Odd)

    with pytest.raises(ExceptionGroup) as caught:
        finish(main)
    assert caught.group_contains(ForeignAwaitError, match=r"not trioflow's: 'odd' \(.*Odd\.__await__\)\.")


def test_trio_s_errors_about_other_things_get_no_notes() -> None:
    """Code that belongs to trio may raise what it likes: only "wrong place" is explained."""
    space: dict[str, Any] = {"__name__": "trio.something"}
    exec("async def main():\n    raise RuntimeError('something else')", space)
    with pytest.raises(RuntimeError, match=r"^something else$"):
        finish(space["main"])


async def test_errors_in_groups_are_explained_once() -> None:
    """Each for itself, wherever in a tree of nurseries it was raised."""

    async def child() -> None:
        trio.lowlevel.current_task()

    async def main() -> None:
        async with open_nursery() as outer:
            outer.start_soon(child)
            async with open_nursery():
                with trio.move_on_after(1):
                    pass

    def notes(exc: BaseException) -> list[str]:
        if isinstance(exc, BaseExceptionGroup):
            return [note for member in exc.exceptions for note in notes(member)]
        return getattr(exc, "__notes__", [])

    with pytest.raises(BaseExceptionGroup) as caught:
        finish(main)
    of_child, of_body = notes(caught.value)
    assert "Use its durable twin, `durable.lowlevel.current_task`" in of_child
    assert "Use its durable twin, `durable.CancelScope`" in of_body


def test_errors_of_the_program_get_no_notes() -> None:
    """Only trio's own RuntimeErrors are explained."""

    async def main() -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError) as caught:
        finish(main)
    assert not hasattr(caught.value, "__notes__")


def test_a_task_that_was_to_be_thrown_into_can_be_dropped() -> None:
    """Closing a kernel in which a foreign await was not answered yet unwinds it like the others."""
    log: list[str] = []

    async def main() -> None:
        try:
            await trio.sleep(0)
        except ForeignAwaitError:
            log.append("told")
            await perform("stay")
        finally:
            log.append("unwound")

    world = World(main)
    world.run()
    world.kernel.close()
    assert log == ["told", "unwound"]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (trio.Lock, "Lock"),
        (trio.StrictFIFOLock, "StrictFIFOLock"),
        (lambda: trio.Semaphore(0), "Semaphore"),
        (lambda: trio.CapacityLimiter(1), "CapacityLimiter"),
        (trio.Condition, "Condition"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_trio_s_locks_are_named_whatever_class_their_methods_are_of(make: Any, name: str) -> None:
    """`async with` and `acquire_nowait` come from bases that nobody knows by name."""

    async def main() -> None:
        async with make():
            pass

    with pytest.raises(RuntimeError, match=f"Use its durable twin, `durable.{name}`"):
        finish(main)


async def test_the_line_is_the_user_s() -> None:
    """Not one of `contextlib`, which many of trio's functions are made with."""

    async def main() -> None:
        with trio.fail_after(1):
            pass

    with pytest.raises(RuntimeError, match=r"was used in an orchestration \(.*test_foreign_awaits.py:\d+, in test_the"):
        finish(main)
