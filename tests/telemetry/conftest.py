"""What the tests of telemetry look through."""

from __future__ import annotations

import pytest

from tests.telemetry.seeing import Seen


@pytest.fixture
def seen() -> Seen:
    """An SDK that records everything, and the instrument that tells it."""
    return Seen()
