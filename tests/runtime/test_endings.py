"""How attempts of activities end: retries by every field of the policy, timeouts, and what no retry can mend."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import running, shape, virtual_store
from trioflow import Retry, activity, durable
from trioflow.abc import Store
from trioflow.testing import FailpointEnv

Clock = trio.testing.MockClock


class Again(Exception):
    """A failure worth another attempt."""


class Enough(Exception):
    """A failure that is final."""


async def times_of_attempts(retry: Retry, failures: list[Exception | None], **options: Any) -> tuple[list[float], Any]:
    """When each attempt began, in seconds from the first, and how it ended."""
    app, begun = trioflow.App("retries"), list[float]()
    app.exception(Again)
    app.exception(Enough)

    @app.activity(retry=retry, **options)
    async def attempt() -> str:
        begun.append(trio.current_time())
        problem = failures[len(begun) - 1]
        if problem is not None:
            raise problem
        return f"attempt {activity.info().attempt}"

    @app.orchestration
    async def main() -> str:
        return await attempt()

    async with running(app, virtual_store()) as client:
        handle = await client.start(main)
        try:
            result: Any = await handle.result()
        except trioflow.OrchestrationFailed as exc:
            result = exc
    return [round(time - begun[0], 6) for time in begun], result


@pytest.mark.parametrize(
    ("retry", "times"),
    [
        (Retry(max_attempts=4, initial=1, factor=2), [0, 1, 3, 7]),
        (Retry(max_attempts=4, initial=5, factor=1), [0, 5, 10, 15]),
        (Retry(max_attempts=4, initial=1, factor=1, increment=1), [0, 1, 3, 6]),
        (Retry(max_attempts=5, initial=1, factor=10, max_interval=20), [0, 1, 11, 31, 51]),
        (Retry(max_attempts=3, initial=0), [0, 0, 0]),
        (Retry(max_attempts=None, initial=10, factor=1, total_timeout=35), [0, 10, 20, 30]),
        (Retry(max_attempts=1), [0]),
    ],
)
async def test_pauses_follow_the_policy(retry: Retry, times: list[float], autojump_clock: Clock) -> None:
    """Attempts begin when the policy says, as often as it says, and the last failure is the orchestration's."""
    begun, result = await times_of_attempts(retry, [Again("no")] * 10)
    assert begun == times
    assert isinstance(result.__cause__, Again)
    assert isinstance(result.__cause__.__cause__, trioflow.OperationFailed)
    assert len(times) == 1 or f"after {len(times)} attempts" in str(result.__cause__.__cause__)


async def test_a_retry_may_succeed(autojump_clock: Clock) -> None:
    """The first attempt that returns ends it, and knows which attempt it is."""
    begun, result = await times_of_attempts(Retry(max_attempts=5, initial=1), [Again("no"), Again("no"), None])
    assert len(begun) == 3
    assert result == "attempt 3"


async def test_jitter_moves_a_pause(autojump_clock: Clock) -> None:
    """With jitter a pause is longer or shorter by no more than the share."""
    begun, _ = await times_of_attempts(Retry(max_attempts=2, initial=10, jitter=0.5), [Again("no")] * 2)
    assert 5 <= begun[1] <= 15


@pytest.mark.parametrize(
    ("retry", "failures", "attempts"),
    [
        (Retry(max_attempts=5, initial=0, give_up_on=Enough), [Again("a"), Enough("b"), None], 2),
        (Retry(max_attempts=5, initial=0, retry_on=Again), [Again("a"), Again("b"), Enough("c"), None], 3),
        (Retry(max_attempts=5, initial=0, retry_on="ValueError"), [Again("a"), None], 1),
    ],
)
async def test_some_failures_are_final(
    retry: Retry, failures: list[Exception | None], attempts: int, autojump_clock: Clock
) -> None:
    """`retry_on` and `give_up_on` say which exceptions are tried again."""
    begun, result = await times_of_attempts(retry, failures)
    assert len(begun) == attempts
    assert isinstance(result, trioflow.OrchestrationFailed)


@pytest.mark.parametrize(
    ("retry", "options", "ends_at", "attempts"),
    [
        (Retry(max_attempts=3, initial=1, factor=1, timeout=10), {}, 32, 3),
        (Retry(max_attempts=2, initial=1), {"timeout": 10}, 21, 2),
        (Retry(max_attempts=9, initial=1, factor=1, timeout=10, total_timeout=25), {}, 25, 3),
    ],
)
async def test_an_attempt_that_takes_too_long_is_cancelled(
    retry: Retry, options: dict[str, Any], ends_at: float, attempts: int, autojump_clock: Clock
) -> None:
    """A timeout cancels the body, counts as a failed attempt, and is a TooSlowError in the end."""
    app, begun = trioflow.App("slow"), list[float]()

    @app.activity(retry=retry, **options)
    async def slow() -> None:
        begun.append(trio.current_time())
        assert activity.info().deadline is not None
        await trio.sleep_forever()

    @app.orchestration
    async def main() -> str:
        try:
            await slow()
        except trio.TooSlowError as exc:
            return type(exc).__name__
        return "it ended"

    async with running(app, virtual_store()) as client:
        handle = await client.start(main)
        assert await handle.result() == "ActivityTimedOut"
        assert round(trio.current_time() - begun[0], 3) == ends_at
        assert len(begun) == attempts


async def test_an_activity_that_nobody_takes_in_time_fails(autojump_clock: Clock) -> None:
    """`schedule_timeout` ends an activity that a worker comes to too late, without running it."""
    app, store, calls = trioflow.App("late"), virtual_store(), list[int]()

    @app.activity(tag="gpu", schedule_timeout=60)
    async def render() -> None:
        calls.append(1)

    @app.orchestration
    async def main() -> str:
        try:
            await render()
        except trioflow.ActivityTimedOut as exc:
            return exc.message
        return "rendered"

    async with running(app, store) as client:
        handle = await client.start(main)
        await trio.sleep(100)
        async with running(app, store, tags=("gpu",), untagged=False):
            assert await handle.result() == "activity 'render' was not taken within 60 s"
    assert not calls


@pytest.mark.parametrize("retry", [Retry(max_attempts=1), Retry(max_attempts=5)])
async def test_a_result_that_cannot_be_recorded_fails_at_once(store: Store, retry: Retry) -> None:
    """A result that does not serialize is a failure of configuration that names the activity, and is not retried."""
    app, calls = trioflow.App("results"), list[int]()

    @app.activity(retry=retry)
    async def strange() -> Any:
        calls.append(1)
        return object()

    @app.orchestration
    async def main() -> str:
        try:
            await strange()
        except trioflow.EncodeError as exc:
            cause = exc.__cause__
            assert isinstance(cause, trioflow.ActivityFailed)
            return f"{cause.category} {cause.retryable} {'strange' in cause.message}"
        except trioflow.ActivityFailed as exc:
            return f"{exc.category} {exc.retryable} {'strange' in exc.message}"
        return "recorded"

    async with running(app, store) as client:
        assert await (await client.start(main)).result(timeout=20) == "configuration False True"
    assert len(calls) == 1


async def test_no_attempt_begins_after_the_total_time(autojump_clock: Clock) -> None:
    """An activity that is taken after its `total_timeout` has timed out."""
    app, store, calls = trioflow.App("late"), virtual_store(), list[int]()

    @app.activity(tag="gpu", retry=Retry(total_timeout=60))
    async def render() -> None:
        calls.append(1)

    @app.orchestration
    async def main() -> str:
        try:
            await render()
        except trioflow.ActivityTimedOut as exc:
            return exc.message
        return "rendered"

    async with running(app, store) as client:
        handle = await client.start(main)
        await trio.sleep(100)
        async with running(app, store, tags=("gpu",), untagged=False):
            assert await handle.result() == "activity 'render' did not end within 60 s in all"
    assert not calls


async def test_arguments_that_no_longer_fit_fail_the_activity(store: Store) -> None:
    """Arguments recorded for other parameters are a failure of configuration; the body does not run."""
    app, later = trioflow.App("before"), trioflow.App("after")

    @app.activity(name="work", tag="worker")
    async def work(number: int) -> int:
        return number

    @later.activity(name="work", tag="worker")
    async def work_again(text: str) -> str:
        return text

    @app.orchestration
    async def main() -> str:
        try:
            await work(1)
        except (trioflow.ActivityFailed, trioflow.DecodeError) as exc:
            story = exc if isinstance(exc, trioflow.ActivityFailed) else exc.__cause__
            assert isinstance(story, trioflow.ActivityFailed)
            return story.category
        return "worked"

    async with store, running(app, store) as client, running(later, store, tags=("worker",), untagged=False):
        assert await (await client.start(main)).result(timeout=20) == "configuration"


async def test_an_activity_unknown_where_it_is_scheduled_goes_to_the_queue(autojump_clock: Clock) -> None:
    """A name that the scheduling worker does not know is not born there."""
    author, worker, store = trioflow.App("author"), trioflow.App("worker"), virtual_store()

    @worker.activity
    async def special(number: int) -> int:
        return number + 1

    @author.activity
    async def known(number: int) -> int:
        return number

    @author.orchestration
    async def main() -> int:
        return await known.options(name="special")(1)

    async with running(author, store) as client, running(worker, store):
        assert await (await client.start(main)).result() == 2


async def test_an_unknown_activity_waits_for_a_worker_that_knows_it(autojump_clock: Clock) -> None:
    """An unknown name backs off from 1 s on, and fails as configuration after the last fetch."""
    author, worker, store = trioflow.App("author"), trioflow.App("worker"), virtual_store()

    @author.activity
    async def special() -> str:
        return "done"

    @author.orchestration
    async def main() -> str:
        try:
            return await special()
        except trioflow.ActivityFailed as exc:
            return f"{exc.category} after {trio_time():.0f} s"

    began = trio.current_time()

    def trio_time() -> float:
        return durable.current_time() - 1_700_000_000 - began

    async with running(author, store, untagged=False) as client, running(worker, store, max_attempts=4):
        handle = await client.start(main)
        assert await handle.result() == "configuration after 19 s"  # 1 + 2 + 4 + 8, and a second for others each time


async def test_an_unknown_activity_is_done_by_whoever_knows_it(autojump_clock: Clock) -> None:
    """While one worker backs off, another that knows the name does it."""
    author, worker, store = trioflow.App("author"), trioflow.App("worker"), virtual_store()

    @author.activity
    async def special() -> str:
        return "done"

    @author.orchestration
    async def main() -> str:
        return await special()

    async with running(worker, store, max_attempts=2), running(author, store, untagged=False) as client:
        handle = await client.start(main)
        await trio.sleep(3)
        async with running(author, store):
            assert await handle.result() == "done"


async def test_an_activity_that_kills_its_workers_is_poison(autojump_clock: Clock) -> None:
    """An activity that was taken many times and never ended fails as poison, which may be caught."""
    app, store = trioflow.App("poison"), virtual_store()

    @app.activity
    async def deadly() -> None:
        await trio.sleep_forever()

    @app.orchestration
    async def main() -> str:
        try:
            await deadly()
        except trioflow.ActivityPoisoned as exc:
            return f"{exc.category}, {exc.attempts} attempts"
        return "survived"

    client_app = trioflow.App("client")
    async with trioflow.connect(store, app) as client:
        handle = await client.start(main)
        for _ in range(3):
            env = FailpointEnv().at("activity.before_body")
            with pytest.raises(BaseException, match=r"^$"):
                async with running(app, store, env=env):
                    await trio.sleep_forever()
            await trio.sleep(40)
        async with running(app, store, max_attempts=3):
            assert await handle.result() == "poison, 3 attempts"
    assert not list(client_app.definitions())


async def test_an_activity_knows_itself(store: Store) -> None:
    """`activity.info()` and the client are there in the body and its thread; all attempts have one key."""
    app, seen = trioflow.App("info"), list[Any]()

    @app.activity(retry=Retry(max_attempts=2, initial=0))
    def look() -> str:
        info = activity.info()
        seen.append((info.attempt, info.idempotency_key, activity.client()))
        activity.logger.info("attempt")
        if info.attempt == 1:
            raise Again
        return info.instance

    @app.orchestration
    async def main() -> str:
        return await look()

    async with running(app, store) as client:
        handle = await client.start(main, id="me")
        assert await handle.result(timeout=20) == "me"
        history = await handle.history()
        assert seen == [(1, "me/1/2", client), (2, "me/1/2", client)]
        assert shape(history) == [
            "OrchestrationStarted",
            "ActivityScheduled",
            "ActivityCompleted",
            "OrchestrationCompleted",
        ]


def test_outside_an_activity_the_package_says_so() -> None:
    """Asked where no activity runs, `trioflow.activity` explains itself."""
    with pytest.raises(RuntimeError, match="where no activity runs"):
        activity.info()
    with pytest.raises(RuntimeError, match="where no activity runs"):
        activity.heartbeat()


async def test_a_heartbeat_reaches_the_next_attempt(autojump_clock: Clock) -> None:
    """Details of a heartbeat are kept with the next renewal and shown to the attempt that follows a lost one."""
    app, store = trioflow.App("heart"), virtual_store()

    @app.activity
    async def work() -> Any:
        last = activity.info().last_heartbeat
        if last is not None:
            return last
        activity.heartbeat({"done": 7})
        return await trio.sleep_forever()

    @app.orchestration
    async def main() -> Any:
        return await work()

    async with trioflow.connect(store, app) as client:
        handle = await client.start(main)
        with trio.move_on_after(40):
            async with running(app, store):
                await trio.sleep_forever()
        async with running(app, store):
            assert await handle.result() == {"done": 7}


async def test_an_item_that_cannot_be_read_fails_its_activity(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options that make no sense are a failure of configuration."""
    app = trioflow.App("options")

    @app.activity(tag="x")
    async def work() -> None: ...

    @app.orchestration
    async def main() -> str:
        try:
            await work()
        except trioflow.ActivityFailed as exc:
            return exc.category
        return "worked"

    monkeypatch.setattr("trioflow._runtime._turns.encode_options", lambda plain, headers: b"{}")
    async with running(app, store, tags=None) as client:
        assert await (await client.start(main)).result(timeout=20) == "configuration"


@pytest.mark.parametrize("kind", ["async", "thread", "group"])
async def test_an_activity_may_raise_anything(store: Store, kind: str) -> None:
    """What is no `Exception`, such as another async library's cancellation, fails the activity, not its runtime."""
    app = trioflow.App("odd")

    class OtherCancelled(BaseException):
        """As `asyncio.CancelledError`."""

    def fails() -> None:
        raise OtherCancelled("not ours")

    async def fails_async() -> None:
        if kind == "group":
            raise BaseExceptionGroup("several", [ValueError(), OtherCancelled("not ours")])
        raise OtherCancelled("not ours")

    step = app.activity(name="step", retry=Retry(max_attempts=3))(fails if kind == "thread" else fails_async)

    @app.orchestration
    async def main() -> str:
        try:
            await step()
        except* trioflow.OperationFailed as group:
            failed = group.exceptions[0]
        except* ValueError:
            pass
        assert isinstance(failed, trioflow.OperationFailed)
        return failed.type.rpartition(".")[2]

    async with running(app, store) as client:
        assert await (await client.start(main)).result() == "OtherCancelled"


async def test_the_end_of_the_process_is_no_failure_of_an_activity(autojump_clock: Clock) -> None:
    """SystemExit goes to the host, and the activity to the next worker, when its lease has run out."""
    app, store, begun = trioflow.App("exits"), virtual_store(), list[int]()

    @app.activity
    async def step() -> str:
        begun.append(activity.info().attempt)
        if len(begun) == 1:
            raise SystemExit(3)
        return "done"

    @app.orchestration
    async def main() -> str:
        return await step()

    async with trioflow.connect(store, app) as client:
        handle = await client.start(main)
        with pytest.raises(SystemExit):
            async with running(app, store):
                await trio.sleep_forever()
        async with running(app, store):
            assert await handle.result() == "done"
    assert begun == [1, 2]


async def test_who_knows_an_activity_comes_first(autojump_clock: Clock) -> None:
    """Workers that do not know an activity leave it to those that do: nobody's dice make it fail."""
    author, worker, store = trioflow.App("author"), trioflow.App("worker"), virtual_store()

    @author.activity
    async def special(number: int) -> int:
        return number

    @author.orchestration
    async def main(number: int) -> int:
        return await special(number)

    options = {"max_attempts": 3, "born_leased": False}
    async with (
        running(worker, store, **options),
        running(worker, store, **options),
        running(author, store, **options) as client,
    ):
        handles = [await client.start(main, number) for number in range(50)]
        assert [await handle.result() for handle in handles] == list(range(50))
    assert trio.current_time() < 10
