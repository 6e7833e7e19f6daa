"""One table of how every type becomes JSON and comes back, on top of cattrs.

Laws: everything goes by the *declared* type, strictly, so that what is read after a crash has the types the code had
before it; hooks for both directions are made together, once per type; classes are cattrs' business (it generates
their code), everything else is decided here. A type nobody knows is refused when a value of it is met, with a text
that says how to make it known.
Called by `_payloads.py` and `_codec.py`. Read next: `_payloads.py`.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs
import cattrs
from cattrs.cols import namedtuple_dict_structure_factory, namedtuple_dict_unstructure_factory
from cattrs.fns import identity
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from trioflow.history._containers import dict_hooks, list_hooks, set_hooks, tuple_hooks
from trioflow.history._leaves import LEAVES, Hooks, enum_hooks, literal_hooks
from trioflow.history._misfit import Decode, Encode, Misfit, misfit, pin_encoding, type_name
from trioflow.history._typed_dicts import typed_dict_hooks
from trioflow.history._types import (
    DICTS,
    LISTS,
    SETS,
    is_named_tuple,
    is_record,
    is_typed_dict,
    is_union,
    meaning,
    without_extras,
)
from trioflow.history._unions import union_hooks


class TypeTable(cattrs.Converter):
    """A cattrs converter that asks its own table first.

    Its generated code calls `get_unstructure_hook`, `get_structure_hook`, `unstructure` or `structure`; each asks
    `hooks`.
    """

    __slots__ = ("_building", "_families", "_own", "made")

    def __init__(self) -> None:
        super().__init__(detailed_validation=True)
        self._own: dict[Any, Hooks] = {**LEAVES, Any: (identity, lambda value, _: value)}
        self._families: list[tuple[Callable[[type], bool], Callable[[type], Hooks]]] = []
        self.made: dict[Any, Hooks] = dict(self._own)  # _own, and all that was made from it
        self._building: list[Any] = []  # types whose hooks are being made: inside, they refer to themselves lazily

    def hooks(self, type_: Any) -> Hooks:
        """The hooks of a declared type, made at the first call."""
        try:
            known = self.made.get(type_)
        except TypeError:
            # Decorated with something that has no hash, as pydantic's descriptions of fields have none.
            bare = without_extras(type_)
            return _refusal(type_) if bare is type_ else self.hooks(bare)
        if known is not None:
            return known
        if type_ in self._building:
            return self._later(type_)
        self._building.append(type_)
        try:
            made = self._make(meaning(type_))
        except RecursionError:
            # cattrs is at work on the same generic class with other arguments: these are made when first used.
            return self._later(type_)
        finally:
            self._building.remove(type_)
        self.made[type_] = made
        return made

    def register(self, type_: Any, hooks: Hooks) -> None:
        """Set the hooks of one type."""
        self._own[type_] = hooks
        self._forget()

    def register_family(self, belongs: Callable[[type], bool], make: Callable[[type], Hooks]) -> None:
        """Say how hooks are made for all classes of a kind; the last family that takes a class makes them."""
        self._families.insert(0, (belongs, make))
        self._forget()

    def _forget(self) -> None:
        # What was made is made anew: some of it may hold values of the type that has just become known.
        self.made = dict(self._own)

    def get_unstructure_hook(self, type: Any, cache_result: bool = True) -> Encode:
        """The encoding hook; cattrs calls this for every field."""
        return self.hooks(type)[0]

    def get_structure_hook(self, type: Any, cache_result: bool = True) -> Decode:
        """The decoding hook; cattrs calls this for every field."""
        return self.hooks(type)[1]

    def unstructure(self, obj: Any, unstructure_as: Any = None) -> Any:
        """What cattrs calls for a field without annotation."""
        return self.hooks(Any if unstructure_as is None else unstructure_as)[0](obj)

    def structure(self, obj: Any, cl: Any) -> Any:
        """What cattrs calls for a field without annotation."""
        return self.hooks(Any if cl is None else cl)[1](obj, cl)

    def _later(self, type_: Any) -> Hooks:
        def encode(value: Any) -> Any:
            return self.hooks(type_)[0](value)

        def decode(value: Any, _: Any) -> Any:
            return self.hooks(type_)[1](value, type_)

        return encode, decode

    def _make(self, type_: Any) -> Hooks:
        if type_ in self._own:
            return self._own[type_]
        origin = get_origin(type_) or type_
        if isinstance(origin, type):
            for belongs, make in self._families:
                if belongs(origin):
                    return make(origin)
        if is_union(type_):
            return union_hooks(type_, self.hooks)
        if origin is Literal:
            return literal_hooks(type_)
        if is_typed_dict(type_):
            return typed_dict_hooks(type_, self.hooks)
        if is_record(type_) or is_named_tuple(type_):
            return self._record_hooks(type_, origin)
        return self._make_container(type_, origin) or _make_other(type_, origin)

    def _make_container(self, type_: Any, origin: Any) -> Hooks | None:
        for kinds, make in ((LISTS, list_hooks), (SETS, set_hooks), (DICTS, dict_hooks), ((tuple,), tuple_hooks)):
            if origin in kinds:
                return make(type_, self.hooks)
        return None

    def _record_hooks(self, type_: Any, origin: Any) -> Hooks:
        """Hooks for an object with declared fields, the field-wise part by cattrs."""
        free = getattr(origin, "__parameters__", ())
        if type_ is origin and free:
            return self.hooks(origin[(Any,) * len(free)])  # generic, and not said of what
        write, read = self._field_hooks(type_, origin)

        def encode(value: Any) -> Any:
            # Exactly this class: the fields that a subclass adds would be lost without a word.
            if type(value) is not origin:
                raise misfit(type_, value)
            try:
                return write(value)
            except Misfit as exc:
                raise pin_encoding(exc, self._fields_of(value, type_, origin)) from None

        def decode(value: Any, _: Any) -> Any:
            if type(value) is not dict:
                raise misfit(type_, value)
            return read(value, type_)

        return encode, decode

    def _field_hooks(self, type_: Any, origin: Any) -> tuple[Encode, Decode]:
        if is_named_tuple(type_):
            return namedtuple_dict_unstructure_factory(origin, self), namedtuple_dict_structure_factory(origin, self)
        if attrs.has(origin):
            attrs.resolve_types(origin)
        return make_dict_unstructure_fn(type_, self), make_dict_structure_fn(type_, self)

    def _fields_of(self, value: Any, type_: Any, origin: Any) -> Iterator[tuple[str, Any, Encode]]:
        given = dict(zip(getattr(origin, "__parameters__", ()), get_args(type_), strict=False))
        for name, declared in get_type_hints(origin, include_extras=True).items():
            yield name, getattr(value, name, None), self.hooks(given.get(declared, declared))[0]


def _make_other(type_: Any, origin: Any) -> Hooks:
    if isinstance(origin, type) and issubclass(origin, enum.Enum):
        return enum_hooks(origin)
    if _is_pydantic(origin):
        return _pydantic_hooks(origin)
    return _refusal(type_)


def _is_pydantic(origin: Any) -> bool:
    pydantic = sys.modules.get("pydantic")  # a model exists only where somebody imported it
    return pydantic is not None and isinstance(origin, type) and issubclass(origin, pydantic.BaseModel)


def _pydantic_hooks(model: Any) -> Hooks:
    """Hooks for a pydantic model (2.11 or later): by field name, whatever its aliases."""

    def encode(value: Any) -> Any:
        if type(value) is not model:
            raise misfit(model, value)
        try:
            return value.model_dump(mode="json", by_alias=False, warnings="error")
        except ValueError:
            raise Misfit(f"expected {model.__name__}, got one with fields that do not fit it") from None

    def decode(value: Any, _: Any) -> Any:
        try:
            return model.model_validate(value, by_alias=False, by_name=True)
        except ValueError as exc:
            raise Misfit(f"expected {model.__name__}: {_pydantic_reasons(exc)}") from None

    return encode, decode


def _pydantic_reasons(exc: Any) -> str:
    # `type` and `loc` only: the other parts of pydantic's errors repeat the input.
    return ", ".join(f"{error['type']} at {'.'.join(map(str, error['loc'])) or 'the top'}" for error in exc.errors())


def _refusal(type_: Any) -> Hooks:
    text = f"{type_name(type_)} cannot be stored: make it an attrs class or a dataclass, or register it with the codec"

    def refuse(*_: Any) -> Any:
        raise Misfit(text)

    return refuse, refuse
