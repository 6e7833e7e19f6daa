"""A URL names a store, or the error says how to write one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trioflow.abc import Env
from trioflow.errors import ConfigurationError
from trioflow.stores import MemoryStore, SqliteStore, open_store


def test_memory() -> None:
    """memory: is a store of its own each time, in the world it was given."""
    env = Env()
    store = open_store("memory:", env=env)
    assert isinstance(store, MemoryStore)
    assert store._env is env
    assert store is not open_store("memory:")


@pytest.mark.parametrize(
    ("url", "path", "durability"),
    [
        ("sqlite:shop.db", "{cwd}/shop.db", "full"),
        ("sqlite:data/shop%20one.db", "{cwd}/data/shop one.db", "full"),
        ("sqlite:/var/lib/shop.db", "/var/lib/shop.db", "full"),
        ("sqlite::memory:", ":memory:", "full"),
        ("sqlite:shop.db?durability=fast", "{cwd}/shop.db", "fast"),
        ("sqlite:shop.db?durability=full", "{cwd}/shop.db", "full"),
    ],
)
def test_sqlite(url: str, path: str, durability: str) -> None:
    """sqlite: is followed by a path and, maybe, the durability."""
    store = open_store(url)
    assert isinstance(store, SqliteStore)
    assert store._settings.path == path.format(cwd=Path.cwd())
    assert store._settings.durability == durability


def test_the_url_wins_over_the_default() -> None:
    """A durability in the URL is stronger than the one passed beside it."""
    for url, durability in (("sqlite:x.db", "fast"), ("sqlite:x.db?durability=full", "full")):
        store: Any = open_store(url, durability="fast")
        assert store._settings.durability == durability


def test_a_store_is_itself() -> None:
    """A store object is passed through."""
    store = MemoryStore()
    assert open_store(store) is store


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("postgresql://localhost/shop?schema=Shop", "lower-case letters"),
        ("postgresql://localhost/shop?schema=pg_shop", 'not with "pg_"'),
        ("postgresql://localhost/shop?durability=some", '"full" or "fast"'),
        ("postgresql://local host/shop", "cannot be understood"),
        ("postgresql://localhost/shop?colour=red", "cannot be understood"),
        ("mysql:shop", "names no store"),
        ("shop.db", "sqlite:shop.db"),
        ("", "names no store"),
        ("memory", "memory:"),
        ("sqlite:", "names no file"),
        ("sqlite://shop.db", "without slashes"),
        ("sqlite:///shop.db", "right behind the colon"),
        ("sqlite:shop.db?mode=ro", "unknown option mode"),
        ("sqlite:shop.db?durability=some", '"full" or "fast"'),
    ],
)
def test_a_wrong_url_teaches(url: str, hint: str) -> None:
    """What cannot be meant is refused, with the forms that can."""
    with pytest.raises(ConfigurationError, match=hint):
        open_store(url)
