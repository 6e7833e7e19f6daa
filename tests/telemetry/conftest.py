"""What the tests of telemetry look through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.canary import CANARY
from tests.telemetry.net import Net
from tests.telemetry.seeing import Seen


@pytest.fixture
def seen() -> Seen:
    """An SDK that records everything, and the instrument that tells it."""
    return Seen()


@pytest.fixture
def net(capfd: pytest.CaptureFixture[str]) -> Iterator[Net]:
    """Hears everything that a test emits; the canary must not have sung in it."""
    with Net() as net:
        yield net
    out, err = capfd.readouterr()
    for where, text in {**net.everything(), "stdout": out, "stderr": err}.items():
        assert CANARY not in text, f"in {where}: {text}"
