"""Tasks that run one body after another: none meets anything of the one before."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
import trio

from trioflow._runtime import _crew
from trioflow._runtime._crew import WAITING, Crew, Within

Body = Callable[[], Awaitable[object]]
COLOUR: ContextVar[str] = ContextVar("colour", default="none")


class Work:
    """Something to be done; knows by whom it was."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.task: trio.lowlevel.Task | None = None
        self.ended: BaseException | str | None = None


async def do(work: Work, within: Within) -> None:
    """As a body is run: what it raises is its own affair."""
    work.task = trio.lowlevel.current_task()
    try:
        with within:
            await work.body()
            work.ended = "returned"
    except RuntimeError as exc:
        work.ended = exc
    finally:
        await within.tidy()


async def done_by(crew: Crew[Work], body: Body) -> Work:
    """Have it done, and wait for that."""
    work = Work(body)
    crew.begin(work, f"body {body.__name__}")
    await trio.testing.wait_all_tasks_blocked()
    return work


async def nothing() -> None:
    """As most bodies, leaves nothing."""


async def test_a_task_does_one_after_another_in_a_context_of_its_own() -> None:
    """The same task, under the name of what it does; a value set by one body is not seen by the next, and that of
    whoever begins it is.
    """
    seen: list[tuple[str, str]] = []

    async def look() -> None:
        seen.append((COLOUR.get(), trio.lowlevel.current_task().name))
        COLOUR.set("red")

    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, do)
        first = await done_by(crew, look)
        assert {task.name for task in nursery.child_tasks} == {WAITING}
        COLOUR.set("blue")
        second = await done_by(crew, look)
        assert second.task is first.task
        crew.dismiss()
    assert seen == [("none", "body look"), ("blue", "body look")]


async def test_what_lasts_is_done_side_by_side() -> None:
    """A task that is busy does nothing else; there are as many as there is work, and none too many are kept."""
    door = trio.Event()
    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, do)
        works = [await done_by(crew, door.wait) for _ in range(_crew.SPARE + 3)]
        assert len({work.task for work in works}) == _crew.SPARE + 3
        door.set()
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == _crew.SPARE
        crew.dismiss()


async def _raise() -> None:
    raise RuntimeError("no")


async def _hold_a_lock() -> None:
    await trio.Lock().acquire()


async def _leave_a_scope() -> None:
    trio.CancelScope().__enter__()


async def _leave_a_nursery() -> None:
    await trio.open_nursery().__aenter__()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (_raise, "no"),
        (_hold_a_lock, "returned"),
        (_leave_a_scope, "Cancel scope stack corrupted"),
        (_leave_a_nursery, "Cancel scope stack corrupted"),
    ],
)
async def test_a_body_that_raises_or_leaves_something_is_the_last_of_its_task(body: Body, told: str) -> None:
    """What it left belongs to a task that has ended; what was left open fails it."""
    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, do)
        work = await done_by(crew, body)
        assert told in str(work.ended)
        assert not nursery.child_tasks
        assert (await done_by(crew, nothing)).ended == "returned"
        crew.dismiss()


@pytest.mark.parametrize("by", ["cancel", "cancel in vain", "deadline", "deadline in vain"])
async def test_a_cancelled_body_cancels_no_other(by: str, autojump_clock: trio.testing.MockClock) -> None:
    """Its scope is not used again, not even if the body did not care, or its deadline had not come."""
    async with trio.open_nursery() as nursery:

        async def limited(work: Work, within: Within) -> None:
            if work.body is not nothing:
                if "cancel" in by:
                    within.cancel("enough")
                else:
                    within.end_at(trio.current_time() + (1 if by == "deadline" else 1e6))
            await do(work, within)

        async def sleep() -> None:
            with trio.CancelScope(shield="in vain" in by):
                await trio.sleep(5)

        crew = Crew(nursery, limited)
        first = Work(sleep)
        crew.begin(first, "sleeps")
        await trio.sleep(10)
        assert first.ended == ("returned" if "in vain" in by else None)
        assert not nursery.child_tasks
        assert (await done_by(crew, nothing)).ended == "returned"
        crew.dismiss()
    assert not nursery.cancel_scope.cancelled_caught


async def test_who_waits_keeps_nothing_alive() -> None:
    """Neither the work that is done nor what its context held; nor does who has ended, his scope in the nursery's."""
    held: list[weakref.ref[Any]] = []

    async def note(work: Work, within: Within) -> None:
        scopes.append(weakref.ref(within._scope))
        await do(work, within)

    async def body() -> None:
        value: Any = Work(nothing)
        held.append(weakref.ref(value))
        COLOUR.set(value)

    scopes: list[weakref.ref[trio.CancelScope]] = []
    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, note)
        held.append(weakref.ref(await done_by(crew, body)))
        gc.collect()
        assert [ref() for ref in held] == [None, None]
        crew.dismiss()
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        assert [ref() for ref in scopes] == [None]


async def test_who_waits_hears_of_the_end() -> None:
    """Of a cancelled nursery as of a dismissal, after which none begins to wait."""
    door = trio.Event()
    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, do)
        await done_by(crew, nothing)
        nursery.cancel_scope.cancel()
        last = Work(nothing)
        crew.begin(last, "last")
    assert last.ended == "returned"
    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, do)
        await done_by(crew, door.wait)
        await done_by(crew, nothing)
        crew.dismiss()
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        door.set()
