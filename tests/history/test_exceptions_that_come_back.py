"""A failure becomes the exception it was, where that is safe, and nothing else ever runs."""

from __future__ import annotations

import builtins
import dataclasses
import sqlite3
from typing import Any, Self, cast

import attrs
import pytest
import trio

from trioflow.errors import ConfigurationError, DecodeError, EncodeError, OperationFailed
from trioflow.history import Failure, FailureCodec, Limits, PayloadCodec


class Rejected(Exception):
    """An application's own error, with a constructor of its own."""

    def __init__(self, order_id: str, reason: str) -> None:
        super().__init__(f"{order_id}: {reason}")
        self.order_id = order_id
        self.reason = reason


@attrs.frozen
class Overdrawn(Exception):
    by: int
    tags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Disk(OSError):
    """A builtin's subclass whose constructor takes something else."""

    def __init__(self, path: str) -> None:
        super().__init__(28, "full", path)
        self.where = path


class Picky(Exception):
    """Its `__new__` must never be called by us."""

    def __new__(cls, *args: Any, secret: str = "") -> Self:
        if not secret:
            raise RuntimeError("no secret")
        return super().__new__(cls, *args)

    def __init__(self, *args: Any, secret: str = "") -> None:
        super().__init__(*args)


def codec(**limits: int) -> FailureCodec:
    """A codec that knows the classes above."""
    failures = FailureCodec(PayloadCodec(limits=Limits(**limits)))
    classes: tuple[type[Exception], ...] = (Rejected, Overdrawn, Frozen, Disk, Picky)
    for cls in classes:
        failures.register(cls)
    return failures


CODEC = codec()


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("a", 1, None),
        KeyError("k"),
        Exception(),
        StopAsyncIteration(5),
        ZeroDivisionError("x"),
        UnicodeEncodeError("ascii", "ä", 0, 1, "why"),
        SyntaxError("bad", ("file", 1, 2, "text")),
        Rejected("o", "late"),
        Overdrawn(5, ("a",)),
        Frozen(3),
        Picky("x", secret="s"),
        trio.TooSlowError("slow"),
        trio.EndOfChannel(),
        UserWarning("w"),
    ],
    ids=repr,
)
def test_a_known_exception_comes_back_as_itself(exc: Exception) -> None:
    """Class, args, attributes and message are what they were."""
    back = CODEC.to_exception(CODEC.to_failure(exc))
    assert type(back) is type(exc)
    assert str(back) == str(exc)
    assert vars(back) == vars(exc)


def test_an_os_error_keeps_its_number_and_file() -> None:
    """Also the file's name, which is not among its args, and in a subclass with a constructor of its own."""
    back = CODEC.to_exception(CODEC.to_failure(FileNotFoundError(2, "gone", "a.txt")))
    assert isinstance(back, FileNotFoundError)
    assert (back.errno, back.strerror, back.filename) == (2, "gone", "a.txt")
    disk = CODEC.to_exception(CODEC.to_failure(Disk("/x")))
    assert isinstance(disk, Disk)
    assert (disk.errno, disk.filename, disk.where, str(disk)) == (28, "/x", "/x", "[Errno 28] full: '/x'")


def test_names_beside_the_args_are_kept() -> None:
    """ImportError, NameError and AttributeError know a name that is in none of their args."""
    back = CODEC.to_exception(CODEC.to_failure(ImportError("no", name="mod", path="p")))
    assert isinstance(back, ImportError)
    assert (back.name, back.path, back.msg) == ("mod", "p", "no")
    missing = CODEC.to_exception(CODEC.to_failure(AttributeError("no", name="x", obj=object())))
    assert isinstance(missing, AttributeError)
    assert missing.name == "x"


def test_notes_come_back() -> None:
    """What was added with `add_note` is part of the exception."""
    exc = ValueError("x")
    exc.add_note("while packing")
    back = CODEC.to_exception(CODEC.to_failure(exc))
    assert back is not None
    assert back.__notes__ == ["while packing"]


@pytest.mark.parametrize(
    "exc",
    [
        sqlite3.OperationalError("not registered"),
        ValueError(object()),
        UnicodeDecodeError("ascii", b"\xff", 0, 1, "its bytes are no JSON"),
        OperationFailed("ours, but not to be mistaken for the reader's own"),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        MemoryError("of an activity; raised in an orchestration it would end one worker after another"),
        trio.Cancelled._create(source="deadline", reason=None, source_task=None)
        if hasattr(trio.Cancelled, "_create")
        else KeyboardInterrupt(),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_what_is_not_known_or_not_complete_gives_none(exc: BaseException) -> None:
    """The caller wraps it; nothing that is no `Exception` is ever built."""
    assert CODEC.to_exception(CODEC.to_failure(exc)) is None


@pytest.mark.parametrize(
    "failure",
    [
        Failure(type="os.system", message="x", details=b'{"args":["true"],"state":{}}'),
        Failure(type="builtins.eval", message="x", details=b'{"args":["1"],"state":{}}'),
        Failure(type="builtins.SystemExit", message="x", details=b'{"args":[1],"state":{}}'),
        Failure(type="builtins.ValueError", message="x", details=b'{"args":[1],"state":{"__class__":"x"}}'),
        Failure(type="builtins.ValueError", message="x", details=b'{"args":5,"state":{}}'),
        Failure(type="builtins.ValueError", message="x", details=b'{"args":[]}'),
        Failure(type="builtins.ValueError", message="x", details=b"[]"),
        Failure(type="builtins.ValueError", message="x", details=b"not json"),
        Failure(type="builtins.UnicodeEncodeError", message="x", details=b'{"args":["x"],"state":{}}'),
        Failure(type="builtins.ValueError", message="x"),
        Failure(type="Overdrawn", message="x", details=b'{"by":"much"}'),
    ],
    ids=lambda failure: failure.type,
)
def test_a_forged_or_damaged_failure_gives_none(failure: Failure) -> None:
    """A record cannot make us import, call or become anything."""
    assert CODEC.to_exception(failure) is None


def test_the_cause_comes_back_too() -> None:
    """A known cause as itself, an unknown one as an OperationFailed that tells what it was."""
    exc = Frozen(1)
    unknown = OperationFailed("inner")
    unknown.__cause__ = KeyError("k")
    middle = ValueError("v")
    BaseException.__setattr__(exc, "__cause__", middle)
    middle.__cause__ = unknown
    back = CODEC.to_exception(CODEC.to_failure(exc))
    assert isinstance(back, Frozen)
    assert isinstance(back.__cause__, ValueError)
    link = back.__cause__.__cause__
    assert isinstance(link, OperationFailed)
    assert (link.type, link.message) == ("trioflow.OperationFailed", "inner")
    assert isinstance(link.__cause__, KeyError)


def test_a_group_comes_back_with_its_members() -> None:
    """Structure and known members; a member nobody knows is an OperationFailed."""
    group = ExceptionGroup("g", [ValueError("a"), ExceptionGroup("h", [sqlite3.Error("b")])])
    back = CODEC.to_exception(CODEC.to_failure(group))
    assert type(back) is ExceptionGroup
    assert back.message == "g"
    first, second = back.exceptions
    assert isinstance(first, ValueError)
    assert isinstance(second, ExceptionGroup)
    assert isinstance(second.exceptions[0], OperationFailed)
    assert second.exceptions[0].type == "sqlite3.Error"


def test_rebuilding_is_bounded() -> None:
    """A failure nested deeper than any we would write is cut, not followed for ever."""
    failure = Failure(type="builtins.ValueError", message="x", details=b'{"args":[],"state":{}}')
    unknown = Failure(type="x", message="y")
    for _ in range(100):
        failure = Failure(type="builtins.ExceptionGroup", message="g", members=(failure,), cause=failure)
        unknown = Failure(type="x", message="y", cause=unknown)
    shallow = codec(failure_depth=3)
    exc: Any = shallow.to_exception(failure)
    for _ in range(3):
        exc = exc.exceptions[0]
    assert isinstance(exc, OperationFailed)
    link: Any = shallow.to_exception(Failure(type="x", message="g", members=(unknown,)))
    assert link.exceptions[0].__cause__.__cause__.__cause__ is None


def test_every_builtin_exception_is_known() -> None:
    """Those of the standard names that are `Exception`s, groups and MemoryError aside."""
    known = CODEC._classes.values()
    for cls in vars(builtins).values():
        if isinstance(cls, type) and issubclass(cls, Exception) and not issubclass(cls, BaseExceptionGroup):
            assert (cls in known) is (cls is not MemoryError)


def test_registration_is_by_name() -> None:
    """The class's own name, or another; again is harmless; anything ambiguous is an error."""
    failures = codec()
    failures.register(Rejected)
    failures.register(ValueError)
    other = cast(Any, type("Rejected", (Exception,), {}))
    with pytest.raises(ConfigurationError, match="two exceptions are registered as 'Rejected'"):
        failures.register(other)
    failures.register(other, "shop.Rejected")
    assert failures.to_failure(other("x")).type == "shop.Rejected"
    assert isinstance(failures.to_exception(failures.to_failure(other("x"))), other)
    with pytest.raises(ConfigurationError, match=r"registered already, as 'shop.Rejected'"):
        failures.register(other, "again")


@pytest.mark.parametrize("cls", [KeyboardInterrupt, int, ValueError("x"), ExceptionGroup])
def test_only_exception_classes_can_be_registered(cls: Any) -> None:
    """What is no `Exception` would break out of `except Exception`."""
    with pytest.raises(ConfigurationError, match="cannot be registered"):
        CODEC.register(cls)


def test_a_subclass_of_a_registered_class_does_not_come_back_as_its_base() -> None:
    """Its own class is not known, and less would be a lie."""

    class Worse(Rejected):
        """Not registered."""

    assert CODEC.to_exception(CODEC.to_failure(Worse("o", "r"))) is None


def test_exceptions_are_values_too() -> None:
    """A result such as `list[int | Exception]` makes the trip."""
    payloads = PayloadCodec()
    failures = FailureCodec(payloads)
    failures.register(Rejected)
    data = payloads.encode([1, Rejected("o", "late"), ValueError("x")], list[int | Exception])
    one, rejected, value_error = payloads.decode(data, list[int | Exception])
    assert one == 1
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "late"
    assert isinstance(value_error, ValueError)
    unknown = payloads.decode(payloads.encode(sqlite3.Error("x"), Exception), Exception)
    assert isinstance(unknown, OperationFailed)
    with pytest.raises(DecodeError, match="expected Error, got an exception of a class that is not registered"):
        payloads.decode(payloads.encode(sqlite3.Error("x"), sqlite3.Error), sqlite3.Error)
    for bad in (5, KeyboardInterrupt()):
        with pytest.raises(EncodeError, match="expected BaseException"):
            payloads.encode(bad, BaseException)


def test_a_codec_can_include_another() -> None:
    """What the other knows, it knows, also when that is registered later; a disagreement is an error."""
    inner, outer = FailureCodec(PayloadCodec()), FailureCodec(PayloadCodec())
    inner.register(Rejected)
    outer.include(inner)
    inner.register(Frozen)
    for exc in (Rejected("o", "r"), Frozen(1)):
        assert type(outer.to_exception(inner.to_failure(exc))) is type(exc)
    other = FailureCodec(PayloadCodec())
    other.register(Disk, "Rejected")
    with pytest.raises(ConfigurationError, match="two exceptions"):
        other.include(inner)
