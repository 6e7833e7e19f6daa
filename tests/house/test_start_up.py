"""What importing trioflow brings along: a fixed set of modules, counted by name and not by the clock.

Seconds depend on the machine; what makes an import slow is what it imports, and that is the same everywhere.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ALLOWED = (
    *("datetime", "decimal", "difflib", "json", "numbers", "uuid"),
    *("packaging", "orjson", "zoneinfo"),  # orjson only where it is installed; it brings zoneinfo along
    "trioflow",
)
"""What `import trioflow` may load beyond trio, attrs and cattrs: whole packages, and their accelerators in C."""

NOT_YET = ("trioflow.stores", "trioflow.testing", "trioflow.telemetry", "trioflow.cli", "trioflow.dashboard")

PROGRAM = """
import json, sys
import attrs, cattrs, trio

seen = set(sys.modules)

def new():
    names = sorted(set(sys.modules) - seen)
    seen.update(names)
    return names

def opened(url):
    async def main():
        async with trioflow.connect(url):
            return new()
    return trio.run(main)

import trioflow
steps = [new(), opened("memory:"), opened("sqlite::memory:")]
print(json.dumps(steps))
"""


@pytest.fixture(scope="module")
def steps() -> list[list[str]]:
    """The modules that are new after the import, after a store in memory is opened, and after one in SQLite is."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    found: list[list[str]] = json.loads(done.stdout)
    return found


def test_importing_trioflow_loads_what_authors_need_and_no_more(steps: list[list[str]]) -> None:
    """No database, asyncio, OpenTelemetry, command line or pickle: nothing but trioflow and a few modules it names."""
    strangers = [name for name in steps[0] if name.partition(".")[0].removeprefix("_") not in ALLOWED]
    assert not strangers
    assert "trioflow._open" in steps[0]


def test_importing_trioflow_loads_no_store_and_no_harness(steps: list[list[str]]) -> None:
    """Stores, telemetry and what tests need are loaded by whoever uses them first."""
    assert [name for name in steps[0] if name.startswith(NOT_YET)] == []


def test_a_store_is_loaded_when_it_is_opened_and_alone(steps: list[list[str]]) -> None:
    """Memory brings no SQLite along, SQLite no PostgreSQL, and neither the harness or OpenTelemetry."""
    _, memory, sqlite = steps
    assert "trioflow.stores._memory" in memory
    assert "sqlite3" not in memory
    assert "sqlite3" in sqlite
    for name in (*memory, *sqlite):
        assert not name.startswith(("trioflow.stores._postgres", "psycopg", "trioflow.te", "opentelemetry", "asyncio"))
