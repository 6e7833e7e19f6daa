"""Sessions: activities that stay with one runtime, for as long as they come often enough."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trioflow
from tests.runtime.programs import running, virtual_store
from trioflow import activity, durable
from trioflow.abc import RenewSessions, Store
from trioflow.errors import ConfigurationError
from trioflow.testing import FaultyStore


def chat(seen: list[tuple[str, str | None]], worker: str) -> trioflow.App:
    """The same application in one of several runtimes; `seen` notes which of them ran what."""
    app = trioflow.App("chat")

    @app.activity
    async def say(busy: float) -> None:
        seen.append((worker, activity.info().session))
        await trio.sleep(busy)

    @app.orchestration
    async def talk(session: str | None, count: int, pause: float = 0.0, busy: float = 0.0) -> None:
        for _ in range(count):
            await say.options(session=session)(busy)
            await durable.sleep(pause)

    return app


async def test_a_session_stays_with_one_runtime(autojump_clock: MockClock) -> None:
    """All activities of a session run in the runtime that took the first of them."""
    store, seen = virtual_store(), list[tuple[str, str | None]]()
    async with running(chat(seen, "a"), store) as client, running(chat(seen, "b"), store):
        handles = [await client.start("talk", f"s{number % 3}", 4, 1.0) for number in range(6)]
        for handle in handles:
            await handle.result()
    assert len(seen) == 24
    for session in ("s0", "s1", "s2"):
        assert len({worker for worker, where in seen if where == session}) == 1, seen


async def test_a_session_outlives_its_leases_while_it_is_used(autojump_clock: MockClock) -> None:
    """A session is renewed while its activities come often enough, however long that goes on."""
    store, seen = virtual_store(), list[tuple[str, str | None]]()
    options = {"session_lease": 30.0, "session_idle": 120.0}
    async with running(chat(seen, "a"), store, **options) as client, running(chat(seen, "b"), store, **options):
        await (await client.start("talk", "s", 20, 100.0)).result()
    assert len({worker for worker, _ in seen}) == 1


async def test_a_long_activity_keeps_its_session(autojump_clock: MockClock) -> None:
    """A session in which something runs is not idle."""
    store, seen = virtual_store(), list[tuple[str, str | None]]()
    options = {"session_lease": 30.0, "session_idle": 60.0}
    async with running(chat(seen, "a"), store, **options) as client, running(chat(seen, "b"), store, **options):
        await (await client.start("talk", "s", 3, 0.0, 1000.0)).result()
    assert len({worker for worker, _ in seen}) == 1


async def test_an_idle_session_is_given_back(autojump_clock: MockClock) -> None:
    """A session that nobody uses makes room for others at the runtime that had it, and goes to whoever comes first."""
    store, seen = virtual_store(), list[tuple[str, str | None]]()
    app = chat(seen, "a")
    settings = trioflow.RuntimeOptions(session_idle=60.0)
    async with trioflow.open_runtime(app, store, options=settings) as runtime:
        await (await runtime.client.start("talk", "s", 1)).result()
        assert repr(runtime).endswith("sessions 1]>")
        await trio.sleep(100)
        assert repr(runtime).endswith("sessions 0]>")
    assert (await store.read_metrics()).sessions == 0


async def test_a_runtime_that_stops_gives_its_sessions_back(autojump_clock: MockClock) -> None:
    """Another runtime goes on with a session at once after its owner has stopped."""
    store, seen = virtual_store(), list[tuple[str, str | None]]()
    async with trioflow.connect(store) as outside:
        async with running(chat(seen, "a"), store) as client:
            handle = await client.start("talk", "s", 3, 10.0)
            await trio.sleep(5)
        stopped = trio.current_time()
        async with running(chat(seen, "b"), store):
            await outside.handle(handle.id).result()
        assert trio.current_time() - stopped < 30
    assert [worker for worker, _ in seen] == ["a", "b", "b"]


async def test_a_session_is_taken_over_when_its_lease_has_run_out(autojump_clock: MockClock) -> None:
    """A runtime that cannot reach the store loses its sessions, and others go on with them."""
    store, seen = virtual_store(), list[tuple[str, str | None]]()

    class Deaf(FaultyStore):
        async def renew_sessions(self, request: RenewSessions) -> Any:
            await trio.sleep_forever()

        async def lock_activities(self, request: Any) -> Any:
            if seen:
                await trio.sleep_forever()
            return await super().lock_activities(request)

    async with running(chat(seen, "a"), Deaf(store), born_leased=False) as client:
        handle = await client.start("talk", "s", 3, 1.0)
        await trio.sleep(5)
        async with running(chat(seen, "b"), store):
            await handle.result()
    assert [worker for worker, _ in seen] == ["a", "b", "b"]
    assert 25 < trio.current_time() < 45


@pytest.mark.parametrize("limit", [0, 1, 2])
async def test_a_runtime_has_so_many_sessions_at_once(autojump_clock: MockClock, limit: int) -> None:
    """The cap bounds the sessions of one runtime; what has no session passes by those that wait."""
    store, seen = virtual_store(), list[tuple[str, str | None]]()
    async with running(chat(seen, "a"), store, sessions=limit) as client:
        for session in ("s0", "s1", "s2"):
            await client.start("talk", session, 50, 1.0)
        await (await client.start("talk", None, 3)).result()
        await trio.sleep(20)
        assert len({where for _, where in seen if where is not None}) == limit


async def test_a_cap_is_no_end(autojump_clock: MockClock) -> None:
    """More sessions than one runtime may have come one after the other."""
    store, seen = virtual_store(), list[tuple[str, str | None]]()
    async with running(chat(seen, "a"), store, sessions=1, session_idle=26.0) as client:
        handles = [await client.start("talk", f"s{number}", 2) for number in range(3)]
        for handle in handles:
            await handle.result()
    assert len(seen) == 6


async def test_without_sessions_the_store_is_not_asked_for_any(autojump_clock: MockClock) -> None:
    """A runtime that has no session never renews or releases one."""
    store, seen, asked = virtual_store(), list[tuple[str, str | None]](), list[str]()

    class Counted(FaultyStore):
        async def renew_sessions(self, request: RenewSessions) -> Any:
            asked.append("renew")
            return await super().renew_sessions(request)

        async def release_sessions(self, worker: str) -> None:
            asked.append("release")
            await super().release_sessions(worker)

    counted: Store = Counted(store)
    async with running(chat(seen, "a"), counted) as client:
        await (await client.start("talk", None, 3, 100.0)).result()
        assert not asked
        await (await client.start("talk", "s", 1)).result()
        await trio.sleep(100)
    assert "renew" in asked
    assert asked[-1] == "release"


def test_an_idle_time_that_ends_what_runs_is_refused() -> None:
    """Use is noted when an activity's lease is renewed, so a session has to stay that long."""
    with pytest.raises(ConfigurationError, match="session_idle"):
        trioflow.RuntimeOptions(session_idle=20.0)
    trioflow.RuntimeOptions(session_idle=20.0, activity_lease=20.0)
    trioflow.RuntimeOptions(activity_lease=3600.0)


async def test_a_long_lease_leaves_a_session_the_time(autojump_clock: MockClock) -> None:
    """Where activities are renewed rarely, a session may be unused for longer by itself."""
    store, seen = virtual_store(), list[tuple[str, str | None]]()
    options = {"activity_lease": 1000.0}
    async with running(chat(seen, "a"), store, **options) as client, running(chat(seen, "b"), store, **options):
        await (await client.start("talk", "s", 3, 0.0, 3000.0)).result()
    assert len({worker for worker, _ in seen}) == 1


async def test_a_session_goes_with_a_name_that_its_owner_does_not_know(autojump_clock: MockClock) -> None:
    """Who takes an activity that it does not know leaves the session, too, to whoever knows it."""
    store, seen = virtual_store(), list[tuple[str, str | None]]()
    stranger = trioflow.App("stranger")
    async with running(stranger, store), running(chat(seen, "a"), store, untagged=False) as client:
        handle = await client.start("talk", "s", 1)
        await trio.sleep(5)
        async with running(chat(seen, "b"), store):
            await handle.result(timeout=60)
    assert [worker for worker, _ in seen] == ["b"]


async def test_a_session_taken_during_a_renewal_is_given_back_too(autojump_clock: MockClock) -> None:
    """What a renewal did not hear of yet is given back by a runtime that stops."""
    store, seen = virtual_store(), list[tuple[str, str | None]]()
    app = chat(seen, "a")

    class Meanwhile(FaultyStore):
        async def renew_sessions(self, request: RenewSessions) -> Any:
            answer = await super().renew_sessions(request)
            await (await runtime.client.start("talk", "late", 1)).result()
            return answer

    settings = trioflow.RuntimeOptions(session_idle=10.0, activity_lease=10.0)
    async with trioflow.open_runtime(app, Meanwhile(store), options=settings) as runtime:
        await (await runtime.client.start("talk", "s", 1)).result()
        await trio.sleep(26)  # the renewal gives "s" back, and answers that nothing is held
    assert (await store.read_metrics()).sessions == 0


async def test_a_name_is_one_runtime_s_while_it_is_alive(store: Store) -> None:
    """A second runtime of that name is refused by the store, hurts nobody, and may come when the first has left."""
    app, options = trioflow.App("twins"), trioflow.RuntimeOptions(worker="w1")
    for _ in range(2):
        async with trioflow.open_runtime(app, store, options=options):
            for _ in range(2):
                with pytest.raises(trioflow.ConfigurationError, match="'w1' is in use by a runtime that is alive"):
                    async with trioflow.open_runtime(app, store, options=options):
                        raise AssertionError("it was let in")
            async with trioflow.open_runtime(app, store, options=trioflow.RuntimeOptions(worker="w2")):
                pass
