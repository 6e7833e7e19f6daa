"""Fixtures of the process tests: an empty store that several processes can share, of each kind."""

from __future__ import annotations

import pathlib

import pytest


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> str:
    """The kind of store."""
    return str(request.param)


@pytest.fixture
def url(place: str, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> str:
    """Where it is."""
    if place == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:{tmp_path / 'store.db'}"


@pytest.fixture
def notices_deaths(place: str) -> bool:
    """Whether work of the dead is taken over at once, as everybody lives on one machine."""
    return place == "sqlite"
