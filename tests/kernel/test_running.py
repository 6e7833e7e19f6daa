"""Running a kernel: its order, its limits, what ends a run at once, and what it costs."""

from __future__ import annotations

import contextvars
import functools
import random
from typing import Any

import pytest

from tests.kernel.helpers import World, finish
from trioflow._kernel import (
    CancelScope,
    Kernel,
    Task,
    cancel_shielded_checkpoint,
    checkpoint,
    current_kernel,
    current_task,
    in_kernel,
    open_nursery,
    perform,
    sleep,
    wait_all_tasks_blocked,
)
from trioflow._kernel._frames import await_frames
from trioflow.errors import NotInOrchestration, SpinError


def test_tasks_run_in_batches_first_in_first_out() -> None:
    """What becomes ready during a batch runs in the next."""
    log: list[str] = []

    async def child(name: str) -> None:
        for turn in range(2):
            log.append(f"{name}{turn}")
            await cancel_shielded_checkpoint()

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(child, "a")
            nursery.start_soon(child, "b")

    finish(main)
    assert log == ["a0", "b0", "a1", "b1"]


def test_the_order_of_a_batch_does_not_change_what_is_asked() -> None:
    """Branches are named by place, so a permuted scheduler asks for the same set."""

    async def child(name: int) -> None:
        await checkpoint()
        await perform(name)
        await sleep(5)

    async def main() -> None:
        async with open_nursery() as nursery:
            for name in range(5):
                nursery.start_soon(child, name)

    def run(seed: int | None) -> list[list[str]]:
        world = World(main)
        if seed is not None:
            world.kernel.order = random.Random(seed).shuffle
        rounds = [sorted(world.run())]
        for key in list(world.operations):
            world.answer(key)
        return [*rounds, sorted(world.run())]

    assert all(run(seed) == run(None) for seed in range(10))


def test_contextvars_belong_to_tasks() -> None:
    """The main task's are empty, or as given; a child's are a copy of its spawner's."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    variable.set("outside")

    async def child(log: list[str]) -> None:
        log.append(variable.get())
        variable.set("child")

    async def main() -> list[str]:
        log = [variable.get()]
        variable.set("main")
        async with open_nursery() as nursery:
            nursery.start_soon(child, log)
        return [*log, variable.get()]

    assert finish(main) == ["unset", "main", "main"]
    kernel = Kernel(name="instance a")
    kernel.start(main, context=contextvars.copy_context(), name="checkout")
    assert kernel.branches()[0].name == "checkout"
    kernel.run_until_blocked()
    assert kernel.outcome is not None
    assert kernel.outcome.unwrap()[0] == "outside"
    kernel.close()


def test_errors_of_the_program_become_the_outcome() -> None:
    """Raised in a step or already at the call; nothing leaves `start` or the run."""

    async def main(_: object) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError) as caught:
        finish(main, 1)
    assert caught.traceback[-1].name == "main"
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        finish(main)


def test_a_kernel_is_started_once_and_runs_only_then() -> None:
    """Misuse by the driver is refused."""

    async def main() -> None:
        await perform("a")

    kernel = Kernel(name="instance a")
    with pytest.raises(RuntimeError, match="cannot run"):
        kernel.run_until_blocked()
    kernel.start(main)
    with pytest.raises(RuntimeError, match="started before"):
        kernel.start(main)
    kernel.run_until_blocked()
    kernel.close()
    kernel.close()
    with pytest.raises(RuntimeError, match=r"<Kernel of instance a, closed, 0 tasks> cannot run"):
        kernel.run_until_blocked()


def test_a_spinning_program_is_stopped() -> None:
    """The error names the branches that spin, the first few of them."""

    async def spin() -> None:
        while True:
            await checkpoint()

    async def main() -> None:
        async with open_nursery() as nursery:
            for number in range(7):
                nursery.start_soon(spin, name=f"spinner {number}")

    world = World(main, step_limit=1000)
    with pytest.raises(SpinError, match=r"instance test took 1,000 steps .*spinner 0 \(branch 0.1\).* and 2 more\."):
        world.run()
    alone = World(spin, step_limit=10)
    with pytest.raises(SpinError, match=r"in .*spin \(branch 0\)\. A loop"):
        alone.run()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_some_exceptions_abort_the_run(error: type[BaseException]) -> None:
    """They leave the kernel as they are, from a task, the body of a nursery, or the call itself."""

    async def child() -> None:
        raise error

    async def in_child() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(child)

    async def in_body() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(sleep, 5)
            raise error

    for program in (child, in_child, in_body):
        world = World(program)
        with pytest.raises(error):
            world.run()
        assert world.kernel.outcome is None
        with pytest.raises(RuntimeError, match="cannot run"):
            world.run()

    def at_the_call() -> Any:
        raise error

    kernel = Kernel(name="instance a")
    with pytest.raises(error):
        kernel.start(at_the_call)
    kernel.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_code_that_such_an_exception_unwinds_takes_no_step(error: type[BaseException]) -> None:
    """A Ctrl-C in a worker refunds nobody: what `finally` blocks and handlers ask for meanwhile is not asked."""

    async def shielded() -> None:
        try:
            raise error
        finally:
            with CancelScope(shield=True):
                await perform("refund")

    async def handled() -> None:
        try:
            raise error
        except BaseException:
            try:
                raise ValueError
            except ValueError:
                await perform("refund")

    async def replaced() -> None:
        try:
            raise error
        except BaseException:
            raise ValueError("the order failed") from None

    for program in (shielded, handled, replaced):
        world = World(program)
        with pytest.raises(error):
            world.run()
        with pytest.raises(RuntimeError, match="cannot run"):
            world.run()


def test_what_the_host_handles_is_none_of_the_programs_business() -> None:
    """A kernel that is run while somebody cleans up after a Ctrl-C runs as ever, whatever its program handles."""

    async def main() -> str:
        try:
            raise ValueError
        except ValueError:
            await checkpoint()
        try:
            raise KeyError
        except KeyError as exc:
            exc.__context__, exc.__cause__ = exc, None
            await checkpoint()
            exc.__context__ = None
        return "done"

    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert finish(main) == "done"


def test_the_host_may_abort_the_run() -> None:
    """Whatever the program does with the exception, the first one given leaves the run when the step ends."""

    async def main() -> None:
        try:
            current_kernel().abort(ValueError("history differs"))
            current_kernel().abort(KeyError())
        finally:
            await perform("never seen")

    world = World(main)
    with pytest.raises(ValueError, match="history differs"):
        world.run()


def test_deep_recursion_is_an_error_of_the_program_with_a_hint() -> None:
    """RecursionError stays an ordinary exception."""

    async def deeper() -> None:
        await deeper()

    with pytest.raises(RecursionError) as caught:
        finish(deeper)
    assert "Use a loop" in caught.value.__notes__[0]


def test_waiting_for_all_tasks_to_be_blocked() -> None:
    """Waiters go on when nothing else is ready, the smallest cushion first, and can be cancelled."""
    log: list[str] = []

    async def busy() -> None:
        for _ in range(5):
            await checkpoint()
        log.append("busy done")
        await sleep(1)
        log.append("slept")

    async def waits(name: str, cushion: float) -> None:
        await wait_all_tasks_blocked(cushion)
        log.append(name)

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(busy)
            nursery.start_soon(waits, "second", 0.1)
            nursery.start_soon(waits, "first", 0)
        async with open_nursery() as nursery:
            nursery.start_soon(waits, "never", 0)
            await checkpoint()
            nursery.cancel_scope.cancel()

    finish(main)
    assert log == ["busy done", "first", "second", "slept"]


def test_a_kernel_is_found_only_while_it_runs() -> None:
    """`in_kernel` and `current_kernel` tell; kernels may nest."""

    async def inner() -> str:
        return current_kernel().name

    async def outer() -> tuple[str, str]:
        kernel = Kernel(name="inner")
        kernel.start(inner)
        kernel.run_until_blocked()
        assert kernel.outcome is not None
        kernel.close()
        return kernel.outcome.unwrap(), current_kernel().name

    assert not in_kernel()
    assert finish(outer) == ("inner", "instance test")
    assert not in_kernel()
    with pytest.raises(NotInOrchestration):
        current_task()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: checkpoint(), r"got a coroutine object .*\n.*start_soon\(checkpoint\(\.\.\.\)\)   # wrong"),
        (lambda: 5, "got 5, which cannot be called"),
        (lambda: type("Future", (), {})(), "belongs to another async library"),
        (lambda: lambda: 5, "appears to be synchronous: it returned 5"),
        (lambda: lambda: type("Deferred", (), {})(), "returned <.*belongs to another async library"),
    ],
)
def test_what_cannot_be_spawned_is_explained(wrong: Any, text: str) -> None:
    """The error shows what was given and how to write it."""

    async def main() -> None:
        async with open_nursery() as nursery:
            with pytest.raises(TypeError, match=text):
                nursery.start_soon(wrong())
            assert current_task()._spawns == 0

    finish(main)


def test_an_async_generator_cannot_be_spawned() -> None:
    """It is to be iterated inside a function."""

    async def generates() -> Any:
        yield 1

    async def main() -> None:
        async with open_nursery() as nursery:
            with pytest.raises(TypeError, match=r"got an async generator: .*generates\. Iterate"):
                nursery.start_soon(generates)

    finish(main)


def test_names_of_tasks() -> None:
    """As given, or from the function, through partials; of what is called only the class shows, never what is in it."""
    names: list[str] = []

    class Callable:
        async def __call__(self) -> None:
            names.append(current_task().name)

        def __repr__(self) -> str:
            return "<a callable>"

    class Plain:
        async def __call__(self) -> None:
            names.append(current_task().name)

    class Defined(Plain):
        __name__ = "defined"

    async def child() -> None:
        names.append(current_task().name)

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(functools.partial(functools.partial(child)))
            nursery.start_soon(child, name="given")
            nursery.start_soon(child, name=main)
            nursery.start_soon(child, name=Callable())
            nursery.start_soon(Callable())
            nursery.start_soon(Plain())
            nursery.start_soon(Defined())

    finish(main)
    here = f"{__name__}.test_names_of_tasks.<locals>"
    classes = [f"test_names_of_tasks.<locals>.{name}" for name in ("Callable", "Plain")]
    given = ["given", f"{here}.main", "<a callable>"]
    assert names == [f"{here}.child", f"{here}.child", *given, *classes, "defined"]


def test_a_coroutine_without_a_frame_is_wrapped() -> None:
    """Any object with a coroutine's methods can be a task."""

    class Slow:
        def __init__(self) -> None:
            self._inner = checkpoint()

        def send(self, value: Any) -> Any:
            return self._inner.send(value)

        def throw(self, *error: Any) -> Any:
            return self._inner.throw(*error)

        def close(self) -> None:
            self._inner.close()

        def __await__(self) -> Any:
            return self._inner.__await__()

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(Slow)

    finish(main)


def test_frames_of_a_task_can_be_walked() -> None:
    """Through coroutines, generators and async generators."""
    tasks: list[Task] = []

    async def generates() -> Any:
        await perform("inside")
        yield 1

    async def main() -> None:
        tasks.append(current_task())
        async for _ in generates():
            pass

    World(main).run()
    names = [frame.f_code.co_name for frame, line in tasks[0].iter_await_frames() if line]
    assert names == ["main", "generates", "trap"]
    assert list(await_frames(tasks[0].coro.cr_frame)) == []  # type: ignore[attr-defined]  # what cannot be walked


def test_a_task_that_has_ended_has_no_frames() -> None:
    """Its coroutine is empty."""
    tasks: list[Task] = []

    async def main() -> None:
        tasks.append(current_task())

    finish(main)
    assert list(tasks[0].iter_await_frames()) == []


def test_many_branches_stay_linear() -> None:
    """A step costs the same among thousands of waiting branches: only what changed is looked at."""

    async def child() -> None:
        for _ in range(3):
            await perform("x")

    async def main() -> None:
        async with open_nursery() as nursery:
            for _ in range(3000):
                nursery.start_soon(child)

    world = World(main)
    assert len(world.run()) == 3000
    for key in list(world.operations)[:50]:
        world.answer(key)
        assert len(world.run()) == 1
