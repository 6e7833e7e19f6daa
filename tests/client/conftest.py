"""Fixtures of the client's tests: both stores, on the real clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioflow.abc import Store
from trioflow.stores import MemoryStore, SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    if request.param == "memory":
        return MemoryStore()
    return SqliteStore(tmp_path / "test.db")
