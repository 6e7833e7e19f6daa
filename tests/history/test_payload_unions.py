"""A value of a union comes back as the member it was."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Literal, Optional

import attrs
import pytest

from tests.history.payload_types import Color, Kind, Level, Movie, Node, Order, OrderId, Refund
from trioflow.errors import DecodeError, EncodeError
from trioflow.history import PayloadCodec

CODEC = PayloadCodec()
DAY = datetime.date(2026, 1, 1)
NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
ORDER = '{"id":"o","amount":0,"tags":[]}'


def other_order() -> type:
    """Another class of the same name."""

    @attrs.frozen
    class Order:
        id: str

    return Order


Other = other_order()

CASES: list[tuple[Any, Any, str]] = [
    (Order | None, None, "null"),
    (Order | None, Order("o"), ORDER),
    (Order | str | None, "x", '"x"'),
    (Order | list[int] | str, [1], "[1]"),
    (int | str, "1", '"1"'),
    (int | str, 1, "1"),
    (int | float, 1, "1"),
    (int | float, 1.0, "1.0"),
    (bool | int, True, "true"),
    (bool | int, 1, "1"),
    (Optional[int], 1, "1"),  # noqa: UP045 - the older spelling
    (OrderId | None, "x", '"x"'),
    (datetime.date | None, DAY, '"2026-01-01"'),
    (datetime.date | str, DAY, '{"$type":"date","value":"2026-01-01"}'),
    (datetime.date | str, "2026-01-01", '"2026-01-01"'),
    (datetime.date | datetime.datetime, NOON, '{"$type":"datetime","value":"2026-01-01T12:00:00+00:00"}'),
    (datetime.date | datetime.datetime, DAY, '{"$type":"date","value":"2026-01-01"}'),
    (Order | Refund, Order("o"), '{"$type":"Order","value":' + ORDER + "}"),
    (Order | Refund | None, Refund("r"), '{"$type":"Refund","value":{"id":"r","reason":null}}'),
    (Order | Refund | None, None, "null"),
    (Order | dict[str, int], {"id": 1}, '{"$type":"dict[str, int]","value":{"id":1}}'),
    (Order | Movie, {"title": "x"}, '{"$type":"Movie","value":{"title":"x"}}'),
    (Color | Kind, Kind.A, '{"$type":"Kind","value":"a"}'),
    (Color | Level, Level.LOW, "1"),
    (Literal["a"] | int, "a", '"a"'),
    (list[int] | list[str], ["a"], '{"$type":"list[str]","value":["a"]}'),
    (list[int] | list[str], [1], '{"$type":"list[int]","value":[1]}'),
    (Order | (Refund | None), Refund("r"), '{"$type":"Refund","value":{"id":"r","reason":null}}'),
    (Any | Order, {"a": 1}, '{"a":1}'),
    (Node | int, Node(1), '{"value":1,"next":null,"children":[]}'),
    (
        Order | Other,
        Other("x"),
        '{"$type":"tests.history.test_payload_unions.other_order.<locals>.Order","value":{"id":"x"}}',
    ),
    (tuple[int, ...] | None, (1,), "[1]"),
    (frozenset[int] | int, frozenset([1]), "[1]"),
    (Mapping[str, int] | None, {"a": 1}, '{"a":1}'),
]


@pytest.mark.parametrize(("type_", "value", "text"), CASES, ids=str)
def test_a_member_comes_back_as_itself(type_: Any, value: Any, text: str) -> None:
    """A tag is written only where the JSON alone would not tell the members apart."""
    data = CODEC.encode(value, type_)
    assert data == text.encode()
    back = CODEC.decode(data, type_)
    assert back == value
    assert type(back) is type(value)


def test_a_member_may_be_added_later() -> None:
    """What was written without a tag is still read when the union has become ambiguous, and the other way round."""
    untagged = CODEC.encode(Order("o"), Order | None)
    tagged = CODEC.encode(Order("o"), Order | Refund)
    assert CODEC.decode(untagged, Order | Refund | None) == Order("o")
    assert CODEC.decode(tagged, Order | None) == Order("o")
    assert CODEC.decode(b'{"id":"r","reason":"x"}', dict[str, int] | Refund) == Refund("r", "x")


def test_data_that_only_look_tagged_are_data() -> None:
    """An object with these two keys is taken for tagged only if its tag is one of the union's."""
    for value in ({"$type": "Gone", "value": "x"}, {"$type": "1", "value": "x"}, {"other": "a", "value": "b"}):
        assert CODEC.decode(CODEC.encode(value, dict[str, str] | None), dict[str, str] | None) == value
    with pytest.raises(DecodeError):
        CODEC.decode(b'{"$type":[],"value":1}', Order | Refund)


@pytest.mark.parametrize(
    ("type_", "value", "says"),
    [
        (Order | None, 5, "got int"),
        (int | str, 1.5, r"expected int \| str, got float"),
        (Order | None, Order(5), r"expected str, got int at \$.id"),  # type: ignore[arg-type]
        (list[int] | list[str], [1.5], "got list"),
    ],
)
def test_a_value_of_no_member_is_refused(type_: Any, value: Any, says: str) -> None:
    """If one member was meant, the error says where it went wrong."""
    with pytest.raises(EncodeError, match=says):
        CODEC.encode(value, type_)


@pytest.mark.parametrize(
    ("type_", "data", "says"),
    [
        (int | str, b"1.5", r"expected int \| str, got float"),
        (Order | None, b'{"id":5}', r"expected str, got int @ \$.id"),
        (Order | Refund, b'{"$type":"Order","value":{}}', r"a required field is missing @ \$.id"),
        (datetime.date | Color, b'"x"', r"got str"),
    ],
)
def test_recorded_data_of_no_member_are_refused(type_: Any, data: bytes, says: str) -> None:
    """If one member was meant, the error says where it went wrong."""
    with pytest.raises(DecodeError, match=says):
        CODEC.decode(data, type_)


def test_a_subclass_of_a_plain_member_is_that_member() -> None:
    """A StrEnum passes for a str, an int for a float, a bool for an int, as for a type checker."""
    assert CODEC.encode(Kind.A, str | None) == b'"a"'
    assert CODEC.encode(3, float | None) == b"3.0"
    assert CODEC.decode(b"3", float | None) == 3.0
    assert CODEC.encode(True, int | None) == b"1"
