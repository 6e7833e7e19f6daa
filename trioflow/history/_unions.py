"""How a value of one of several types becomes JSON and comes back as the same type.

Laws: where the JSON alone tells the members apart (`Order | str | None`) nothing is added; where it does not (`Order
| Refund`, `date | str`) every member but the plain ones (str, int, float, bool, None) is written as `{"$type": name,
"value": ...}`. Reading takes both forms, so a member may be added later without stranding what is recorded.
Called by `_converter.py`. Read next: `_converter.py`.
"""

from __future__ import annotations

import itertools
from typing import Any, Final, get_args, get_origin

import attrs

from trioflow.history._containers import Find
from trioflow.history._json import PLAIN
from trioflow.history._leaves import Hooks
from trioflow.history._misfit import Decode, Encode, Misfit, misfit, type_name
from trioflow.history._types import is_typed_dict, is_union, json_kinds, meaning

_TYPE: Final = "$type"
_VALUE: Final = "value"


@attrs.frozen(kw_only=True)
class Member:
    """One type of a union."""

    type: Any
    tag: str
    kinds: tuple[type, ...] | None  # of plain data; None if that cannot be told
    encode: Encode
    decode: Decode

    @property
    def plain(self) -> bool:
        """Whether its values are JSON as they are."""
        return self.type in PLAIN


def union_hooks(type_: Any, find: Find) -> Hooks:
    """Hooks for a union."""
    types = list(dict.fromkeys(_flatten(type_)))
    if Any in types:
        return find(Any)
    members = [_member(each, types, find) for each in types]
    tagged = any(_overlap(a, b) for a, b in itertools.combinations(members, 2))
    return _encoder(type_, members, tagged), _decoder(type_, members)


def _flatten(type_: Any) -> list[Any]:
    types: list[Any] = []
    for each in map(meaning, get_args(type_)):
        types.extend(_flatten(each) if is_union(each) else (each,))
    return types


def _member(type_: Any, types: list[Any], find: Find) -> Member:
    encode, decode = find(type_)
    kinds = json_kinds(type_)
    if type_ is float and int in types:
        kinds = (float,)  # JSON keeps 1 and 1.0 apart
    name = type_name(type_)
    if isinstance(type_, type) and [type_name(each) for each in types].count(name) > 1:
        name = f"{type_.__module__}.{type_.__qualname__}"
    return Member(type=type_, tag=name, kinds=kinds, encode=encode, decode=decode)


def _overlap(a: Member, b: Member) -> bool:
    return a.kinds is None or b.kinds is None or any(kind in b.kinds for kind in a.kinds)


def _encoder(type_: Any, members: list[Member], tagged: bool) -> Encode:
    by_class: dict[Any, list[Member]] = {}
    for member in members:
        by_class.setdefault(dict if is_typed_dict(member.type) else get_origin(member.type) or member.type, []).append(
            member
        )

    def write(member: Member, value: Any) -> Any:
        plain = member.encode(value)
        return {_TYPE: member.tag, _VALUE: plain} if tagged and not member.plain else plain

    def encode(value: Any) -> Any:
        known = by_class.get(type(value), ())
        if len(known) == 1:
            return write(known[0], value)  # so that an error inside says where
        for member in members:
            try:
                return write(member, value)
            except Misfit:
                continue
        raise misfit(type_, value)

    return encode


def _decoder(type_: Any, members: list[Member]) -> Decode:
    by_tag = {member.tag: member for member in members}
    # Where tags are needed, data without one are a plain member's; failing that, they are older than the need.
    plain_first = sorted(members, key=lambda member: not member.plain)

    def decode(value: Any, _: Any) -> Any:
        kind = type(value)
        if kind is dict and len(value) == 2 and _VALUE in value:
            tag = value.get(_TYPE)
            member = by_tag.get(tag) if isinstance(tag, str) else None
            if member is not None:
                return member.decode(value[_VALUE], member.type)
        fitting = [member for member in plain_first if member.kinds is None or kind in member.kinds]
        if len(fitting) == 1:
            return fitting[0].decode(value, fitting[0].type)  # so that an error inside says where
        for member in fitting:
            try:
                return member.decode(value, member.type)
            except Exception:  # noqa: S112 - a member that does not fit; the next may
                continue
        raise misfit(type_, value)

    return decode
