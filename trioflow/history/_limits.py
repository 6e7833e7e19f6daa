"""How much a durable border lets through.

Laws: a limit is checked where a value enters, never where it is read back or found in a history that is replayed, so
that lowering one strands nothing; the one exception is what would break the reader itself (`DEEPEST`, numbers that are
not JSON). Every refusal names its limit. The same on every Python and with every extra.
Who calls it: `_payloads.py`, the engine (history), the client (ids, mailboxes). Read next: `_json.py`.
"""

from __future__ import annotations

import sys
from typing import Final

import attrs

from trioflow._util import MANY, is_count, shown
from trioflow.errors import ConfigurationError, EncodeError, LimitExceeded

KIB: Final = 1024
MIB: Final = 1024 * KIB
SMALLEST_INTEGER: Final = -(2**63)
LARGEST_INTEGER: Final = 2**63 - 1
LARGEST_NUMBER: Final = sys.float_info.max  # an error that tells of it can be recorded, as one of infinity cannot
DEEPEST: Final = 200  # as deep as each of the JSON libraries can write


@attrs.frozen(kw_only=True)
class Limits:
    """The limits of one runtime or client; the defaults are meant to be kept."""

    payload_size: int = 2 * MIB  # bytes of one encoded argument list, result, event or record
    depth: int = 64  # at most 200: lists and objects inside each other
    id_length: int = 512  # characters of an instance id or a definition's name
    event_name_length: int = 256  # characters of an event's name
    kv_key_length: int = 256  # characters of one key of `durable.kv`
    kv_value_size: int = 64 * KIB  # bytes of one encoded value of `durable.kv`
    kv_keys: int = 1_000  # keys that one instance may hold
    status_size: int = 256 * KIB  # bytes of an encoded status
    reason_length: int = 2 * KIB  # characters of the reason that a client gives for a cancellation, say
    mailbox_events: int = 10_000  # unread events of one instance
    mailbox_bytes: int = 16 * MIB  # bytes in the payloads of those
    history_events: int = 50_000  # events of one execution; beyond it the execution fails
    history_bytes: int = 50 * MIB  # bytes of one execution's history; beyond it the execution fails
    warn_events: int = 10_000  # events of one execution at which a warning is logged
    warn_bytes: int = 10 * MIB  # bytes of one execution's history at which a warning is logged
    failure_message: int = 8 * KIB  # characters of a failure's message; longer ones are cut, not refused
    failure_details: int = 64 * KIB  # bytes of an exception's encoded state; a larger one does not come back as itself
    failure_traceback: int = 64 * KIB  # characters of a failure's traceback; the newest are kept
    failure_depth: int = 10  # causes of causes, groups in groups; what lies deeper is left out
    failure_parts: int = 200  # failures in one failure altogether; what comes later is left out

    def __attrs_post_init__(self) -> None:
        for name, value in attrs.asdict(self).items():
            least, most = (1, DEEPEST) if name == "depth" else (0, MANY)
            if not is_count(value, least) or value > most:
                raise ConfigurationError(
                    f"Limits({name}=...) must be a whole number from {least} to {most:,}, not {shown(value)}"
                )

    def check_id(self, kind: str, value: str) -> None:
        """Refuse an id that no store could keep or no person could see.

        Args:
            kind: what it is, for the message, such as "instance id".

        Raises:
            LimitExceeded: it is empty, blank or too long.
            EncodeError: it is not text, or holds NUL or half a surrogate pair.
        """
        check_text(kind, value, limit="id_length", longest=self.id_length)

    def check_event_name(self, name: str) -> None:
        """Refuse an event name, by the rules of `check_id`."""
        check_text("event name", name, limit="event_name_length", longest=self.event_name_length)

    def check_kv_key(self, key: str) -> None:
        """Refuse a key of `durable.kv`, by the rules of `check_id`."""
        check_text("kv key", key, limit="kv_key_length", longest=self.kv_key_length)

    def check_size(self, limit: str, what: str, size: int) -> None:
        """Refuse a size or a count that is beyond the limit of that name.

        Raises:
            LimitExceeded: with `limit`, `allowed` and `actual` filled in.
        """
        allowed: int = getattr(self, limit)
        if size > allowed:
            raise LimitExceeded(
                f"{what} is too large: {size:,}, where the limit {limit!r} allows {allowed:,}. "
                f"Pass a reference to data kept elsewhere, or raise the limit.",
                limit=limit,
                allowed=allowed,
                actual=size,
            )


def check_text(kind: str, value: str, *, limit: str, longest: int) -> None:
    """Refuse a name: see `Limits.check_id`."""
    if not isinstance(value, str):
        raise EncodeError(f"{kind} has to be a str, not {type(value).__name__}")
    if not value or value.isspace():
        raise LimitExceeded(
            f"{kind} is empty or blank: give it a visible character", limit=limit, allowed=longest, actual=0
        )
    if len(value) > longest:
        raise LimitExceeded(
            f"{kind} has {len(value):,} characters, where the limit {limit!r} allows {longest:,}",
            limit=limit,
            allowed=longest,
            actual=len(value),
        )
    if "\0" in value:
        raise EncodeError(f"{kind} {value!a} holds a NUL character, which not every store can keep")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise EncodeError(f"{kind} {value!a} holds half a surrogate pair: it is not valid Unicode text") from None
