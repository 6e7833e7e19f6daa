"""How our own records (events, failures, what is carried) become JSON: small, and open to fields of releases to come.

Laws: a field at its default is not written; a field that this release does not know is kept in `extra` and written
back; bytes in a record are payloads, thus JSON text already, and go in as strings. cattrs generates the code for each
class once.
Called by `_codec.py` and `_exceptions.py`. Read next: `_codec.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import attrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from trioflow.history._converter import TypeTable
from trioflow.history._events import CarriedCancel, CarriedEvent, ParentLink
from trioflow.history._failures import Failure
from trioflow.history._leaves import LEAVES, Hooks
from trioflow.history._misfit import Decode, Misfit, misfit

SMALL_RECORDS: Final = (ParentLink, CarriedEvent, CarriedCancel, Failure)


def record_table() -> TypeTable:
    """A table that knows the parts of events."""
    table = TypeTable()
    table.register(bytes, (_text_of_bytes, _bytes_of_text))
    table.register(float, (_finite, LEAVES[float][1]))
    # Made when first met, since a failure holds failures.
    table.register_family(lambda kind: kind in SMALL_RECORDS, lambda kind: record_hooks(kind, table))
    return table


def record_hooks(cls: Any, table: TypeTable) -> Hooks:
    """Hooks for one attrs class."""
    write, open_ended = record_writer(cls, table), "extra" in attrs.fields_dict(cls)

    def encode(record: Any) -> dict[str, Any]:
        if type(record) is not cls:
            raise misfit(cls, record)
        plain = write(record)
        return {**record.extra, **plain} if open_ended and record.extra else plain

    return encode, record_reader(cls, table)


def record_writer(cls: Any, table: TypeTable, *, apart: tuple[str, ...] = ()) -> Callable[[Any], dict[str, Any]]:
    """Writes a record of exactly this attrs class, but for `extra` and the fields named in `apart`."""
    left_out: dict[str, Any] = {name: override(omit=True) for name in _aside(cls, apart)}
    return make_dict_unstructure_fn(cls, table, _cattrs_omit_if_default=True, **left_out)


def record_reader(cls: Any, table: TypeTable, *, apart: tuple[str, ...] = ()) -> Decode:
    """Reads a record of this attrs class; the fields named in `apart` are taken as they are."""
    fields = attrs.fields_dict(cls)
    open_ended = "extra" in fields
    known = frozenset(name for name in fields if name != "extra")
    as_it_is: dict[str, Any] = dict.fromkeys(_aside(cls, apart), override(struct_hook=lambda value, _: value))
    read = make_dict_structure_fn(cls, table, _cattrs_detailed_validation=False, **as_it_is)

    def decode(plain: Any, _: Any) -> Any:
        if type(plain) is not dict:
            raise misfit(cls, plain)
        if not plain.keys() <= known:
            extra = {name: value for name, value in plain.items() if name not in known}
            plain = {name: value for name, value in plain.items() if name in known}
            if open_ended:
                plain["extra"] = extra
        return read(plain, cls)

    return decode


def _aside(cls: Any, apart: tuple[str, ...]) -> tuple[str, ...]:
    attrs.resolve_types(cls)
    fields = attrs.fields_dict(cls)
    return tuple(name for name in (*apart, "extra") if name in fields)


def _text_of_bytes(value: Any) -> str:
    if type(value) is bytes:
        return value.decode()
    raise misfit(bytes, value)


def _bytes_of_text(value: Any, _: Any) -> bytes:
    if type(value) is str:
        return value.encode()
    raise misfit("text", value)


def _finite(value: Any) -> float:
    number: float = LEAVES[float][0](value)
    if math.isfinite(number):
        return number
    raise Misfit("expected a finite float")
