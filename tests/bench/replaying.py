"""Replay: how fast a recorded history is evaluated again, as a runtime does it that has no live copy.

Laws: what is measured is `Execution.replay`, the same code that runtimes use, and in the second figure the decoding of
the store's rows, too; the history is one that a runtime wrote, read back from its store; reading it is not measured.
Called by `child.py`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence

import trioflow
from tests.bench.figures import Figure
from tests.bench.workloads import Instruments, app, chain
from trioflow._engine import Execution
from trioflow.abc import EventRow
from trioflow.history import Event, EventCodec

CODEC = EventCodec()
"""One for all runs, as a runtime has one for its whole life."""


async def measure_replay(store: str, size: int, instruments: Instruments) -> list[Figure]:
    """Record a chain of `size` steps, then replay it cold."""
    async with trioflow.open_runtime(app, store, instruments=instruments) as runtime:
        handle = await runtime.client.start(chain, size, id="recorded")
        await handle.result()
        rows = await runtime.store.read_history("recorded", 1)
    gc.collect()
    began = time.perf_counter()
    events = decoded(rows)
    between = time.perf_counter()
    replay(events)
    ended = time.perf_counter()
    return [
        Figure("events/s", len(rows) / (ended - between), True),
        Figure("events/s, decoded", len(rows) / (ended - began), True),
    ]


def decoded(rows: Sequence[EventRow]) -> list[Event]:
    """The events in a store's rows."""
    return [CODEC.decode(row.id, row.at, row.kind, row.data, row.payload) for row in rows]


def replay(events: Sequence[Event]) -> None:
    """Evaluate a history of `chain`, from its first event to its last."""
    live = Execution(app, app.find_orchestration(chain.name, None))
    for _ in live.replay(events):
        pass
    assert live.ended
    live.close()
