"""How an activity is to be run: what travels with its item, beside its arguments.

Laws: plain data, encoded as a small JSON object in the item's `data`; unknown keys of a newer release are passed over.
Read next: `_definitions.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

from trioflow._ambient import OnCancel
from trioflow._util import FAR, is_time_limit, shown
from trioflow.app._retry import NO_RETRY, Retry
from trioflow.errors import ConfigurationError, HistoryError, PayloadError
from trioflow.history import Limits

ON_CANCEL = ("wait", "request", "abandon")


def _limited(seconds: float | None) -> float | None:
    """Without an end is None: no store has to know infinity."""
    return None if seconds == math.inf else seconds


def _seconds(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not is_time_limit(value):
        raise ConfigurationError(
            f"{attribute.name}= must be a number of seconds above 0, at most {FAR:g}, or None, not {shown(value)}"
        )


def _text(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value or len(value) > 256):
        raise ConfigurationError(
            f"{attribute.name}= must be a text of 1 to 256 characters, or None, not {shown(value)}"
        )
    if value is not None:
        try:
            Limits().check_id(f"{attribute.name}=", value)
        except PayloadError as exc:
            raise ConfigurationError(str(exc)) from None


def _policy(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, Retry):
        raise ConfigurationError(f"retry= must be a Retry, not {shown(value)}")


def _one_of(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value not in ON_CANCEL:
        raise ConfigurationError(f"on_cancel= must be one of {', '.join(ON_CANCEL)}, not {shown(value)}")


@attrs.frozen(kw_only=True)
class ActivityOptions:
    """How an activity is to be run."""

    retry: Retry = attrs.field(default=NO_RETRY, validator=_policy)
    tag: str | None = attrs.field(default=None, validator=_text)
    session: str | None = attrs.field(default=None, validator=_text)
    timeout: float | None = attrs.field(default=None, converter=_limited, validator=_seconds)
    schedule_timeout: float | None = attrs.field(default=None, converter=_limited, validator=_seconds)
    heartbeat_timeout: float | None = attrs.field(default=None, converter=_limited, validator=_seconds)
    on_cancel: OnCancel = attrs.field(default="wait", validator=_one_of)

    def to_plain(self) -> dict[str, Any]:
        """What an item carries: only what differs from the default."""
        plain = attrs.asdict(self, recurse=False, filter=lambda a, v: a.name != "retry" and v != a.default)
        if self.retry != NO_RETRY:
            usual = Retry(initial=self.retry.initial)  # the longest pause depends on the first
            plain["retry"] = attrs.asdict(
                self.retry, filter=lambda a, v: v != (a.default if a.name == "initial" else getattr(usual, a.name))
            )
        return plain

    @property
    def timed(self) -> bool:
        """Whether anything but silence may end an attempt for want of time."""
        retry = self.retry
        return not (self.timeout is self.schedule_timeout is retry.timeout is retry.total_timeout is None)

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> ActivityOptions:
        """The options in an item; raises HistoryError if it holds nonsense."""
        known = {a.name: a for a in attrs.fields(ActivityOptions)}
        try:
            chosen = {key: value for key, value in plain.items() if key in known}
            if "retry" in chosen:
                names = [a.name for a in attrs.fields(Retry)]
                chosen["retry"] = Retry(**{k: v for k, v in chosen["retry"].items() if k in names})
            return ActivityOptions(**chosen)
        except (ConfigurationError, TypeError, AttributeError) as exc:
            raise HistoryError(f"an activity's item holds options that this release cannot read: {exc}") from exc


USUAL: Final = ActivityOptions()
USUAL_DATA: Final = b'{"options":{}}'
"""Most items say nothing but this."""
_text_of: Final = json.JSONEncoder(separators=(",", ":")).encode  # `json.dumps` makes one for each text


def encode_options(plain: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
    """An item's `data`."""
    if not plain and not headers:
        return USUAL_DATA
    whole = {"options": plain, "headers": headers} if headers else {"options": plain}
    return _text_of(whole).encode()


def decode_options(data: bytes) -> tuple[ActivityOptions, dict[str, str]]:
    """Options and headers out of an item's `data`."""
    if data == USUAL_DATA:
        return USUAL, {}
    try:
        whole = json.loads(data)
        plain = whole["options"]
        return USUAL if plain == {} else ActivityOptions.from_plain(plain), dict(whole.get("headers", {}))
    except (ValueError, KeyError, TypeError) as exc:
        raise HistoryError(f"an activity's item cannot be read: {exc}") from exc
