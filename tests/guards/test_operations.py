"""How many operations each workload takes, counted: what makes it slower on every machine is seen here, on any.

The numbers are what the fastest way takes. Who finds a faster one lowers them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio.testing

from tests.guards.workloads import Counts, count, raise_events, run_one, run_twenty
from trioflow.stores import MemoryStore, SqliteStore


@attrs.frozen(kw_only=True)
class Allowed:
    """What a workload may take. Where several outcomes share a turn if they come together, that is left some room."""

    workload: Any
    name: str
    size: int
    calls: dict[str, int]  # of the store, by verb; at most, and no other verb
    transactions: int  # of SQLite, at most
    steps: int  # of the kernel, exactly
    encoded: int  # bytes in histories, exactly


# What is started takes its first turn along, and its end is told, so nobody looks.
HELLO = Allowed(
    workload=run_one,
    name="chain",
    size=1,
    calls={"start_instance": 1, "commit_turn": 2},
    transactions=5,
    steps=2,
    encoded=164,
)
# A step is one commit: an outcome, the turn that it leads to, and the next activity.
CHAIN = Allowed(
    workload=run_one,
    name="chain",
    size=50,
    calls={"start_instance": 1, "commit_turn": 51},
    transactions=54,
    steps=51,
    encoded=2_979,
)
# All are born leased; outcomes that come together are one turn.
FAN = Allowed(
    workload=run_one,
    name="fan",
    size=100,
    calls={"start_instance": 1, "commit_turn": 4},
    transactions=7,
    steps=202,
    encoded=6_076,
)
# Two turns each: one that asks for five activities, one that takes five outcomes.
TWENTY = Allowed(
    workload=run_twenty,
    name="fan",
    size=5,
    calls={"start_instance": 20, "commit_turn": 44},
    transactions=20,
    steps=240,
    encoded=7_810,
)
# An event that comes alone costs its message, a look that finds it, a turn, and a look that finds no more.
EVENTS = Allowed(
    workload=raise_events,
    name="listen",
    size=50,
    calls={"start_instance": 1, "post_message": 50, "lock_turns": 102, "commit_turn": 51},
    transactions=153,
    steps=51,
    encoded=2_443,
)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize(
    "allowed", [HELLO, CHAIN, FAN, TWENTY, EVENTS], ids=["hello", "chain", "fan", "fan5", "events"]
)
async def test_a_workload_takes_no_more_operations_than_it_needs(
    allowed: Allowed, kind: str, tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    """Calls of the store, transactions, steps of the kernel, and bytes of history."""
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "store.db")
    counts: Counts = await count(store, allowed.workload, allowed.name, allowed.size)
    too_many = {
        verb: (calls, allowed.calls.get(verb, 0))
        for verb, calls in counts.calls.items()
        if calls > allowed.calls.get(verb, 0)
    }
    assert not too_many, "verb: (made, allowed)"
    assert counts.transactions <= allowed.transactions
    assert (counts.steps, counts.encoded) == (allowed.steps, allowed.encoded)
