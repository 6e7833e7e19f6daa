"""What does not fit its declared type is refused, with its place and types and never its value."""

from __future__ import annotations

import collections
import datetime
import pathlib
import typing
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Generic, Literal, NamedTuple, TypedDict

import attrs
import pytest

from tests.history.payload_types import (
    BigOrder,
    Box,
    Color,
    Loose,
    Movie,
    Node,
    Order,
    Pair,
    Point,
    Refund,
    Rights,
    Shape,
    Unknown,
)
from trioflow.errors import ConfigurationError, DecodeError, EncodeError, LimitExceeded
from trioflow.history import Limits, PayloadCodec

CODEC = PayloadCodec()
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
T = typing.TypeVar("T")


class GenericPair(NamedTuple, Generic[T]):
    """A kind of class that cattrs cannot make code for."""

    item: T


class Total(TypedDict):
    """Has a nested record."""

    orders: list[Order]


@attrs.define
class Lost:
    """Has an annotation that cannot be found."""

    field: Missing  # type: ignore[name-defined]  # noqa: F821


REFUSED: list[tuple[Any, Any, str]] = [
    (int, "5", "expected int, got str"),
    (int, 5.0, "expected int, got float"),
    (str, 5, "expected str, got int"),
    (float, "1", "expected float, got str"),
    (float, 10**400, "got an int too large"),
    (bool, 1, "expected bool, got int"),
    (None, 1, "expected NoneType, got int"),
    (bytes, "x", "expected bytes, got str"),
    (datetime.date, NOW, "expected date, got datetime"),
    (datetime.datetime, NOW.date(), "expected datetime, got date"),
    (datetime.timedelta, 5, "expected timedelta, got int"),
    (uuid.UUID, "x", "expected UUID, got str"),
    (Decimal, 1.5, "expected Decimal, got float"),
    (pathlib.Path, "x", "expected Path, got str"),
    (Color, "red", "expected Color, got str"),
    (Literal["a", "b"], "c", "got a str that is none"),
    (Literal[1], True, "got a bool that is none"),
    (Order, Refund("x"), "expected Order, got Refund"),
    (Order, BigOrder("x"), "expected Order, got BigOrder"),
    (Order, Order("x", "y"), r"expected int, got str at \$.amount"),  # type: ignore[arg-type]
    (Order, Order("x", 1, ("a", 2)), r"expected str, got int at \$.tags\[1\]"),  # type: ignore[arg-type]
    (Node, Node(1, children=[Node(2), Node("x")]), r"expected int, got str at \$.children\[1\].value"),  # type: ignore[arg-type]
    (Box[int], Box("x"), r"expected int, got str at \$.item"),
    (Point, Point("x"), r"expected float, got str at \$.x"),  # type: ignore[arg-type]
    (Pair, (1, 2), "expected Pair, got tuple"),
    (Pair, Pair("x"), r"expected int, got str at \$.left"),  # type: ignore[arg-type]
    (Movie, [1], "expected Movie, got list"),
    (Movie, {}, "got a dict without 'title'"),
    (Movie, {"title": "x", "secret": 1}, "keys that it does not declare"),
    (Movie, {"title": 1}, r"expected str, got int at \$.title"),
    (Total, {"orders": [Order(1)]}, r"expected str, got int at \$.orders\[0\].id"),  # type: ignore[arg-type]
    (list[int], (1,), r"expected list\[int\], got tuple"),
    (typing.Sequence[str], "abc", "got str"),
    (typing.Iterable[int], {1: 2}, "got dict"),
    (typing.Iterable[int], iter([1]), "got list_iterator"),
    (tuple[int, ...], [1], "got list"),
    (tuple[int, str], [1, "a"], "got list"),
    (tuple[int, str], (1,), "expected 2 items"),
    (tuple[int, str], (1, 2), r"expected str, got int at \$\[1\]"),
    (set[int], [1], "got list"),
    (dict[str, int], [1], "got list"),
    (dict[str, int], {"email@x": "y"}, r"expected int, got str at \$\.\*"),
    (dict[str, int], {"total": "y"}, r"expected int, got str at \$\.total"),
    (dict[int, int], {"1": 1}, r"expected int, got str at \$\.a key"),
    (dict[int, int], {1: "x"}, r"expected int, got str at \$\.\*"),
    (collections.Counter[str], {"a": 1}, "got dict"),
    (Unknown, Unknown(), "Unknown cannot be stored: make it an attrs class or a dataclass"),
    (complex, 1j, "complex cannot be stored"),
    (Callable[[], int], len, "cannot be stored"),
    (list[Unknown], [Unknown()], "Unknown cannot be stored"),
    (Literal[[1]], 1, "cannot be stored"),
]


@pytest.mark.parametrize(("type_", "value", "says"), REFUSED, ids=str)
def test_a_value_of_another_type_is_refused(type_: Any, value: Any, says: str) -> None:
    """The message says what was expected, what came and where."""
    with pytest.raises(EncodeError, match=says) as caught:
        CODEC.encode(value, type_, what="result of charge")
    assert str(caught.value).startswith("result of charge: ")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Order("x"), r"type Order, which is not plain JSON data: annotate"),
        ([{"a": Color.RED}], r"type Color at \$\[0\].a, which"),
        ({"a", "b"}, "type set"),
        (b"x", "type bytes"),
        (collections.OrderedDict(), "type OrderedDict"),
        ({1: 2}, "a key of type int"),
        ({"a": {None: 2}}, r"a key of type NoneType at \$\.a\.\*"),
        (Loose(NOW), r"type Loose"),
    ],
    ids=str,
)
def test_without_a_declared_type_only_plain_data_pass(value: Any, says: str) -> None:
    """An instance that could not come back as one is refused, and the message says to annotate."""
    with pytest.raises(EncodeError, match=says):
        CODEC.encode(value)


def test_a_field_without_annotation_holds_plain_data() -> None:
    """The rule for undeclared values holds inside of classes too."""
    with pytest.raises(EncodeError, match=r"type datetime at \$\.a"):
        CODEC.encode(Loose(NOW), Loose)


UNREADABLE: list[tuple[Any, bytes, str]] = [
    (int, b'"5"', "expected int, got str"),
    (int, b"1.0", "expected int, got float"),
    (str, b"1", "expected str, got int"),
    (float, b'"x"', "expected float, got str"),
    (bool, b"1", "expected bool, got int"),
    (None, b"1", "expected NoneType, got int"),
    (bytes, b'"*"', "got other text"),
    (bytes, b"1", "expected bytes as base64 text, got int"),
    (datetime.datetime, b'"yesterday"', "expected datetime as text, got other text"),
    (datetime.timedelta, b'"P1D"', "expected timedelta as text, got other text"),
    (datetime.timedelta, b'"P999999999DT99999.000000S"', "got other text"),
    (uuid.UUID, b"1", "expected UUID as text, got int"),
    (Decimal, b'"x"', "expected Decimal as text, got other text"),
    (Color, b'"green"', "expected a member of Color, got a str that is none"),
    (Color, b"[]", "expected a member of Color, got a list that is none"),
    (Rights, b"9", "expected a member of Rights, got a int that is none"),
    (Shape, b"null", "expected a member of Shape"),
    (Literal["a", 1], b"true", "got a bool that is none"),
    (Order, b"[]", "expected Order, got list @"),
    (Order, b'{"amount":1}', r"a required field is missing @ \$.id"),
    (Order, b'{"id":"x","tags":["a",1]}', r"expected str, got int @ \$.tags\[1\]"),
    (Node, b'{"value":1,"children":[{"value":"x"}]}', r"expected int, got str @ \$.children\[0\].value"),
    (Pair, b'{"left":"x"}', r"expected int, got str @ \$.left"),
    (Movie, b"[]", "expected Movie, got list"),
    (Movie, b"{}", r"a required field is missing @ \$.title"),
    (Total, b'{"orders":[{"id":1}]}', r"expected str, got int @ \$.orders\[0\].id"),
    (list[int], b"{}", r"expected list\[int\], got dict"),
    (tuple[int, str], b"{}", "got dict"),
    (tuple[int, str], b"[1]", "expected 2 items"),
    (tuple[int, str], b"[1,2]", r"expected str, got int @ \$\[1\]"),
    (set[Any], b"[[]]", "can be hashed"),
    (dict[str, int], b"[]", "got list"),
    (dict[str, int], b'{"total":"x"}', r"expected int, got str @ \$\['total'\]"),
    (dict[str, int], b'{"a b":"x"}', r"expected int, got str @ \$\['\*'\]"),
    (dict[int, int], b'{"x":1}', "a key that holds int as JSON text"),
    (Unknown, b"{}", "cannot be stored"),
]


@pytest.mark.parametrize(("type_", "data", "says"), UNREADABLE, ids=str)
def test_recorded_data_of_another_type_are_refused(type_: Any, data: bytes, says: str) -> None:
    """The message says where, what was expected and what to do."""
    with pytest.raises(DecodeError, match=says) as caught:
        CODEC.decode(data, type_, what="result of charge")
    text = str(caught.value)
    assert text.startswith("result of charge does not fit its declared type ")
    assert "give new fields a default" in text


def test_no_value_reaches_a_message() -> None:
    """Payloads are not shown: neither by our hooks nor by what a user's validator says."""

    @attrs.frozen
    class Card:
        number: str = attrs.field(validator=attrs.validators.matches_re("[0-9]+"))

    with pytest.raises(DecodeError, match="ValueError raised") as caught:
        CODEC.decode(b'{"number":"my secret"}', Card)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_an_annotation_that_cannot_be_found_is_a_configuration_error() -> None:
    """It says which name, and where it has to be."""
    with pytest.raises(ConfigurationError, match=r"a field of Lost.*annotated with 'Missing'"):
        CODEC.encode(Lost(1), Lost)
    with pytest.raises(ConfigurationError, match="annotated with 'Missing'"):
        CODEC.decode(b"{}", Lost)


def test_a_class_that_no_code_can_be_made_for_is_a_configuration_error() -> None:
    """What cattrs cannot do is told as such."""
    with pytest.raises(ConfigurationError, match="no way to store GenericPair"):
        CODEC.encode(GenericPair(1), GenericPair)


def test_a_registered_function_that_fails_is_named() -> None:
    """The encode error names the class and carries what its function raised."""
    codec = PayloadCodec()
    codec.register(Unknown, lambda value: value.nothing, lambda plain: Unknown())
    with pytest.raises(EncodeError, match=r"registered for Unknown raised AttributeError at \$\[0\]") as caught:
        codec.encode([Unknown()], list[Unknown])
    assert isinstance(caught.value.__cause__, AttributeError)
    with pytest.raises(EncodeError, match="expected Unknown, got int"):
        codec.encode(1, Unknown)


def test_a_size_beyond_the_limit_is_refused_by_the_limit_s_name() -> None:
    """The caller says which limit counts."""
    codec = PayloadCodec(limits=Limits(payload_size=10, status_size=3))
    codec.encode("a" * 8)
    with pytest.raises(LimitExceeded, match="result of charge is too large: 11") as caught:
        codec.encode("a" * 9, what="result of charge")
    assert caught.value.limit == "payload_size"
    with pytest.raises(LimitExceeded) as caught:
        codec.encode("ab", what="status", limit="status_size")
    assert caught.value.limit == "status_size"


def test_a_field_that_only_cattrs_can_place_is_still_refused() -> None:
    """A field typed in the old way has no annotation to find it by; the error then tells of no place."""

    @attrs.define(auto_attribs=False)
    class Old:
        x = attrs.field(type=int)

    with pytest.raises(EncodeError, match=r"expected int, got str\."):
        CODEC.encode(Old("x"), Old)  # type: ignore[arg-type]
