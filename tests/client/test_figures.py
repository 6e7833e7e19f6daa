"""What is in a store, counted, and what waits in it."""

from __future__ import annotations

import json

import attrs
import trio
from trio.testing import MockClock

import trioflow
from tests.client.managed import make_yard, until_state
from tests.runtime.programs import running, virtual_store
from trioflow import QueueDepth, QueueDepths, State
from trioflow.abc import Store


async def test_metrics_count_what_is_there(store: Store) -> None:
    """Instances by name and state, executions, events, messages; as JSON, too."""
    async with running(make_yard().app, store) as client:
        empty = await client.metrics()
        assert (empty.instances, empty.count(), empty.events) == ({}, 0, 0)
        for number in range(3):
            await (await client.start("echo", number)).result(timeout=20)
        await (await client.start("count", 2)).result(timeout=20)
        await until_state(await client.start("wait", id="w"), State.WAITING)
        await client.start("wait", delay=3600)
        metrics = await client.metrics()
        events = sum([len(await client.history(info.id)) async for info in client.list()])
    assert metrics.instances == {
        "count": {State.COMPLETED: 1},
        "echo": {State.COMPLETED: 3},
        "wait": {State.PENDING: 1, State.WAITING: 1},
    }
    assert metrics.count() == 6
    assert metrics.count(name="wait") == 2
    assert metrics.count(state=State.COMPLETED) == 4
    assert metrics.count(name="echo", state=State.WAITING) == 0
    assert list(metrics.states) == list(State)
    assert (metrics.states[State.COMPLETED], metrics.states[State.FAILED]) == (4, 0)
    assert metrics.executions == 7  # of those that have begun
    assert metrics.events > events  # the earlier executions' are counted, too
    assert (metrics.messages, metrics.activities, metrics.sessions) == (1, 0, 0)
    assert json.loads(json.dumps(attrs.asdict(metrics)))["instances"]["wait"] == {"pending": 1, "waiting": 1}


async def test_queue_depths_tell_what_waits(autojump_clock: MockClock) -> None:
    """What is ready and for how long, what somebody has, what comes later; activities also by tag."""
    app = make_yard().app

    @app.activity(tag="gpu")
    async def render() -> None:
        """Nobody takes it."""

    @app.orchestration
    async def film() -> None:
        await render()

    store = virtual_store()
    async with running(app, store) as client:
        await until_state(await client.start("film"), State.WAITING)
        await trio.sleep(5)
        depths = await client.queue_depths()
    nothing = QueueDepth(ready=0, leased=0, later=0)
    gpu = QueueDepth(ready=1, leased=0, later=0, oldest=depths.tagged["gpu"].oldest)
    assert depths == QueueDepths(turns=nothing, activities=gpu, tagged={"gpu": gpu})
    assert gpu.oldest is not None
    assert 4.9 < gpu.oldest < 5.1
    async with trioflow.connect(store, app) as client:
        await client.start("wait")
        await client.start("wait", delay=60)
        turns = (await client.queue_depths()).turns
    assert (turns.ready, turns.later) == (1, 1)
