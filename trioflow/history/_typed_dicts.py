"""How a TypedDict becomes a JSON object and comes back.

Laws: as for every record: a declared key is written in the order of declaration, a recorded key that is no longer
declared is dropped; but a key that is not declared is refused when writing, since it would be lost. `NotRequired`
counts also where annotations are lazy, and Python itself overlooks it.
Called by `_converter.py`. Read next: `_unions.py`.
"""

from __future__ import annotations

import typing
from typing import Any, get_args, get_origin

import attrs
from cattrs import AttributeValidationNote, ClassValidationError

from trioflow.history._containers import Find
from trioflow.history._leaves import Hooks
from trioflow.history._misfit import Decode, Encode, Misfit, misfit, type_name


@attrs.frozen(kw_only=True)
class _Key:
    name: str
    type: Any
    required: bool
    encode: Encode
    decode: Decode


def typed_dict_hooks(type_: Any, find: Find) -> Hooks:
    """Hooks for a TypedDict, with or without arguments."""
    hooks = _TypedDict(type=type_, keys=_keys(type_, find))
    return hooks.encode, hooks.decode


@attrs.frozen(kw_only=True)
class _TypedDict:
    type: Any
    keys: list[_Key]

    def encode(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise misfit(self.type, value)
        plain = {}
        for key in self.keys:
            if key.name in value:
                try:
                    plain[key.name] = key.encode(value[key.name])
                except Misfit as exc:
                    exc.path.insert(0, key.name)
                    raise
            elif key.required:
                raise Misfit(f"expected {type_name(self.type)}, got a dict without {key.name!r}")
        if len(plain) != len(value):
            raise Misfit(f"expected {type_name(self.type)}, got a dict with keys that it does not declare")
        return plain

    def decode(self, value: Any, _: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise misfit(self.type, value)
        entries = {}
        for key in self.keys:
            try:
                if key.name in value:
                    entries[key.name] = key.decode(value[key.name], key.type)
                elif key.required:
                    raise KeyError(key.name)
            except Exception as exc:
                exc.__notes__ = [*getattr(exc, "__notes__", ()), AttributeValidationNote("", key.name, key.type)]
                raise ClassValidationError(f"while decoding {type_name(self.type)}", [exc], self.type) from None
        return entries


def _keys(type_: Any, find: Find) -> list[_Key]:
    kind = get_origin(type_) or type_
    given = dict(zip(getattr(kind, "__parameters__", ()), get_args(type_), strict=False))
    keys = []
    for name, declared in typing.get_type_hints(kind, include_extras=True).items():
        wrapper = get_origin(declared)
        required = wrapper is typing.Required or (wrapper is not typing.NotRequired and name in kind.__required_keys__)
        part = given.get(declared, declared)
        encode, decode = find(part)
        keys.append(_Key(name=name, type=part, required=required, encode=encode, decode=decode))
    return keys
