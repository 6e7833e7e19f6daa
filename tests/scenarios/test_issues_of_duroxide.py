"""What duroxide's users and authors have reported, open and closed, cannot happen here: one test an issue.

Others have their tests beside the feature: fan-in (#18, #19) in `test_waiting.py`, sub-orchestrations (#28, #30 to #32)
in `test_children.py`, orphaned messages (#4, #5) in `test_defects_of_duroxide.py`, actors (#29) in `test_workers.py`.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, running, until, virtual_store
from trioflow import State, activity, durable
from trioflow.abc import Store
from trioflow.testing import FailpointEnv, FaultyStore

Clock = trio.testing.MockClock


async def test_activities_survive_a_shutdown(autojump_clock: Clock) -> None:
    """#44, #45: stopping always takes the whole timeout, and then leaves pollers and bodies running behind it."""
    app, probe, store = trioflow.App("stop"), Probe(), virtual_store()

    @app.activity
    async def body() -> None:
        probe.calls.append("began")
        try:
            await trio.sleep_forever()
        finally:
            probe.calls.append("ended")

    @app.orchestration
    async def main() -> None:
        await body()

    async with running(app, store):
        pass
    assert trio.current_time() < 0.1
    async with running(app, store, grace=3) as client:
        await client.start(main)
        await until(lambda: bool(probe.calls))
    assert probe.calls == ["began", "ended"]
    assert trio.current_time() == pytest.approx(3, abs=0.2)
    assert trio.lowlevel.current_statistics().tasks_living <= 4


async def test_a_slow_fetch_hands_out_leases_that_have_run_out(autojump_clock: Clock) -> None:
    """#46: the lease begins before the fetch that returns it, so what was slow once is tried for ever.

    Here a worker counts from before it asked, begins nothing that is over, and the next attempt gets there.
    """
    app, store, probe = trioflow.App("slow"), virtual_store(), Probe()

    @app.activity(tag="x")
    async def body() -> int:
        probe.calls.append(activity.info().attempt)
        await trio.sleep(5)
        return activity.info().attempt

    @app.orchestration
    async def main() -> int:
        return await body()

    class Slow(FaultyStore):
        async def lock_activities(self, request: Any) -> Any:
            answer = await super().lock_activities(request)
            if answer.activities and self.calls["slow"] < 2:
                self.calls["slow"] += 1
                await trio.sleep(40)
            return answer

    slow = Slow(store)
    slow.calls["slow"] = 0
    async with running(app, slow, tags=("x",), born_leased=False) as client:
        assert await (await client.start(main)).result(timeout=500) == 3
    assert probe.calls == [3]  # those that came too late were not begun


@pytest.mark.parametrize("what", ["activity", "instance"])
async def test_poison_cannot_be_told_once_its_lease_is_over(autojump_clock: Clock, what: str) -> None:
    """#47: the verdict is written under the lease of the attempt that died, which is refused for ever.

    Here it is written by whoever takes the item next, under a lease of its own.
    """
    app, store = trioflow.App("verdict"), virtual_store()

    @app.activity
    async def body() -> None: ...

    @app.orchestration
    async def main() -> str:
        try:
            await body()
        except trioflow.ActivityPoisoned:
            return "told"
        return "done"

    moment = "activity.before_body" if what == "activity" else "turn.locked"
    async with trioflow.connect(store, app) as client:
        handle = await client.start(main)
        for _ in range(3):
            with pytest.raises(BaseException, match=r"^$"):
                async with running(app, store, env=FailpointEnv().at(moment), max_attempts=3):
                    await trio.sleep_forever()
            await trio.sleep(1000)  # its lease is long over
        async with running(app, store, max_attempts=3):
            if what == "activity":
                assert await handle.result(timeout=100) == "told"
            else:
                with pytest.raises(trioflow.InstanceParked, match="taken 3 times"):
                    await handle.result(timeout=100)


async def test_there_is_no_way_to_look_into_a_queue(store: Store) -> None:
    """#8: no tryDequeueEvent. Here `wait_event_nowait` takes what is there, and costs no turn."""
    app = trioflow.App("look")

    @app.orchestration
    async def main() -> list[int]:
        await durable.wait_event("go")
        taken = []
        while True:
            try:
                taken.append(durable.wait_event_nowait("n", int))
            except durable.WouldBlock:
                return taken

    async with running(app, store) as client:
        handle = await client.start(main)
        for number in range(3):
            await handle.raise_event("n", number)
        await handle.raise_event("go")
        assert await handle.result(timeout=20) == [0, 1, 2]


async def test_a_loser_of_a_race_takes_the_event_of_the_next_wait(store: Store) -> None:
    """A wait that lost a race stays bound, and the event meant for a later one goes to it."""
    app = trioflow.App("bound")

    @app.orchestration
    async def main() -> list[str]:
        taken = []
        for _ in range(3):
            index, _value = await durable.race(durable.wait_event("data"), durable.wait_event("skip"))
            taken.append(["data", "skip"][index])
        return [*taken, await durable.wait_event("data", str)]

    async with running(app, store) as client:
        handle = await client.start(main)
        for name in ("skip", "skip", "data", "data"):
            await handle.raise_event(name, "last")
            while (await handle.info()).queued:
                await trio.lowlevel.checkpoint()
        assert await handle.result(timeout=20) == ["skip", "skip", "data", "last"]


async def test_a_second_start_replays_the_history_of_the_first(store: Store) -> None:
    """A start of an id that lives is taken for its replay, with the wrong name and input, and its caller not told.

    Here it is refused, or attached to, or replaces what has ended, as its caller says.
    """
    app = trioflow.App("second start")

    @app.orchestration
    async def first(text: str) -> str:
        return text + str(await durable.wait_event("go"))

    @app.orchestration
    async def second(text: str) -> str:
        return f"second {text}"

    async with running(app, store, cache_executions=0) as client:
        handle = await client.start(first, "a", id="one")
        with pytest.raises(trioflow.InstanceExists):
            await client.start(second, "b", id="one")
        with pytest.raises(trioflow.InstanceExists):
            await client.start(second, "b", id="one", if_exists="replace_finished")
        with pytest.raises(trioflow.InstanceExists, match="'one' runs orchestration 'first', not 'second'"):
            await client.start(second, "b", id="one", if_exists="attach")
        attached = await client.start(first, "b", id="one", if_exists="attach")
        await handle.raise_event("go", "!")
        assert await attached.result(timeout=20) == "a!"
        again = await client.start(second, "c", id="one", if_exists="replace_finished")
        assert await again.result(timeout=20) == "second c"
        assert (await again.info()).execution == 2


async def test_an_end_of_many_messages_leaves_some_behind(store: Store) -> None:
    """Messages behind the one that ends an instance stay in its queue. Here nothing is queued for what has ended."""
    app = trioflow.App("rest")

    @app.orchestration
    async def main() -> Any:
        return await durable.wait_event("go")

    async with store, trioflow.connect(store, app) as client:
        handle = await client.start(main)
        await handle.raise_event("go", "done")
        for number in range(20):
            await handle.raise_event("late", number)
        await handle.cancel("too late")
        async with running(app, store):
            assert await handle.result(timeout=20) == "done"
        info = await handle.info()
        assert (info.state, info.queued, len(info.unread_events)) == (State.COMPLETED, 0, 20)
