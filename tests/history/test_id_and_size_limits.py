"""Names and sizes that a durable border refuses, each by its limit's name."""

from __future__ import annotations

import pytest

from trioflow.errors import ConfigurationError, EncodeError, LimitExceeded
from trioflow.history import Limits


@pytest.mark.parametrize("value", ["order-1", "a" * 512, "żółw 🐢", "a/b c"])
def test_an_ordinary_id_passes(value: str) -> None:
    """Any visible Unicode text within the limit is an id."""
    Limits().check_id("instance id", value)


@pytest.mark.parametrize("value", ["", "   ", "\t\n", "a" * 513])
def test_an_empty_blank_or_long_id_is_refused(value: str) -> None:
    """An id that nobody could see, or no store could index, is refused with the limit's name."""
    with pytest.raises(LimitExceeded, match=r"^instance id") as caught:
        Limits().check_id("instance id", value)
    assert caught.value.limit == "id_length"
    assert caught.value.allowed == 512
    assert caught.value.actual in (0, 513)


@pytest.mark.parametrize(
    ("value", "says"), [("a\0b", "NUL"), ("a\ud800", "surrogate"), (5, "has to be a str, not int"), (b"x", "not bytes")]
)
def test_what_is_no_text_for_every_store_is_refused(value: str, says: str) -> None:
    """NUL, half a surrogate pair and other types are no ids."""
    with pytest.raises(EncodeError, match=says):
        Limits().check_id("instance id", value)


def test_event_names_and_keys_have_limits_of_their_own() -> None:
    """The error names the limit that was passed."""
    limits = Limits(event_name_length=3, kv_key_length=4)
    limits.check_event_name("abc")
    limits.check_kv_key("abcd")
    with pytest.raises(LimitExceeded, match="event name has 4 characters") as caught:
        limits.check_event_name("abcd")
    assert caught.value.limit == "event_name_length"
    with pytest.raises(LimitExceeded, match="kv key has 5 characters") as caught:
        limits.check_kv_key("abcde")
    assert caught.value.limit == "kv_key_length"


def test_a_size_beyond_its_limit_is_refused() -> None:
    """`check_size` compares with the limit of the given name and says both numbers."""
    limits = Limits(kv_keys=2)
    limits.check_size("kv_keys", "kv", 2)
    with pytest.raises(LimitExceeded, match=r"kv is too large: 3, where the limit 'kv_keys' allows 2") as caught:
        limits.check_size("kv_keys", "kv", 3)
    assert (caught.value.limit, caught.value.allowed, caught.value.actual) == ("kv_keys", 2, 3)


def test_the_depth_limit_stays_within_what_every_json_library_can_do() -> None:
    """A depth that one of the libraries could not write is refused when the limits are made."""
    with pytest.raises(ConfigurationError, match=r"depth.* from 1 to 200, not 1000"):
        Limits(depth=1_000)
