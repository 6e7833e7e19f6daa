"""Fixtures of the process tests: an empty store that several processes can share, of each kind."""

from __future__ import annotations

import pathlib

import pytest

from tests.chaos.places import NOTICES_DEATHS, PLACES


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest) -> str:
    """The kind of store."""
    return str(request.param)


@pytest.fixture
def url(place: str, tmp_path: pathlib.Path) -> str:
    """Where it is."""
    return PLACES[place](tmp_path)


@pytest.fixture
def notices_deaths(place: str) -> bool:
    """Whether work of the dead is taken over at once, and not when its lease has run out."""
    return place in NOTICES_DEATHS
