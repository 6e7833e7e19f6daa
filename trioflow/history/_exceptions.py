"""Exceptions to failures and back: an error that happened in another process comes back as itself, where that is safe.

Laws: only classes that were registered, the builtin `Exception`s, and a few of trio's and ours come back; a class is
never looked up by importing what a record names, `__init__` is never run, nothing is unpickled, and nothing that is no
`Exception` (KeyboardInterrupt, SystemExit) is ever raised from a record. Describing an exception cannot fail, however
odd its `__str__`, and its size is bounded, however long its chain. Our own `OperationFailed`s tell of an exception that
happened elsewhere, and are described as that one: however many orchestrations it passes through, it says the same.
Who calls it: the engine and the runtime (describe), the engine and the client (rebuild). Read next: `_codec.py`.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Iterator
from typing import Any, Final, TypeGuard

import attrs

from trioflow._util import (
    BrokenResourceError,
    BusyResourceError,
    ClosedResourceError,
    EndOfChannel,
    TooSlowError,
    WouldBlock,
)
from trioflow.errors import (
    ActivityFailed,
    ActivityPoisoned,
    ActivityTimedOut,
    ChildCancelled,
    ChildFailed,
    ChildTerminated,
    ConfigurationError,
    DecodeError,
    EncodeError,
    EventTypeError,
    InstanceExists,
    InstanceFinished,
    InstanceNotFinished,
    InstanceNotFound,
    InstanceParked,
    LimitExceeded,
    MailboxFull,
    OperationFailed,
    OrchestrationCancelled,
    OrchestrationFailed,
    OrchestrationTerminated,
    UnregisteredError,
)
from trioflow.history._failures import Category, Failure
from trioflow.history._leaves import Hooks
from trioflow.history._misfit import Misfit, misfit
from trioflow.history._payloads import PayloadCodec
from trioflow.history._records import record_table

_TRIO: Final = (BrokenResourceError, BusyResourceError, ClosedResourceError, EndOfChannel, TooSlowError, WouldBlock)
_OURS: Final = (
    ConfigurationError,
    DecodeError,
    EncodeError,
    EventTypeError,
    InstanceExists,
    InstanceFinished,
    InstanceNotFinished,
    InstanceNotFound,
    InstanceParked,
    LimitExceeded,
    MailboxFull,
    OrchestrationCancelled,
    OrchestrationTerminated,
    UnregisteredError,
)
"""What was asked for could not be: true wherever it is told. Errors of stores and histories tell of one worker."""
_LEFT_OUT: Final = "trioflow.LeftOut"  # the type of a failure that stands for those beyond a limit
_TELL_OF_OTHERS: Final[tuple[type[BaseException], ...]] = (
    OperationFailed,
    ActivityFailed,
    ActivityPoisoned,
    ActivityTimedOut,
    ChildCancelled,
    ChildFailed,
    ChildTerminated,
    OrchestrationFailed,
)
"""Ours; a subclass that an application makes of them is an exception of its own."""
_COME_BACK: Final[dict[str, type[OperationFailed]]] = {
    "trioflow.ActivityPoisoned": ActivityPoisoned,
    "trioflow.ActivityTimedOut": ActivityTimedOut,
}
"""Those that an activity itself fails with, by the type of that failure: they stay what they are at every caller."""
_BESIDE_ARGS: Final[dict[type[BaseException], tuple[str, ...]]] = {
    ImportError: ("name", "path"),
    NameError: ("name",),
    AttributeError: ("name",),
}
"""What builtin classes keep neither in `args` nor in `__dict__`, as far as it is text."""


class FailureCodec:
    """Knows which exceptions come back as themselves, describes them and builds them again.

    Args:
        codec: encodes their state; from now on it also takes exceptions as values.
    """

    def __init__(self, codec: PayloadCodec) -> None:
        self._codec = codec
        self._classes: dict[str, type[Exception]] = {}
        self._names: dict[type[BaseException], str] = {}
        self._followers: list[FailureCodec] = []  # those that include this one
        self._hooks = record_table().hooks(Failure)
        for cls in (*_builtin_exceptions(), *_TRIO, *_OURS):
            self._classes[qualified_name(cls)] = cls
            self._names[cls] = qualified_name(cls)
        codec.register_family(_by_failure, self._payload_hooks)

    def register(self, cls: type[Exception], name: str | None = None) -> None:
        """Let an exception class come back as itself; its name in histories is the class's, unless one is given.

        Raises:
            ConfigurationError: it is no `Exception` class, is a group or a MemoryError, or the name or the class is
                taken.
        """
        if not _comes_back(cls):
            raise ConfigurationError(
                f"{cls!r} cannot be registered: only subclasses of Exception can, no MemoryError, and groups come "
                "back as ExceptionGroup anyway"
            )
        name = name if name is not None else self._names.get(cls, cls.__name__)
        if self._classes.get(name, cls) is not cls:
            raise ConfigurationError(
                f"two exceptions are registered as {name!r}: {qualified_name(self._classes[name])} and "
                f"{qualified_name(cls)}; pass another name= for one of them"
            )
        if self._names.get(cls, name) != name:
            raise ConfigurationError(
                f"{qualified_name(cls)} is registered already, as {self._names[cls]!r}, not as {name!r}"
            )
        self._classes[name] = cls
        self._names[cls] = name
        for follower in self._followers:
            follower.register(cls, name)

    def include(self, other: FailureCodec) -> None:
        """Know what another one knows, now and later. Raises ConfigurationError where the two disagree about a name."""
        for name, cls in other._classes.items():
            self.register(cls, name)
        other._followers.append(self)

    def to_failure(
        self,
        exc: BaseException,
        *,
        category: Category | None = None,
        attempts: int | None = None,
        retryable: bool | None = None,
        with_traceback: bool = False,
    ) -> Failure:
        """Describe an exception with its chain and members; never raises, whatever the exception does.

        What is not given is as an `OperationFailed` says itself; else it is a retryable failure of the application,
        after one attempt.
        """
        budget = _Budget(self._codec.limits.failure_parts)
        failure = self._describe(exc, (), budget, Category.APPLICATION if category is None else category)
        traceback = self._traceback(exc) if with_traceback and failure.traceback is None else failure.traceback
        return attrs.evolve(
            failure,
            category=failure.category if category is None else category,
            attempts=failure.attempts if attempts is None else attempts,
            retryable=failure.retryable if retryable is None else retryable,
            traceback=traceback,
        )

    def to_exception(self, failure: Failure) -> Exception | None:
        """Build the exception again, with its cause; None if its class is not known or its state cannot be restored.

        A group keeps its structure. A member or cause that cannot be built is an `OperationFailed` that tells of it.
        """
        return self._build(failure, self._codec.limits.failure_depth)

    def cause_of(self, failure: Failure) -> Exception | None:
        """What caused it, rebuilt; an `OperationFailed` that tells of it where it cannot be."""
        return None if failure.cause is None else self._build_link(failure.cause, self._codec.limits.failure_depth - 1)

    # -- describing

    def _describe(
        self,
        exc: BaseException,
        chain: tuple[BaseException, ...],
        budget: _Budget,
        category: Category,
        effect: Failure | None = None,
    ) -> Failure:
        """`effect`: of what it is the cause."""
        budget.left -= 1
        chain = (*chain, exc)
        cause = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
        members = self._describe_members(exc, chain, budget, category) if isinstance(exc, BaseExceptionGroup) else ()
        head = self._head(exc, category, effect)
        described = None
        if cause is not None and self._goes_on(cause, chain, budget):
            described = self._describe(cause, chain, budget, category, head)
        return attrs.evolve(head, members=members, cause=described)

    def _head(self, exc: BaseException, category: Category, effect: Failure | None) -> Failure:
        """An exception without what hangs on it."""
        cls = type(exc)
        known = self._names.get(cls)
        if known is not None or cls not in _TELL_OF_OTHERS:
            name = known or qualified_name(cls)
            return Failure(type=name, message=self._message(exc), category=category, details=self._state(exc))
        facts = vars(exc)  # anything at all may have been assigned to them
        own, attempts = _text(facts.get("category")), facts.get("attempts")
        original, message = _text(facts.get("type")), _text(facts.get("message"))
        trace = _text(facts.get("remote_traceback"))
        if not original or message is None or (effect is not None and effect.type == original):
            # It tells of nothing, or of the exception it stands behind: then its text counts, it says where that was.
            original = next((name for name, kind in _COME_BACK.items() if kind is cls), qualified_name(cls))
            message = None
        return Failure(
            type=_storable(original[: self._codec.limits.failure_message]),
            message=self._message(exc, message),
            category=next((one for one in Category if one.value == own), category),
            attempts=attempts if type(attempts) is int else 1,
            retryable=facts.get("retryable") is not False,
            traceback=_storable(trace[-self._codec.limits.failure_traceback :]) if trace else None,
        )

    def _describe_members(
        self, group: BaseExceptionGroup[Any], chain: tuple[BaseException, ...], budget: _Budget, category: Category
    ) -> tuple[Failure, ...]:
        members: list[Failure] = []
        for index, member in enumerate(group.exceptions):
            if not self._goes_on(member, chain, budget):
                message = f"{len(group.exceptions) - index} more"
                members.append(Failure(type=_LEFT_OUT, message=message, category=category))
                break
            members.append(self._describe(member, chain, budget, category))
        return tuple(members)

    def _goes_on(self, exc: BaseException, chain: tuple[BaseException, ...], budget: _Budget) -> bool:
        return (
            budget.left > 0 and len(chain) < self._codec.limits.failure_depth and all(exc is not seen for seen in chain)
        )

    def _message(self, exc: BaseException, text: str | None = None) -> str:
        """`text`: what it says, if that is known better."""
        try:
            if text is None:
                # str.__str__ makes a true str of a subclass with methods of its own.
                text = str.__str__(exc.message if isinstance(exc, BaseExceptionGroup) else str(exc))
            notes = [str.__str__(note) for note in getattr(exc, "__notes__", ()) if isinstance(note, str)]
        except Exception as problem:
            text, notes = f"<its __str__ raised {type(problem).__name__}>", []
        return _storable("\n".join([text, *notes])[: self._codec.limits.failure_message])

    def _traceback(self, exc: BaseException) -> str:
        try:
            text = "".join(traceback.format_exception(exc))
        except Exception as problem:
            text = f"<formatting it raised {type(problem).__name__}>"
        return _storable(text[-self._codec.limits.failure_traceback :])

    def _state(self, exc: BaseException) -> bytes | None:
        cls = type(exc)
        if cls not in self._names:
            return None
        try:
            if _has_fields(cls):
                return self._codec.encode(exc, cls, limit="failure_details")
            return self._codec.encode(_plain_state(exc), limit="failure_details")
        except Exception:
            return None  # it holds what JSON cannot carry, or too much; type and message remain

    # -- rebuilding

    def _build(self, failure: Failure, depth: int) -> Exception | None:
        exc: Exception | None
        if failure.members:
            exc = ExceptionGroup(failure.message, [self._build_link(member, depth - 1) for member in failure.members])
        else:
            exc = self._restore(failure)
        if exc is not None and failure.cause is not None and depth > 0:
            # Past any __setattr__ of the class: a frozen dataclass would refuse it.
            BaseException.__setattr__(exc, "__cause__", self._build_link(failure.cause, depth - 1))
        return exc

    def _build_link(self, failure: Failure, depth: int) -> Exception:
        exc = self._build(failure, depth) if depth > 0 else None
        if exc is not None:
            return exc
        link = _told(OperationFailed, f"{failure.type}: {failure.message}", failure)
        if failure.cause is not None and depth > 0:
            link.__cause__ = self._build_link(failure.cause, depth - 1)
        return link

    def _restore(self, failure: Failure) -> Exception | None:
        cls = self._classes.get(failure.type)
        if cls is None and failure.type in _COME_BACK:
            return _told(_COME_BACK[failure.type], failure.message, failure)
        if cls is None or failure.details is None:
            return None
        try:
            if _has_fields(cls):
                return _with_args(self._codec.decode(failure.details, cls))
            return _from_state(cls, self._codec.decode(failure.details))
        except Exception:
            return None  # recorded by other code: type and message remain

    # -- exceptions as values

    def _payload_hooks(self, kind: type) -> Hooks:
        def encode(value: Any) -> Any:
            if not isinstance(value, kind) or not isinstance(value, Exception):
                raise misfit(kind, value)
            return self._hooks[0](self.to_failure(value))

        def decode(plain: Any, _: Any) -> Any:
            exc = self._build_link(self._hooks[1](plain, Failure), self._codec.limits.failure_depth)
            if not isinstance(exc, kind):
                raise Misfit(f"expected {kind.__name__}, got an exception of a class that is not registered")
            return exc

        return encode, decode


@attrs.define(eq=False)
class _Budget:
    """How many more failures one failure may hold."""

    left: int


def _comes_back(cls: Any) -> TypeGuard[type[Exception]]:
    # A MemoryError raised in an orchestration ends whoever runs it: that of an activity must not end one after another.
    if not isinstance(cls, type) or not issubclass(cls, Exception):
        return False
    return not issubclass(cls, (BaseExceptionGroup, MemoryError))


def _by_failure(kind: type) -> bool:
    return issubclass(kind, BaseException) and not _has_fields(kind)


def _has_fields(cls: type) -> bool:
    return attrs.has(cls) or dataclasses.is_dataclass(cls)


def _with_args(exc: Any) -> Exception:
    """A dataclass does not pass its fields to `args`; a call by position does, and gives the message."""
    if dataclasses.is_dataclass(exc):
        fields = tuple(getattr(exc, field.name) for field in dataclasses.fields(exc) if field.init)
        BaseException.__setattr__(exc, "args", fields)
    rebuilt: Exception = exc
    return rebuilt


def qualified_name(cls: type) -> str:
    """What an exception's class is called in failures."""
    module = "trioflow" if cls.__module__ == "trioflow.errors" else cls.__module__  # where users import it from
    return f"{module}.{cls.__qualname__}"


def _told(cls: type[OperationFailed], text: str, failure: Failure) -> OperationFailed:
    return cls(
        text,
        type=failure.type,
        message=failure.message,
        category=failure.category.value,
        retryable=failure.retryable,
        attempts=failure.attempts,
        remote_traceback=failure.traceback,
    )


def _text(value: object) -> str | None:
    """A true str, of a text."""
    return str.__str__(value) if isinstance(value, str) else None


def _storable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _builtin_exceptions() -> Iterator[type[Exception]]:
    pending: list[type[Exception]] = [Exception]
    while pending:
        cls = pending.pop()
        if cls.__module__ == "builtins" and _comes_back(cls):
            yield cls
            pending.extend(cls.__subclasses__())


def _builtin_base(cls: type) -> Any:
    """The builtin class that made the object's layout: its methods are safe to call, an override might be anything."""
    return next(base for base in cls.__mro__ if base.__module__ == "builtins")


def _plain_state(exc: BaseException) -> dict[str, Any]:
    base = _builtin_base(type(exc))
    state = dict(vars(exc))
    for cls, names in _BESIDE_ARGS.items():
        if isinstance(exc, cls):
            state.update({name: getattr(exc, name) for name in names if getattr(exc, name) is not None})
    # `__reduce__` rather than `args`: OSError keeps the file's name beside them.
    return {"args": list(base.__reduce__(exc)[1]), "state": state}


def _from_state(cls: type[Exception], plain: dict[str, Any]) -> Exception:
    base = _builtin_base(cls)
    exc: Exception = base.__new__(cls, *plain["args"])
    base.__init__(exc, *plain["args"])
    for name, value in plain["state"].items():
        BaseException.__setattr__(exc, name, value)
    return exc
