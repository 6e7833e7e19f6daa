"""Fixtures of the scenarios: an empty store of each kind that needs no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioflow.abc import Store
from trioflow.stores import MemoryStore, SqliteStore


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store in memory, and one in a file, on the real clock."""
    return MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "scenarios.db")
