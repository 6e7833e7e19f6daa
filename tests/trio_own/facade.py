"""What trio's tests are given when they import trio: one namespace over `durable`, `durable.lowlevel` and
`trioflow.testing`, which stands for each of trio's modules.

Laws: a name that trioflow offers is trioflow's own, unchanged; what is added below is what the tests need around it
(a way to run, clocks, a thread), and what trio calls by another name. Nothing of trio's scheduler comes through.
Who calls it: `loading.py`. Read next: `loading.py`.
"""

from __future__ import annotations

import contextvars
import time as real_time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import trio

from trioflow import durable, testing
from trioflow._kernel import current_kernel, in_kernel
from trioflow._kernel._deadlines import PRUNE_SLACK
from trioflow._kernel._spawn import coroutine_of, name_of
from trioflow.abc import Env
from trioflow.durable import lowlevel
from trioflow.durable._locks import Acquirable
from trioflow.testing import run_durable


class EarlyEnv(Env):
    """A world whose time begins at zero, as that of trio's mock clocks does."""

    def now(self) -> float:
        """The beginning."""
        return 0.0


class Clock:
    """The fixtures `mock_clock` and `autojump_clock`: time that comes in the middle of a step."""

    def current_time(self) -> float:
        """The time of the orchestration."""
        return durable.current_time()

    def jump(self, seconds: float) -> None:
        """Time passes, and nothing else happens: what is due expires before the next step."""
        current_kernel().now += seconds


def run(async_fn: Callable[..., Any], *args: Any, strict_exception_groups: bool = True, env: Env | None = None) -> Any:
    """`trio.run`: an orchestration in a trio run of its own."""
    if not strict_exception_groups:
        raise ValueError("there are only strict exception groups")
    return trio.run(partial(run_durable, async_fn, *args, env=env))


async def to_thread_run_sync(fn: Callable[..., Any], *args: Any) -> Any:
    """A call in another thread, while everything here waits for it."""
    with ThreadPoolExecutor() as threads:
        return threads.submit(fn, *args).result()


def spawn_system_task(async_fn: Callable[..., Awaitable[object]], *args: object, name: object = None) -> None:
    """A task in no nursery; if it fails, so does the test."""
    kernel = current_kernel()

    async def fatal() -> None:
        try:
            await coroutine_of(async_fn, args)
        except BaseException as exc:
            kernel.abort(exc)

    kernel._add(fatal(), name_of(async_fn, name), "~", contextvars.copy_context(), None, kernel.root_status)


class Token:
    """Just enough of a token for abort functions that answer later."""

    def run_sync_soon(self, fn: Callable[..., object], *args: object) -> None:
        """Call it in a later step."""

        async def call() -> None:
            fn(*args)

        spawn_system_task(call)


class Breakers(Mapping[lowlevel.Task, list[Any]]):
    """trio's global table of who breaks which parking lots; here each task knows its own."""

    def _table(self) -> dict[lowlevel.Task, list[Any]]:
        tasks = current_kernel().tasks
        return {task: [call.__self__ for call in task._exit_callbacks] for task in tasks if task._exit_callbacks}  # type: ignore[attr-defined]

    def __getitem__(self, task: lowlevel.Task) -> list[Any]:
        return self._table()[task]

    def __iter__(self) -> Iterator[lowlevel.Task]:
        return iter(self._table())

    def __len__(self) -> int:
        return len(self._table())


def in_trio_task() -> bool:
    """Whether a task of an orchestration runs the calling code."""
    return in_kernel() and current_kernel().running is not None


def _perf_counter() -> float:
    return durable.current_time() if in_kernel() else real_time.perf_counter()


def _namespace() -> ModuleType:
    space = ModuleType("trio")
    for module in (durable, lowlevel, testing):
        vars(space).update({name: getattr(module, name) for name in module.__all__})
    vars(space).update(
        # Modules within modules: all the same one.
        trio=space,
        _core=space,
        _run=space,
        lowlevel=space,
        testing=space,
        # What trio calls by another name.
        TrioInternalError=trio.TrioInternalError,
        AsyncContextManagerMixin=Acquirable,
        GLOBAL_PARKING_LOT_BREAKER=Breakers(),
        DEADLINE_HEAP_MIN_PRUNE_THRESHOLD=PRUNE_SLACK,
        current_trio_token=Token,
        currently_ki_protected=trio.lowlevel.currently_ki_protected,
        in_trio_run=in_kernel,
        in_trio_task=in_trio_task,
        run=run,
        spawn_system_task=spawn_system_task,
        to_thread_run_sync=to_thread_run_sync,
        # What is only named.
        MockClock=Clock,
        _count_context_run_tb_frames=None,
        abc=SimpleNamespace(Clock=Clock),
    )
    return space


FACADE = _namespace()

# The time that a test measures is that of its orchestration.
TIME = SimpleNamespace(
    **{name: value for name, value in vars(real_time).items() if not name.startswith("_")}
    | {"perf_counter": _perf_counter}
)
