"""The fixtures of trio's own tests."""

from __future__ import annotations

import pytest

from tests.trio_own.facade import Clock


@pytest.fixture
def mock_clock() -> Clock:
    """A clock that a test moves."""
    return Clock()


@pytest.fixture
def autojump_clock() -> Clock:
    """A clock that jumps when everything waits: `run_durable` does that by itself."""
    return Clock()
