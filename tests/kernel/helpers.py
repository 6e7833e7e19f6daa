"""The simplest world for a kernel: it answers what a test tells it to, and time jumps to the next deadline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, ClassVar

from outcome import Error, Value

from trioflow._kernel import (
    Asked,
    Kernel,
    OnCancel,
    Operation,
    OperationCancelAsked,
    TimerClosed,
    TimerOpened,
    perform,
)


async def ask(request: object, *, on_cancel: OnCancel = "wait") -> Any:
    """`perform` as a function that can be spawned: it asks at its first step."""
    return await perform(request, on_cancel=on_cancel)


class World:
    """A kernel, and what it asked for as short lines of text."""

    made: ClassVar[list[World]] = []  # closed by a fixture

    def __init__(self, async_fn: Callable[..., Awaitable[object]], *args: object, **options: Any) -> None:
        self.kernel = Kernel(name="instance test", **options)
        self.operations: dict[str, Operation] = {}
        self.made.append(self)
        self.kernel.start(async_fn, *args)

    def run(self) -> list[str]:
        asked = self.kernel.run_until_blocked()
        return [self._line(each) for each in (*asked, *self.kernel.settle())]

    def _line(self, asked: Asked | TimerOpened | TimerClosed) -> str:
        match asked:
            case Operation():
                self.operations[asked.key] = asked
                return f"ask {asked.key} {asked.request}"
            case OperationCancelAsked(operation):
                return f"cancel {operation.key}"
            case TimerOpened(key, deadline):
                return f"open {key} {deadline:g}"
            case TimerClosed(key):
                return f"close {key}"

    def answer(self, key: str, value: object = None) -> bool:
        return self.kernel.resume(self.operations[key], Value(value))

    def fail(self, key: str, error: BaseException) -> bool:
        return self.kernel.resume(self.operations[key], Error(error))

    def ended(self, key: str) -> bool:
        return self.kernel.resume_cancelled(self.operations[key])

    @property
    def value(self) -> Any:
        assert self.kernel.outcome is not None, "the main task has not ended"
        return self.kernel.outcome.unwrap()

    @property
    def error(self) -> BaseException:
        assert isinstance(self.kernel.outcome, Error), self.kernel.outcome
        return self.kernel.outcome.error


def finish(async_fn: Callable[..., Awaitable[object]], *args: object, **options: Any) -> Any:
    """Run a program that asks for nothing but time to its end; returns or raises its outcome."""
    world = World(async_fn, *args, **options)
    kernel = world.kernel
    try:
        kernel.run_until_blocked()
        while kernel.outcome is None:
            assert kernel.next_deadline != inf, "blocked for ever"
            kernel.advance(kernel.next_deadline)
            kernel.run_until_blocked()
        result = kernel.outcome
    finally:
        kernel.close()
    try:
        return result.unwrap()
    finally:
        del result
