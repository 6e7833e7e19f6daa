"""Looking at the queues, for instruments that show how much waits.

Laws: one look a quarter of a minute, whatever is in the store, and none without an instrument; a look that fails is
missed, nothing more.

Who calls it: `_worker.py`.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from trioflow._runtime._troubles import PASSING
from trioflow.abc import Instruments, QueuesSeen, Store

EVERY: Final = 15.0
"""Seconds between two looks."""


@attrs.define(eq=False)
class Gauges:
    """Looks now and then."""

    store: Store
    instruments: Instruments

    async def run(self) -> None:
        """Look, for ever."""
        while self.instruments:
            try:
                depths = await self.store.read_depths()
            except PASSING:
                pass  # whoever works with the store reports it
            else:
                self.instruments.saw(QueuesSeen(depths=depths))
            await trio.sleep(EVERY)
