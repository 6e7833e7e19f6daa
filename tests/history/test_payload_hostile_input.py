"""What JSON cannot carry, and what somebody else might have written, ends in a typed error on every Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.history.payload_types import Node
from trioflow.errors import DecodeError, EncodeError, LimitExceeded
from trioflow.history import ArgumentSpec, Limits, PayloadCodec

CODEC = PayloadCodec()


def nested(levels: int, innermost: Any = 1) -> Any:
    """Lists in lists."""
    value = innermost
    for _ in range(levels):
        value = [value]
    return value


def test_depth_is_limited_in_both_directions() -> None:
    """Sixty-four levels enter; what is read back may be as deep as any limit lets enter, and no deeper."""
    assert CODEC.decode(CODEC.encode(nested(64))) == nested(64)
    with pytest.raises(LimitExceeded) as caught:
        CODEC.encode(nested(65), what="result of charge")
    assert (caught.value.limit, caught.value.allowed) == ("depth", 64)
    assert CODEC.decode(b"[" * 200 + b"]" * 200) == nested(199, innermost=[])
    with pytest.raises(LimitExceeded) as caught:
        CODEC.decode(b"[" * 201 + b"]" * 201)
    assert (caught.value.limit, caught.value.allowed) == ("depth", 200)
    with pytest.raises(LimitExceeded):
        PayloadCodec(limits=Limits(depth=1)).encode({"a": {}})


@pytest.mark.parametrize("levels", [1_000, 100_000])
def test_a_nesting_bomb_is_no_recursion_error(levels: int) -> None:
    """Text nested deeper than Python can read is refused as too deep."""
    with pytest.raises(LimitExceeded) as caught:
        CODEC.decode(b"[" * levels + b"]" * levels)
    assert caught.value.limit == "depth"


def test_a_value_that_contains_itself_is_too_deep() -> None:
    """A cycle is refused, in plain data, in classes and in arguments."""
    loop: list[Any] = []
    loop.append(loop)
    node = Node(1)
    node.next = node

    def take(node: Node) -> None:
        """Take a node."""

    calls: tuple[Callable[[], bytes], ...] = (
        lambda: CODEC.encode(loop),
        lambda: CODEC.encode(node, Node),
        lambda: CODEC.encode_arguments(ArgumentSpec.of(take), (node,)),
    )
    for call in calls:
        with pytest.raises(LimitExceeded, match="contains itself") as caught:
            call()
        assert caught.value.limit == "depth"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_in_json_is_refused(value: float) -> None:
    """NaN and infinities are refused by the limit's name, alone and inside."""
    with pytest.raises(LimitExceeded) as caught:
        CODEC.encode(value)
    assert caught.value.limit == "nan"
    with pytest.raises(LimitExceeded, match=r"at \$.a\[1\]"):
        CODEC.encode({"a": [1.0, value]})
    with pytest.raises(LimitExceeded):
        CODEC.encode([{value}], list[set[float]])


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**5000], ids=["above", "below", "far"])
def test_an_integer_beyond_64_bits_is_refused(value: int) -> None:
    """The same with every library, and never a ValueError about digits."""
    with pytest.raises(LimitExceeded, match="store it as a string") as caught:
        CODEC.encode([value], list[int])
    assert caught.value.limit == "integer"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"1" * 30, LimitExceeded),
        (b"1" * 5000, DecodeError),
        (b"1e999", LimitExceeded),
        (b"NaN", DecodeError),
        (b"-Infinity", DecodeError),
        (b'{"a":1,"a":2}', DecodeError),
        (b'[{"a":{"b":1,"b":1}}]', DecodeError),
        (b'"\\ud800"', DecodeError),
        (b'{"\\udc00":1}', DecodeError),
        (b'"\xff"', DecodeError),
        (b'"\xed\xa0\x80"', DecodeError),
        (b"", DecodeError),
        (b"{", DecodeError),
        (b"[1,]", DecodeError),
        (b"1 2", DecodeError),
        (b"1\x0b", DecodeError),
        (b"\xc2\xa01", DecodeError),
        (b"\xef\xbb\xbf1", DecodeError),
        (b"'a'", DecodeError),
    ],
)
def test_text_that_we_did_not_write_is_refused(data: bytes, error: type[Exception]) -> None:
    """Duplicate keys, huge numbers, broken Unicode and broken JSON: a typed error each time."""
    with pytest.raises(error, match=r"^event payload"):
        CODEC.decode(data, what="event payload")


@pytest.mark.parametrize("value", ["\ud800", ["a", "\udfff"], {"\ud800": 1}, {"a\udc00": {}}])
def test_half_a_surrogate_pair_is_refused(value: Any) -> None:
    """No store could keep it as text, so it is refused at the border."""
    with pytest.raises(EncodeError, match="half a surrogate pair"):
        CODEC.encode(value)


def test_a_set_that_cannot_be_ordered_is_still_refused_for_its_own_reason() -> None:
    """Sorting members by their text does not hide what is wrong with them."""
    with pytest.raises(EncodeError, match="half a surrogate pair"):
        CODEC.encode({"\ud800", "a"}, set[str])


@pytest.mark.parametrize("key", ["[" * 5000, "9" * 30, "9" * 5000, "[", "NaN"], ids=len)
def test_a_hostile_key_is_refused(key: str) -> None:
    """Keys that hold JSON text obey the same rules as the rest."""
    with pytest.raises(DecodeError, match="a key that holds int as JSON text"):
        CODEC.decode(b'{"' + key.encode() + b'":1}', dict[int, int])


def test_a_key_that_json_cannot_carry_is_refused() -> None:
    """A huge integer is no key either."""
    with pytest.raises(EncodeError, match=r"a key that JSON can carry \(integer\)"):
        CODEC.encode({10**5000: 1}, dict[int, int])


def test_space_around_a_value_is_nothing() -> None:
    """As JSON has it, and nothing else is space."""
    assert CODEC.decode(b" \t\r\n[1, 2] \n") == [1, 2]
