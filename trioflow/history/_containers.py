"""How lists, tuples, sets and mappings become JSON and come back.

Laws: a row keeps its order, a mapping its insertion order, a set is sorted by the text of its members, so the bytes
are the same under every hash seed; a key that is no text is written as JSON text; a str is never taken for a row of
characters.
Called by `_converter.py`. Read next: `_unions.py`.
"""

from __future__ import annotations

import collections
import collections.abc
from collections.abc import Callable, Iterable
from typing import Any, Final, get_args, get_origin

from trioflow.history._json import NotPlain, inspect, label_of, read, write
from trioflow.history._leaves import Hooks
from trioflow.history._misfit import Decode, Encode, Misfit, misfit, pin_decoding, pin_encoding, type_name
from trioflow.history._types import DICTS, LISTS, SETS, json_kinds

Find = Callable[[Any], Hooks]
"""Finds the hooks of a type; `_converter.py` has the one there is."""

_KEY_DEPTH: Final = 16  # tuples in tuples, as a key
_NO_ROWS: Final = (str, bytes, bytearray, collections.abc.Mapping)


def list_hooks(type_: Any, find: Find) -> Hooks:
    """Hooks for everything in `LISTS`."""
    origin = get_origin(type_) or type_
    item, build = _argument(type_, 0), LISTS[origin]
    encode_item, decode_item = find(item)
    wanted: Any = collections.abc.Collection if origin is collections.abc.Iterable else origin

    def encode(value: Any) -> list[Any]:
        if not isinstance(value, wanted) or isinstance(value, _NO_ROWS):
            raise misfit(type_, value)
        plain = _encode_items(value, encode_item)
        return _sorted(plain) if isinstance(value, collections.abc.Set) else plain

    def decode(value: Any, _: Any) -> Any:
        items = _decode_items(value, decode_item, item, type_)
        return items if build is list else build(items)

    return encode, decode


def set_hooks(type_: Any, find: Find) -> Hooks:
    """Hooks for everything in `SETS`."""
    origin = get_origin(type_) or type_
    item, build = _argument(type_, 0), SETS[origin]
    encode_item, decode_item = find(item)

    def encode(value: Any) -> list[Any]:
        if not isinstance(value, origin):
            raise misfit(type_, value)
        return _sorted(_encode_items(value, encode_item))

    def decode(value: Any, _: Any) -> Any:
        items = _decode_items(value, decode_item, item, type_)
        try:
            return build(items)
        except TypeError:
            raise Misfit(f"expected members of {type_name(type_)} that can be hashed") from None

    return encode, decode


def tuple_hooks(type_: Any, find: Find) -> Hooks:
    """Hooks for tuples: of one type and any length, or of fixed length."""
    args = get_args(type_)
    if type_ is tuple or args[1:] == (...,):
        encode_item, decode_item = find(_argument(type_, 0))

        def encode(value: Any) -> list[Any]:
            if not isinstance(value, tuple):
                raise misfit(type_, value)
            return _encode_items(value, encode_item)

        def decode(value: Any, _: Any) -> tuple[Any, ...]:
            return tuple(_decode_items(value, decode_item, _argument(type_, 0), type_))

        return encode, decode
    return _fixed_tuple_hooks(type_, args, [find(arg) for arg in args])


def _fixed_tuple_hooks(type_: Any, args: tuple[Any, ...], hooks: list[Hooks]) -> Hooks:
    def encode(value: Any) -> list[Any]:
        if not isinstance(value, tuple):
            raise misfit(type_, value)
        if len(value) != len(hooks):
            raise Misfit(f"expected {len(hooks)} items for {type_name(type_)}, got {len(value)}")
        try:
            return [hook[0](item) for hook, item in zip(hooks, value, strict=True)]
        except Misfit as exc:
            raise pin_encoding(exc, ((i, value[i], hooks[i][0]) for i in range(len(hooks)))) from None

    def decode(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise misfit(type_, value)
        if len(value) != len(hooks):
            raise Misfit(f"expected {len(hooks)} items for {type_name(type_)}, got {len(value)}")
        items = []
        for index, item in enumerate(value):
            try:
                items.append(hooks[index][1](item, args[index]))
            except Exception as exc:
                raise pin_decoding(exc, index, args[index], type_) from None
        return tuple(items)

    return encode, decode


def dict_hooks(type_: Any, find: Find) -> Hooks:
    """Hooks for everything in `DICTS`."""
    origin = get_origin(type_) or type_
    key_type = _argument(type_, 0)
    value_type = int if origin is collections.Counter else _argument(type_, 1)
    encode_key, decode_key = _key_hooks(key_type, find)
    encode_value, decode_value = find(value_type)
    build = _builder(origin, value_type)

    def encode(value: Any) -> dict[str, Any]:
        if not isinstance(value, origin):
            raise misfit(type_, value)
        try:
            return {encode_key(key): encode_value(item) for key, item in value.items()}
        except Misfit as exc:
            exc = pin_encoding(exc, (("a key", key, encode_key) for key in value))
            raise pin_encoding(exc, ((label_of(key), item, encode_value) for key, item in value.items())) from None

    def decode(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise misfit(type_, value)
        entries: Any = build()
        for key, item in value.items():
            try:
                entries[decode_key(key, key_type)] = decode_value(item, value_type)
            except Exception as exc:
                raise pin_decoding(exc, label_of(key), value_type, type_) from None
        return entries

    return encode, decode


def _key_hooks(type_: Any, find: Find) -> Hooks:
    encode, decode = find(type_)
    if type_ is Any or json_kinds(type_) == (str,):
        return encode, decode

    def encode_as_text(value: Any) -> str:
        plain = encode(value)
        try:
            inspect(plain, _KEY_DEPTH)
        except NotPlain as exc:
            raise Misfit(f"expected a key that JSON can carry ({exc.rule})") from None
        return write(plain).decode()

    def decode_from_text(value: Any, declared: Any) -> Any:
        try:
            plain = read(value.encode())
            inspect(plain, _KEY_DEPTH)
        except (ValueError, NotPlain, RecursionError):
            raise Misfit(f"expected a key that holds {type_name(type_)} as JSON text, got other text") from None
        return decode(plain, declared)

    return encode_as_text, decode_from_text


def _builder(origin: Any, value_type: Any) -> Callable[[], Any]:
    if origin is collections.defaultdict:
        factory = get_origin(value_type) or value_type
        return lambda: collections.defaultdict(factory if isinstance(factory, type) else None)
    build: Callable[[], Any] = DICTS[origin]
    return build


def _argument(type_: Any, index: int) -> Any:
    args = get_args(type_)
    return args[index] if index < len(args) else Any


def _encode_items(items: Iterable[Any], encode: Encode) -> list[Any]:
    try:
        return [encode(item) for item in items]
    except Misfit as exc:
        raise pin_encoding(exc, ((index, item, encode) for index, item in enumerate(items))) from None


def _decode_items(value: Any, decode: Decode, item_type: Any, outer: Any) -> list[Any]:
    if type(value) is not list:
        raise misfit(outer, value)
    items: list[Any] = []
    try:
        for item in value:
            items.append(decode(item, item_type))  # noqa: PERF401 - the length tells where it failed
    except Exception as exc:
        raise pin_decoding(exc, len(items), item_type, outer) from None
    return items


def _sorted(plain: list[Any]) -> list[Any]:
    return sorted(plain, key=_text)


def _text(plain: Any) -> bytes:
    try:
        return write(plain)
    except (ValueError, TypeError):
        # Not JSON at all. Whoever inspects the whole will say why; here only an order is needed.
        return b""
