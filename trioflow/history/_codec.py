"""Events to rows of a store and back: a kind, a little JSON, and the payload untouched.

Laws: the kind (the class's name) is a column of its own, so it can be looked at without decoding; so are id, time and
payload. An unknown kind or a newer schema is an error of its own, by which an instance is parked; an unknown *field*
is kept in `extra`. A schema version is written only once it is not 1; a record of an older one is lifted step by step
by the upcasters when it is read.
Who calls it: the runtime, at the border to a store. Read next: `_payloads.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from trioflow.errors import HistoryError, UnknownEventKind
from trioflow.history._events import EVENTS, Event
from trioflow.history._json import Backend, choose_reader, choose_writer
from trioflow.history._misfit import Misfit
from trioflow.history._records import record_reader, record_table, record_writer

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Makes the fields of the next schema version from those of one version."""

_APART: Final = ("id", "at", "payload")
_SCHEMA: Final = "v"


EncodedEvent = tuple[str, bytes, bytes | None]
"""An event as a store keeps it, beside its id and time: its kind, a JSON object of the other fields without those at
their default, and its payload, if it has one.
"""


class EventCodec:
    """Encodes and decodes every kind of event.

    Args:
        json: "stdlib", "orjson", or None for the fastest there is; each reads what the other wrote.
        upcasters: by kind and the schema version they start from; a kind with upcasters from 1 and 2 is at version 3.
    """

    def __init__(
        self, *, json: Backend | None = None, upcasters: Mapping[tuple[str, int], Upcaster] | None = None
    ) -> None:
        table = record_table()
        self._write = choose_writer(json)
        self._read = choose_reader(json)
        self._upcasters = dict(upcasters or {})
        self._writers = {cls: record_writer(cls, table, apart=_APART) for cls in EVENTS}
        self._readers = {cls.__name__: record_reader(cls, table, apart=_APART) for cls in EVENTS}
        self._schemas = {kind: self._schema_of(kind) for kind in self._readers}
        self._with_payload = {cls.__name__: "payload" in attrs.fields_dict(cls) for cls in EVENTS}

    def encode(self, event: Event) -> EncodedEvent:
        """An event as a store keeps it.

        Raises:
            HistoryError: a field of it does not have its declared type.
        """
        cls = type(event)
        kind, write = cls.__name__, self._writers.get(cls)
        if write is None:
            raise HistoryError(f"{kind} is not a kind of event that a history can hold")
        try:
            plain = write(event)
            if event.extra:
                plain = {**event.extra, **plain}
            if self._schemas[kind] != 1:
                plain[_SCHEMA] = self._schemas[kind]
            data = self._write(plain)
        except Exception as exc:
            raise HistoryError(f"event {event.id} ({kind}) cannot be written: {_reason(exc)}") from None
        return kind, data, getattr(event, "payload", None)

    def decode(self, id: int, at: float, kind: str, data: bytes, payload: bytes | None) -> Event:
        """The event that a store kept.

        Raises:
            UnknownEventKind: this release knows no such kind, or only older schemas of it.
            HistoryError: the data are not what this kind of event holds.
        """
        read = self._readers.get(kind)
        if read is None:
            raise UnknownEventKind(
                f"event {id} is of kind {kind!a}, which this release does not know: a newer one wrote it; upgrade "
                "this worker",
                kind=kind,
            )
        try:
            plain = self._read(data)
            schema = plain.pop(_SCHEMA, 1)
            if schema != self._schemas[kind]:
                plain = self._lift(id, kind, schema, plain)
            plain["id"] = id
            plain["at"] = at
            if self._with_payload[kind]:
                plain["payload"] = _bytes_if_any(payload)
            event: Event = read(plain, None)
        except UnknownEventKind:
            raise
        except Exception as exc:
            raise HistoryError(
                f"event {id} ({kind}) cannot be read: {_reason(exc)}. Its row is damaged, or was written by something "
                "else."
            ) from None
        return event

    def _schema_of(self, kind: str) -> int:
        schema = 1
        while (kind, schema) in self._upcasters:
            schema += 1
        return schema

    def _lift(self, id: int, kind: str, schema: Any, plain: dict[str, Any]) -> dict[str, Any]:
        if type(schema) is not int or schema < 1:
            raise Misfit("expected a schema version from 1 on")
        if schema > self._schemas[kind]:
            raise UnknownEventKind(
                f"event {id} ({kind}) has schema version {schema}, and this release knows {self._schemas[kind]}: a "
                "newer one wrote it; upgrade this worker",
                kind=kind,
                schema=schema,
            )
        for version in range(schema, self._schemas[kind]):
            plain = self._upcasters[kind, version](plain)
        return plain


def _bytes_if_any(payload: Any) -> bytes | None:
    if payload is None or type(payload) is bytes:
        return payload
    raise Misfit(f"expected bytes as its payload, got {type(payload).__name__}")


def _reason(exc: Exception) -> str:
    """Why not, without any value: messages of foreign exceptions tend to repeat what they stumbled over."""
    if isinstance(exc, Misfit):
        return str(exc)
    if isinstance(exc, KeyError):
        return f"the field {exc} is missing"
    return f"{type(exc).__name__} was raised"
