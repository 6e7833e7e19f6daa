"""An exception, described as a failure: complete, bounded, and whatever the exception does."""

from __future__ import annotations

import attrs
import pytest

from trioflow.errors import ActivityFailed
from trioflow.history import Category, Failure, FailureCodec, Limits, PayloadCodec


class Rejected(Exception):
    """An application's own error, with a constructor of its own."""

    def __init__(self, order_id: str, reason: str) -> None:
        super().__init__(f"{order_id}: {reason}")
        self.order_id = order_id
        self.reason = reason


def codec(**limits: int) -> FailureCodec:
    """A codec with some limits."""
    return FailureCodec(PayloadCodec(limits=Limits(**limits)))


def raised(
    exc: BaseException, *, cause: BaseException | None = None, during: BaseException | None = None
) -> BaseException:
    """The exception after it was raised, with a chain."""
    try:
        if during is not None:
            try:
                raise during
            except BaseException:
                raise exc
        raise exc from cause
    except BaseException as caught:
        return caught


def test_type_message_and_what_the_caller_knows() -> None:
    """A failure carries the qualified type, the message, and what the caller says about it."""
    failure = codec().to_failure(Rejected("o-1", "late"), category=Category.CONFIGURATION, attempts=3, retryable=False)
    assert failure == Failure(
        type="tests.history.test_failures_of_exceptions.Rejected",
        message="o-1: late",
        category=Category.CONFIGURATION,
        attempts=3,
        retryable=False,
    )


def test_a_builtin_exception_carries_its_state() -> None:
    """So that it can come back as itself."""
    failure = codec().to_failure(KeyError("k"))
    assert (failure.type, failure.message) == ("builtins.KeyError", "'k'")
    assert failure.details == b'{"args":["k"],"state":{}}'


def test_a_state_that_cannot_be_stored_is_left_out() -> None:
    """Type and message remain; a state too large is left out likewise."""
    assert codec().to_failure(ValueError(object)).details is None
    assert codec(failure_details=10).to_failure(ValueError("x" * 10)).details is None


def test_the_cause_is_kept_and_the_context_where_it_is_not_suppressed() -> None:
    """What Python would print is what is recorded."""
    failures = codec()
    with_cause = failures.to_failure(raised(ValueError("a"), cause=KeyError("b")))
    assert with_cause.cause is not None
    assert with_cause.cause.type == "builtins.KeyError"
    with_context = failures.to_failure(raised(ValueError("a"), during=OSError(2, "gone")))
    assert with_context.cause is not None
    assert with_context.cause.type == "builtins.FileNotFoundError"
    suppressed = ValueError("a")
    suppressed.__context__ = KeyError("b")
    suppressed.__suppress_context__ = True
    assert failures.to_failure(suppressed).cause is None


def test_a_group_keeps_its_structure() -> None:
    """Members stay members, groups in groups too; the message is the group's own."""
    group = ExceptionGroup("outer", [ValueError("a"), ExceptionGroup("inner", [KeyError("b"), ActivityFailed("c")])])
    failure = codec().to_failure(group)
    assert (failure.type, failure.message) == ("builtins.ExceptionGroup", "outer")
    assert [member.type for member in failure.members] == ["builtins.ValueError", "builtins.ExceptionGroup"]
    assert [member.message for member in failure.members[1].members] == ["'b'", "c"]
    assert (
        codec().to_failure(BaseExceptionGroup("x", [KeyboardInterrupt()])).members[0].type
        == "builtins.KeyboardInterrupt"
    )


def test_a_chain_is_bounded_and_a_cycle_ends() -> None:
    """However long the chain, the failure is small."""
    exc: BaseException = ValueError("0")
    for number in range(1, 50):
        following = ValueError(str(number))
        following.__cause__ = exc
        exc = following
    failure: Failure | None = codec().to_failure(exc)
    length = 0
    while failure is not None:
        failure = failure.cause
        length += 1
    assert length == 10

    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__cause__ = b, a
    described = codec().to_failure(a)
    assert described.cause is not None
    assert described.cause.cause is None


def test_the_text_of_a_group_tells_of_its_members() -> None:
    """The first few of them, each in a line's worth; what is no group tells of itself only."""
    group = ExceptionGroup("several", [ValueError("a"), ExceptionGroup("inner", [KeyError("b")]), *[OSError("c")] * 3])
    inner = "builtins.ExceptionGroup: inner (builtins.KeyError: 'b')"
    several = f"builtins.ExceptionGroup: several (builtins.ValueError: a; {inner}; builtins.OSError: c; 2 more)"
    assert str(codec().to_failure(group)) == several
    assert str(codec().to_failure(ValueError("a"))) == "builtins.ValueError: a"


def test_a_large_group_is_cut_and_says_so() -> None:
    """The parts beyond the limit are counted, in breadth and in depth."""
    wide = codec(failure_parts=5).to_failure(ExceptionGroup("many", [ValueError(str(n)) for n in range(100)]))
    assert len(wide.members) == 5
    assert (wide.members[-1].type, wide.members[-1].message) == ("trioflow.LeftOut", "96 more")
    deep: Exception = ValueError("x")
    for _ in range(20):
        deep = ExceptionGroup("g", [deep])
    level = codec(failure_depth=3).to_failure(deep)
    assert level.members[0].members[0].members[0] == Failure(type="trioflow.LeftOut", message="1 more")
    with_cause = raised(ValueError("x"), cause=KeyError())
    assert codec(failure_parts=1).to_failure(with_cause).cause is None


class Evil(Exception):
    """Everything about it fails."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Liar(Exception):
    """Its text is not quite a str."""

    def __str__(self) -> str:
        class Text(str):
            __slots__ = ()

            def __getitem__(self, index: object) -> str:
                raise RuntimeError("no")

        return Text("text")


class Wordless(Exception):
    """Its `__str__` gives no text."""

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307


@pytest.mark.parametrize(
    ("exc", "message"),
    [
        (Evil(), "<its __str__ raised RuntimeError>"),
        (Liar(), "text"),
        (Wordless(), "<its __str__ raised TypeError>"),
        (ValueError("a\ud800b"), "a\\ud800b"),
        (ValueError("x" * 10_000), "x" * 8192),
    ],
)
def test_no_exception_can_break_its_description(exc: Exception, message: str) -> None:
    """A failing `__str__`, a false str, half surrogates and endless text are coped with."""
    failure = codec().to_failure(exc, with_traceback=True)
    assert failure.message == message
    assert failure.traceback is not None
    assert len(failure.traceback) <= 64 * 1024


def test_a_traceback_is_kept_on_request_and_cut_to_its_newest_part() -> None:
    """It is text, and its end is what counts."""
    exc = raised(ValueError("boom"))
    assert codec().to_failure(exc).traceback is None
    text = codec().to_failure(exc, with_traceback=True).traceback
    assert text is not None
    assert text.startswith("Traceback (most recent call last)")
    assert codec(failure_traceback=5).to_failure(exc, with_traceback=True).traceback == text[-5:]


def test_a_traceback_that_cannot_be_formatted_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even Python's own formatting may fail."""

    def fail(exc: BaseException) -> list[str]:
        raise RecursionError

    monkeypatch.setattr("trioflow.history._exceptions.traceback.format_exception", fail)
    failure = codec().to_failure(ValueError("x"), with_traceback=True)
    assert failure.traceback == "<formatting it raised RecursionError>"


def test_a_failure_of_an_attrs_exception_holds_its_fields() -> None:
    """A registered exception with declared fields is stored by them."""

    @attrs.frozen
    class Overdrawn(Exception):
        by: int

    failures = codec()
    failures.register(Overdrawn)
    assert failures.to_failure(Overdrawn(5)).details == b'{"by":5}'
    assert failures.to_failure(Overdrawn("x")).details is None  # type: ignore[arg-type]
