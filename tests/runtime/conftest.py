"""Fixtures of the runtime's tests: a probe, its application, and both stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import trioflow
from tests.runtime.programs import Probe, shop
from trioflow.abc import Store
from trioflow.stores import MemoryStore


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
    stores = pytest.importorskip("trioflow.stores")
    make: Callable[[Path], Store] | None = getattr(stores, "SqliteStore", None)
    if make is None:
        pytest.skip("no SQLite store yet")
    return make(tmp_path / "test.db")
