"""The border between a kernel's user code and everything else on the thread. The one module that touches trio's
insides.

Laws: while a kernel runs user code, trio has no current task on this thread and its runner answers only with the error
that teaches (else `trio.open_nursery()` written in an orchestration would attach to whoever runs the kernel); asyncio
has no running loop, sniffio knows no library, and new async generators belong to the kernel. What was absent stays
absent, so all this works without trio, too. Everything is put back, whatever happened: trio dies if its task is
missing. A kernel that runs several times at a stretch keeps the rest out all the while, which costs as much as once.
Must never know: what runs. Who calls it: `_scheduler.py`, around each run and around closing; the engine, around each
turn and each stretch of a replay. Read next: `_asyncgens.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from trio._core._run import GLOBAL_RUN_CONTEXT, sniffio_library  # type: ignore[attr-defined]
from trio.lowlevel import disable_ki_protection, enable_ki_protection

from trioflow._kernel._current import CURRENT
from trioflow._kernel._foreign import foreign_call

if TYPE_CHECKING:
    from trioflow._kernel._scheduler import Kernel

T = TypeVar("T")

# Ctrl-C may stop user code, but not the bookkeeping around it.
interruptible = disable_ki_protection
uninterruptible = enable_ki_protection


class RunnerGuard:
    """Stands where trio's runner was: whatever is asked of it gets the teaching error."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        raise foreign_call(name)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise foreign_call(name)


RUNNER_GUARD = RunnerGuard()


@uninterruptible
def keep_out(kernel: Kernel) -> tuple[Any, ...]:
    """Hide the rest of the process from this thread, on behalf of `kernel`; returns what `let_in` needs."""
    trio_context = GLOBAL_RUN_CONTEXT.__dict__
    runner = trio_context.get("runner")
    task = trio_context.get("task")
    library = sniffio_library.name
    asyncio = sys.modules.get("asyncio.events")
    loop = None if asyncio is None else asyncio._get_running_loop()
    firstiter, finalizer = sys.get_asyncgen_hooks()
    # From here on nothing can fail.
    if runner is not None:
        trio_context["runner"] = RUNNER_GUARD
    if task is not None:
        del trio_context["task"]
    if library is not None:
        sniffio_library.name = None
    if loop is not None:
        sys.modules["asyncio.events"]._set_running_loop(None)
    generators = kernel.generators
    sys.set_asyncgen_hooks(generators.first_iterated, generators.collected)  # type: ignore[arg-type]  # the concrete type
    return trio_context, runner, task, library, loop, firstiter, finalizer


@uninterruptible
def let_in(saved: tuple[Any, ...]) -> None:
    """Put everything back as `keep_out` found it."""
    trio_context, runner, task, library, loop, firstiter, finalizer = saved
    if runner is not None:
        trio_context["runner"] = runner
    if task is not None:
        trio_context["task"] = task
    if library is not None:
        sniffio_library.name = library
    if loop is not None:
        sys.modules["asyncio.events"]._set_running_loop(loop)
    sys.set_asyncgen_hooks(firstiter, finalizer)


@uninterruptible
def at_a_stretch(kernel: Kernel, work: Callable[[], T]) -> T:
    """Call `work`, which drives `kernel`, with the rest kept out all the while: it is guarded as the program is, and
    each run costs less.
    """
    saved = keep_out(kernel)
    kernel.alone = True
    try:
        return _stoppable(work)
    finally:
        kernel.alone = False
        let_in(saved)


@interruptible
def _stoppable(work: Callable[[], T]) -> T:
    return work()  # it calls hooks of codecs, which are user code, too


@contextmanager
@uninterruptible
def inside(kernel: Kernel) -> Iterator[None]:
    """Make `kernel` the one that runs on this thread, with the rest kept out, for a block."""
    saved = None if kernel.alone else keep_out(kernel)
    before, CURRENT.kernel = CURRENT.kernel, kernel
    try:
        yield
    finally:
        CURRENT.kernel = before
        if saved is not None:
            let_in(saved)
