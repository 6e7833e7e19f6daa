"""Fixtures of the scenarios: an empty store of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioflow.abc import Store
from trioflow.stores import MemoryStore, SqliteStore, open_store


@pytest.fixture(params=["memory", "file", pytest.param("postgres", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store in memory, one in a file, and one on a server, all on the real clock."""
    match request.param:
        case "memory":
            return MemoryStore()
        case "file":
            return SqliteStore(tmp_path / "scenarios.db")
        case _:
            return open_store(request.getfixturevalue("postgres_url"), durability="fast")
