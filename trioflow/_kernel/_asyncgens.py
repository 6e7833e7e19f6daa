"""Async generators that were begun and not finished: each belongs to the kernel that first iterated it, and is closed
there.

Laws: one that is collected while its kernel lives is closed by a task of that kernel, in a cancelled scope, and may not
act durably (when the collector comes is no part of a history); a ResourceWarning says which it was. Those that are left
when the program ends, or the kernel is closed, are closed then, and nobody is warned, as in trio: a kernel that is
closed may only be out of memory. After that, nobody closes any: no generator's `finally` runs outside of its kernel.
Must never know: guards, tasks. Who calls it: `_guard.py` installs the hooks, `_scheduler.py` and `_drop.py` close. Read
next: `_drop.py`.
"""

from __future__ import annotations

import logging
import warnings
from contextvars import Context
from types import AsyncGeneratorType
from typing import Any
from weakref import WeakKeyDictionary

import attrs

from trioflow._kernel._cancelled import CancelReason, Cancelled
from trioflow._kernel._current import CURRENT
from trioflow._kernel._scope import CancelScope
from trioflow._util import described, with_traceback

Generator = AsyncGeneratorType[Any, Any]

LOGGER = logging.getLogger("trioflow.async_generator_errors")


@attrs.define(eq=False, repr=False)
class AsyncGenerators:
    """The unfinished async generators of one kernel."""

    # First iterated here and not collected yet, in that order; finished ones too, while somebody holds them. Nearly all
    # kernels never see one.
    _alive: WeakKeyDictionary[Generator, None] | None = None
    # Collected before they were finished, to be closed. It stays the same list: the scheduler looks at it.
    abandoned: list[Generator] = attrs.field(factory=list)
    context: Context = attrs.field(init=False)  # the contextvars of whoever closes them, once the program has begun

    def first_iterated(self, generator: Generator) -> None:
        """For `sys.set_asyncgen_hooks`."""
        if self._alive is None:
            self._alive = WeakKeyDictionary()
        self._alive[generator] = None

    def collected(self, generator: Generator) -> None:
        """For `sys.set_asyncgen_hooks`, which calls it with those that are not finished."""
        self.abandoned.append(generator)
        kernel = CURRENT.kernel
        if kernel is None or not kernel.closing:
            _warn(name_of_generator(generator))  # last, since it raises if warnings are errors

    def begin(self, context: Context | None) -> Context:
        """The contextvars that the main task begins with, empty ones if none are given; so does whoever closes."""
        begun = Context() if context is None else context
        self.context = begun.copy()
        return begun

    def take_abandoned(self) -> list[Generator]:
        """Those that were collected since the last call."""
        taken = self.abandoned[:]
        self.abandoned.clear()
        return taken

    def abandon_all(self) -> bool:
        """The program has ended: abandon all that are not finished, the youngest first. Whether there were any."""
        if self._alive:
            unfinished = [generator for generator in reversed(list(self._alive)) if generator.ag_frame is not None]
            self._alive.clear()
            self.abandoned += unfinished
        return bool(self.abandoned)


def name_of_generator(generator: Generator) -> str:
    """Where it was defined, for messages."""
    module = generator.ag_frame.f_globals.get("__name__") if generator.ag_frame is not None else None
    return f"{module}.{generator.__qualname__}" if module else generator.__qualname__


def _warn(name: str) -> None:
    warnings.warn(
        f"Async generator {name!r} was garbage collected before it had been exhausted. Surround its use with "
        "`async with contextlib.aclosing(...):`, so that it is cleaned up where it is used.",
        ResourceWarning,
        stacklevel=2,
    )


async def close_generators(generators: list[Generator]) -> None:
    """Close some, each as far as that needs no waiting; one after the other, since they may iterate each other."""
    with CancelScope(shield=True) as scope:
        scope._cancel(CancelReason("explicit", None, "an abandoned async generator may not wait for anything"))
        for generator in generators:
            try:
                await generator.aclose()
            except Cancelled:
                continue
            except Exception as exc:
                LOGGER.error(
                    "Exception ignored during finalization of async generator %r: %s",
                    generator.__name__,
                    described(exc),
                    exc_info=with_traceback(exc),
                )
