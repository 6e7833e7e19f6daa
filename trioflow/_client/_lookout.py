"""When a client that waits for an instance looks at it again.

Laws: a hint that names the instance is followed at once; one that says only that anything may have changed, as it comes
from other processes many times a second, is followed the later the longer nothing has happened to the instance: a
client that waits for a thousand of them does not ask for each whenever one of them moves. No look is needed for
correctness but the one every poll interval.

Must never know: what is looked for. Who calls it: `_handle.py`.
"""

from __future__ import annotations

from typing import Final, Self

import attrs
import trio

from trioflow.abc import Ended, Signals, Watch

CLOSELY: Final = 0.03
"""Seconds between two looks at an instance that moves all the time."""

PATIENT_LOOKS: Final = 16
"""Looks in a row that may follow each other faster than that."""

SHARE: Final = 0.02
"""Of the time for which nothing has happened: for so long a look may wait that nobody has asked for by name."""

LONGEST: Final = 0.5
"""Seconds that it waits at most."""


@attrs.define(eq=False)
class Lookout:
    """Looks out for one instance, inside its `with` block. Times are in seconds.

    Args:
        signals: hints of the store.
        topic: the hint that names it.
        poll_interval: seconds after which to look unasked.
    """

    _signals: Signals
    _topic: str
    _poll_interval: float
    _watch: Watch = attrs.field(init=False)
    _seen: int = attrs.field(default=0, init=False)  # bumps before the last look
    _named: int = attrs.field(default=0, init=False)  # of these, those that named the instance
    _looked: float = attrs.field(default=0.0, init=False)
    _revision: int | None = attrs.field(default=None, init=False)
    _moved: float = attrs.field(default=0.0, init=False)  # when a look found it at another revision than before
    _quickly: int = attrs.field(default=0, init=False)  # looks in a row that followed each other closely

    def __enter__(self) -> Self:
        self._watch = self._signals.watch(self._topic)
        self._watch.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._watch.__exit__(*exc)

    @property
    def told(self) -> Ended | None:
        """The end of the instance, if the topic is that and a runtime here has committed it."""
        return self._watch.told

    def about_to_look(self) -> None:
        """What is written from now on is worth another look."""
        self._seen, self._named = self._watch.seen, self._count_named()
        self._looked = trio.current_time()

    def _count_named(self) -> int:
        return self._watch.seen - self._signals.everything

    async def _wait_for_the_name(self) -> None:
        """Wait for a hint that names it, for as long as it pays."""
        with trio.move_on_at(self._looked + min(SHARE * (self._looked - self._moved), LONGEST)):
            while self._count_named() == self._named:
                await self._watch.wait_beyond(self._watch.seen)

    async def until_next(self, revision: int) -> None:
        """Return when it is time to look again, after a look that found this revision. A checkpoint."""
        if revision != self._revision:
            self._revision, self._moved = revision, self._looked
        with trio.move_on_after(self._poll_interval):
            await self._watch.wait_beyond(self._seen)
            if self._count_named() == self._named:
                await self._wait_for_the_name()
        self._quickly = self._quickly + 1 if trio.current_time() - self._looked < CLOSELY else 0
        if self._quickly > PATIENT_LOOKS:
            await trio.sleep_until(self._looked + CLOSELY)  # it moves all the time: do not ask at each step
