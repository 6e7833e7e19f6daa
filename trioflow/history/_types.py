"""Reading type annotations: what one really means, and which kinds of JSON its values become.

Laws: pure look-ups; an annotation that says nothing (Any, object, a protocol, a free type variable) means `Any`.
Called by `_containers.py`, `_unions.py`, `_converter.py`. Read next: `_containers.py`.
"""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import enum
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, NewType, TypeVar, Union, get_args, get_origin

import attrs

from trioflow.history._leaves import LEAVES, enum_hooks, literal_hooks

_NOTHING_SAID: Final = (Any, object, typing.NoReturn, typing.Never)
_WRAPPERS: Final = (Annotated, typing.Final, typing.Required, typing.NotRequired)

LISTS: Final[dict[Any, Any]] = {
    list: list,
    collections.deque: collections.deque,
    collections.abc.MutableSequence: list,
    collections.abc.Sequence: list,
    collections.abc.Collection: list,
    collections.abc.Iterable: list,
}
"""What may be declared for a row of values, and what comes back."""
SETS: Final[dict[Any, Any]] = {
    set: set,
    frozenset: frozenset,
    collections.abc.MutableSet: set,
    collections.abc.Set: frozenset,
}
"""What may be declared for a set, and what comes back."""
DICTS: Final[dict[Any, Any]] = {
    dict: dict,
    collections.OrderedDict: collections.OrderedDict,
    collections.defaultdict: collections.defaultdict,
    collections.Counter: collections.Counter,
    collections.abc.Mapping: dict,
    collections.abc.MutableMapping: dict,
}
"""What may be declared for a mapping, and what comes back."""
_SCALARS: Final[dict[Any, tuple[type, ...]]] = {
    int: (int,),
    bool: (bool,),
    float: (float, int),
    type(None): (type(None),),
}


def meaning(type_: Any) -> Any:
    """The annotation without aliases and decoration."""
    while True:
        if type_ is None:
            return type(None)
        if type_ in _NOTHING_SAID or type_ in _WRAPPERS:
            return Any
        origin, args = get_origin(type_), get_args(type_)
        if isinstance(type_, NewType):
            type_ = type_.__supertype__
        elif isinstance(type_, TypeVar):
            type_ = type_.__bound__ or Any
        elif origin in _WRAPPERS:
            type_ = args[0]
        elif hasattr(type_, "__value__") and not isinstance(type_, type):  # `type X = ...`, from Python 3.12 on
            type_ = type_.__value__[args] if args else type_.__value__
        elif getattr(origin or type_, "_is_protocol", False):
            return Any
        else:
            return type_


def without_extras(type_: Any) -> Any:
    """The annotation without `Annotated` anywhere in it."""
    return typing.get_type_hints(types.SimpleNamespace(__annotations__={"it": type_}))["it"]


def is_union(type_: Any) -> bool:
    """Whether a value may be of one of several types."""
    return get_origin(type_) in (Union, types.UnionType)


def is_typed_dict(type_: Any) -> bool:
    """Whether it is a TypedDict, with or without arguments."""
    return typing.is_typeddict(get_origin(type_) or type_)


def is_named_tuple(type_: Any) -> bool:
    """Whether it is a NamedTuple, with or without arguments."""
    kind = get_origin(type_) or type_
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def is_record(type_: Any) -> bool:
    """Whether it is an attrs class or a dataclass, with or without arguments."""
    kind = get_origin(type_) or type_
    return isinstance(kind, type) and (attrs.has(kind) or dataclasses.is_dataclass(kind))


def json_kinds(type_: Any) -> tuple[type, ...] | None:
    """The classes of plain data that values of this type become; None if that cannot be told."""
    type_ = meaning(type_)
    origin = get_origin(type_) or type_
    if type_ in _SCALARS:
        return _SCALARS[type_]
    if type_ in LEAVES:
        return (str,)
    if origin is Literal:
        encode = literal_hooks(type_)[0]
        return _distinct(type(encode(value)) for value in get_args(type_))
    if isinstance(origin, type) and issubclass(origin, enum.Enum):
        encode = enum_hooks(origin)[0]
        return _distinct(type(encode(member)) for member in origin)
    if is_record(type_) or is_typed_dict(type_) or is_named_tuple(type_) or origin in DICTS:
        return (dict,)
    if origin in LISTS or origin in SETS or origin is tuple:
        return (list,)
    return None


def _distinct(kinds: Iterable[type]) -> tuple[type, ...]:
    return tuple(dict.fromkeys(kinds))
