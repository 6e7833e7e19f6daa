"""Where no orchestration runs, every verb says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trioflow import durable
from trioflow.app import App
from trioflow.errors import NotInOrchestration

app = App("outside")


@app.orchestration
async def other(value: int = 0) -> int:
    """Never runs here."""
    return value


CALLS: dict[str, Callable[[], Any]] = {
    "now": durable.now,
    "random": durable.random,
    "rng": durable.rng,
    "uuid4": durable.uuid4,
    "record": lambda: durable.record(int),
    "patched": lambda: durable.patched("x"),
    "info": durable.info,
    "wait_event": lambda: durable.wait_event("e"),
    "wait_event_nowait": lambda: durable.wait_event_nowait("e"),
    "events": lambda: durable.events("e"),
    "set_status": lambda: durable.set_status(1),
    "get_status": durable.get_status,
    "kv[]": lambda: durable.kv["k"],
    "kv[]=": lambda: durable.kv.__setitem__("k", 1),
    "del kv[]": lambda: durable.kv.__delitem__("k"),
    "kv.get": lambda: durable.kv.get("k"),
    "in kv": lambda: "k" in durable.kv,
    "len(kv)": lambda: len(durable.kv),
    "iter(kv)": lambda: iter(durable.kv),
    "logger": lambda: durable.logger.info("x"),
    "start_detached": lambda: durable.start_detached(other, 1),
    "continue_as_new": durable.continue_as_new,
    "gather": durable.gather,
    "map": lambda: durable.map(other, [1]),
    "race": lambda: durable.race(other.fn),
    "sleep": lambda: durable.sleep(1),
    "move_on_after": lambda: durable.move_on_after(1).__enter__(),
    "current_time": durable.current_time,
    "open_nursery": durable.open_nursery,
    "Event": durable.Event,
}


@pytest.mark.parametrize("verb", CALLS)
def test_a_verb_says_where_it_would_work(verb: str) -> None:
    """It names what runs an orchestration, and acts on nothing."""
    with pytest.raises(NotInOrchestration, match=r"client\.start.*run_durable"):
        result = CALLS[verb]()
        if hasattr(result, "send"):
            result.send(None)
