"""`run_durable`: any async function as an orchestration, here and now, time jumping."""

from __future__ import annotations

import functools
from typing import Any

import attrs
import pytest
import trio

import trioflow
from trioflow import durable
from trioflow.testing import run_durable


class Own(Exception):
    """Known to nobody."""


def make_app() -> tuple[trioflow.App, list[Any]]:
    """Activities and children, and what they did."""
    app, done = trioflow.App("app"), list[Any]()

    @app.activity(retry=trioflow.Retry(max_attempts=3, initial=3600, max_interval=86400))
    async def flaky(times: int) -> str:
        done.append("attempt")
        if done.count("attempt") <= times:
            raise ValueError("not yet")
        return "at last"

    @app.activity
    async def forever() -> None:
        try:
            await trio.sleep_forever()
        finally:
            done.append("cancelled")

    @app.activity
    def thread(number: int) -> int:
        return number + 1

    @app.activity(timeout=10)
    async def slow() -> None:
        await trio.sleep_forever()

    @app.orchestration
    async def child(seconds: float) -> str:
        await durable.sleep(seconds)
        return "child"

    @app.orchestration
    async def patient() -> str:
        try:
            return str(await durable.wait_event("never"))
        finally:
            done.append("child unwound")

    @app.orchestration
    async def counting(left: int) -> int:
        durable.kv["rounds"] = durable.kv.get("rounds", 0) + 1
        if left:
            durable.continue_as_new(left - 1)
        return int(durable.kv["rounds"])

    return app, done


def by_name(app: trioflow.App, name: str) -> Any:
    """A definition."""
    return next(definition for key, definition in app.definitions() if key[1] == name)


async def test_a_year_passes_at_once() -> None:
    """Sleeps and deadlines take no time, and the code sees exactly the time it asked for."""

    async def main() -> float:
        begun = durable.current_time()
        await durable.sleep(365 * 86400)
        with durable.move_on_after(5):
            await durable.sleep_forever()
        return durable.current_time() - begun

    assert await run_durable(main) == 365 * 86400 + 5


async def test_arguments_and_results_are_the_very_objects() -> None:
    """A function gets its arguments as they are, and what it returns comes out as it is, recordable or not."""
    thing = object()

    async def main(given: Any, numbers: list[int]) -> Any:
        numbers.append(1)
        return given

    numbers: list[int] = []
    assert await run_durable(main, thing, numbers) is thing
    assert numbers == [1]
    assert await run_durable(main, "plain", numbers) == "plain"
    assert numbers == [1, 1]
    assert await run_durable(functools.partial(main, given=thing, numbers=numbers)) is thing


async def test_an_exception_is_the_very_object() -> None:
    """What the code raised comes out as it was raised, with its cause and its traceback."""
    error = Own("mine")

    async def main() -> None:
        raise error from KeyError("cause")

    with pytest.raises(Own) as caught:
        await run_durable(main)
    assert caught.value is error
    assert isinstance(error.__cause__, KeyError)
    assert error.__traceback__ is not None


async def test_groups_come_out_as_groups() -> None:
    """A nursery's exception group is the caller's to see."""

    async def bad() -> None:
        raise Own

    async def main() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(bad)

    with pytest.raises(ExceptionGroup) as caught:
        await run_durable(main)
    assert caught.group_contains(Own)


async def test_activities_retries_and_children_run_by_the_usual_rules() -> None:
    """Retries skip their pauses, threads work, children are executed, an unknown class is a failure."""
    app, done = make_app()

    async def main() -> list[Any]:
        begun = durable.current_time()
        first = await by_name(app, "flaky")(2)
        waited = durable.current_time() - begun
        return [first, waited >= 3 * 3600, await by_name(app, "thread")(4), await by_name(app, "child")(86400)]

    assert await run_durable(main, app=app) == ["at last", True, 5, "child"]
    assert done == ["attempt"] * 3


async def test_a_definition_runs_in_its_own_app() -> None:
    """An orchestration is run with its arguments encoded and decoded; continue-as-new goes on with kv."""
    app, _ = make_app()
    assert await run_durable(by_name(app, "counting"), 4) == 5
    with pytest.raises(trioflow.EncodeError):
        await run_durable(by_name(app, "child"), object())
    with pytest.raises(trioflow.ConfigurationError, match="include"):
        await run_durable(by_name(app, "child"), 1, app=trioflow.App("other"))


async def test_a_function_may_continue_as_new() -> None:
    """The first execution gets the objects given, the next what was passed on."""

    async def main(left: int, *, word: str = "none") -> str:
        if left:
            durable.continue_as_new(left - 1)
        return f"{left} {word}"

    assert await run_durable(main, 3) == "0 none"


async def test_cancellation_reaches_activities_and_children(autojump_clock: trio.testing.MockClock) -> None:
    """Losers of a race are cancelled: the running body, the activity between two attempts, the child."""
    app, done = make_app()

    async def main() -> Any:
        return await durable.race(
            durable.sleep(60), by_name(app, "forever")(), by_name(app, "flaky")(9), by_name(app, "patient")()
        )

    index, _ = await run_durable(main, app=app)
    assert index == 0
    assert sorted(done) == ["attempt", "cancelled", "child unwound"]


async def test_a_deadline_ends_a_child() -> None:
    """A child that waits for ever is cancelled with the scope it was called in."""
    app, done = make_app()

    async def main() -> bool:
        with durable.move_on_after(10) as scope:
            await by_name(app, "patient")()
        return scope.cancelled_caught

    assert await run_durable(main, app=app)
    assert done == ["child unwound"]


async def test_an_activity_that_takes_too_long_times_out(autojump_clock: trio.testing.MockClock) -> None:
    """Timeouts of activities pass on trio's clock, and so do deadlines around a body that runs."""
    app, done = make_app()

    async def main() -> list[Any]:
        seen: list[Any] = []
        try:
            await by_name(app, "slow")()
        except trioflow.ActivityTimedOut:
            seen.append("timed out")
        with durable.move_on_after(100) as scope:
            await by_name(app, "forever")()
        return [*seen, scope.cancelled_caught]

    assert await run_durable(main, app=app) == ["timed out", True]
    assert done == ["cancelled"]


async def test_what_waits_for_ever_is_told() -> None:
    """When nothing can ever happen the error names the branches and what they wait for, without payloads."""

    async def main() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(durable.wait_event, "approved")
            nursery.start_soon(durable.sleep_forever)

    with pytest.raises(RuntimeError, match="nothing will ever happen") as caught:
        await run_durable(main)
    _, instance, main_line, *rest = str(caught.value).splitlines()
    assert instance == "  run_durable"
    assert "main waits for the end of its nursery, at " in main_line
    assert rest == [
        "     └─ nursery",
        "        ├─ 0.1 durable.wait_event waits for event 'approved'",
        "        └─ 0.2 durable.sleep_forever sleeps for ever",
    ]


async def test_the_caller_may_give_up(autojump_clock: trio.testing.MockClock) -> None:
    """Cancelling the caller cancels bodies and drops the orchestration."""
    app, done = make_app()

    async def main() -> None:
        await by_name(app, "forever")()

    with trio.move_on_after(5) as scope:
        await run_durable(main, app=app)
    assert scope.cancelled_caught
    assert done == ["cancelled"]


async def test_unknown_names_are_failures() -> None:
    """An activity or child that the app does not have fails where it is called."""
    app, _ = make_app()

    async def activity_() -> None:
        await by_name(app, "thread").options(name="nobody")(1)

    with pytest.raises(trioflow.TrioflowError, match="nobody"):
        await run_durable(activity_, app=app)


async def test_ids_that_are_taken_are_refused() -> None:
    """Children and detached instances share one set of ids."""
    app, _ = make_app()

    async def main() -> list[str]:
        seen = []
        child = by_name(app, "child").options(id="one")
        seen.append(await child(1))
        for again in (child(1), durable.start_detached(by_name(app, "child"), 1, id="one")):
            try:
                await again
            except Exception as exc:
                seen.append(type(exc).__name__)
        await durable.start_detached(by_name(app, "child"), 1, id="two")
        return seen

    assert await run_durable(main, app=app) == ["child", "ChildFailed", "InstanceExists"]


async def test_only_async_functions() -> None:
    """What is not async, or not callable, is answered with what is."""
    with pytest.raises(TypeError, match="async function"):
        await run_durable(lambda: 5)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="async function"):
        await run_durable(5)  # type: ignore[arg-type]


async def test_logs_come_out(caplog: pytest.LogCaptureFixture) -> None:
    """What an orchestration logs is logged."""

    async def main() -> None:
        durable.logger.warning("hello %s", "log")

    await run_durable(main)
    assert "hello log" in caplog.text


@attrs.frozen
class Point:
    """A declared type."""

    x: int


async def test_declared_types_cross_the_border() -> None:
    """Arguments and results of activities are encoded and decoded by type, as anywhere."""
    app, seen = trioflow.App("types"), list[Any]()

    @app.activity
    async def move(point: Point) -> Point:
        seen.append(point)
        return Point(point.x + 1)

    async def main() -> Point:
        return await move(Point(1))

    assert await run_durable(main, app=app) == Point(2)
    assert seen == [Point(1)]


async def test_cancelled_out_of_its_scope_ends_the_orchestration_as_cancelled() -> None:
    """A `Cancelled` that is carried to the top is the end of the orchestration."""

    async def main() -> None:
        with durable.move_on_after(1):
            try:
                await durable.sleep_forever()
            except BaseException as exc:
                kept = exc
                raise
        raise kept

    with pytest.raises(trioflow.OrchestrationCancelled):
        await run_durable(main)


async def test_outcomes_that_nobody_waits_for_are_dropped(autojump_clock: trio.testing.MockClock) -> None:
    """An abandoned activity or child ends after its caller went on, or began anew, and harms nobody."""
    app, done = trioflow.App("abandon"), list[str]()

    @app.activity(on_cancel="abandon")
    async def slow(name: str) -> None:
        await trio.sleep(30)
        done.append(name)

    @app.activity(on_cancel="abandon", retry=trioflow.Retry(max_attempts=2, initial=20))
    async def fails() -> None:
        raise ValueError

    @app.orchestration
    async def child() -> None:
        await durable.sleep(500)

    @app.orchestration
    async def main(left: int) -> str:
        with durable.move_on_after(10):
            async with durable.open_nursery() as nursery:
                nursery.start_soon(slow, f"slow {left}")
                nursery.start_soon(fails)
                nursery.start_soon(child.options(on_parent_close="abandon"))
        if left:
            durable.continue_as_new(left - 1)
        await durable.sleep(100)
        return "done"

    assert await run_durable(main, 1) == "done"
    assert done == ["slow 1", "slow 0"]


async def test_a_deadline_that_was_closed_is_not_waited_for() -> None:
    """Time jumps to deadlines that are open, not to those that were."""

    async def main() -> float:
        begun = durable.current_time()
        with durable.fail_after(10_000):
            await durable.sleep(5)
        await durable.sleep(5)
        return durable.current_time() - begun

    assert await run_durable(main) == 10


async def test_a_child_of_an_unknown_version_fails() -> None:
    """A version that nobody has is a failure of the child."""
    app, _ = make_app()

    async def main() -> None:
        await by_name(app, "child").options(version="9.9")(1)

    with pytest.raises(trioflow.TrioflowError, match=r"9\.9"):
        await run_durable(main, app=app)


async def test_a_bad_log_record_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A log record that `logging` refuses is reported, and the orchestration goes on."""

    async def main() -> int:
        durable.logger.warning("bad", extra=["no", "mapping"])
        return 1

    assert await run_durable(main) == 1
    assert "could not be emitted" in caplog.text


async def test_the_result_of_an_orchestration_is_what_a_client_gets() -> None:
    """It has crossed the durable border, so a test sees what production will; a plain function's result has not."""
    app = trioflow.App("results")

    @app.orchestration
    async def loose() -> object:
        return (1, 2)

    @app.orchestration
    async def impossible() -> object:
        return {object()}

    async def plain() -> object:
        return (1, 2)

    assert await run_durable(loose) == [1, 2]
    with pytest.raises(trioflow.EncodeError, match="the result of orchestration 'impossible'"):
        await run_durable(impossible)
    assert await run_durable(plain) == (1, 2)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_process_comes_out_as_it_is(error: type[BaseException]) -> None:
    """Not in a group."""

    async def main() -> None:
        raise error

    with pytest.raises(error):
        await run_durable(main)


async def test_it_does_not_nest() -> None:
    """Inside an orchestration there is a better way, and the error names it."""

    async def main() -> None:
        await run_durable(durable.sleep, 1)

    with pytest.raises(RuntimeError, match="there, await the function itself"):
        await run_durable(main)
