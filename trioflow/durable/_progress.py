"""What clients may read of a running orchestration: `set_status` and `kv`.

Laws: both are durable per instance and carried over continue-as-new; a read gives what this execution last wrote, also
on replay, and when it wrote it; values are copied at the border, so only an assignment stores.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from math import inf
from typing import Any

from trioflow._ambient import current_host
from trioflow._kernel import current_time
from trioflow._util import FAR, is_seconds, shown


def set_status(value: Any) -> None:
    """Say how far the orchestration is; clients read and watch it. Not a checkpoint.

    Raises LimitExceeded beyond `status_size` (256 KiB), EncodeError for what cannot be serialized.
    """
    host = current_host()
    recorded = host.recorded_status()
    host.set_status(host.codec.encode(value, _type_of(value), what="the status", recorded=recorded))


def get_status(type: Any = Any) -> Any:
    """The status as last set, by this execution or the one before; None if it never was. Not a checkpoint."""
    host = current_host()
    payload = host.get_status()
    return None if payload is None else host.codec.decode(payload, type, what="the status")


class KeyValues(MutableMapping[str, Any]):
    """A mapping from text to values, durable per instance. ``kv[key]`` gives a fresh copy; only assignment stores."""

    def __getitem__(self, key: str) -> Any:
        return self._read(key, Any)

    def get(self, key: str, default: Any = None, *, type: Any = Any) -> Any:
        """The value of a key as `type`, or `default`."""
        return self._read(key, type) if key in self else default

    def __setitem__(self, key: str, value: Any) -> None:
        host = current_host()
        recorded = host.recorded_value(key)
        if recorded is None:
            host.codec.limits.check_kv_key(key)
        host.kv_set(key, host.codec.encode(value, _type_of(value), what=f"kv[{key!r}]", recorded=recorded))

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        current_host().kv_clear(key)

    def updated_at(self, key: str) -> float:
        """When the key was last set, in seconds since the Unix epoch: the `durable.current_time()` of the assignment.

        It follows from the history, so it is the same on every replay, and is carried over continue-as-new. Raises
        KeyError for a key that is not there.
        """
        at = current_host().kv_updated_at(key)
        if at is None:
            raise KeyError(key)
        return at

    def prune(self, *, older_than: float) -> int:
        """Remove the keys that were last set more than `older_than` seconds before `durable.current_time()`; how many.

        Raises ValueError if that is not a number of seconds from 0 on.
        """
        if older_than != inf and not is_seconds(older_than):
            raise ValueError(f"older_than= must be a number of seconds from 0 to {FAR:g}, not {shown(older_than)}")
        before = current_time() - older_than
        old = [key for key in self if self.updated_at(key) < before]
        for key in old:
            del self[key]
        return len(old)

    def clear(self) -> None:
        """Remove every key."""
        for key in self:
            del self[key]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and current_host().kv_get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(current_host().kv_keys()))

    def __len__(self) -> int:
        return len(tuple(current_host().kv_keys()))

    def __repr__(self) -> str:
        return "<trioflow.durable.kv>"

    def _read(self, key: str, type: Any) -> Any:
        host = current_host()
        payload = host.kv_get(key)
        if payload is None:
            raise KeyError(key)
        return host.codec.decode(payload, type, what=f"kv[{key!r}]")


kv = KeyValues()
"""The running orchestration's values. Holds nothing itself."""


def _type_of(value: Any) -> Any:
    """Containers hold plain JSON; anything else is encoded as its own class."""
    return Any if isinstance(value, dict | list | tuple) else type(value)
