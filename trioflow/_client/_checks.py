"""What a client refuses at its border: texts that are none, counts and durations that make no sense.

Laws: checked before anything is asked of a store; the error names the argument, and is a typed one. Who calls it: all
of `_client`. Read next: `_filter.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import trio

from trioflow._util import FAR, MANY, is_count, is_seconds, shown
from trioflow.errors import ConfigurationError, EncodeError

NO_LIMIT: Final = nullcontext()


def check_text(what: str, text: object) -> None:
    """Refuse what is no text that every store can hold. Raises EncodeError."""
    if not isinstance(text, str):
        raise EncodeError(f"{what}= must be a str, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise EncodeError(f"{what}= holds half a surrogate pair: it is not valid Unicode text") from None
    if "\0" in text:
        raise EncodeError(f"{what}= holds a NUL character, which not every store can keep")


def checked_attributes(attributes: Mapping[Any, Any] | None) -> dict[str, str]:
    """A copy of texts by texts; of None, an empty one. Raises EncodeError."""
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping):
        raise EncodeError(f"attributes= maps texts to texts; {type(attributes).__name__} does not")
    copied = dict(attributes)
    for key, value in copied.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise EncodeError(f"attributes= maps texts to texts; {shown(key)} does not")
        check_text("attributes", key)
        check_text("attributes", value)
    return copied


def check_count(what: str, count: object) -> None:
    """Refuse what is no number of things, from 1 on. Raises ConfigurationError."""
    if not is_count(count):
        raise ConfigurationError(f"{what}= must be a whole number, at least 1 and at most {MANY:,}, not {shown(count)}")


def check_seconds(what: str, seconds: object) -> None:
    """Refuse what is no duration. Raises ConfigurationError."""
    if not is_seconds(seconds):
        raise ConfigurationError(
            f"{what}= must be a number of seconds, at least 0 and at most {FAR:g}, not {shown(seconds)}"
        )


def within(seconds: float | None) -> AbstractContextManager[object]:
    """A scope for so many seconds, then trio.TooSlowError; of None, none. Raises ConfigurationError."""
    if seconds is None or seconds == math.inf:
        return NO_LIMIT
    check_seconds("timeout", seconds)
    return trio.fail_after(seconds)


def check_switch(what: str, value: object) -> None:
    """Refuse what is neither True nor False: another value may mean the opposite of how it reads."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{what}= is True or False, not {shown(value)}")
