"""How much may run at once: a count, and a wait for it to fall.

Law: whoever cannot wait may take more than there is; then nothing is free until that is given back.
Who calls it: the dispatchers wait, whoever works takes and gives.
"""

from __future__ import annotations

import attrs
import trio


@attrs.define(eq=False)
class Slots:
    """So many places, of which some are taken."""

    total: int
    taken: int = 0
    wanted: bool = False  # somebody waits for one to be free
    _freed: trio.Event = attrs.field(factory=trio.Event)

    def __str__(self) -> str:
        return f"{self.taken}/{self.total}"

    @property
    def free(self) -> int:
        """Places that may be taken."""
        return max(self.total - self.taken, 0)

    def take(self, count: int = 1) -> None:
        """Take places, be they free or not."""
        self.taken += count

    def give(self, count: int = 1) -> None:
        """Give places back."""
        self.taken -= count
        if self.wanted and self.free:
            self._freed.set()

    async def wait_free(self) -> None:
        """Return once a place is free. Not a checkpoint if one is."""
        while not self.free:
            self.wanted = True
            self._freed = trio.Event()
            await self._freed.wait()
        self.wanted = False
