"""Every supported type comes back as it was, and its text is canonical."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import subprocess
import sys
import typing
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

import attrs
import pytest
import typing_extensions
from hypothesis import given, settings, strategies as st

from tests.history.payload_types import ROUND_TRIPS, UTC, Box, Color, Level, Loose, Node, Order, Pair
from trioflow.history import PayloadCodec

CODEC = PayloadCodec(json="stdlib")
ROOT = Path(__file__).parents[2]

QUICKLY = settings(max_examples=50, deadline=None)  # a busy machine is no failure
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(("type_", "value", "text"), ROUND_TRIPS, ids=str)
def test_a_value_comes_back_as_it_was(type_: Any, value: Any, text: str) -> None:
    """The text is the golden one, and what comes back equals what went in, type included."""
    data = CODEC.encode(value, type_)
    assert data == text.encode()
    back = CODEC.decode(data, type_)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(("type_", "value", "text"), ROUND_TRIPS, ids=str)
def test_orjson_writes_the_same_bytes(type_: Any, value: Any, text: str) -> None:
    """The optional extra changes the speed and nothing else."""
    assert PayloadCodec(json="orjson").encode(value, type_) == text.encode()


@QUICKLY
@given(PLAIN)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    """Without a declared type, JSON data make the trip unchanged: 1 stays an int, 1.0 a float."""
    back = CODEC.decode(CODEC.encode(value))
    assert repr(back) == repr(value)


@QUICKLY
@given(PLAIN)
def test_both_libraries_agree_on_plain_data(value: Any) -> None:
    """Bytes are compared in replays, so one library must write what the other would."""
    assert PayloadCodec(json="orjson").encode(value) == CODEC.encode(value)


@QUICKLY
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_there_is_one_form_of_a_float(value: float) -> None:
    """A float is written as Python's repr writes it, whatever its size."""
    assert PayloadCodec(json="orjson").encode([value], list[float]) == f"[{value!r}]".encode()


@QUICKLY
@given(st.datetimes(timezones=st.sampled_from([None, UTC])), st.timedeltas(), st.decimals(allow_nan=False), st.binary())
def test_exact_types_are_exact(when: datetime.datetime, span: datetime.timedelta, number: Any, raw: bytes) -> None:
    """Moments, spans, decimals and bytes lose nothing."""
    value = (when, span, number, raw)
    type_ = tuple[datetime.datetime, datetime.timedelta, decimal.Decimal, bytes]
    assert CODEC.decode(CODEC.encode(value, type_), type_) == value


def test_the_hash_seed_does_not_show() -> None:
    """Sets are sorted by the text of their members, so two processes write the same bytes."""
    program = (
        "from trioflow.history import PayloadCodec as C; import sys;"
        "words = {f'w{n}' for n in range(50)};"
        "sys.stdout.buffer.write(C().encode([words], list[set[str]]))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    env["PYTHONHASHSEED"] = "2" if env.get("PYTHONHASHSEED") == "1" else "1"  # another than ours
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, check=True, timeout=60)
    assert done.stdout == CODEC.encode([{f"w{n}" for n in range(50)}], list[set[str]])
    assert json.loads(done.stdout)[0] == sorted(f"w{n}" for n in range(50))


@pytest.mark.parametrize(
    ("type_", "value", "back"),
    [
        (float, 3, 3.0),
        (float, True, 1.0),
        (int, True, 1),
        (int, Level.HIGH, 2),
        (str, "x", "x"),
        (Any, (1, (2,)), [1, [2]]),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (float | None, 3, 3.0),
        (typing.Sequence[int], (1, 2), [1, 2]),
        (typing.Collection[int], {3, 1, 2}, [1, 2, 3]),
        (typing.Sequence, [None], [None]),
        (bytes, bytearray(b"a"), b"a"),
        (Box, Box(1), Box(1)),
        (Loose, Loose((1,)), Loose([1])),
        (NoReturn, "x", "x"),
    ],
    ids=str,
)
def test_what_a_type_checker_allows_becomes_the_declared_type(type_: Any, value: Any, back: Any) -> None:
    """An int where a float is declared is stored as one, so the code sees the same after a crash as before."""
    seen = CODEC.decode(CODEC.encode(value, type_), type_)
    assert repr(seen) == repr(back)


def test_subclasses_of_plain_types_are_stored_as_their_base() -> None:
    """A str or float subclass comes back as plain str or float, which is what is declared."""

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "not this"

    class Real(float):
        __slots__ = ()

    assert CODEC.encode(Text("x"), str) == b'"x"'
    assert CODEC.encode(Real(1.5), float) == b"1.5"


class Film(typing.TypedDict):
    """Yesterday it had more."""

    title: str


Alias = typing_extensions.TypeAliasType("Alias", list[int])
T = typing.TypeVar("T")
Bound = typing.TypeVar("Bound", bound=Order)
Twice = typing_extensions.TypeAliasType("Twice", tuple[T, T], type_params=(T,))


@attrs.frozen
class Tagged:
    """A decoration that has no hash, as pydantic's fields have none."""

    note: list[int] = attrs.field(factory=list, hash=False, eq=True)
    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        (Annotated[int, "doc"], 1, b"1"),
        (Annotated[int, Tagged()], 1, b"1"),
        (list[Annotated[int, Tagged()]], [1], b"[1]"),
        (Final[int], 1, b"1"),
        (Alias, [1], b"[1]"),
        (Twice[Order], (Order("a"), Order("b")), b'[{"id":"a","amount":0,"tags":[]},{"id":"b","amount":0,"tags":[]}]'),
        (Bound, Order("a"), b'{"id":"a","amount":0,"tags":[]}'),
        (Literal["a", 1, True], 1, b"1"),
        (Literal["a", 1, True], True, b"true"),
        (Literal[Color.RED, b"x"], Color.RED, b'"red"'),
        (Literal[Color.RED, b"x"], b"x", b'"eA=="'),
    ],
    ids=str,
)
def test_decorated_annotations_mean_what_they_hold(type_: Any, value: Any, text: bytes) -> None:
    """Annotated, Final, aliases, bounds and literals are looked through."""
    for _ in range(2):  # an annotation without a hash is found again by identity
        assert CODEC.encode(value, type_) == text
        assert CODEC.decode(text, type_) == value


def test_new_fields_with_defaults_are_harmless() -> None:
    """Recorded data without a new field, or with a removed one, still make an instance."""
    assert CODEC.decode(b'{"id":"o","gone":1}', Order) == Order("o")
    assert CODEC.decode(b'{"left":1,"gone":1}', Pair) == Pair(1)
    assert CODEC.decode(b'{"title":"x","gone":1}', Film) == {"title": "x"}


def test_a_codec_can_learn_a_class() -> None:
    """A registered class is stored by the functions given for it, also inside of classes met before."""

    class Money:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    codec = PayloadCodec()
    assert codec.encode([1], list[int]) == b"[1]"
    codec.register(Money, lambda money: money.cents, Money)
    data = codec.encode([Money(5)], list[Money])
    assert data == b"[5]"
    assert codec.decode(data, list[Money])[0].cents == 5


def test_a_deep_but_allowed_value_makes_the_trip() -> None:
    """Recursive classes go as deep as the limit on nesting."""
    node = None
    for value in range(30):
        node = Node(value, node)
    assert CODEC.decode(CODEC.encode(node, Node), Node) == node
