"""Classes that the payload tests send through the codec."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import pathlib
import uuid
from typing import Any, Generic, NamedTuple, NewType, NotRequired, Protocol, TypeVar, TypedDict

import attrs

T = TypeVar("T")
OrderId = NewType("OrderId", str)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Kind(enum.StrEnum):
    A = "a"
    B = "b"


class Shape(enum.Enum):
    """Its values are no plain scalars, so its names stand for its members."""

    POINT = (0, 0)
    LINE = (0, 1)


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@attrs.frozen
class Order:
    id: str
    amount: int = 0
    tags: tuple[str, ...] = ()


@attrs.frozen
class Refund:
    id: str
    reason: str | None = None


@attrs.frozen
class BigOrder(Order):
    boxes: int = 1


@attrs.define
class Node:
    """Refers to itself."""

    value: int
    next: Node | None = None
    children: list[Node] = attrs.field(factory=list)


@attrs.frozen
class Box(Generic[T]):
    """Generic, and refers to itself with another argument."""

    item: T
    label: Box[str] | None = None


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    at: datetime.datetime | None = None


class Pair(NamedTuple):
    left: int
    right: Order = Order("none")


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


@attrs.define
class Loose:
    """Fields that say nothing of their type."""

    a = attrs.field()  # type: ignore[var-annotated]
    b = attrs.field(default=None)  # type: ignore[var-annotated]


class HasId(Protocol):
    id: str


class Unknown:
    """A class that no codec can know."""


def counter(**counts: int) -> collections.Counter[str]:
    """A Counter."""
    return collections.Counter(counts)


UTC = datetime.UTC
HALF = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
WHEN = datetime.datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=HALF)
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")

ROUND_TRIPS: list[tuple[Any, Any, str]] = [
    (str, 'żółw\n\x01"\\🐢', '"żółw\\n\\u0001\\"\\\\🐢"'),
    (int, -(2**63), "-9223372036854775808"),
    (bool, True, "true"),
    (float, 1e300, "1e+300"),
    (float, 1.5, "1.5"),
    (float, -0.0, "-0.0"),
    (None, None, "null"),
    (type(None), None, "null"),
    (bytes, b"\x00\xff", '"AP8="'),
    (bytearray, bytearray(b"ab"), '"YWI="'),
    (datetime.datetime, WHEN, '"2026-03-01T12:30:15.123456+05:30"'),
    (datetime.datetime, WHEN.replace(tzinfo=None), '"2026-03-01T12:30:15.123456"'),
    (datetime.date, WHEN.date(), '"2026-03-01"'),
    (datetime.time, datetime.time(1, 2, 3, tzinfo=UTC), '"01:02:03+00:00"'),
    (datetime.timedelta, datetime.timedelta(microseconds=-1), '"P-1DT86399.999999S"'),
    (datetime.timedelta, datetime.timedelta.max, '"P999999999DT86399.999999S"'),
    (uuid.UUID, UUID, '"12345678-1234-5678-1234-567812345678"'),
    (decimal.Decimal, decimal.Decimal("1.10"), '"1.10"'),
    (pathlib.Path, pathlib.Path("a/b"), '"a/b"'),
    (pathlib.PurePosixPath, pathlib.PurePosixPath("/x"), '"/x"'),
    (Color, Color.RED, '"red"'),
    (Level, Level.HIGH, "2"),
    (Kind, Kind.B, '"b"'),
    (Shape, Shape.LINE, '"LINE"'),
    (Rights, Rights.READ | Rights.WRITE, "3"),
    (Rights, Rights.WRITE, "2"),
    (OrderId, OrderId("o"), '"o"'),
    (Order, Order("o", 3, ("a", "b")), '{"id":"o","amount":3,"tags":["a","b"]}'),
    (Point, Point(1.0, 2.0, WHEN), '{"x":1.0,"y":2.0,"at":"2026-03-01T12:30:15.123456+05:30"}'),
    (Pair, Pair(1), '{"left":1,"right":{"id":"none","amount":0,"tags":[]}}'),
    (Movie, {"title": "x"}, '{"title":"x"}'),
    (Movie, {"title": "x", "year": 1999}, '{"title":"x","year":1999}'),
    (
        Node,
        Node(1, Node(2), [Node(3)]),
        '{"value":1,"next":{"value":2,"next":null,"children":[]},"children":[{"value":3,"next":null,"children":[]}]}',
    ),
    (Box[int], Box(1, Box("x")), '{"item":1,"label":{"item":"x","label":null}}'),
    (Box[Order], Box(Order("o")), '{"item":{"id":"o","amount":0,"tags":[]},"label":null}'),
    (Loose, Loose([1, {"a": None}], 2.5), '{"a":[1,{"a":null}],"b":2.5}'),
    (list, [1, "a"], '[1,"a"]'),
    (list[Color], [Color.BLUE], '["blue"]'),
    (collections.deque[int], collections.deque([1, 2]), "[1,2]"),
    (collections.abc.Sequence[int], [1], "[1]"),
    (collections.abc.MutableSequence[int], [1], "[1]"),
    (collections.abc.Iterable[int], [1], "[1]"),
    (collections.abc.Collection[int], [1], "[1]"),
    (tuple, (1, "a"), '[1,"a"]'),
    (tuple[int, ...], (1, 2), "[1,2]"),
    (tuple[int, Color], (1, Color.RED), '[1,"red"]'),
    (tuple[()], (), "[]"),
    (set[str], {"b", "a", "ä", "aa"}, '["a","aa","b","ä"]'),
    (set[int], {10, 9, 1}, "[1,10,9]"),
    (frozenset[Color], frozenset(Color), '["blue","red"]'),
    (collections.abc.Set[int], frozenset([2, 1]), "[1,2]"),
    (collections.abc.MutableSet[int], {1}, "[1]"),
    (set, {"x"}, '["x"]'),
    (dict, {"b": 1, "a": [2]}, '{"b":1,"a":[2]}'),
    (dict[str, float], {"b": 1.0, "a": 2.5}, '{"b":1.0,"a":2.5}'),
    (dict[int, str], {2: "b", 1: "a"}, '{"2":"b","1":"a"}'),
    (dict[Color, int], {Color.RED: 1}, '{"red":1}'),
    (dict[Level, int], {Level.LOW: 1}, '{"1":1}'),
    (dict[uuid.UUID, int], {UUID: 1}, '{"12345678-1234-5678-1234-567812345678":1}'),
    (dict[datetime.date, int], {WHEN.date(): 1}, '{"2026-03-01":1}'),
    (dict[tuple[int, str], int], {(1, "a"): 1}, '{"[1,\\"a\\"]":1}'),
    (dict[str | int, int], {"1": 1, 1: 2}, '{"\\"1\\"":1,"1":2}'),
    (dict[bool, int], {True: 1}, '{"true":1}'),
    (collections.abc.Mapping[str, Order], {"k": Order("o")}, '{"k":{"id":"o","amount":0,"tags":[]}}'),
    (collections.abc.MutableMapping[str, int], {"k": 1}, '{"k":1}'),
    (collections.OrderedDict[str, int], collections.OrderedDict(a=1), '{"a":1}'),
    (collections.Counter[str], counter(a=2), '{"a":2}'),
    (collections.defaultdict[str, list[int]], collections.defaultdict(list, a=[1]), '{"a":[1]}'),
    (Any, {"a": [1, 2.5, None, True, "x"]}, '{"a":[1,2.5,null,true,"x"]}'),
    (object, "x", '"x"'),
    (HasId, {"id": "x"}, '{"id":"x"}'),
    (T, [1], "[1]"),
]
"""A declared type, a value of it, and its canonical text."""
