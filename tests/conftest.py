"""What tests of several packages share: a PostgreSQL that is started when the first of them asks for it, an ear for
what trioflow's loggers must never say, and how Hypothesis makes up examples.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.canary import Watch
from tests.postgres_server import Server, fresh_schema, shared_url

WATCH = Watch()

# The same examples in each run, and a busy machine is no failure. Who wants others says so: the slow tests do.
settings.register_profile(
    "trioflow", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("trioflow")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, Any, Any]:
    """No test passes in which a logger of trioflow told the canary, or an exception of somebody's code as it is."""
    result = yield
    caught = WATCH.take()
    assert not caught, "a log record tells what a program had at hand:\n" + "\n".join(caught)
    return result


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The address of a schema of the test's own, on the run's server; the schema goes with the test."""
    import psycopg

    address, schema = shared_url(), fresh_schema()
    yield f"{address}{'&' if '?' in address else '?'}schema={schema}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"SET client_min_messages = error; DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture
def postgres_server() -> Iterator[Server]:
    """A server of the test's own, running."""
    with Server("shared_buffers = 16MB", "max_connections = 20") as server:
        yield server
