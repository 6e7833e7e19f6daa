"""`Instrument`: whoever measures, traces or logs; and how it is kept from doing harm.

Laws: an instrument changes nothing but the headers that starts and activities carry. It is called on trio's thread and
must not wait. One that raises is dropped, and that is reported once; nothing else notices.

Who calls it: `_runtime`, `_client`. Who implements it: `telemetry`, and users. Read next: `_facts.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Final, Protocol, TypeVar

from trioflow._util import described, with_traceback
from trioflow.abc._facts import Attempt, Fact, Start, Subject

T = TypeVar("T")
log: Final = logging.getLogger("trioflow.instruments")


class Instrument(Protocol):
    """What a runtime and its client tell of what they do. Derive from it, and override what you need."""

    def headers(self, start: Start) -> Mapping[str, str]:
        """Texts to be stored with an execution, such as a W3C `traceparent`; told once for each."""
        return {}

    def activity_headers(self, subject: Subject, within: str) -> Mapping[str, str]:
        """Texts to be stored with an activity that an execution asks for, in the part of it with that key."""
        return {}

    def inside(self, attempt: Attempt) -> AbstractContextManager[object]:
        """Entered around the body of an activity, in the body's own task; what it raises is not its business."""
        return nullcontext()

    def saw(self, fact: Fact) -> None:
        """Something has happened."""


class Instruments:
    """Several, as one that never raises. False if there is none."""

    def __init__(self, instruments: Sequence[Instrument] = ()) -> None:
        self._all = list(instruments)

    def __bool__(self) -> bool:
        return bool(self._all)

    def headers(self, start: Start) -> dict[str, str]:
        """What all of them say; of the same header, the last."""
        return self._merged(lambda one: one.headers(start))

    def activity_headers(self, subject: Subject, within: str) -> dict[str, str]:
        """What all of them say; of the same header, the last."""
        return self._merged(lambda one: one.activity_headers(subject, within))

    def saw(self, fact: Fact) -> None:
        """Tell all of them."""
        for one in tuple(self._all):
            self._guarded(one, lambda one=one: one.saw(fact))  # type: ignore[misc]

    @contextmanager
    def inside(self, attempt: Attempt) -> Iterator[None]:
        """The surroundings that all of them give to a body."""
        with ExitStack() as stack:
            for one in tuple(self._all):
                entered = self._guarded(one, lambda one=one: self._entered(one, attempt))  # type: ignore[misc]
                if entered is not None:
                    stack.callback(self._guarded, one, lambda entered=entered: entered.__exit__(None, None, None))
            yield

    def _entered(self, one: Instrument, attempt: Attempt) -> AbstractContextManager[object]:
        surroundings = one.inside(attempt)
        surroundings.__enter__()
        return surroundings

    def _merged(self, ask: Callable[[Instrument], Mapping[str, str]]) -> dict[str, str]:
        merged: dict[str, str] = {}
        for one in tuple(self._all):
            merged.update(self._guarded(one, lambda one=one: _texts(ask(one))) or {})  # type: ignore[misc]
        return merged

    def _guarded(self, one: Instrument, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except Exception as exc:
            if one in self._all:
                self._all.remove(one)
                log.error(
                    "an instrument failed and is not told anything any more: %s: %s",
                    type(one).__qualname__,
                    described(exc),
                    exc_info=with_traceback(exc),
                )
            return None


def _texts(headers: Any) -> dict[str, str]:
    """Headers go into a history: nothing but short texts may."""
    checked = dict(headers)
    for name, value in checked.items():
        if not isinstance(name, str) or not isinstance(value, str) or len(name) > 100 or len(value) > 8_192:
            raise TypeError("headers are texts by texts, of 100 and 8,192 characters at most")
    return checked
