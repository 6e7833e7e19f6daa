"""Attempts of activities: retries, timeouts, heartbeats that the next attempt sees, and what counts as poison."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import Rejected, running, shape, virtual_store
from trioflow import Retry, State, activity, durable
from trioflow.abc import Store
from trioflow.stores import MemoryStore
from trioflow.testing import Crash, FailpointEnv, run_durable

Clock = trio.testing.MockClock


@pytest.mark.parametrize(
    ("policy", "pauses"),
    [
        (Retry(max_attempts=4, initial=0), [0, 0, 0]),
        (Retry(max_attempts=4, initial=5, factor=1), [5, 5, 5]),
        (Retry(max_attempts=4, initial=5, factor=1, increment=5), [5, 10, 15]),
        (Retry(max_attempts=5, initial=1, factor=2, max_interval=5), [1, 2, 4, 5]),
    ],
    ids=["none", "fixed", "linear", "exponential"],
)
async def test_the_back_offs(autojump_clock: Clock, policy: Retry, pauses: list[float]) -> None:
    """duroxide: schedule_with_retry: none, fixed, linear, exponential; each attempt there costs events, here none."""
    app, store, times = trioflow.App("back-offs"), virtual_store(), list[float]()

    @app.activity(retry=policy)
    async def flaky() -> int:
        times.append(trio.current_time())
        if len(times) <= len(pauses):
            raise ConnectionError("not yet")
        return activity.info().attempt

    @app.orchestration
    async def main() -> int:
        return await flaky()

    async with running(app, store) as client:
        handle = await client.start(main)
        assert await handle.result() == len(pauses) + 1
        assert shape(await handle.history()).count("ActivityScheduled") == 1
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == pytest.approx(pauses, abs=0.1)


async def test_a_timeout_is_an_attempt_like_another(autojump_clock: Clock) -> None:
    """duroxide: a timeout ends the loop at once, as text. Here it is retried, bounded by the total time, and typed."""
    app, store, attempts = trioflow.App("timeouts"), virtual_store(), list[int]()

    @app.activity(retry=Retry(max_attempts=None, initial=1, factor=1, timeout=10, total_timeout=60))
    async def slow() -> None:
        attempts.append(activity.info().attempt)
        await trio.sleep(100)

    @app.orchestration
    async def main() -> str:
        began = durable.current_time()
        try:
            await slow()
        except trio.TooSlowError as exc:
            story = exc if isinstance(exc, trioflow.ActivityTimedOut) else None
            return f"{story and story.attempts} attempts in {durable.current_time() - began:.0f} s"
        return "in time"

    async with running(app, store) as client:
        assert await (await client.start(main)).result() == "6 attempts in 60 s"
    assert attempts == [1, 2, 3, 4, 5, 6]


async def test_what_is_final_is_not_tried_again(store: Store) -> None:
    """duroxide: no filter for errors that no retry can mend. Here classes, subclasses and names of them."""
    app, attempts = trioflow.App("final"), list[int]()
    app.exception(Rejected)

    @app.activity(retry=Retry(max_attempts=5, initial=0, give_up_on=(Rejected,)))
    async def charge() -> None:
        attempts.append(activity.info().attempt)
        raise ConnectionError("again") if len(attempts) < 3 else Rejected("never")

    @app.orchestration
    async def main() -> None:
        await charge()

    async with running(app, store) as client:
        with pytest.raises(trioflow.OrchestrationFailed) as caught:
            await (await client.start(main)).result(timeout=20)
    assert isinstance(caught.value.__cause__, Rejected)
    assert attempts == [1, 2, 3]


async def work(how: str) -> Any:
    """Three parts, each noted when it is done; an attempt that knows of no other ends in the second part."""
    done = activity.info().last_heartbeat or 0
    seen = [done]
    while done < 3:
        if done == 1 and activity.info().last_heartbeat is None:
            await end(how)
        done += 1
        activity.heartbeat(done)
    return seen


async def end(how: str) -> None:
    """Fail, or take for ever, or be stopped."""
    if how == "fails":
        raise ConnectionError("in the middle")
    await trio.sleep_forever()


@pytest.mark.parametrize("how", ["fails", "times out", "is stopped"])
async def test_a_heartbeat_is_seen_by_the_next_attempt(autojump_clock: Clock, how: str) -> None:
    """duroxide: no heartbeats. Here their details reach the next attempt, also if no renewal came in between."""
    app, store = trioflow.App("hearts"), virtual_store()
    part = app.activity(name="part", retry=Retry(initial=1, timeout=5 if how == "times out" else None))(work)

    @app.orchestration
    async def main() -> Any:
        return await part(how)

    async with trioflow.connect(store, app) as client:
        handle = await client.start(main)
        with trio.move_on_after(3):
            async with running(app, store, grace=0.5):
                await trio.sleep_forever()
        async with running(app, store):
            assert await handle.result(timeout=600) == [1]


async def test_a_heartbeat_is_seen_in_run_durable() -> None:
    """The test tool keeps details for the next attempt as a runtime does."""
    app = trioflow.App("hearts")
    part = app.activity(name="part", retry=Retry(initial=1))(work)

    async def main() -> Any:
        return await part("fails")

    assert await run_durable(main, app=app) == [1]


async def test_poison_is_counted_told_and_caught(autojump_clock: Clock) -> None:
    """duroxide: e2e_activity_item_poison_fails_orchestration, e2e_one_poisoned_activity_among_many.

    An activity that kills its workers fails as poison, which may be caught; those beside it are done.
    """
    app, store = trioflow.App("poison"), virtual_store()

    @app.activity
    async def deadly() -> None:
        raise Crash

    @app.activity
    async def harmless(number: int) -> int:
        return number

    @app.orchestration
    async def child() -> None:
        await deadly()

    @app.orchestration
    async def main() -> Any:
        numbers = await durable.gather(*[harmless(number) for number in range(5)])
        try:
            await child()
        except trioflow.ActivityPoisoned as exc:
            return [exc.category, exc.attempts, *numbers]
        return "survived"

    async with trioflow.connect(store, app) as client:
        handle = await client.start(main)
        for _ in range(3):
            with pytest.raises(Crash):
                async with running(app, store, max_attempts=3):
                    await trio.sleep_forever()
            await trio.sleep(60)
        async with running(app, store, max_attempts=3):
            assert await handle.result() == ["poison", 3, 0, 1, 2, 3, 4]


async def test_a_poisoned_instance_is_parked_and_nobody_else_is_slowed(autojump_clock: Clock) -> None:
    """duroxide: e2e_orchestration_item_poison_fails_orchestration, #47: the verdict may depend on a stuck lease.

    The instance is parked, says why, is listed so, and goes on when somebody says so: here its code was mended.
    """
    app, store = trioflow.App("parked"), virtual_store()

    @app.orchestration
    async def main(name: str) -> str:
        await durable.wait_event("go")
        return name

    async with trioflow.connect(store, app) as client:
        bad = await client.start(main, "bad")
        for _ in range(2):
            with pytest.raises(Crash):
                async with running(app, store, env=FailpointEnv().at("turn.locked"), max_attempts=2):
                    await trio.sleep_forever()
            await trio.sleep(60)
        async with running(app, store, max_attempts=2):
            good = await client.start(main, "good")
            await good.raise_event("go")
            assert await good.result() == "good"
            with pytest.raises(trioflow.InstanceParked, match="taken 2 times"):
                await bad.result()
            info = await bad.info()
            assert info.state is State.PARKED
            assert info.failure is not None
            assert info.failure.category == "poison"
            await bad.raise_event("go")
            await bad.resume()
            assert await bad.result() == "bad"


async def test_an_activity_that_nobody_knows(autojump_clock: Clock) -> None:
    """duroxide: unknown_activity_fails_with_poison, test_backoff_calculation: 1 s, doubled up to 60 s, then a verdict.

    It fails as configuration, in about six minutes, and may be caught.
    """
    author, worker, store = trioflow.App("author"), trioflow.App("worker"), virtual_store()

    @author.activity
    async def unknown() -> None: ...

    @author.orchestration
    async def main() -> str:
        began = durable.current_time()
        try:
            await unknown()
        except trioflow.ActivityFailed as exc:
            return f"{exc.category} after {durable.current_time() - began:.0f} s"
        return "done"

    async with running(worker, store), running(author, store, untagged=False) as client:
        assert (
            await (await client.start(main)).result() == "configuration after 313 s"
        )  # ten pauses, and a second for others after each


async def test_a_body_may_say_itself_that_it_is_final(store: Store) -> None:
    """duroxide: `retryable` is for the runtime's own errors. Here a body may say it, and be read."""
    app, attempts = trioflow.App("final"), list[int]()

    @app.activity(retry=Retry(max_attempts=5, initial=0))
    async def charge() -> None:
        attempts.append(activity.info().attempt)
        raise trioflow.ActivityFailed("the card is stolen", retryable=len(attempts) < 2)

    @app.orchestration
    async def main() -> None:
        await charge()

    async with running(app, store) as client:
        with pytest.raises(trioflow.OrchestrationFailed, match="the card is stolen") as caught:
            await (await client.start(main)).result(timeout=20)
    assert (caught.value.retryable, caught.value.attempts, attempts) == (False, 2, [1, 2])


async def beating() -> int:
    """Four parts; the first attempt hangs in the second."""
    done = activity.info().last_heartbeat or 0
    while done < 4:
        done += 1
        activity.heartbeat(done)
        await (trio.sleep_forever() if done == 2 and activity.info().attempt == 1 else trio.sleep(0.01))
    return activity.info().attempt


def beating_in_a_thread() -> int:
    """The same, in a plain function."""
    done = activity.info().last_heartbeat or 0
    while done < 4:
        done += 1
        activity.heartbeat(done)
        while done == 2 and activity.info().attempt == 1:
            trio.from_thread.run(trio.sleep, 0.01)
    return activity.info().attempt


@pytest.mark.parametrize("fn", [beating, beating_in_a_thread])
async def test_an_attempt_that_falls_silent_is_tried_again(fn: Any) -> None:
    """duroxide: a body that hangs is noticed by nobody. Here a heartbeat timeout ends it, and the next one goes on."""
    app = trioflow.App("silent")
    step = app.activity(heartbeat_timeout=0.1, retry=Retry(max_attempts=50, initial=0))(fn)

    @app.orchestration
    async def main() -> int:
        return int(await step())

    async with running(app, MemoryStore()) as client:
        assert await (await client.start(main)).result(timeout=20) >= 2  # more if this machine was busy


@pytest.mark.parametrize(("pause", "said"), [(9, "done"), (11, "activity 'work' sent no heartbeat for 10 s")])
async def test_a_heartbeat_that_comes_in_time_moves_the_limit(autojump_clock: Clock, pause: float, said: str) -> None:
    """Long work that says often enough that it lives is left alone; what does not is told why it was ended."""
    app, store = trioflow.App("lively"), virtual_store()

    @app.activity(name="work", heartbeat_timeout=10)
    async def lively() -> str:
        for _ in range(50):
            await trio.sleep(pause)
            activity.heartbeat()
        return "done"

    @app.orchestration
    async def main() -> str:
        try:
            return await lively()
        except trioflow.ActivityTimedOut as exc:
            return exc.message

    async with running(app, store) as client:
        assert await (await client.start(main)).result() == said
        assert await run_durable(main, app=app) == said
    assert trio.current_time() == pytest.approx(2 * (50 * pause if said == "done" else 10), abs=2)


async def test_a_heartbeat_that_comes_too_late_moves_nothing(autojump_clock: Clock) -> None:
    """A body that shields itself, and then says that it lives, has timed out all the same."""
    app, store = trioflow.App("late"), virtual_store()

    @app.activity(heartbeat_timeout=10)
    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(20)
            activity.heartbeat()
            await trio.sleep(5)
        await trio.sleep_forever()

    @app.orchestration
    async def main() -> str:
        try:
            await stubborn()
        except trioflow.ActivityTimedOut as exc:
            return exc.message
        return "in time"

    async with running(app, store) as client:
        handle = await client.start(main)
        assert await handle.result(timeout=100) == "activity 'stubborn' sent no heartbeat for 10 s"
