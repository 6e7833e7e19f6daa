"""PostgreSQL as a user meets it: by an address, in programs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import trioflow
from tests.stores.postgres_helpers import ask
from trioflow.errors import ConfigurationError
from trioflow.stores import PostgresStore, open_store

ROOT = Path(__file__).parents[2]
app = trioflow.App("user")


@app.activity
async def double(number: int) -> int:
    """Twice as much."""
    return 2 * number


@app.orchestration
async def double_twice(number: int) -> int:
    """Four times as much."""
    return await double(await double(number))


def test_three_workers_share_a_database(postgres_url: str, tmp_path: Path) -> None:
    """The example of several processes runs over PostgreSQL as it does over a file, one of them killed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / "many_workers.py")],
        cwd=tmp_path,
        env={**os.environ, "STORE": postgres_url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "each order was charged once, as far as its history tells"


async def test_an_address_is_all_it_takes(postgres_url: str) -> None:
    """A runtime and a client that were given the same address meet in its schema."""
    async with trioflow.open_runtime(app, postgres_url), trioflow.connect(postgres_url, app) as client:
        handle = await client.start(double_twice, 3)
        assert await handle.result() == 12


async def test_one_object_serves_many(postgres_url: str) -> None:
    """Runtimes and clients may share a store object; whoever leaves first takes nothing from the others."""
    store = open_store(postgres_url)
    async with trioflow.open_runtime(app, store):
        async with trioflow.connect(store, app) as client:
            assert await (await client.start(double_twice, 3)).result() == 12
        async with trioflow.connect(store, app) as client:
            assert await (await client.start(double_twice, 4)).result() == 16


async def test_an_error_of_the_body_arrives_unwrapped(postgres_url: str) -> None:
    """What the body raises is raised, not a group of it."""
    with pytest.raises(KeyError, match="mine"):
        async with open_store(postgres_url):
            raise KeyError("mine")


async def test_tenants_do_not_meet(postgres_url: str) -> None:
    """Two schemas of one database are two stores."""
    other = postgres_url.replace("schema=", "schema=other_")
    async with trioflow.open_runtime(app, postgres_url) as ours, trioflow.open_runtime(app, other) as theirs:
        await (await ours.client.start(double_twice, 3, id="same")).result()
        assert (await theirs.client.start(double_twice, 4, id="same")).id == "same"
        assert await theirs.client.handle("same").result() == 16
    address, _, schema = other.partition("schema=")
    ask(address.rstrip("?&"), f"SET client_min_messages = error; DROP SCHEMA {schema} CASCADE")


def test_without_psycopg_the_extra_is_named() -> None:
    """A store that cannot be made says what to install; the package itself never needs the driver."""
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from trioflow.stores import PostgresStore\n"
        "from trioflow.errors import ConfigurationError\n"
        "try: PostgresStore('postgresql://localhost/shop')\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'trioflow[postgres]'" in done.stdout


@pytest.mark.parametrize("name", ["Shop", "shop-1", "pg_shop", "", "a" * 49, 'shop"; DROP SCHEMA public; --'])
def test_a_schema_has_a_plain_name(name: str) -> None:
    """A name that would have to be quoted anywhere is refused before anything is opened."""
    with pytest.raises(ConfigurationError, match="lower-case letters"):
        PostgresStore("postgresql://localhost/shop", schema=name)
