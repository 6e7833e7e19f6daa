"""What the tests of the PostgreSQL driver share: a server of their own that speaks TCP and passwords."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.postgres_server import Server
from tests.stores.postgres_helpers import ask

ACCESS = ("host all guarded 127.0.0.1/32 scram-sha-256", "host all banned 127.0.0.1/32 reject")
SETTINGS = ("max_connections = 30", "shared_buffers = 16MB", "deadlock_timeout = 10ms")


@pytest.fixture(scope="session")
def tcp_server() -> Iterator[Server]:
    """A server that tests may restart, but have to leave running. It knows a user `guarded`, whose password is
    "open sesame", a user `plain`, who has no rights and one connection, and `banned`.
    """
    with Server(*SETTINGS, access=ACCESS) as server:
        ask(server.url, "CREATE ROLE guarded LOGIN PASSWORD 'open sesame'")
        ask(server.url, "CREATE ROLE plain LOGIN CONNECTION LIMIT 1")
        ask(server.url, "CREATE ROLE banned LOGIN")
        yield server


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine says about its own servers."""
    for name in list(os.environ):
        if name.startswith("PG"):
            monkeypatch.delenv(name)
