"""Reports a turn that blocks the trio thread, with the stack it is stuck in.

Laws: a thread of its own, since the trio thread is the one that is stuck; it sleeps while no turn runs; it only looks
and logs. It works in real time, whatever clock the rest is on.

Who calls it: `_conductor.py` says when a turn begins and ends; `_worker.py` starts and stops it.
"""

from __future__ import annotations

import sys
import threading
import traceback
from types import TracebackType
from typing import Self

import attrs

from trioflow._runtime._troubles import log


@attrs.define(eq=False)
class Watchdog:
    """Watches one thread's turns. As a context manager it runs; `limit=None` never starts."""

    _limit: float | None  # seconds
    _what: str | None = None  # the turn that is running
    _number: int = 0  # of the turn that is running, or ran last
    _reported: int = 0
    _busy: threading.Event = attrs.field(factory=threading.Event)
    _stop: threading.Event = attrs.field(factory=threading.Event)
    _watched: int = attrs.field(factory=threading.get_ident)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._limit is not None:
            self._thread = threading.Thread(
                target=self._watch, args=(self._limit,), name="trioflow watchdog", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stop.set()
        self._busy.set()
        if self._thread is not None:
            self._thread.join()  # it sleeps on nothing but these two

    def begin(self, what: str) -> None:
        """A turn begins."""
        self._number += 1
        self._what = what
        if not self._busy.is_set():
            self._busy.set()

    def end(self) -> None:
        """It has ended."""
        self._what = None

    def _watch(self, limit: float) -> None:
        while not self._stop.is_set():
            self._busy.wait()
            number = self._number
            self._stop.wait(limit)
            if self._number != number:
                continue  # turns come and go
            what = self._what
            if what is None:
                self._rest(number)
            elif self._reported != number:
                self._reported = number
                self._report(what, limit)

    def _rest(self, number: int) -> None:
        """No turn has run for a while: sleep until one begins."""
        self._busy.clear()
        if self._number != number or self._stop.is_set():
            self._busy.set()

    def _report(self, what: str, limit: float) -> None:
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - the documented way to another thread's stack
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "(the thread has ended)\n"
        log.warning(
            "a turn of %s has been running for more than %g s and blocks everything else here; orchestration code "
            "should only decide, real work belongs into activities. It is at:\n%s",
            what,
            limit,
            stack,
        )
