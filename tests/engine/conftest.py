"""A failed test leaves no execution to the garbage collector."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine import driving


@pytest.fixture(autouse=True)
def closed_after_use() -> Iterator[None]:
    """Close what a test drove."""
    driving.OPEN.clear()
    yield
    for driven in driving.OPEN:
        driven.live.close()
    driving.OPEN.clear()
