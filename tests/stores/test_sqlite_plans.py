"""No statement of the SQLite store looks at all rows, and none sorts what an index has sorted already."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import pytest

from trioflow.abc import Capabilities, InstanceQuery, ListPlace, TagFilter
from trioflow.stores._rules import Sessions
from trioflow.stores._sqlite import _bulk, _statements
from trioflow.stores._sqlite._opening import migrations

CAN_RUN = Capabilities(orchestrations=(("flow", "1.0.0"), ("flow", "2.0.0"), ("other", "1.0.0")), semantics=(1, 2))
TAGS = (
    TagFilter(),
    TagFilter(tags=None),
    TagFilter(untagged=False, tags=None),
    TagFilter(tags=("gpu", "disk")),
    TagFilter(untagged=False, tags=("gpu",)),
)
SESSIONS = (Sessions(), Sessions("w"), Sessions("w", more=True))


def all_statements() -> dict[str, str]:
    """Every statement by its name."""
    found = {
        name: text
        for name, text in vars(_statements).items()
        if name.isupper()
        and isinstance(text, str)
        and text.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE")
        and not name.startswith("COUNT_")  # they count all there is
    }
    found |= {text.split()[2]: text for text in _statements.REMOVE_EVERYTHING}
    found["due_instances"] = _statements.due_instances(None, others=False)[0]
    found["due_instances for a worker"] = _statements.due_instances(CAN_RUN, others=False)[0]
    found["due_instances for others"] = _statements.due_instances(CAN_RUN, others=True)[0]
    found["list_instances"] = _statements.list_instances(InstanceQuery(created_after=1.0), ListPlace(2.0, "a"))[0]
    found["list_instances of a parent"] = _statements.list_instances(InstanceQuery(parent="a"), None)[0]
    for tags in TAGS:
        for sessions in SESSIONS:
            found[f"due_activities {tags} {sessions}"] = _statements.due_activities(tags, sessions)[0]
        found[f"next_due_activity {tags}"] = _statements.next_due_activity(tags)[0]
    for name, made in vars(_bulk).items():
        if hasattr(made, "cache_info"):
            found |= {f"{name} {count}": made(count) for count in _bulk.SIZES}
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
    named = dict.fromkeys(re.findall(r":(\w+)", text))
    numbered = [int(number) for number in re.findall(r"\?(\d+)", text)]
    count = max(numbered, default=text.count("?"))
    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {text}", named or (None,) * count)]
    for step in plan:
        given = "CONSTANT ROW" in step or step == "SCAN k"  # the keys that were asked for
        assert not step.startswith("SCAN") or given or "subquery" in step.lower(), plan
    assert not any("USE TEMP B-TREE FOR ORDER BY" in step for step in plan), plan


def test_there_are_statements() -> None:
    """The test above looks at what is there."""
    assert len(all_statements()) > 140


def test_no_parameter_has_a_number() -> None:
    """Python 3.12.0 to 3.12.3 take a parameter like ?1 for one with a name, and warn of each statement that has it."""
    counting = {name: text for name, text in vars(_statements).items() if name.startswith("COUNT_")}
    assert [name for name, text in (all_statements() | counting).items() if re.search(r"\?\d", text)] == []
