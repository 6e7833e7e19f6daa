"""Cancel scopes: level-triggered cancellation, shields, reasons, properties and misuse."""

from __future__ import annotations

import pickle  # noqa: TID251  # exceptions travel between processes in people's own tools
from contextlib import ExitStack
from math import inf, nan

import pytest
from trio import TrioInternalError

from tests.kernel.helpers import World, finish
from trioflow._kernel import (
    Abort,
    CancelScope,
    Cancelled,
    Kernel,
    checkpoint,
    checkpoint_if_cancelled,
    current_kernel,
    current_task,
    open_nursery,
    perform,
    sleep,
    sleep_forever,
    wait_task_rescheduled,
)
from trioflow._kernel._cancelled import CancelReason
from trioflow.errors import NotInOrchestration


def test_cancellation_is_a_level() -> None:
    """Every checkpoint inside a cancelled scope raises, not just the first."""

    async def main() -> int:
        times = 0
        with CancelScope() as scope:
            scope.cancel()
            for _ in range(3):
                try:
                    await checkpoint()
                except Cancelled:
                    times += 1
            await checkpoint_if_cancelled()
        assert scope.cancelled_caught
        return times

    assert finish(main) == 3


def test_a_scope_catches_only_its_own() -> None:
    """While something outside is cancelled, too, the exception goes on to there."""

    async def main() -> None:
        with CancelScope() as outer:
            with CancelScope() as inner:
                inner.cancel()
                outer.cancel()
                await checkpoint()
        assert not inner.cancelled_caught
        assert outer.cancelled_caught

    finish(main)


def test_other_errors_pass_and_groups_lose_only_their_cancelleds() -> None:
    """What is left of a group leaves the scope; nothing else is touched."""

    async def main() -> None:
        with pytest.raises(KeyError):
            with CancelScope() as scope:
                scope.cancel()
                raise KeyError
        assert not scope.cancelled_caught
        with pytest.raises(ExceptionGroup) as caught:
            with CancelScope() as scope:
                scope.cancel()
                raise ExceptionGroup("only others", [KeyError()])
        assert not scope.cancelled_caught
        with pytest.raises(ExceptionGroup) as caught:
            with CancelScope() as scope:
                scope.cancel()
                try:
                    await checkpoint()
                except Cancelled as error:
                    raise BaseExceptionGroup("both", [KeyError(), error]) from None
        assert scope.cancelled_caught
        assert [type(error) for error in caught.value.exceptions] == [KeyError]

    finish(main)


def test_a_shield_keeps_cancellation_out_until_it_is_dropped() -> None:
    """Shields may change at any time, and waits are aborted when one goes."""

    async def waiter(scopes: list[CancelScope]) -> None:
        with CancelScope(shield=True) as scope:
            scopes.append(scope)
            await sleep_forever()

    async def main() -> None:
        scopes: list[CancelScope] = []
        async with open_nursery() as nursery:
            nursery.start_soon(waiter, scopes)
            await checkpoint()
            nursery.cancel_scope.cancel()
            with CancelScope(shield=True):
                await sleep(1)
            scopes[0].shield = True
            assert len(nursery.child_tasks) == 1
            scopes[0].shield = False

    finish(main)


def test_a_shield_must_be_a_bool() -> None:
    """Truthy values are refused."""
    with pytest.raises(TypeError, match="bool"):
        CancelScope().shield = 1  # type: ignore[assignment]


def test_a_shield_that_is_put_up_later_lets_code_wait_again() -> None:
    """Cancellation that came from outside stops being effective inside."""

    async def main() -> bool:
        inner = CancelScope()
        inner.shield = False
        with CancelScope() as outer:
            with inner:
                outer.cancel()
                with pytest.raises(Cancelled):
                    await checkpoint()
                inner.shield = True
                await sleep(1)
                inner.shield = False
                await sleep(1)
        return inner.cancel_called

    assert finish(main) is False


def test_a_scope_may_be_cancelled_before_it_is_entered() -> None:
    """Cancelled from the start, it cancels at the first checkpoint."""
    scope = CancelScope()
    scope.cancel()
    assert "unbound, cancelled" in repr(scope)

    async def main() -> None:
        with scope:
            await checkpoint()

    finish(main)
    assert scope.cancelled_caught
    assert scope.cancel_called


def test_a_cancelled_says_who_and_why() -> None:
    """Source, reason and task come from the first cancellation; tasks are named by place."""

    async def main() -> tuple[str, str | None, str | None]:
        with CancelScope() as scope:
            scope.cancel("enough")
            scope.cancel("ignored")
            with pytest.raises(Cancelled, match=r"due to explicit with reason 'enough' from task <") as caught:
                await checkpoint()
        error = caught.value
        return (error.source, error.reason, error.source_task)

    source, reason, task = finish(main)
    assert (source, reason) == ("explicit", "enough")
    assert task.endswith("main' at 0>")


def test_a_cancelled_survives_pickling_and_has_no_constructor() -> None:
    """It is made by the kernel only, and cannot be subclassed."""
    made = Cancelled.of(CancelReason("deadline"))
    again = pickle.loads(pickle.dumps(made))
    assert (again.source, again.reason, again.source_task, str(again)) == (
        "deadline",
        None,
        None,
        "cancelled due to deadline",
    )
    with pytest.raises(TypeError, match="no public constructor"):
        Cancelled("explicit")
    with pytest.raises(TypeError, match="CancelScope cannot be subclassed"):
        type("Mine", (CancelScope,), {})


def test_deadlines_and_relative_deadlines_are_checked() -> None:
    """What is not a time is refused, and only one of the two may be given."""
    with pytest.raises(ValueError, match="Cannot specify both"):
        CancelScope(deadline=7, relative_deadline=3)
    with pytest.raises(ValueError, match="deadline must not be NaN"):
        CancelScope(deadline=nan)
    with pytest.raises(ValueError, match="relative deadline must not be NaN"):
        CancelScope(relative_deadline=nan)
    with pytest.raises(ValueError, match="non-negative"):
        CancelScope(relative_deadline=-3)
    scope = CancelScope()
    with pytest.raises(ValueError, match="NaN"):
        scope.deadline = nan
    with pytest.raises(ValueError, match="NaN"):
        scope.relative_deadline = nan
    with pytest.raises(ValueError, match="non-negative"):
        scope.relative_deadline = -1


def test_a_relative_deadline_becomes_absolute_on_entry() -> None:
    """Before, only the kind that was given can be read or set."""

    async def main() -> None:
        scope = CancelScope(relative_deadline=5)
        assert scope.is_relative
        with pytest.raises(RuntimeError, match="Unentered relative"):
            scope.deadline
        with pytest.raises(RuntimeError, match="Unentered relative"):
            scope.deadline = 5
        scope.relative_deadline = 6
        assert scope.relative_deadline == 6
        with scope:
            assert scope.is_relative is None
            assert scope.deadline == 106
            scope.relative_deadline = 7
            assert (scope.deadline, scope.relative_deadline) == (107, 7)
        absolute = CancelScope(deadline=5)
        assert absolute.is_relative is False
        with pytest.raises(RuntimeError, match="Unentered non-relative"):
            absolute.relative_deadline
        with pytest.raises(RuntimeError, match="Unentered non-relative"):
            absolute.relative_deadline = 5

    finish(main, now=100)


def test_cancel_called_notices_time_at_once() -> None:
    """A deadline that was set into the past counts without a checkpoint."""

    async def main() -> None:
        scope = CancelScope(deadline=50)
        assert scope.cancel_called
        with CancelScope() as scope:
            assert not scope.cancel_called
            scope.deadline = 99
            assert scope.cancel_called
        with CancelScope(deadline=200) as scope:
            pass
        assert not scope.cancel_called

    finish(main, now=100)
    assert not CancelScope(deadline=1).cancel_called  # no kernel, no time


def test_the_repr_tells_the_state() -> None:
    """Binding, cancellation and the deadline are shown, never an address."""

    async def main() -> None:
        with CancelScope(deadline=110) as scope:
            assert repr(scope) == "<durable.CancelScope, active, deadline is 10.00 seconds from now>"
            scope.deadline = 99
            assert repr(scope) == "<durable.CancelScope, active, deadline is 1.00 seconds ago>"
            scope.cancel()
        assert repr(scope) == "<durable.CancelScope, exited, cancelled>"

    finish(main, now=100)
    assert repr(CancelScope(deadline=5)) == "<durable.CancelScope, unbound>"
    assert repr(CancelScope()) == "<durable.CancelScope, unbound>"


def test_a_scope_is_for_one_block() -> None:
    """Entering again and leaving twice are errors; outside of a task it cannot be entered."""

    async def main() -> None:
        scope = CancelScope()
        with scope:
            pass
        with pytest.raises(RuntimeError, match="single 'with' block"):
            scope.__enter__()
        with pytest.raises(RuntimeError, match="had already been exited"):
            scope.__exit__(None, None, None)

    finish(main)
    with pytest.raises(NotInOrchestration):
        CancelScope().__enter__()


def test_closing_an_outer_scope_first_cancels_what_is_inside() -> None:
    """The error says which scopes; the inner one is cut off, and the task goes on outside."""

    async def main() -> None:
        outer, inner = CancelScope(), CancelScope()
        outer.__enter__()
        inner.__enter__()
        with pytest.raises(RuntimeError, match="still within its child") as caught:
            outer.__exit__(None, None, None)
        assert "crosswise" in str(caught.value)
        inner.__exit__(None, None, None)
        await checkpoint()

    finish(main)


def test_tasks_in_a_scope_that_was_closed_around_them_are_cancelled() -> None:
    """They unwind, and the block that misnested fails."""
    seen: list[str] = []

    async def direct() -> None:
        try:
            await sleep_forever()
        except Cancelled as error:
            seen.append(str(error))
            raise

    async def nested() -> None:
        with CancelScope():
            await direct()

    async def main() -> None:
        with ExitStack() as stack:
            stack.enter_context(CancelScope())
            async with open_nursery() as nursery:
                nursery.start_soon(direct)
                nursery.start_soon(nested)
                await checkpoint()
                stack.close()
        raise AssertionError

    with pytest.raises(BaseExceptionGroup) as caught:
        finish(main)
    texts = str([str(error) for error in caught.value.exceptions])
    assert "Cancel scope stack corrupted" in texts
    assert seen[0] == "cancelled due to unknown with reason 'misnesting'"
    assert len(seen) == 2


def test_a_scope_is_closed_by_its_own_task() -> None:
    """Another task that closes it gets an error, and nothing changes."""

    async def closer(scope: CancelScope) -> None:
        with pytest.raises(RuntimeError, match="from unrelated <Task"):
            scope.__exit__(None, None, None)

    async def main() -> None:
        async with open_nursery() as nursery:
            with CancelScope() as scope:
                nursery.start_soon(closer, scope)
                await checkpoint()
                await checkpoint()
                assert "active" in repr(scope)

    finish(main)


def test_a_scope_of_another_kernel_is_refused() -> None:
    """It can be neither cancelled, changed nor entered from there."""
    scopes: list[CancelScope] = []

    async def owner() -> None:
        scopes.append(CancelScope())
        with CancelScope() as scope:
            scopes.append(scope)
            await perform("stay")

    async def stranger() -> None:
        unentered, active = scopes
        with pytest.raises(RuntimeError, match=r"this cancel scope belongs to instance test .* used from instance b"):
            active.cancel()
        with pytest.raises(RuntimeError, match="belongs to"):
            active.shield = True
        with pytest.raises(RuntimeError, match="belongs to"):
            active.deadline = 5
        with pytest.raises(RuntimeError, match="belongs to"):
            active.relative_deadline = 5
        with pytest.raises(RuntimeError, match="belongs to"):
            unentered.__enter__()

    World(owner).run()
    other = Kernel(name="instance b")
    other.start(stranger)
    other.run_until_blocked()
    assert other.outcome is not None
    other.outcome.unwrap()
    other.close()


def test_the_root_scope_is_cancelled_by_the_driver() -> None:
    """`Kernel.cancel` cancels everything, also before the start; it shows with its reason."""
    kernel = Kernel(name="instance a")
    assert not kernel.cancel_called
    assert kernel.cancel_reason is None
    kernel.cancel("stop it")
    kernel.cancel("again")
    assert kernel.cancel_called
    assert kernel.cancel_reason == "stop it"

    async def main() -> None:
        await perform("never")

    kernel.start(main)
    assert kernel.run_until_blocked() == []
    assert kernel.outcome is not None
    with pytest.raises(Cancelled, match=r"^cancelled due to explicit with reason 'stop it'$"):
        kernel.outcome.unwrap()
    kernel.close()


def test_an_abort_function_is_asked_once_and_may_refuse() -> None:
    """A refused wait goes on until it is rescheduled; a second cancellation does not ask again."""
    asked: list[str] = []

    def refuse(_: object) -> Abort:
        asked.append("asked")
        return Abort.FAILED

    async def waiter() -> None:
        await wait_task_rescheduled(refuse)

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(waiter)
            await checkpoint()
            nursery.cancel_scope.cancel()
            nursery.cancel_scope.shield = True
            (task,) = nursery.child_tasks
            task._deliver_cancellation()
            current_kernel().wake(task)

    finish(main)
    assert asked == ["asked"]


def test_a_broken_abort_function_aborts_the_run() -> None:
    """The task could neither be woken nor left: the error leaves the kernel."""

    async def main() -> None:
        with CancelScope() as scope:
            scope.cancel()
            await wait_task_rescheduled(lambda _: None)  # type: ignore[arg-type, return-value]

    world = World(main)
    with pytest.raises(TrioInternalError, match=r"Abort\.SUCCEEDED or Abort\.FAILED, not None"):
        world.run()


def test_a_task_may_cancel_its_own_scope_from_an_abort_function() -> None:
    """Cancelling while cancelling is fine: nothing is delivered twice."""

    async def main() -> None:
        with CancelScope() as outer, CancelScope() as inner:
            outer.cancel()

            def abort(_: object) -> Abort:
                inner.cancel()
                return Abort.SUCCEEDED

            await wait_task_rescheduled(abort)
        assert outer.cancelled_caught
        assert current_task()._status.scope is current_kernel().root_scope

    finish(main)


def test_nested_statuses_follow_without_recursion() -> None:
    """Thousands of nested scopes are cancelled and abandoned without a deep stack."""

    async def main() -> None:
        with ExitStack() as stack:
            outer = stack.enter_context(CancelScope())
            scopes = [stack.enter_context(CancelScope()) for _ in range(5000)]
            outer.cancel()
            assert scopes[-1]._status is not None
            assert scopes[-1]._status.effectively_cancelled
            assert scopes[-1].deadline == inf

    finish(main)


def test_cancelled_shows_all_it_knows() -> None:
    """Its repr is as trio's."""
    shown: list[str] = []

    async def main() -> None:
        with CancelScope() as scope:
            scope.cancel(reason="enough")
            try:
                await checkpoint()
            except Cancelled as exc:
                shown.append(repr(exc))
                raise

    finish(main)
    source_task = f"<Task {f'{__name__}.test_cancelled_shows_all_it_knows.<locals>.main'!r} at 0>"
    assert shown == [f"durable.Cancelled(source='explicit', source_task={source_task!r}, reason='enough')"]
