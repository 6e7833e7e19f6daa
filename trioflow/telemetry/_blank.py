"""A span that is current while something runs, and that nobody has written on yet: most stay so.

Laws: whoever writes on it, or looks at what it says, finds a span of the SDK, which is begun at that moment and has the
time of its own begin; until then it is an id. Any thread may be the first. Where nobody was before it was over, whoever
comes then, such as a thread that was left behind, writes on nothing, and finds none of it.

Who calls it: `_pen.py`; whoever asks OpenTelemetry for the current span. Read next: `_sdk.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Final

from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, Status, StatusCode

_first: Final = Lock()


class BlankSpan(Span):
    """Has its place; `begin` begins the SDK's, in that place."""

    def __init__(self, span: SpanContext, begin: Callable[[], Span]) -> None:
        self._span = span
        self.written: Span | None = None
        self.over = False
        self._begin = begin

    def _writable(self) -> Span:
        if self.written is None:
            with _first:
                if self.written is None:
                    if self.over:
                        return NonRecordingSpan(self._span)
                    self.written = self._begin()
        return self.written

    def __getattr__(self, name: str) -> Any:
        """What the SDK's spans have beyond the API's."""
        if name.startswith("__"):  # asked by Python itself, of anything
            raise AttributeError(name)
        return getattr(self._writable(), name)

    def close(self) -> Span | None:
        """Its time is over: the span that was written on, to be ended; None if nobody has."""
        with _first:
            self.over = True
            return self.written

    def get_span_context(self) -> SpanContext:
        """Its place."""
        return self._span

    def is_recording(self) -> bool:
        """Until it is over."""
        return not self.over if self.written is None else self.written.is_recording()

    def end(self, end_time: int | None = None) -> None:
        """It is over."""
        self._writable().end(end_time)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Written."""
        self._writable().set_attributes(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        """Written."""
        self._writable().set_attribute(key, value)

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        """Written."""
        self._writable().add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """Written."""
        self._writable().add_link(context, attributes)

    def update_name(self, name: str) -> None:
        """Written."""
        self._writable().update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Written."""
        self._writable().set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Written."""
        self._writable().record_exception(exception, attributes, timestamp, escaped)
