"""`Sequencer`: blocks of several tasks in an order that a test chose, for tests inside `run_durable`.

Laws: block 0 starts at once, block n when block n - 1 has ended, however it ended. A number is used once. If a wait is
cancelled the sequence is broken: whoever waits, or comes later, is told so.

Who calls it: tests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from trioflow._kernel import Cancelled, sealed
from trioflow.durable import Event


@sealed
@attrs.define(eq=False, slots=False)
class Sequencer:
    """Runs blocks of code in different tasks one after the other: ``async with seq(2): ...``."""

    _points: defaultdict[int, Event] = attrs.field(factory=lambda: defaultdict(Event), init=False)
    _claimed: dict[int, None] = attrs.field(factory=dict, init=False)
    _broken: bool = attrs.field(default=False, init=False)

    @asynccontextmanager
    async def __call__(self, position: int) -> AsyncIterator[None]:
        """A block that starts when the one before it has ended.

        Raises:
            RuntimeError: the number was used before, or the sequence is broken.
        """
        if position in self._claimed:
            raise RuntimeError(f"Attempted to reuse sequence point {position}")
        if self._broken:
            raise RuntimeError("sequence broken!")
        self._claimed[position] = None
        if position != 0:
            await self._turn_of(position)
        try:
            yield
        finally:
            self._points[position + 1].set()

    async def _turn_of(self, position: int) -> None:
        try:
            await self._points[position].wait()
        except Cancelled:
            self._broken = True
            for event in self._points.values():
                event.set()
            raise RuntimeError("Sequencer wait cancelled -- sequence broken") from None
        if self._broken:
            raise RuntimeError("sequence broken!")
