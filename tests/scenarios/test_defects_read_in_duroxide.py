"""What duroxide's source shows to go wrong cannot happen here: one test a defect, named after it."""

from __future__ import annotations

import gc
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio

import trioflow
from tests.engine.driving import Driven
from tests.runtime.programs import Probe, running, shape, virtual_store
from trioflow import State, activity, durable
from trioflow._runtime._troubles import pause
from trioflow.abc import Store
from trioflow.errors import StoreUnavailable
from trioflow.history import (
    ActivityCompleted,
    ActivityFailed,
    EventReceived,
    Failure,
    Limits,
    OrchestrationCompleted,
)
from trioflow.stores import SqliteStore
from trioflow.testing import FaultyStore

Clock = trio.testing.MockClock


def steps() -> trioflow.App:
    """One activity, and an orchestration that takes it several times."""
    app = trioflow.App("steps")

    @app.activity
    async def step(number: int) -> int:
        await trio.sleep(10)
        return number

    @app.orchestration
    async def main() -> int:
        return sum([await step(number) for number in range(5)])

    return app


async def test_each_activity_and_each_poll_reads_the_whole_history(autojump_clock: Clock) -> None:
    """A worker reads none for an activity, a client none for its status or result; a turn replays none that is live."""
    store = FaultyStore(virtual_store())
    async with running(steps(), store) as client:
        handle = await client.start("main")
        for _ in range(20):
            await handle.status()
            await handle.info()
            await handle.kv()
            assert [info.id async for info in client.list()] == [handle.id]
            with trio.move_on_after(1):
                await handle.wait_status(lambda status: status == "never")
        assert await handle.result() == 10
    assert "read_history" not in store.calls


async def test_a_renewal_that_fails_for_a_moment_drops_the_result(autojump_clock: Clock) -> None:
    """A store that is away for a moment is taken for a cancellation; the result is dropped, and its caller hangs."""
    app, probe = trioflow.App("long"), Probe()

    @app.activity
    async def long() -> str:
        probe.calls.append(activity.info().attempt)
        await trio.sleep(300)
        return "result"

    @app.orchestration
    async def main() -> str:
        return await long()

    store = FaultyStore(virtual_store())
    for nth in (1, 3, 5):
        store.fail("renew_activities", StoreUnavailable("for a moment"), nth=nth)
    async with running(app, store) as client:
        assert await (await client.start(main)).result(timeout=1000) == "result"
    assert probe.calls == [1]
    assert store.calls["renew_activities"] > 5


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_that_fails_fails_a_healthy_orchestration(autojump_clock: Clock, when: Any) -> None:
    """An error of the store, or an answer that was lost, ends the instance as failed. Here it is tried again."""
    store = FaultyStore(virtual_store())
    for nth in range(1, 30, 2):
        store.fail("commit_turn", StoreUnavailable("a hiccup"), nth=nth, when=when)
    async with running(steps(), store) as client:
        handle = await client.start("main")
        assert await handle.result(timeout=10_000) == 10
        assert shape(await handle.history()).count("ActivityCompleted") == 5


async def test_what_is_given_back_is_never_given_back(autojump_clock: Clock) -> None:
    """The future that should give a lock back is dropped unawaited, so others wait for the lease to run out."""
    app, probe, store = trioflow.App("back"), Probe(), virtual_store()

    @app.activity
    async def hang() -> float:
        probe.calls.append(trio.current_time())
        if len(probe.calls) == 1:
            await trio.sleep_forever()
        return trio.current_time()

    @app.orchestration
    async def main() -> float:
        return await hang()

    async with trioflow.connect(store, app) as client:
        handle = await client.start(main)
        with trio.move_on_after(5):
            async with running(app, store, grace=0, turn_lease=1000, activity_lease=1000):
                await trio.sleep_forever()
        async with running(app, store):
            assert await handle.result() == pytest.approx(5, abs=0.5)
            assert trio.current_time() == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize("kind", ["failed", "completed"])
def test_a_failure_that_is_delivered_twice_is_nondeterminism(kind: str) -> None:
    """Completions are filtered against what is recorded, failures are not, so a redelivery breaks the replay."""
    app = trioflow.App("twice")

    @app.activity
    async def step() -> str:
        return "never runs"

    async def program() -> list[str]:
        said = []
        for _ in range(2):
            try:
                said.append(await step())
            except trioflow.ActivityFailed as exc:
                said.append(exc.message)
        return said

    def answer(event: Any) -> Any:
        if kind == "completed":
            return ActivityCompleted(answers=event.id, payload=b'"no"')
        return ActivityFailed(answers=event.id, failure=Failure(type="Other", message="no"))

    driven = Driven(program, app=app)
    driven.start()
    first = answer(driven.scheduled[0])
    driven.turn(first, first)
    driven.turn(first)
    second = answer(driven.scheduled[1])
    driven.turn(first, second, second)
    assert isinstance(driven.last, OrchestrationCompleted)
    assert driven.result() == ["no", "no"]
    driven.turn(second)
    assert driven.kinds.count("ActivityFailed" if kind == "failed" else "ActivityCompleted") == 2
    driven.close()


async def test_a_child_whose_history_cannot_be_read_leaves_its_parent_waiting(tmp_path: Path) -> None:
    """The path for bad histories tells nobody. Here the child is parked, and its end reaches its parent."""
    app, path = trioflow.App("damaged"), tmp_path / "damaged.db"

    @app.orchestration
    async def child() -> None:
        await durable.wait_event("go")

    @app.orchestration
    async def main() -> str:
        try:
            await child.options(id="child")()
        except trioflow.ChildTerminated as exc:
            return str(exc)
        return "done"

    async with running(app, SqliteStore(path), cache_executions=0) as client:
        handle = await client.start(main)
        while (await state_of(client, "child")) is not State.WAITING:
            await trio.lowlevel.checkpoint()
        change(path, "UPDATE event SET data = x'00' WHERE instance = 'child' AND id = 1")
        await client.raise_event("child", "go")
        with pytest.raises(trioflow.InstanceParked):
            await client.handle("child").result(timeout=20)
        await client.terminate("child", reason="beyond repair")
        assert "beyond repair" in await handle.result(timeout=20)


async def state_of(client: trioflow.Client, id: str) -> State | None:
    """Where an instance stands, if it is there."""
    try:
        return (await client.get(id)).state
    except trioflow.InstanceNotFound:
        return None


def change(path: Path, statement: str) -> None:
    """Damage a store's file."""
    with sqlite3.connect(path, timeout=20) as database:
        assert database.execute(statement).rowcount == 1
    database.close()


async def test_continue_as_new_abandons_children_and_the_rest_of_its_turn(store: Store) -> None:
    """Children go on, and what else the turn asked for is recorded and never done."""
    app, probe = trioflow.App("leaves"), Probe()

    @app.activity
    async def tidy(name: str) -> None:
        probe.calls.append(name)

    @app.orchestration
    async def child() -> None:
        try:
            await durable.sleep_forever()
        finally:
            with durable.CancelScope(shield=True):
                await tidy("child")

    @app.orchestration
    async def main(again: bool) -> str:
        if again:
            try:
                async with durable.open_nursery() as nursery:
                    nursery.start_soon(child.options(id="child"))
                    await durable.wait_event("go")
                    durable.continue_as_new(False)
            finally:
                with durable.CancelScope(shield=True):
                    await tidy("parent")
        return "done"

    async with running(app, store) as client:
        handle = await client.start(main, True)
        while (await state_of(client, "child")) is not State.WAITING:
            await trio.lowlevel.checkpoint()
        await handle.raise_event("go")
        assert await handle.result(timeout=20) == "done"
        assert probe.calls == ["child", "parent"]
        assert (await client.get("child")).state is State.CANCELLED


async def test_a_cancelled_timer_lingers_in_the_queue(autojump_clock: Clock) -> None:
    """Its row stays until its time, and then wakes the instance for nothing. Here nothing is due any more."""
    app, store = trioflow.App("timers"), virtual_store()

    @app.orchestration
    async def main() -> str:
        with durable.move_on_after(100):
            await durable.wait_event("go")
        return str(await durable.wait_event("end"))

    async with running(app, store) as client:
        handle = await client.start(main)
        await handle.raise_event("go")
        while "TimerCancelled" not in shape(await handle.history()):
            await trio.lowlevel.checkpoint()
        assert (await handle.info()).wake_at is None
        before = await client.read(handle.id)
        await trio.sleep(1000)
        assert await client.read(handle.id) == before
        await handle.raise_event("end", "ended")
        assert await handle.result() == "ended"


@pytest.mark.parametrize("how", ["completes", "fails", "grows"])
async def test_a_limit_adds_a_second_end_behind_the_first(store: Store, how: str) -> None:
    """A turn that ends and breaks a limit is completed and failed. Here what ended has ended, once."""
    app = trioflow.App("ends", limits=Limits(history_events=8))

    @app.activity
    async def step() -> None: ...

    @app.orchestration
    async def main() -> str:
        await durable.gather(*[step() for _ in range(3)])  # start, 3 asked, 3 answered: 7
        if how == "grows":
            await durable.gather(*[step() for _ in range(3)])
        durable.set_status("eight")
        durable.set_status("nine")
        if how == "fails":
            raise ValueError("no")
        return "done"

    async with running(app, store) as client:
        handle = await client.start(main)
        if how == "completes":
            assert await handle.result(timeout=20) == "done"
        else:
            with pytest.raises(trioflow.OrchestrationFailed, match="history_events" if how == "grows" else "no"):
                await handle.result(timeout=20)
        history = await handle.history()
        assert [event.id for event in history if event.ends] == [len(history)]
        assert (len(history) > 8) == (how != "grows")


async def test_many_errors_in_a_row_overflow_the_pause(autojump_clock: Clock) -> None:
    """`100 * 2^n` without a cap: a panic at the 58th error in a row, no pause at all from the 62nd on."""
    assert [pause(failures) for failures in (1, 58, 62, 64, 10_000)] == [0.1, 3.0, 3.0, 3.0, 3.0]
    store = FaultyStore(virtual_store())
    for nth in range(1, 100):
        store.fail("lock_turns", StoreUnavailable("away"), nth=nth)
    async with running(steps(), store) as client:
        assert await (await client.start("main")).result(timeout=1000) == 10
    assert 280 < trio.current_time() < 400


@pytest.mark.slow
async def test_the_map_of_executions_never_shrinks(tmp_path: Path) -> None:
    """Each instance leaves an entry in a worker for ever. Here a thousand that have ended leave nothing."""
    app, counts = trioflow.App("many"), list[int]()

    @app.activity
    async def step() -> None: ...

    @app.orchestration
    async def main() -> None:
        await step()

    async with running(app, SqliteStore(tmp_path / "many.db", durability="fast")) as client:
        for number in range(1200):
            await (await client.start(main)).result()
            if number in (200, 1199):
                gc.collect()
                counts.append(len(gc.get_objects()))
    assert counts[1] < counts[0] + 1000, counts


@pytest.mark.parametrize("column", ["data", "payload"])
async def test_a_damaged_activity_blocks_the_head_of_the_queue(tmp_path: Path, column: str) -> None:
    """Every fetch fails at the same row. Here it fails its activity, which may be caught; all others are done."""
    app, path = trioflow.App("head"), tmp_path / "head.db"

    @app.activity(tag="later")
    async def step(number: int) -> int:
        return number

    @app.orchestration
    async def main() -> Any:
        try:
            return await step(7)
        except (trioflow.ActivityFailed, trioflow.HistoryError, trioflow.DecodeError) as exc:
            story = exc if isinstance(exc, trioflow.ActivityFailed) else exc.__cause__
            assert isinstance(story, trioflow.ActivityFailed)
            return story.category

    async with SqliteStore(path) as store:
        async with running(app, store) as client:
            bad = await client.start(main, id="bad")
            while not (await bad.info()).history_length:
                await trio.lowlevel.checkpoint()
            change(path, f"UPDATE activity SET {column} = x'00' WHERE instance = 'bad'")
            good = [await client.start(main) for _ in range(3)]
            async with running(app, store, tags=("later",)):
                assert [await handle.result(timeout=20) for handle in good] == [7, 7, 7]
                assert await bad.result(timeout=20) == "configuration"


async def test_a_damaged_message_is_lost_in_silence(tmp_path: Path) -> None:
    """It is skipped, and then deleted with the others. Here its instance is parked, and the message is still there."""
    app, path = trioflow.App("inbox"), tmp_path / "inbox.db"

    @app.orchestration
    async def main() -> Any:
        return await durable.wait_event("go")

    async with SqliteStore(path) as store:
        async with trioflow.connect(store, app) as client:
            handle, other = await client.start(main, id="bad"), await client.start(main)
            for each in (handle, other):
                await each.raise_event("go", "done")
        change(path, "UPDATE message SET data = x'00' WHERE instance = 'bad' AND kind = 'EventReceived'")
        async with running(app, store) as client:
            assert await client.handle(other.id).result(timeout=20) == "done"
            with pytest.raises(trioflow.InstanceParked):
                await client.handle("bad").result(timeout=20)
            assert (await client.get("bad")).queued == 2


async def test_tokens_and_uuids_can_be_guessed(autojump_clock: Clock) -> None:
    """They are made of time and a counter. Here of 80 and more random bits: at one and the same time all differ."""
    app, store, seen = trioflow.App("random"), virtual_store(), list[str]()

    @app.activity
    async def key() -> None: ...

    @app.orchestration
    async def main() -> str:
        await key()
        return str(durable.uuid4())

    class Spy(FaultyStore):
        async def lock_turns(self, request: Any) -> Any:
            answer = await super().lock_turns(request)
            seen.extend(turn.lock.token[12:] for turn in answer.turns)
            return answer

        async def start_instance(self, request: Any) -> Any:
            answer = await super().start_instance(request)
            seen.extend([answer.turn.lock.token[12:]] if answer.turn else [])
            return answer

    async with running(app, Spy(store)) as client:
        handles = [await client.start(main, id=f"i{number}") for number in range(60)]
        ids = [await handle.result() for handle in handles]
        assert len(dict.fromkeys(ids)) == 60
        again = [await client.start(main, id=f"i{number}", if_exists="replace_finished") for number in range(60)]
        assert not {*ids} & {await handle.result() for handle in again}
    assert len({*seen}) == len(seen) >= 120
    assert {len(text) for text in seen} == {20}
    assert len({text[:5] for text in seen}) > len(seen) * 0.9  # no part of it is the same in all


@pytest.mark.parametrize("lease", [1.0, 0.2])
async def test_short_leases_are_renewed_too_late(autojump_clock: Clock, lease: float) -> None:
    """Renewal is rounded to whole seconds, so a lease of 1 s is renewed when it runs out. Here at half of it."""
    store = FaultyStore(virtual_store())
    async with running(steps(), store, turn_lease=lease, activity_lease=lease) as client:
        assert await (await client.start("main")).result(timeout=1000) == 10
    assert store.calls["renew_activities"] >= 50 / (lease / 2) - 10


async def test_an_event_of_the_past_execution_confuses_the_next() -> None:
    """What is addressed to an execution that is over reaches nobody: its answers are dropped without an event."""
    app = trioflow.App("past")

    @app.activity
    async def step() -> str:
        return "never runs"

    async def program() -> str:
        return await step()

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(ActivityCompleted(answers=99, payload=b'"other"'), EventReceived(name="x", payload=b"1"))
    assert driven.kinds == ["OrchestrationStarted", "ActivityScheduled", "EventReceived"]
    driven.complete(driven.scheduled[0], "own")
    assert driven.result() == "own"
    driven.close()


async def test_the_first_turn_of_a_successor_fails_in_the_wrong_execution(store: Store) -> None:
    """Its failure is recorded with the execution before. Here each has its own history, and its own one end."""
    app = trioflow.App("successor")

    @app.orchestration
    async def main(again: bool) -> None:
        if again:
            durable.continue_as_new(False)
        raise ValueError("at once")

    async with running(app, store) as client:
        handle = await client.start(main, True)
        with pytest.raises(trioflow.OrchestrationFailed, match="at once"):
            await handle.result(timeout=20)
        assert shape(await handle.history(1)) == ["OrchestrationStarted", "OrchestrationContinuedAsNew"]
        assert shape(await handle.history(2)) == ["OrchestrationStarted", "OrchestrationFailed"]
