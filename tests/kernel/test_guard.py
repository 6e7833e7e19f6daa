"""The border: what user code may not reach while a kernel runs it, and that everything is put back."""

from __future__ import annotations

import asyncio  # noqa: TID251  # what is guarded against
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sniffio
import trio

from tests.kernel.helpers import World, finish
from trioflow import durable
from trioflow._kernel import CancelScope, at_a_stretch, in_kernel, open_nursery, perform, sleep
from trioflow.errors import ForeignAwaitError


def inside(fn: Any) -> Any:
    """Call `fn` in a task of a kernel."""

    async def main() -> Any:
        return fn()

    return finish(main)


async def test_the_trio_task_is_hidden_and_comes_back() -> None:
    """Trio has no current task meanwhile, and the same one afterwards, also after an error."""
    before = trio.lowlevel.current_task()

    def looks() -> None:
        assert not trio.lowlevel.in_trio_task()
        trio.lowlevel.current_task()

    with pytest.raises(RuntimeError, match="must be called from async context") as caught:
        inside(looks)
    assert "durable.lowlevel.current_task" in caught.value.__notes__[0]
    assert trio.lowlevel.current_task() is before
    assert trio.current_time() > 0


async def test_every_door_to_trio_s_runner_teaches() -> None:
    """What needs the runner raises an error that says what to use instead."""
    token = trio.lowlevel.current_trio_token()
    spawn_system_task = trio.lowlevel.spawn_system_task  # noqa: TID251  # a door that must be shut
    doors: dict[str, Any] = {
        r"`trio\.current_time` was used .*Use its durable twin, `durable\.current_time`": trio.current_time,
        r"`trio\.open_nursery` .*`durable\.open_nursery`": trio.open_nursery,
        r"`trio\.lowlevel\.spawn_system_task` .*in an activity": lambda: spawn_system_task(trio.sleep, 1),
        r"`trio\.lowlevel\.current_trio_token`": trio.lowlevel.current_trio_token,
        r"`trio\.lowlevel\.current_statistics`": trio.lowlevel.current_statistics,
        r"`trio\.lowlevel\.current_clock`": trio.lowlevel.current_clock,
    }
    for text, door in doors.items():
        with pytest.raises(ForeignAwaitError, match=text) as caught:
            inside(door)
        assert "test_guard.py" in str(caught.value)
    assert trio.lowlevel.current_trio_token() is token


async def test_a_captured_nursery_takes_no_tasks() -> None:
    """An orchestration cannot start tasks beside itself."""
    async with trio.open_nursery() as nursery:
        with pytest.raises(ForeignAwaitError, match=r"`trio\.Nursery\.start_soon` .*`durable\.Nursery\.start_soon`"):
            inside(lambda: nursery.start_soon(trio.sleep, 1))
        assert not nursery.child_tasks


async def test_processes_and_threads_are_for_activities() -> None:
    """Real work is refused with the advice to put it into an activity."""

    async def process() -> None:
        await trio.run_process(["true"])

    async def thread() -> None:
        await trio.to_thread.run_sync(print)

    for program in (process, thread):
        with pytest.raises(BaseException) as caught:
            finish(program)
        text = str(caught.value) + str(getattr(caught.value, "__notes__", ""))
        assert "activity" in text


async def test_a_trio_scope_is_refused_with_its_twin() -> None:
    """Trio's own error gets a note with the durable name."""

    async def main() -> None:
        with trio.move_on_after(5):
            pass

    with pytest.raises(RuntimeError) as caught:
        finish(main)
    assert "`durable.CancelScope`" in caught.value.__notes__[0]


async def test_the_runner_cannot_be_changed() -> None:
    """The guard refuses writing, too."""

    def writes() -> None:
        trio._core._run.GLOBAL_RUN_CONTEXT.runner.is_guest = True

    with pytest.raises(ForeignAwaitError, match=r"trio's runner \(is_guest\)"):
        inside(writes)


async def test_a_nested_run_keeps_the_guard_up() -> None:
    """Kernel in kernel: the outer one's guard is what the inner one finds and restores."""

    def nested() -> None:
        inside(lambda: None)
        trio.current_time()

    with pytest.raises(ForeignAwaitError):
        inside(nested)
    assert trio.current_time() > 0


async def test_runs_at_a_stretch_are_guarded_as_one() -> None:
    """Trio is out of reach before, in and between the runs, also of a kernel that runs within, and back behind them,
    however they end.
    """
    task = trio.lowlevel.current_task()

    async def main() -> None:
        for _ in range(3):
            with pytest.raises(ForeignAwaitError):
                trio.current_time()
            inside(lambda: None)
            await perform("wait")

    world = World(main)

    def drive() -> None:
        for _ in range(2):
            with pytest.raises(ForeignAwaitError):
                trio.current_time()
            assert not in_kernel()
            world.run()
            world.answer("0#1")
        raise KeyError

    with pytest.raises(KeyError):
        at_a_stretch(world.kernel, drive)
    assert trio.lowlevel.current_task() is task
    assert trio.current_time() > 0
    with pytest.raises(ForeignAwaitError):
        inside(trio.current_time)
    for key in ("0#2", "0#3"):
        world.answer(key)
        world.run()
    assert world.value is None
    assert trio.lowlevel.current_task() is task


async def test_closing_is_guarded_too() -> None:
    """What runs while a kernel is dropped cannot reach trio either."""
    seen: list[str] = []

    async def main() -> None:
        try:
            await perform("wait")
        finally:
            try:
                trio.current_time()
            except ForeignAwaitError:
                seen.append("refused")

    world = World(main)
    world.run()
    world.kernel.close()
    assert seen == ["refused"]
    assert trio.current_time() > 0


async def test_abort_functions_run_guarded() -> None:
    """What the driver's calls set off is user code, too."""
    seen: list[str] = []

    async def main() -> None:
        def abort(_: object) -> Any:
            try:
                trio.current_time()
            except ForeignAwaitError:
                seen.append("refused")
            return durable.lowlevel.Abort.SUCCEEDED

        with CancelScope(deadline=5):
            await durable.lowlevel.wait_task_rescheduled(abort)
        await durable.lowlevel.wait_task_rescheduled(abort)

    world = World(main)
    world.run()
    world.kernel.advance(5)
    world.run()
    world.kernel.cancel()
    assert seen == ["refused", "refused"]


def test_without_trio_nothing_appears() -> None:
    """Where no trio runs, trio's context is empty during and after the run."""

    def looks() -> tuple[bool, bool]:
        return trio.lowlevel.in_trio_run(), trio.lowlevel.in_trio_task()

    assert inside(looks) == (False, False)
    assert looks() == (False, False)


async def test_sniffio_knows_no_library() -> None:
    """Libraries that ask find none, so they do not take trio's way; afterwards it is trio again."""
    assert sniffio.current_async_library() == "trio"
    with pytest.raises(sniffio.AsyncLibraryNotFoundError):
        inside(sniffio.current_async_library)
    assert sniffio.current_async_library() == "trio"


def test_asyncio_s_running_loop_is_hidden() -> None:
    """An orchestration run inside asyncio cannot reach the loop; afterwards it is there again."""

    async def host() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(RuntimeError, match="no running event loop"):
            inside(asyncio.get_running_loop)
        assert asyncio.get_running_loop() is loop

    asyncio.run(host())


def test_asyncio_need_not_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody imported asyncio nothing is hidden."""
    monkeypatch.delitem(sys.modules, "asyncio.events")
    assert inside(lambda: 5) == 5


def test_hooks_are_restored_after_an_aborted_run() -> None:
    """Whatever ends the run, the thread is as it was."""
    hooks = sys.get_asyncgen_hooks()

    def aborts() -> None:
        assert sys.get_asyncgen_hooks() != hooks
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inside(aborts)
    assert sys.get_asyncgen_hooks() == hooks


@pytest.fixture
def default_interrupt() -> Iterator[None]:
    """Python's own Ctrl-C handler, which trio replaces by its own."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_interrupt")
def test_ctrl_c_stops_a_stuck_turn() -> None:
    """KeyboardInterrupt is raised in the looping user code and leaves the run, although trio protects its own code."""
    reached: list[str] = []

    async def stuck() -> None:
        async with open_nursery():
            signal.raise_signal(signal.SIGINT)
            while True:
                await sleep(0)

    @trio.lowlevel.enable_ki_protection
    def protected() -> None:
        try:
            World(stuck).run()
        finally:
            reached.append("left")

    async def host() -> None:
        protected()

    with pytest.raises(KeyboardInterrupt):
        trio.run(host)
    assert reached == ["left"]


@pytest.mark.usefixtures("default_interrupt")
def test_ctrl_c_stops_what_runs_at_a_stretch() -> None:
    """KeyboardInterrupt is raised also between the runs, in the hook of a codec that never returns, say."""
    reached: list[str] = []

    def stuck() -> None:
        signal.raise_signal(signal.SIGINT)
        reached.append("went on")

    async def host() -> None:
        task, world = trio.lowlevel.current_task(), World(sleep, 1)
        try:
            at_a_stretch(world.kernel, stuck)
        finally:
            assert trio.lowlevel.current_task() is task
            world.kernel.close()

    with pytest.raises(KeyboardInterrupt):
        trio.run(host)
    assert reached == []
