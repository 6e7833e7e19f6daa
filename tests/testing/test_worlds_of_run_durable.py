"""`run_durable` agrees with the runtime where executions, ids and endings meet."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trioflow
from trioflow import durable
from trioflow.testing import run_durable


async def test_a_retry_is_not_lost_to_the_execution_before(autojump_clock: trio.testing.MockClock) -> None:
    """An abandoned activity and one of the next execution have the same event id, and both go on."""
    app, attempts = trioflow.App("retries"), dict[int, int]()

    @app.activity(on_cancel="abandon", retry=trioflow.Retry(max_attempts=3, initial=5, factor=1, jitter=0))
    async def flaky(execution: int) -> int:
        await trio.sleep(1)
        attempts[execution] = attempts.get(execution, 0) + 1
        if attempts[execution] < 3:
            raise ValueError("again")
        return execution

    @app.orchestration
    async def main(execution: int) -> int:
        if execution == 1:
            with durable.move_on_after(0.5):
                await flaky(execution)
            durable.continue_as_new(2)
        return await flaky(execution)

    assert await run_durable(main, 1) == 2
    assert attempts == {1: 3, 2: 3}


@pytest.mark.parametrize("id", ["named", None])
async def test_a_detached_start_gives_its_id(id: str | None) -> None:
    """The one that was asked for, or the one that was made."""
    app = trioflow.App("detached")

    @app.orchestration
    async def other() -> None:
        """Ends."""

    async def main() -> str:
        return await durable.start_detached(other, id=id)

    assert await run_durable(main, app=app) == (id or "run_durable:1:0#1")


@pytest.mark.parametrize("on_cancel", ["wait", "request"])
@pytest.mark.parametrize("name", ["act", "nobody"])
async def test_what_is_cancelled_in_the_turn_that_schedules_it_never_runs(on_cancel: str, name: str) -> None:
    """Nobody could have taken it in between, so whether it is known here is never asked either."""
    app, ran = trioflow.App("never"), list[int]()

    @app.activity
    async def act(number: int) -> int:
        ran.append(number)
        return number

    async def main() -> list[object]:
        with durable.CancelScope() as scope:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(act.options(on_cancel=on_cancel, name=name), 1)  # type: ignore[arg-type]
                await durable.lowlevel.checkpoint()
                await durable.lowlevel.checkpoint()
                scope.cancel()
        return [scope.cancelled_caught, await act(2)]

    assert await run_durable(main, app=app) == [True, 2]
    assert ran == [2]


async def test_a_child_that_ends_in_the_turn_that_cancels_is_left_alone() -> None:
    """Word of what never started reaches nobody when its orchestration has ended."""
    app, ran = trioflow.App("ended"), list[int]()

    @app.activity(on_cancel="request")
    async def act() -> None:
        ran.append(1)

    @app.orchestration
    async def child() -> str:
        with durable.CancelScope() as scope:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(act)
                await durable.lowlevel.checkpoint()
                await durable.lowlevel.checkpoint()
                scope.cancel()
        return "ended"

    async def main() -> str:
        result = await child()
        await durable.sleep(60)
        return result

    assert await run_durable(main, app=app) == "ended"
    assert not ran


async def test_what_stands_beside_continue_as_new_comes_out_alone() -> None:
    """As the runtime records it: the failure, and nothing of our own."""

    async def main() -> None:
        async def bad() -> None:
            raise ValueError("beside")

        async with durable.open_nursery() as nursery:
            nursery.start_soon(durable.sleep, 60)
            nursery.start_soon(bad)
            durable.continue_as_new()

    with pytest.raises(ExceptionGroup) as caught:
        await run_durable(main)
    (error,) = caught.value.exceptions
    assert isinstance(error, ValueError)


async def test_a_group_of_the_code_is_the_very_object() -> None:
    """Nothing stands beside it, so nothing is taken out."""
    group = ExceptionGroup("mine", [ValueError("a"), ExceptionGroup("inner", [KeyError("b")])])

    async def main() -> None:
        raise group

    with pytest.raises(ExceptionGroup) as caught:
        await run_durable(main)
    assert caught.value is group


async def test_a_failure_is_the_same_through_three_children(autojump_clock: trio.testing.MockClock) -> None:
    """An unregistered error keeps its type and message; a timeout stays one."""
    app = trioflow.App("hops")

    class Unknown(Exception):
        """Registered nowhere."""

    @app.activity(timeout=5)
    async def act(slow: bool) -> None:
        if slow:
            await trio.sleep_forever()
        raise Unknown("u")

    @app.orchestration
    async def first(slow: bool) -> None:
        await act(slow)

    @app.orchestration
    async def second(slow: bool) -> None:
        await first(slow)

    @app.orchestration
    async def third(slow: bool) -> None:
        await second(slow)

    async def main() -> list[str]:
        seen = []
        try:
            await third(slow=False)
        except trioflow.ChildFailed as exc:
            seen += [exc.type.rpartition(".")[2], exc.message]
        try:
            await third(slow=True)
        except trio.TooSlowError as exc:
            seen.append(type(exc).__name__)
        return seen

    assert await run_durable(main, app=app) == ["Unknown", "u", "ActivityTimedOut"]


@pytest.mark.parametrize(("on_cancel", "seen"), [("wait", ["tidied"]), ("request", []), ("abandon", [])])
async def test_a_child_is_left_in_one_of_three_ways(on_cancel: Any, seen: list[str]) -> None:
    """As under a runtime: waited for with its cleanup, asked, or left to itself."""
    app, done = trioflow.App("leaving"), list[str]()

    @app.activity
    async def say(what: str) -> None:
        done.append(what)

    @app.orchestration
    async def child() -> None:
        try:
            await durable.sleep(100)
            await say("went through")
        finally:
            with durable.CancelScope(shield=True):
                await durable.sleep(5)
                await say("tidied")

    @app.orchestration
    async def main() -> list[str]:
        with durable.move_on_after(1):
            await child.options(on_cancel=on_cancel)()
        at_once = await durable.record(done.copy)
        await durable.sleep(1000)
        return at_once

    assert await run_durable(main) == seen
    assert done == (["went through", "tidied"] if on_cancel == "abandon" else ["tidied"])


@pytest.mark.parametrize("taken", [True, False])
async def test_a_child_that_was_refused_is_not_cancelled(taken: bool) -> None:
    """Its id belongs to somebody else, or its version is not known here: nobody is told of the cancellation."""
    app = trioflow.App("strangers")

    @app.orchestration
    async def other() -> str:
        await durable.sleep(10)
        return "well"

    @app.orchestration
    async def main() -> str:
        async with durable.open_nursery() as nursery:
            if taken:
                nursery.start_soon(_keep, other.options(id="shared"))
                await durable.sleep(1)
            try:
                async with durable.open_nursery() as inner:
                    inner.start_soon(other.options(id="shared", version=None if taken else "9.9.9"))
                    await durable.lowlevel.checkpoint()
                    await durable.lowlevel.checkpoint()
                    inner.cancel_scope.cancel()
            except ExceptionGroup as group:
                kept.append(getattr(group.exceptions[0], "type", type(group.exceptions[0]).__name__))
        return " ".join(kept)

    kept: list[str] = []

    async def _keep(definition: Any) -> None:
        kept.append(await definition())

    expected = ["trioflow.InstanceExists", "well"] if taken else ["UnregisteredError"]
    assert await run_durable(main) == " ".join(expected)
