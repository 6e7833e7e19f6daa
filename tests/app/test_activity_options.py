"""How options of an activity travel with its item."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from trioflow.app import ActivityOptions, Retry, decode_options, encode_options
from trioflow.errors import ConfigurationError, HistoryError


@pytest.mark.parametrize(
    "options",
    [
        ActivityOptions(),
        ActivityOptions(
            tag="gpu", session="s", timeout=5, schedule_timeout=0.5, heartbeat_timeout=2.5, on_cancel="abandon"
        ),
        ActivityOptions(retry=Retry()),
        ActivityOptions(
            retry=Retry(
                max_attempts=None,
                initial=1,
                factor=3,
                increment=2,
                max_interval=math.inf,
                jitter=0.5,
                timeout=4,
                total_timeout=60,
                retry_on=(OSError, "mine.Busy"),
                give_up_on=(KeyError,),
            )
        ),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"traceparent": "00-1"}])
def test_what_is_encoded_is_decoded_as_it_was(options: ActivityOptions, headers: dict[str, str]) -> None:
    """Every field, and the headers."""
    data = encode_options(options.to_plain(), headers)
    assert decode_options(data) == (options, headers)


def test_only_what_differs_from_the_default_travels() -> None:
    """The usual item is small."""
    assert encode_options(ActivityOptions().to_plain(), {}) == b'{"options":{}}'
    retry = ActivityOptions(retry=Retry(max_attempts=5))
    assert json.loads(encode_options(retry.to_plain(), {})) == {"options": {"retry": {"max_attempts": 5}}}


def test_what_a_newer_release_says_is_passed_over() -> None:
    """Unknown options and unknown fields of the policy."""
    data = b'{"options":{"colour":"red","tag":"t","retry":{"max_attempts":2,"mood":1}},"more":5}'
    options, headers = decode_options(data)
    assert (options.tag, options.retry.max_attempts, headers) == ("t", 2, {})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"5",
        b"{}",
        b"[]",
        b'{"options":5}',
        b'{"options":[1]}',
        b'{"options":{"timeout":-1}}',
        b'{"options":{"retry":5}}',
        b'{"options":{"retry":{"jitter":7}}}',
        b'{"options":{"retry":{"retry_on":[5]}}}',
        b'{"options":{},"headers":5}',
        b"\xff",
    ],
)
def test_a_damaged_item_is_a_typed_error(data: bytes) -> None:
    """Never anything else."""
    with pytest.raises(HistoryError):
        decode_options(data)


@pytest.mark.parametrize(
    "settings",
    [
        {"tag": ""},
        {"tag": 5},
        {"tag": "x" * 257},
        {"session": ""},
        {"timeout": 0},
        {"timeout": math.nan},
        {"timeout": "1"},
        {"schedule_timeout": -1},
        {"tag": "a\0b"},
        {"session": "\ud800"},
        {"session": " "},
        {"heartbeat_timeout": 0},
        {"on_cancel": "ignore"},
    ],
)
def test_nonsense_is_refused_where_it_is_written(settings: dict[str, Any]) -> None:
    """The error names the option."""
    (name,) = settings
    with pytest.raises(ConfigurationError, match=f"{name}="):
        ActivityOptions(**settings)


def test_a_time_without_an_end_is_none() -> None:
    """Infinity is not given to a store, which may have no such number."""
    options = ActivityOptions(timeout=math.inf, schedule_timeout=math.inf, heartbeat_timeout=math.inf)
    assert options == ActivityOptions()


def test_a_policy_is_a_policy() -> None:
    """Not a number of attempts."""
    with pytest.raises(ConfigurationError, match="retry= must be a Retry, not 3"):
        ActivityOptions(retry=3)  # type: ignore[arg-type]
