"""`Kernel`: runs the tasks of one orchestration, in the same order every time, and says what they wait for.

Laws: the kernel asks and a driver answers; it does no input or output, reads no clock, and calls nobody. Ready tasks
run in batches, first in first out: what becomes ready during a batch runs in the next. Before each batch deadlines that
have come expire together. When nothing is ready the kernel is blocked, and returns what was asked since it last was.
Between two calls nothing changes but by the driver. What ends a run at once (Ctrl-C, no memory, `abort`) leaves as it
is; the kernel is then good for nothing but `close`.
Must never know: orchestrations, histories, stores, what requests mean. Who calls it: the engine. Read next:
`_guard.py`, then `_drop.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from math import inf
from typing import Any, Final

from outcome import Error, Outcome, Value, capture

from trioflow._kernel._asyncgens import AsyncGenerators, Generator, close_generators, name_of_generator
from trioflow._kernel._cancelled import CancelReason, Dropped
from trioflow._kernel._current import CURRENT, Realm, current_task
from trioflow._kernel._deadlines import Deadlines, TimerClosed, TimerOpened
from trioflow._kernel._drop import LIMIT, drop
from trioflow._kernel._exits import result_of
from trioflow._kernel._fatal import FATAL, notice
from trioflow._kernel._foreign import explain, foreign_yield
from trioflow._kernel._guard import inside, interruptible, keep_out, let_in, uninterruptible
from trioflow._kernel._idle import wake_idle
from trioflow._kernel._nursery import Nursery
from trioflow._kernel._operations import Asked, Operation
from trioflow._kernel._raising import raise_as_it_was
from trioflow._kernel._scope import CancelScope
from trioflow._kernel._spawn import coroutine_of, name_of
from trioflow._kernel._spinning import spinning
from trioflow._kernel._status import CancelStatus
from trioflow._kernel._task import Task
from trioflow._kernel._traps import Checkpoint, Wait
from trioflow._kernel._tree import Namer, TreeBranch, by_key, tree_of
from trioflow._kernel._watching import Watcher
from trioflow.errors import SpinError

RETURNED: Final = Value(None)
"""How a branch ended that raised nothing: what it returned is nobody's business."""


class Kernel:
    """The scheduler of one orchestration.

    Args:
        name: what to call it in messages, such as "instance order-1".
        host: whoever runs it, for the verbs; opaque here.
        now: the time it starts at.
        step_limit: how many steps it may take without blocking.
    """

    def __init__(self, *, name: str, host: object = None, now: float = 0.0, step_limit: int = 1_000_000) -> None:
        self.host = host
        self.now = now
        self.step_limit = step_limit
        self.realm = Realm(name)
        self.outcome: Outcome[Any] | None = None  # of the main task, once it has ended
        self.closing = False
        self.alone = False  # the rest of the process is kept out, also between runs: see `_guard.py`
        self.forbidden: str | None = None  # why user code may call no verb just now
        self.order: Callable[[list[Task]], None] | None = None  # for tests: may permute each batch in place
        self.watcher: Watcher | None = None  # who is told of tasks and scopes

        # The parts.
        self.deadlines = Deadlines()
        self.generators = AsyncGenerators()
        self.root_scope = CancelScope()
        self.root_status = CancelStatus(self.root_scope, None)
        self.root_scope._realm = self.realm

        # The state of the run.
        self.tasks: dict[Task, None] = {}  # those that have not ended, in spawn order
        self.running: Task | None = None  # whose step this is
        self.asked: list[Asked] = []  # since the last block
        self.undead: tuple[Task, ...] = ()  # those that closing could not end; whoever closes has to keep them
        self.idle: dict[Task, float] = {}  # those that wait until nothing else is ready: see `_idle.py`
        self.refusals = 0  # how often a verb was refused since the running task was last thrown into, while closing
        self._ready: list[Task] = []
        self._main: Task | None = None
        self._generator_tasks = 0
        self._fatal: BaseException | None = None
        self.outside: BaseException | None = None  # what whoever runs us was handling when they did
        self._state = "new"  # then "usable", "broken", "closed"

    def __repr__(self) -> str:
        return f"<Kernel of {self.name}, {self._state}, {len(self.tasks)} tasks>"

    @property
    def name(self) -> str:
        """What it is called in messages; may be changed."""
        return self.realm.name

    @name.setter
    def name(self, value: str) -> None:
        self.realm.name = value

    # -- driving it -----------------------------------------------------------------------------------------------

    @uninterruptible
    def start(
        self,
        async_fn: Callable[..., Awaitable[object]],
        *args: object,
        name: object = None,
        context: Context | None = None,
    ) -> None:
        """Spawn the main task, which runs ``async_fn(*args)``. Whatever that raises becomes the outcome.

        Its contextvars are empty unless a context is given: whoever happens to run an orchestration is no part of it.
        """
        if self._state != "new":
            raise RuntimeError(f"{self!r} was started before")
        self._state = "usable"
        context = self.generators.begin(context)
        with inside(self):
            made = capture(context.run, coroutine_of, async_fn, args)
        if isinstance(made, Error):
            if isinstance(made.error, FATAL):
                self._state = "broken"
                made.unwrap()
            self.outcome = made
            return
        self._main = self._add(made.unwrap(), name_of(async_fn, name), "0", context, None, self.root_status)

    @uninterruptible
    def run_until_blocked(self) -> list[Asked]:
        """Run until no task is ready; returns what was asked since the last call, in order.

        Raises:
            SpinError: the step limit was reached; it names the branches that spin.
            BaseException: what `abort` was given, or what user code raised to end everything. The kernel can then only
                be closed.
        """
        if self._state != "usable":
            raise RuntimeError(f"{self!r} cannot run: it was not started, or was aborted, or is closed")
        # What `inside` does, by hand: there is a run for each event.
        saved = None if self.alone else keep_out(self)
        before, CURRENT.kernel = CURRENT.kernel, self
        self.outside = sys.exception()
        try:
            self._run()
        except BaseException:
            self._state = "broken"
            raise
        finally:
            self.running = self.outside = self._fatal = None
            CURRENT.kernel = before
            if saved is not None:
                let_in(saved)
        asked, self.asked = self.asked, []
        return asked

    @uninterruptible
    def settle(self) -> list[TimerClosed | TimerOpened]:
        """The timers that are to be opened and closed, now that the program is blocked. A driver that has answers at
        hand gives those first: a deadline that was never open while nothing could go on is nobody's business.
        """
        return self.deadlines.settle(self.now) if self.deadlines.touched else []

    def advance(self, now: float) -> None:
        """Time moves, never back; every scope whose deadline has come is cancelled, all together."""
        if now > self.now:
            self.now = now
            if self.deadlines.heap and self.next_deadline <= now:
                with inside(self):
                    self.deadlines.expire(now)

    def resume(self, operation: Operation, result: object) -> bool:
        """Answer an operation, with an Outcome or a value that is none; False if its branch no longer waits for it."""
        task = operation.task
        if task is None:
            return False
        operation.task = operation._raise_cancel = None
        task._waiting = None
        task._next = result
        self._ready.append(task)
        return True

    def resume_cancelled(self, operation: Operation) -> bool:
        """An operation ended because its branch was cancelled: raise `Cancelled` there. False if it does not wait."""
        if operation.task is None:
            return False
        if operation._raise_cancel is None:
            raise RuntimeError(f"the end of {operation!r} was never asked for, so it cannot end as cancelled")
        return self.resume(operation, capture(operation._raise_cancel))

    def cancel(self, reason: str | None = None) -> None:
        """Cancel the whole program, as a scope around it would."""
        with inside(self):
            self.root_scope._cancel(CancelReason("explicit", None, reason))
            self.root_status.recalculate()  # the scope does not know its status: that would be a cycle

    @property
    def cancel_called(self) -> bool:
        """Whether `cancel` was called."""
        return self.root_scope._cancel_called

    @property
    def cancel_reason(self) -> str | None:
        """What `cancel` was told."""
        return None if (reason := self.root_scope._cancel_reason) is None else reason.reason

    @property
    def next_deadline(self) -> float:
        """The earliest open deadline, inf if there is none."""
        return self.deadlines.next() if self.deadlines.heap else inf

    def abort(self, exc: BaseException) -> None:
        """Raise `exc` out of the run when the current step ends, whatever user code does. The first one counts."""
        if self._fatal is None:
            self._fatal = exc

    def branches(self, now: float | None = None, namer: Namer = by_key) -> tuple[TreeBranch, ...]:
        """The tasks that have not ended, and what they wait for: the main task, with all others in its nurseries.
        Deadlines are counted from `now`, or our own time; operations are called as `namer` says.
        """
        return tree_of(self.tasks, self.now if now is None else now, namer)

    @uninterruptible
    def close(self) -> None:
        """Drop it: unwind what is left of the program without letting it act, and leave no garbage.

        Raises:
            KeyboardInterrupt, SystemExit, MemoryError: one of them came up in user code; everything is closed
            nevertheless.
        """
        if self._state == "closed":
            return
        self._state, self.closing, self.watcher = "closed", True, None
        try:
            with inside(self):
                drop(self)
        finally:
            self.running = self._main = self._fatal = self.host = None  # the host may lead back to us

    # -- the loop -------------------------------------------------------------------------------------------------

    @interruptible
    def _run(self) -> None:
        steps = 0
        heap, abandoned, idle = self.deadlines.heap, self.generators.abandoned, self.idle
        while True:
            if heap and heap[0][0] <= self.now:
                self.deadlines.expire(self.now)
            if abandoned:
                self.task_for(self.generators.take_abandoned())
            if self._fatal is not None:  # it came up between two runs, or just now, in an abort function
                raise_as_it_was(self._fatal)
            batch = self._ready
            if not batch:
                if idle:
                    wake_idle(self)
                    continue
                return
            self._ready = []
            if self.order is not None:
                self.order(batch)
            steps += len(batch)
            if steps > self.step_limit:
                raise SpinError(spinning(self.name, self.step_limit, batch))
            for task in batch:
                self._step(task)
                if self._fatal is not None:
                    raise_as_it_was(self._fatal)

    @interruptible
    def _step(self, task: Task) -> None:
        """Let a task run until it yields or ends."""
        self.running = task
        value, task._next = task._next, None
        result: Outcome[Any]
        try:
            message = task.context.run(task._advance, value)
        except StopIteration as stop:
            result = Value(stop.value) if task is self._main else RETURNED
        except FATAL:
            raise
        except BaseException as exc:
            # Without our own frame, which holds the kernel.
            result = Error(exc.with_traceback(exc.__traceback__.tb_next))  # type: ignore[union-attr]
        else:
            task._schedule_points += 1
            kind = type(message)
            if kind is Operation or kind is Wait:
                task._waiting = message  # type: ignore[assignment]
                task._abortable = True
                task._cancel_points += 1
                if kind is Wait:  # else `perform` looked for cancellation just before it yielded
                    task._deliver_cancellation()
            elif kind is Checkpoint:
                task.custom_sleep_data = None
                self._ready.append(task)
            else:
                task._throw(foreign_yield(task.coro, message))
                self._ready.append(task)
            return
        finally:
            del value  # from CPython 3.12 on a traceback leads back to this frame: what is held here would make a cycle
        # Not inside the handlers above: errors made here must not get the task's error as their context.
        self._ended(task, result)
        del result

    def wake(self, task: Task, result: Outcome[Any] | None = None) -> None:
        """Make a waiting task ready; its wait returns, or raises, `result`; without one it returns None."""
        if self.closing:
            return
        if task._waiting is None:
            raise RuntimeError(f"{task!r} was rescheduled, but it does not wait: each wait is ended once")
        task._waiting = None
        task.custom_sleep_data = None
        task._next = result
        self._ready.append(task)

    # -- tasks ----------------------------------------------------------------------------------------------------

    def spawn(
        self, async_fn: Callable[..., Awaitable[object]], args: tuple[object, ...], nursery: Nursery, name: object
    ) -> Task:
        """Make a task in a nursery, for the running task, whose spawn number it takes."""
        spawner = self.running or current_task()
        context = copy_context()
        coro = context.run(coroutine_of, async_fn, args)
        spawner._spawns += 1
        place = f"{spawner.place}.{spawner._spawns}"
        return self._add(coro, name_of(async_fn, name), place, context, nursery, nursery._status)

    def _add(
        self, coro: Any, name: str, place: str, context: Context, nursery: Nursery | None, status: CancelStatus
    ) -> Task:
        task = Task._create(coro, name, place, context, nursery, self, coro.send)
        self.tasks[task] = None
        if nursery is not None:
            nursery._children[task] = None
        task._activate(status)
        self._ready.append(task)
        if self.watcher is not None:
            self.watcher.task_began(task)
        return task

    def task_for(self, generators: list[Generator]) -> Task:
        """A task outside of every nursery that closes async generators, one after the other, and may not act."""
        self._generator_tasks += 1
        self.refusals = 0
        place, coro = f"~{self._generator_tasks}", close_generators(generators)
        name = f"close asyncgen {', '.join(map(name_of_generator, generators))} (abandoned)"
        task = self._add(coro, name, place, self.generators.context.copy(), None, self.root_status)
        task._barred = True
        return task

    def _ended(self, task: Task, result: Outcome[Any]) -> None:
        """A task's coroutine has ended: take the task out of the tree and give its result to its nursery."""
        if type(result) is Error:  # not `isinstance`: it takes its time to tell outcomes from each other
            notice(result.error, self)
            explain(result.error)
        if task._child_nurseries or task._status.abandoned:
            result = result_of(task, result)
        if self.watcher is not None:
            self.watcher.task_ended(task, result)
        task._activate(None)
        del self.tasks[task]
        if task._exit_callbacks:
            task._call_back()
        if task is self._main:
            self._main = None
            self.outcome = result
            self.generators.abandon_all()
        elif task.parent_nursery is not None:
            task.parent_nursery._child_ended(task, result)
        del task._kernel

    def refuse(self) -> None:
        """A verb was called while closing. It is refused, at first at once; who loops on that without waiting gets
        through to where verbs wait, and is stopped there.
        """
        self.refusals += 1
        if self.refusals <= LIMIT:
            raise Dropped
