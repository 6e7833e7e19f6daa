"""The choice of a JSON library: made once, by name or by what is there."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from trioflow.errors import ConfigurationError
from trioflow.history import EventCodec, PayloadCodec, TimerFired


def test_without_orjson_the_standard_library_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is optional; asking for it by name without having it is an error."""
    monkeypatch.setitem(sys.modules, "orjson", None)
    assert PayloadCodec().encode([1.5]) == b"[1.5]"
    assert EventCodec().decode(1, 0.0, "TimerFired", b"{}", None) == TimerFired(id=1)
    with pytest.raises(ConfigurationError, match=r"pip install 'trioflow\[fast\]'"):
        PayloadCodec(json="orjson")


def test_with_orjson_it_is_used_where_it_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Floats that it spells in its own way are left to the standard library, and so are recorded payloads."""
    written: list[Any] = []

    def dumps(plain: Any) -> bytes:
        written.append(plain)
        return b"1"

    fake = types.ModuleType("orjson")
    fake.dumps = dumps  # type: ignore[attr-defined]
    fake.loads = lambda data: {}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "orjson", fake)
    codec = PayloadCodec()
    assert codec.encode({"a": [0.5]}) == b"1"
    for unusual in ([1e16], {"a": 1e-5}, (0.5, [1e-7])):
        codec.encode(unusual)
    assert written == [{"a": [0.5]}]
    assert codec.encode([1e16, 1e-5]) == b"[1e+16,1e-05]"
    assert codec.decode(b"[1e+16]") == [1e16]
    assert EventCodec().decode(1, 0.0, "TimerFired", b"whatever", None) == TimerFired(id=1)
