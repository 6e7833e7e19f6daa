"""Opening a schema: is it ours, is it current, does the server keep its promises?

Laws: a schema that is not ours is not touched; all missing migrations run in one transaction, under a lock that makes
workers which start together wait for the first; one that is interrupted has not happened; a schema that is current is
only read, so a worker needs no right to change it.

Who calls it: `_store.py`. Read next: `schema/0001_tables.sql`.
"""

from __future__ import annotations

# ruff: noqa: S608 - the name of a schema was checked, see `check_schema_name`
import re
from importlib import resources
from typing import TYPE_CHECKING, Literal

from trioflow.errors import ConfigurationError, StoreCorrupt, StoreError, StoreSchemaNewer

if TYPE_CHECKING:
    from trioflow.stores._postgres._pool import Pool

NAME = re.compile(r"[a-z_][a-z0-9_]{0,47}")


def check_schema_name(schema: str) -> None:
    """A name that needs no thought anywhere: in SQL, in a channel, in a shell."""
    if not NAME.fullmatch(schema) or schema.startswith("pg_"):
        raise ConfigurationError(
            f"schema is {schema!r}; it has to be 1 to 48 lower-case letters, digits and underscores, beginning with a "
            'letter or an underscore and not with "pg_".'
        )


def migrations() -> list[str]:
    """The scripts that make the schema, in order; the n-th leads to version n."""
    folder = resources.files("trioflow.stores._postgres") / "schema"
    scripts = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return [script.read_text() for script in scripts]


SETTINGS = "SELECT name, setting FROM pg_settings WHERE name IN ('server_encoding', 'synchronous_commit', 'fsync')"


async def open_schema(pool: Pool, schema: str, durability: Literal["full", "fast"]) -> None:
    """Check the server, and bring the schema up to date. Raises StoreError."""
    settings: dict[str, str] = dict(await pool.call(SETTINGS, reads=True))
    if settings["server_encoding"] != "UTF8":
        raise StoreError(
            f"{pool.address}: the database's encoding is {settings['server_encoding']}; it has to be UTF8, or some "
            "text could not be kept. Create a database with ENCODING 'UTF8'."
        )
    for name in ("synchronous_commit", "fsync"):
        if durability == "full" and settings[name] == "off":
            raise StoreError(
                f"{pool.address}: {name} is off, so commits would not be as durable as promised. Turn it on, or open "
                'the store with durability="fast".'
            )
    scripts = migrations()
    if await _version(pool, schema) != len(scripts):
        await pool.run_script(_script(schema, scripts))
        await _version(pool, schema)  # somebody newer may have been first


async def _version(pool: Pool, schema: str) -> int:
    """The version that is there; 0 if there is none. Raises what forbids to go on."""
    ((ours, others),) = await pool.call(
        "SELECT to_regclass(%s) IS NOT NULL, "
        "(SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace(%s)::oid)",
        (f"{schema}.trioflow_version", schema),
        reads=True,
    )
    if not ours:
        if others:
            raise StoreCorrupt(
                f"{pool.address}: the schema {schema} belongs to another program: it holds {others} tables or indexes "
                "and none of trioflow's. Choose another schema; nothing was changed."
            )
        return 0
    ((version,),) = await pool.call(f"SELECT max(version) FROM {schema}.trioflow_version", reads=True)
    if version > len(migrations()):
        raise StoreSchemaNewer(
            f"{pool.address}: the schema {schema} is version {version}, this release knows {len(migrations())}. "
            "Upgrade trioflow in this process; nothing was changed."
        )
    return int(version)


def _script(schema: str, scripts: list[str]) -> str:
    """All migrations as one text, which a server carries out in one transaction; each checks whether it is needed."""
    parts = [
        "BEGIN;",
        f"SELECT pg_advisory_xact_lock(hashtextextended('trioflow/{schema}', 0));",
        f"CREATE SCHEMA IF NOT EXISTS {schema};",
        f"SET LOCAL search_path = {schema}, pg_catalog;",
        "CREATE TABLE IF NOT EXISTS trioflow_version (version integer PRIMARY KEY, at timestamptz NOT NULL);",
    ]
    for version, script in enumerate(scripts, 1):
        parts.append(
            f"DO $migration$ BEGIN IF NOT EXISTS (SELECT FROM trioflow_version WHERE version >= {version}) THEN "
            f"EXECUTE $script${script}$script$; INSERT INTO trioflow_version VALUES ({version}, now()); "
            "END IF; END $migration$;"
        )
    return "\n".join([*parts, "COMMIT;"])
