"""How single values become JSON and come back: numbers, text, bytes, dates, enums and the like.

Laws: strict both ways (a "5" is no int), except where a type checker is content: an int for a float, a bool for an
int, a subclass of str, int or datetime, each stored as its base. Exact: what comes back equals what went in, but for
the *name* of a time zone (its offset is kept). One text for each value.
Called by `_converter.py`, which finds the hook. Read next: `_containers.py`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime
import decimal
import enum
import pathlib
import re
import uuid
from typing import Any, Final, get_args

from trioflow.history._misfit import Decode, Encode, Misfit, misfit, type_name

Hooks = tuple[Encode, Decode]
_DURATION: Final = re.compile(r"P(-?[0-9]{1,9})DT([0-9]{1,5})\.([0-9]{6})S")


def _encode_str(value: Any) -> str:
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    raise misfit(str, value)


def _encode_int(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, int):
        return int.__int__(value)
    raise misfit(int, value)


def _encode_float(value: Any) -> float:
    if type(value) is float:
        return value
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            raise Misfit("expected float, got an int too large for one") from None
    raise misfit(float, value)


def _decode_float(value: Any, type_: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return _encode_float(value)
    raise misfit(float, value)


def _exactly(kind: type) -> Hooks:
    def encode(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise misfit(kind, value)

    def decode(value: Any, type_: Any) -> Any:
        if type(value) is kind:
            return value
        raise misfit(kind, value)

    return encode, decode


def _encode_bytes(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode("ascii")
    raise misfit(bytes, value)


def _decode_bytes(value: Any, type_: Any) -> Any:
    if type(value) is str:
        try:
            return type_(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            raise Misfit("expected bytes as base64 text, got other text") from None
    raise misfit("bytes as base64 text", value)


def _encode_date(value: Any) -> str:
    # A datetime is a date to Python; stored as a date it would lose its time of day.
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.isoformat()
    raise misfit(datetime.date, value)


def _format_duration(value: datetime.timedelta) -> str:
    return f"P{value.days}DT{value.seconds}.{value.microseconds:06}S"


def _parse_duration(text: str) -> datetime.timedelta:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("not a duration")
    days, seconds, microseconds = map(int, found.groups())
    return datetime.timedelta(days, seconds, microseconds)


def _parse_decimal(text: str) -> decimal.Decimal:
    try:
        return decimal.Decimal(text)
    except decimal.InvalidOperation:
        raise ValueError("not a number") from None


def _as_text(kind: type, to_text: Encode, from_text: Encode) -> Hooks:
    """Hooks for a class whose values have one spelling."""
    wanted = f"{kind.__name__} as text"

    def encode(value: Any) -> str:
        if isinstance(value, kind):
            text: str = to_text(value)
            return text
        raise misfit(kind, value)

    def decode(value: Any, type_: Any) -> Any:
        if type(value) is not str:
            raise misfit(wanted, value)
        try:
            return from_text(value)
        except (ValueError, OverflowError):
            raise Misfit(f"expected {wanted}, got other text") from None

    return encode, decode


def _table() -> dict[Any, Hooks]:
    exact_str, exact_int, exact_bool, exact_none = (_exactly(kind) for kind in (str, int, bool, type(None)))
    duration = _as_text(datetime.timedelta, _format_duration, _parse_duration)
    paths = (pathlib.PurePath, pathlib.Path, pathlib.PurePosixPath, pathlib.PureWindowsPath)
    return {
        str: (_encode_str, exact_str[1]),
        int: (_encode_int, exact_int[1]),
        bool: exact_bool,
        float: (_encode_float, _decode_float),
        type(None): exact_none,
        bytes: (_encode_bytes, _decode_bytes),
        bytearray: (_encode_bytes, _decode_bytes),
        datetime.datetime: _as_text(
            datetime.datetime, lambda value: value.isoformat(), datetime.datetime.fromisoformat
        ),
        datetime.date: (_encode_date, _as_text(datetime.date, _encode_date, datetime.date.fromisoformat)[1]),
        datetime.time: _as_text(datetime.time, lambda value: value.isoformat(), datetime.time.fromisoformat),
        datetime.timedelta: duration,
        uuid.UUID: _as_text(uuid.UUID, str, uuid.UUID),
        decimal.Decimal: _as_text(decimal.Decimal, str, _parse_decimal),
        **{kind: _as_text(kind, str, kind) for kind in paths},
    }


LEAVES: Final = _table()
"""Hooks for each class that needs no more than itself to be understood."""


def enum_hooks(kind: type[enum.Enum]) -> Hooks:
    """Hooks for an enum or a flag: by value where every value is a plain scalar, else by name."""
    members = list(kind.__members__.values())
    by_value = issubclass(kind, enum.Flag) or all(type(each.value) in (str, int, float, bool) for each in members)
    to_plain = {each: each.value if by_value else each.name for each in members}
    from_plain = {(type(plain), plain): each for each, plain in to_plain.items()}

    def encode(value: Any) -> Any:
        if isinstance(value, kind):
            return to_plain.get(value, value.value)  # a flag may combine members
        raise misfit(kind, value)

    def decode(value: Any, _: Any) -> Any:
        member = from_plain.get((type(value), value)) if isinstance(value, str | int | float) else None
        if member is not None:
            return member
        if issubclass(kind, enum.Flag) and type(value) is int:
            combined = None
            with contextlib.suppress(ValueError):
                combined = kind(value)
            # The first releases of 3.11 drop unknown bits where later ones refuse them.
            if combined is not None and combined.value == value:
                return combined
        raise Misfit(f"expected a member of {kind.__name__}, got a {type(value).__name__} that is none")

    return encode, decode


def literal_hooks(type_: Any) -> Hooks:
    """Hooks for a Literal: plain values as they are, bytes and enum members by their own rules."""
    allowed: list[tuple[Any, Any]] = []
    for value in get_args(type_):
        hooks = enum_hooks(type(value)) if isinstance(value, enum.Enum) else LEAVES[type(value)]
        allowed.append((value, hooks[0](value)))

    def encode(value: Any) -> Any:
        for member, plain in allowed:
            if type(value) is type(member) and value == member:
                return plain
        raise Misfit(f"expected a value of {type_name(type_)}, got a {type(value).__name__} that is none")

    def decode(value: Any, _: Any) -> Any:
        for member, plain in allowed:
            if type(value) is type(plain) and value == plain:
                return member
        raise Misfit(f"expected a value of {type_name(type_)}, got a {type(value).__name__} that is none")

    return encode, decode
