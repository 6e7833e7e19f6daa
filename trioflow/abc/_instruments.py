"""`Instrument`: whoever measures, traces or logs; and how it is kept from doing harm.

Laws: an instrument changes nothing but the headers that starts and activities carry. It is called on trio's thread and
must not wait. One that raises is dropped, and that is reported once; nothing else notices.

Who calls it: `_runtime`, `_client`. Who implements it: `telemetry`, and users. Read next: `_facts.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

from trioflow._util import described, with_traceback
from trioflow.abc._facts import Attempt, Fact, Start, Subject

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
        self.all = tuple(instruments)

    def __bool__(self) -> bool:
        return bool(self.all)

    def headers(self, start: Start) -> dict[str, str]:
        """What all of them say; of the same header, the last."""
        merged: dict[str, str] = {}
        for one in self.all:
            try:
                merged.update(_texts(one.headers(start)))
            except Exception as exc:
                self.drop(one, exc)
        return merged

    def activity_headers(self, subject: Subject, within: str) -> dict[str, str]:
        """What all of them say; of the same header, the last."""
        merged: dict[str, str] = {}
        for one in self.all:
            try:
                merged.update(_texts(one.activity_headers(subject, within)))
            except Exception as exc:
                self.drop(one, exc)
        return merged

    def saw(self, fact: Fact) -> None:
        """Tell all of them."""
        for one in self.all:
            try:
                one.saw(fact)
            except Exception as exc:
                self.drop(one, exc)

    def inside(self, attempt: Attempt) -> AbstractContextManager[None]:
        """The surroundings that all of them give to a body."""
        return _Surroundings(self, attempt)

    def drop(self, failed: Instrument, exc: Exception) -> None:
        """Tell one that is raising nothing any more; others that are being told go on."""
        if any(one is failed for one in self.all):
            self.all = tuple(one for one in self.all if one is not failed)
            log.error(
                "an instrument failed and is not told anything any more: %s: %s",
                type(failed).__qualname__,
                described(exc),
                exc_info=with_traceback(exc),
            )


class _Surroundings(AbstractContextManager[None]):
    """What is around one body. By hand: a generator costs more than what most instruments do in it."""

    def __init__(self, instruments: Instruments, attempt: Attempt) -> None:
        self._instruments, self._attempt = instruments, attempt
        self._entered: list[tuple[Instrument, AbstractContextManager[object]]] = []

    def __enter__(self) -> None:
        for one in self._instruments.all:
            try:
                surroundings = one.inside(self._attempt)
                surroundings.__enter__()
            except Exception as exc:
                self._instruments.drop(one, exc)
            else:
                self._entered.append((one, surroundings))

    def __exit__(self, *raised: object) -> None:
        for one, surroundings in reversed(self._entered):
            try:
                surroundings.__exit__(None, None, None)
            except Exception as exc:
                self._instruments.drop(one, exc)


def _texts(headers: Any) -> dict[str, str]:
    """Headers go into a history: nothing but short texts may."""
    checked = dict(headers)
    for name, value in checked.items():
        if not isinstance(name, str) or not isinstance(value, str) or len(name) > 100 or len(value) > 8_192:
            raise TypeError("headers are texts by texts, of 100 and 8,192 characters at most")
    return checked
