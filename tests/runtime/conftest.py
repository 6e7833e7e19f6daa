"""Fixtures of the runtime's tests: a probe, its application, and both stores."""

from __future__ import annotations

from pathlib import Path

import pytest

import trioflow
from tests.runtime.programs import Probe, shop
from trioflow.abc import Store
from trioflow.stores import MemoryStore, SqliteStore


@pytest.fixture
def probe() -> Probe:
    """What activities saw."""
    return Probe()


@pytest.fixture
def app(probe: Probe) -> trioflow.App:
    """The usual application."""
    return shop(probe)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind, on the real clock."""
    if request.param == "memory":
        return MemoryStore()
    return SqliteStore(tmp_path / "test.db")
