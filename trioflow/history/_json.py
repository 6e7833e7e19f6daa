"""Plain JSON data to canonical text and back, and the one walk that keeps out what JSON cannot carry.

Laws: the text is the same with and without orjson and on every Python: UTF-8, no spaces, keys in insertion order,
floats as `repr` writes them. `inspect` runs before the text is made and after it is read, so both directions refuse
the same things. Text that somebody else wrote (duplicate keys, bombs, huge numbers) ends in a typed error, never in
RecursionError.
Who calls it: `_payloads.py`, `_codec.py`, hooks that need text inside text (keys, sorted sets). Read next:
`_converter.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, Literal

from trioflow.errors import ConfigurationError
from trioflow.history._limits import LARGEST_INTEGER, SMALLEST_INTEGER

Backend = Literal["stdlib", "orjson"]
PLAIN: Final = (str, int, float, bool, type(None))


_TELLING: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


def label_of(key: Any) -> str:
    """A key as a part of a path: what looks like a field's name; anything else may be data, which is not shown."""
    return key if isinstance(key, str) and _TELLING.fullmatch(key) else "*"


class NotPlain(Exception):
    """A value that JSON cannot carry; `_payloads.py` turns it into an error for users.

    Attributes:
        rule: "depth", "nan", "integer", "surrogate", "key" or "type".
        path: where it is, from the outside in.
        kind: the offending class.
    """

    def __init__(self, rule: str, kind: type) -> None:
        super().__init__(rule)
        self.rule = rule
        self.kind = kind
        self.path: list[str | int] = []


def inspect(value: Any, depth: int) -> bool:
    """Raise `NotPlain` for what is not plain JSON data within `depth` levels of nesting.

    Returns:
        Whether it holds a float so large or small that libraries spell it differently.
    """
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _inspect_text(value)
    elif kind is int:
        if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            raise NotPlain("integer", int)
    elif kind is dict:
        return _inspect_dict(value, depth)
    elif kind is list or kind is tuple:
        return _inspect_list(value, depth)
    elif kind is float:
        size: float = abs(value)
        if not size < float("inf"):
            raise NotPlain("nan", float)
        return size >= 1e16 or 0.0 < size < 1e-3
    elif kind is not bool and value is not None:
        raise NotPlain("type", kind)
    return False


def _inspect_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotPlain("surrogate", str) from None


def _inspect_list(items: list[Any] | tuple[Any, ...], depth: int) -> bool:
    if depth <= 0:
        raise NotPlain("depth", type(items))
    unusual = False
    index = 0
    try:
        for index, item in enumerate(items):  # noqa: B007  # it is used below
            kind = type(item)
            if (kind is str and item.isascii()) or (kind is int and SMALLEST_INTEGER <= item <= LARGEST_INTEGER):
                continue  # nearly all are one of these, and need no call
            if inspect(item, depth - 1):
                unusual = True
    except NotPlain as exc:
        exc.path.insert(0, index)
        raise
    return unusual


def _inspect_dict(entries: dict[Any, Any], depth: int) -> bool:
    if depth <= 0:
        raise NotPlain("depth", dict)
    unusual = False
    key: Any = None
    try:
        for key, item in entries.items():
            if type(key) is not str:
                raise NotPlain("key", type(key))
            if not key.isascii():
                _inspect_text(key)
            kind = type(item)
            if (kind is str and item.isascii()) or (kind is int and SMALLEST_INTEGER <= item <= LARGEST_INTEGER):
                continue
            if inspect(item, depth - 1):
                unusual = True
    except NotPlain as exc:
        exc.path.insert(0, label_of(key))
        raise
    return unusual


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("an object has the same key twice")
    return entries


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decode: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant).raw_decode
_decode_own: Final = json.JSONDecoder(parse_constant=_no_constant).decode


def write(plain: Any) -> bytes:
    """Canonical text of inspected data, by the standard library."""
    return _encode(plain).encode()


def read(data: bytes) -> Any:
    """Data from text, by the standard library: it alone tells of duplicate keys and keeps large integers exact.

    Raises:
        ValueError: it is not JSON, or has a key twice, or a number of thousands of digits.
        RecursionError: it is nested deeper than Python can read.
    """
    text = data.decode().strip(" \t\n\r")
    plain, end = _decode(text)
    if end != len(text):
        raise ValueError("something follows the end")
    return plain


def choose_writer(backend: Backend | None) -> Callable[[Any], bytes]:
    """The fastest writer of canonical text: orjson where it is installed, else the standard library.

    The caller must not pass it data for which `inspect` returned True: orjson spells those floats in its own way.

    Raises:
        ConfigurationError: orjson was asked for by name and is not installed.
    """
    if backend == "stdlib":
        return write
    try:
        import orjson
    except ImportError:
        if backend is None:
            return write
        raise ConfigurationError("json='orjson' needs orjson: pip install 'trioflow[fast]'") from None
    dumps = orjson.dumps

    def compact(plain: Any) -> bytes:
        # orjson keeps the room it wrote in, 4 KiB at least and eight bytes for one of a long text, as long as what it
        # wrote is kept: and a store in memory, or a live execution, keeps it.
        return bytes(memoryview(dumps(plain)))

    return compact


def choose_reader(backend: Backend | None) -> Callable[[bytes], Any]:
    """The fastest reader of text that we wrote ourselves; `read` is the one for anybody's text."""
    if choose_writer(backend) is write:
        return _read_own
    import orjson

    return orjson.loads


def _read_own(data: bytes) -> Any:
    return _decode_own(data.decode())
