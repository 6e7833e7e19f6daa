"""What a function takes and gives, read once: the names and types by which its arguments are stored.

Laws: arguments are stored by parameter name, so `f(x)` and `f(order=x)` are equal, and a parameter that gains a
default is harmless; a default that was not given is not stored. Type hints are resolved when the function is defined,
so a wrong one is found then, not in a replay.
Called by `app` (at definition) and `_payloads.py` (at each call). Read next: `_payloads.py`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from trioflow.errors import ConfigurationError

_Parameter = inspect.Parameter
_POSITIONAL: Final = (_Parameter.POSITIONAL_ONLY, _Parameter.POSITIONAL_OR_KEYWORD)


@attrs.frozen(kw_only=True)
class ArgumentSpec:
    """A function's parameters and result, as declared."""

    name: str  # for messages
    signature: inspect.Signature
    types: Mapping[str, Any]  # of each parameter as it is stored: a list for *args, a dict for **kwargs
    returns: Any  # the declared type of the result
    simple: tuple[str, ...]  # the names, if all parameters may be given by position and none is *args
    counts: range  # with how many arguments, given by position alone, that is all there is to know

    @classmethod
    def of(cls, fn: Callable[..., Any], *, name: str | None = None) -> ArgumentSpec:
        """Read a function.

        Raises:
            ConfigurationError: it has no readable signature, or an annotation names what cannot be found.
        """
        shown = name if name is not None else str(getattr(fn, "__qualname__", type(fn).__name__))
        try:
            signature = inspect.signature(fn)
        except (TypeError, ValueError) as exc:
            raise ConfigurationError(f"{shown} has no signature that can be read: {exc}") from None
        hints = _resolve_hints(fn, shown)
        parameters = signature.parameters.values()
        simple = tuple(signature.parameters) if all(p.kind in _POSITIONAL for p in parameters) else ()
        required = sum(p.default is _Parameter.empty for p in parameters)
        return cls(
            name=shown,
            signature=signature,
            types={p.name: _stored_type(p, hints.get(p.name, Any)) for p in parameters},
            returns=hints.get("return", Any),
            simple=simple,
            counts=range(required, len(simple) + 1),
        )

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by parameter name, in the order of the parameters; those not given are absent. The caller's own.

        Raises:
            TypeError: the function cannot be called like this.
        """
        if not kwargs and len(args) in self.counts:
            return dict(zip(self.simple, args, strict=False))
        try:
            bound = self.signature.bind(*args, **kwargs).arguments
        except TypeError as exc:
            raise TypeError(f"{self.name}(): {exc}") from None
        for parameter in self.signature.parameters.values():
            if parameter.kind is _Parameter.VAR_POSITIONAL and parameter.name in bound:
                bound[parameter.name] = list(bound[parameter.name])
        return bound

    def unbind(self, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call that `bind` came from; absent positional ones are filled with today's defaults.

        Args:
            values: by the names of parameters.

        Raises:
            KeyError: with the name of a parameter that has neither a value nor a default.
        """
        if self.counts and len(values) == len(self.simple):
            return tuple([values[name] for name in self.simple]), {}
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is _Parameter.VAR_POSITIONAL:
                args.extend(values.get(name, ()))
            elif parameter.kind is _Parameter.VAR_KEYWORD:
                kwargs.update(values.get(name, {}))
            elif name not in values and parameter.default is _Parameter.empty:
                raise KeyError(name)
            elif parameter.kind in _POSITIONAL:
                args.append(values.get(name, parameter.default))
            elif name in values:
                kwargs[name] = values[name]
        return tuple(args), kwargs


def _stored_type(parameter: inspect.Parameter, declared: Any) -> Any:
    if parameter.kind is _Parameter.VAR_POSITIONAL:
        return list[declared]
    if parameter.kind is _Parameter.VAR_KEYWORD:
        return dict[str, declared]
    return declared


def _resolve_hints(fn: Callable[..., Any], shown: str) -> dict[str, Any]:
    target: Any = fn if inspect.isroutine(fn) or not callable(fn) else type(fn).__call__
    inner = inspect.unwrap(target)
    code = getattr(inner, "__code__", None)
    enclosing = dict(zip(code.co_freevars, inner.__closure__ or (), strict=False)) if code is not None else {}
    known = {}
    for name, cell in enclosing.items():
        try:
            known[name] = cell.cell_contents
        except ValueError:  # a name of the enclosing function that is not bound yet
            continue
    try:
        return typing.get_type_hints(target, localns=known)
    except NameError as exc:
        raise ConfigurationError(
            f"{shown}: the annotation of a parameter or of the result names {exc.name!r}, which cannot be found. It "
            f"has to be importable where {shown} is defined: not inside a function, not only under TYPE_CHECKING."
        ) from None
    except Exception as exc:
        raise ConfigurationError(f"{shown}: its annotations cannot be read: {exc}") from exc
