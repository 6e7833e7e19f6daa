"""Reports orchestration code that blocks the trio thread, with the line it is stuck in.

Laws: a thread of its own, since the trio thread is the one that is stuck; it sleeps while no code runs; it only looks
and logs. What is stuck for long is reported again whenever twice the time has passed, and once more when it has ended.
It works in real time, whatever clock the rest is on. A watched stretch costs its making and two marks, no more.

Who calls it: `_evaluating.py` and `_cache.py` say when orchestration code runs; `_worker.py` starts and stops it.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from types import FrameType, TracebackType
from typing import Protocol, Self

import attrs

from trioflow._runtime._troubles import log
from trioflow._util import LogContext, log_context, log_extra


class Labelled(Protocol):
    """A live execution, as far as the watchdog knows it."""

    @property
    def label(self) -> str: ...


@attrs.define(eq=False)
class Stretch:
    """A stretch of orchestration code on the watched thread, as a context manager."""

    _dog: Watchdog
    _doing: str  # such as "a turn"
    _live: Labelled | None  # None once it has ended: nothing is to keep a live execution longer than it lives
    began: float = attrs.field(factory=time.monotonic)
    who: LogContext = attrs.field(factory=log_context.get)  # the watchdog's thread has no part in it
    ended: threading.Event | None = None  # made by the watchdog, when it waits for the end

    def __enter__(self) -> None:
        self._dog.begin(self)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._live = None
        # In this order here, in the other order in `over_within`: one of the two sees what the other has done.
        if self.ended is not None:
            self.ended.set()

    @property
    def what(self) -> str | None:
        """What runs, in words; None once it has ended."""
        live = self._live
        return None if live is None else f"{self._doing} of {live.label}"

    def over_within(self, seconds: float) -> bool:
        """Wait for the end; whether it came."""
        if self.ended is None:
            self.ended = threading.Event()
        return self._live is None or self.ended.wait(seconds)


@attrs.define(eq=False)
class Watchdog:
    """Watches one thread. As a context manager it runs; `limit=None` never starts."""

    _limit: float | None  # seconds
    _last: Stretch | None = None  # that began; it may have ended
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
            self._thread.join()  # it sleeps on nothing but these two, and on the end of what has ended by now

    def over(self, doing: str, live: Labelled) -> Stretch:
        """Watch a stretch of orchestration code: ``with watchdog.over("a turn", live): ...``."""
        return Stretch(self, doing, live)

    def begin(self, stretch: Stretch) -> None:
        """It begins (called by itself)."""
        self._last = stretch
        if not self._busy.is_set():
            self._busy.set()

    # -- in a thread of its own

    def _watch(self, limit: float) -> None:
        while self._busy.wait() and not self._stop.is_set():
            last = self._last
            running = last is not None and last.what is not None
            self._stop.wait(limit if last is None or not running else last.began + limit - time.monotonic())
            if self._last is not last:
                continue  # they come and go
            if last is not None and running:
                self._follow(last, limit)
            else:
                self._rest(last)

    def _rest(self, last: Stretch | None) -> None:
        """Nothing has run for a while: sleep until something does."""
        self._busy.clear()
        if self._last is not last or self._stop.is_set():
            self._busy.set()

    def _follow(self, stretch: Stretch, limit: float) -> None:
        """Report what has been running for too long, until it has ended."""
        reported = None
        while (what := stretch.what) is not None:
            reported, took = what, time.monotonic() - stretch.began
            log.warning(
                "%s has been running for %.3g s and blocks everything else here; orchestration code should only "
                "decide, real work belongs into activities. It is at:\n%s",
                what,
                took,
                self._stack(),
                extra=log_extra(of=stretch.who),
            )
            stretch.over_within(max(took, limit))
        if reported is not None:
            took = time.monotonic() - stretch.began
            log.warning("%s has ended, after %.3g s", reported, took, extra=log_extra(of=stretch.who))

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - the documented way to another thread's stack
        return "".join(traceback.format_list(users_part(frame)))


def users_part(frame: FrameType | None) -> traceback.StackSummary:
    """The part of a stack that helps: from the first line of the orchestration's own code on."""
    frames = list(traceback.walk_stack(frame))[::-1] if frame is not None else []  # once: it may move meanwhile
    modules = [str(each.f_globals.get("__name__", "")) for each, _ in frames]
    engine = next((index for index, name in enumerate(modules) if name.startswith("trioflow._engine.")), 0)
    begin = next((i for i, name in enumerate(modules) if i > engine and not name.startswith("trioflow.")), engine)
    return traceback.StackSummary.extract(frames[begin:])
