"""Values to bytes and back: everything that crosses a durable border goes through here, also when it never leaves the
process.

Laws: canonical JSON (see `_json.py`), by declared type, strictly both ways. Where nothing is declared (`Any`, no
annotation, a protocol) a value has to be plain JSON data already: dict with str keys, list, str, int, float, bool,
None; a tuple comes back as a list, and an instance of a class is refused with the advice to annotate. Limits are
checked on the plain data before it becomes text. Messages tell places and types, never values. Nothing is ever
executed or imported because recorded bytes say so.
Who calls it: the engine, the runtime, the client. Read next: `_exceptions.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cattrs import transform_error

from trioflow.errors import ConfigurationError, DecodeError, EncodeError, LimitExceeded
from trioflow.history._arguments import ArgumentSpec
from trioflow.history._converter import TypeTable
from trioflow.history._json import Backend, NotPlain, choose_writer, inspect, read, write
from trioflow.history._leaves import Hooks
from trioflow.history._limits import DEEPEST, LARGEST_INTEGER, LARGEST_NUMBER, Limits
from trioflow.history._misfit import Misfit, type_name

What = str | tuple[str, str]
"""What a value is, for messages: a text, or one and the name behind it, which are put together where there is something
to say, since each step of each replay brings its own.
"""


class PayloadCodec:
    """Encodes and decodes by declared type, within limits.

    Args:
        limits: how much it lets through.
        json: "stdlib", "orjson", or None for the fastest there is; the bytes are the same.
    """

    def __init__(self, *, limits: Limits | None = None, json: Backend | None = None) -> None:
        self.limits = limits if limits is not None else Limits()
        self._table = TypeTable()
        self._write = choose_writer(json)

    def register(self, cls: type, unstructure: Callable[[Any], Any], structure: Callable[[Any], Any]) -> None:
        """Teach the codec a class: `unstructure` makes plain JSON data of an instance, `structure` the reverse."""

        def encode(value: Any) -> Any:
            if not isinstance(value, cls):
                raise Misfit(f"expected {cls.__name__}, got {type(value).__name__}")
            try:
                return unstructure(value)
            except Exception as exc:
                raise Misfit(f"the function registered for {cls.__name__} raised {type(exc).__name__}", exc) from None

        self._table.register(cls, (encode, lambda plain, _: structure(plain)))

    def register_family(self, belongs: Callable[[type], bool], make: Callable[[type], Hooks]) -> None:
        """Teach the codec all classes of a kind; `make` gives the two hooks of one of them."""
        self._table.register_family(belongs, make)

    def encode(
        self,
        value: Any,
        type_: Any = Any,
        *,
        what: What = "value",
        limit: str = "payload_size",
        recorded: bytes | None = None,
    ) -> bytes:
        """A value of the declared type as canonical JSON.

        Args:
            value: what to encode.
            type_: its declared type.
            what: it, for messages, such as "result of charge", or ("result of", "charge").
            limit: the name of the limit on its size.
            recorded: what it may have been before, where it is encoded again: then it is beyond no limit.

        Raises:
            EncodeError: it does not fit its type, or its type cannot be stored.
            LimitExceeded: it is too large, too deep, or holds a number that JSON cannot carry.
        """
        try:
            plain = self._hooks(type_)[0](value)
        except Misfit as exc:
            raise _refused(exc, what) from exc.origin
        except RecursionError:
            raise self._too_deep(what) from None
        return self._to_bytes(plain, what, limit, recorded)

    def decode(self, data: bytes, type_: Any = Any, *, what: What = "value") -> Any:
        """The value of the declared type that canonical JSON stands for.

        Raises:
            DecodeError: it is not JSON, or does not fit the type; the message says where.
            LimitExceeded: it is nested too deep, or holds a number that JSON cannot carry.
        """
        return self._from_plain(self._from_bytes(data, what), type_, what)

    def encode_arguments(
        self,
        spec: ArgumentSpec,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        what: What | None = None,
        recorded: bytes | None = None,
    ) -> bytes:
        """The arguments of a call as a JSON object by parameter name. `recorded`: see `encode`.

        Raises:
            TypeError: the function cannot be called like this.
            EncodeError: an argument does not fit its declared type; the message names it.
            LimitExceeded: see `encode`.
        """
        what = what if what is not None else spec.name
        plain = spec.bind(args, kwargs or {})
        for name, value in plain.items():
            try:
                plain[name] = self._hooks(spec.types[name])[0](value)
            except Misfit as exc:
                raise _refused(exc, f"{_text(what)}: argument {name!r}") from exc.origin
            except RecursionError:
                raise self._too_deep(f"{_text(what)}: argument {name!r}") from None
        return self._to_bytes(plain, what, "payload_size", recorded, ": the argument list")

    def decode_arguments(
        self, spec: ArgumentSpec, data: bytes, *, what: str | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments to call the function with, as it is declared today.

        Raises:
            DecodeError: they do not fit today's parameters: one is gone, or new without a default, or of another type.
            LimitExceeded: see `decode`.
        """
        what = what if what is not None else spec.name
        try:
            return spec.unbind(self._decode_by_name(spec, data, what))
        except KeyError as exc:
            raise DecodeError(
                f"{what}: the arguments were recorded without {exc}, which has no default in today's code: a new "
                "parameter needs one"
            ) from None

    def _decode_by_name(self, spec: ArgumentSpec, data: bytes, what: str) -> dict[str, Any]:
        plain = self._from_bytes(data, f"{what}: the argument list")
        if type(plain) is not dict:
            text = f"{what}: the arguments are recorded as {type(plain).__name__}, not as an object by parameter name"
            raise DecodeError(text)
        values: dict[str, Any] = {}
        for name, recorded in plain.items():
            if name not in spec.types:
                raise DecodeError(
                    f"{what}: the recorded arguments hold {name!a}, a parameter that the code no longer has: keep it "
                    "(unused, with a default) until what was started with it has ended"
                )
            values[name] = self._from_plain(recorded, spec.types[name], f"{what}: argument {name!r}")
        return values

    def _hooks(self, type_: Any) -> Hooks:
        try:
            return self._table.made[type_]
        except (KeyError, TypeError):  # it is new, or has no hash
            return self._new_hooks(type_)

    def _new_hooks(self, type_: Any) -> Hooks:
        try:
            return self._table.hooks(type_)
        except NameError as exc:
            raise ConfigurationError(
                f"a field of {type_name(type_)}, or of a class in it, is annotated with {exc.name!r}, which cannot be "
                "found. It has to be importable where the class is defined: not inside a function, not only under "
                "TYPE_CHECKING."
            ) from None
        except Exception as exc:
            raise ConfigurationError(f"no way to store {type_name(type_)} could be made: {exc}") from exc

    def _to_bytes(self, plain: Any, what: What, limit: str, recorded: bytes | None, part: str = "") -> bytes:
        try:
            unusual = inspect(plain, self.limits.depth if recorded is None else DEEPEST)
            data = write(plain) if unusual else self._write(plain)
            if recorded is not None:
                if data == recorded:
                    return recorded
                inspect(plain, self.limits.depth)
        except NotPlain as exc:
            raise self._not_plain(exc, _text(what) + part, EncodeError) from None
        if len(data) > getattr(self.limits, limit):
            self.limits.check_size(limit, _text(what) + part, len(data))
        return data

    def _from_bytes(self, data: bytes, what: What) -> Any:
        try:
            plain = read(data)
        except RecursionError:
            raise self._too_deep(what, DEEPEST) from None
        except ValueError:
            text = f"{_text(what)}: the {len(data):,} recorded bytes are not JSON with distinct keys in valid UTF-8"
            raise DecodeError(text) from None
        try:
            inspect(plain, DEEPEST)
        except NotPlain as exc:
            raise self._not_plain(exc, _text(what), DecodeError) from None
        return plain

    def _from_plain(self, plain: Any, type_: Any, what: What) -> Any:
        try:
            return self._hooks(type_)[1](plain, type_)
        except ConfigurationError:
            raise
        except Exception as exc:
            reasons = "; ".join(transform_error(exc, format_exception=_reason)[:5])
            raise DecodeError(
                f"{_text(what)} does not fit its declared type {type_name(type_)}: {reasons}. The type changed since "
                "it was recorded, or it came from other code: give new fields a default, and keep old types until what "
                "uses them has ended."
            ) from None

    def _too_deep(self, what: What, allowed: int | None = None) -> LimitExceeded:
        allowed = self.limits.depth if allowed is None else allowed
        return LimitExceeded(
            f"{_text(what)} is nested deeper than the limit 'depth' allows ({allowed} levels), or contains itself",
            limit="depth",
            allowed=allowed,
        )

    def _not_plain(self, exc: NotPlain, what: str, error: type[EncodeError | DecodeError]) -> Exception:
        where = _where(exc.path)
        if exc.rule == "depth":
            return self._too_deep(what, DEEPEST if error is DecodeError else None)
        if exc.rule == "nan":
            text = f"{what} holds NaN or an infinity{where}: JSON has none; use None or a string"
            return LimitExceeded(text, limit="nan", allowed=LARGEST_NUMBER)
        if exc.rule == "integer":
            text = f"{what} holds an integer beyond 64 bits{where}: store it as a string"
            return LimitExceeded(text, limit="integer", allowed=LARGEST_INTEGER)
        if exc.rule == "surrogate":
            return error(f"{what} holds half a surrogate pair{where}: it is not valid Unicode text; store it as bytes")
        if exc.rule == "key":
            return error(
                f"{what} has a key of type {exc.kind.__name__}{where}: annotate it (dict[int, str]) or use str keys"
            )
        return error(
            f"{what} holds a value of type {exc.kind.__name__}{where}, which is not plain JSON data: annotate the "
            "parameter, result or field with that type (an attrs class, dataclass, enum, ...), so that it can come "
            "back as one"
        )


def _where(path: list[str | int]) -> str:
    return " at $" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path) if path else ""


def _text(what: What) -> str:
    return what if isinstance(what, str) else f"{what[0]} {what[1]!r}"


def _refused(exc: Misfit, what: What) -> EncodeError:
    return EncodeError(f"{_text(what)}: {exc}{_where(exc.path)}. What is stored has to have its declared type.")


def _reason(exc: BaseException, type_: Any) -> str:
    """Why a part does not fit; the text of foreign exceptions is left out, since it tends to repeat the value."""
    if isinstance(exc, Misfit):
        return str(exc)
    if isinstance(exc, KeyError):
        return "a required field is missing"
    return f"{type(exc).__name__} raised" + (f" for {type_name(type_)}" if type_ is not None else "")
