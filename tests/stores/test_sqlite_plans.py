"""No statement of the SQLite store looks at all rows, and none sorts what an index has sorted already."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from trioflow.abc import Capabilities, TagFilter
from trioflow.stores._sqlite import _statements
from trioflow.stores._sqlite._opening import migrations

CAN_RUN = Capabilities(orchestrations=(("flow", "1.0.0"), ("flow", "2.0.0"), ("other", "1.0.0")), semantics=(1, 2))
TAGS = (
    TagFilter(),
    TagFilter(tags=None),
    TagFilter(untagged=False, tags=None),
    TagFilter(tags=("gpu", "disk")),
    TagFilter(untagged=False, tags=("gpu",)),
)


def all_statements() -> dict[str, str]:
    """Every statement by its name."""
    found = {
        name: text
        for name, text in vars(_statements).items()
        if name.isupper() and isinstance(text, str) and text.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE")
    }
    found["due_instances"] = _statements.due_instances(None)[0]
    found["due_instances for a worker"] = _statements.due_instances(CAN_RUN)[0]
    for tags in TAGS:
        found[f"due_activities {tags}"] = _statements.due_activities(tags)[0]
        found[f"next_due_activity {tags}"] = _statements.next_due_activity(tags)[0]
    return found


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    """A database with our schema."""
    connection = sqlite3.connect(":memory:")
    for script in migrations():
        connection.executescript(script)
    yield connection
    connection.close()


@pytest.mark.parametrize("name", all_statements())
def test_a_statement_uses_an_index(db: sqlite3.Connection, name: str) -> None:
    """SQLite's plan has no scan of a table, no temporary index and no sorting."""
    text = all_statements()[name]
    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {text}", (None,) * text.count("?"))]
    for step in plan:
        assert not step.startswith("SCAN") or "CONSTANT ROW" in step or "subquery" in step.lower(), plan
    assert not any("USE TEMP B-TREE FOR ORDER BY" in step for step in plan), plan


def test_there_are_statements() -> None:
    """The test above looks at what is there."""
    assert len(all_statements()) > 35
