"""How executions end: continue-as-new, children, what is carried and who is told (SEMANTICS 5)."""

from __future__ import annotations

import pytest

from tests.engine.driving import START, Driven, actions, kinds
from trioflow import durable
from trioflow._engine import CancelChild, ContinueAsNewAction, StartChild, StartDetached, TellParent, TerminateChild
from trioflow.app import App
from trioflow.errors import ChildCancelled, ChildFailed, ChildTerminated, InstanceExists
from trioflow.history import (
    Answer,
    CancelRequested,
    CarriedCancel,
    CarriedEvent,
    ChildCancelled as ChildCancelledEvent,
    ChildCompleted,
    ChildFailed as ChildFailedEvent,
    ChildScheduled,
    ChildTerminated as ChildTerminatedEvent,
    DetachedRefused,
    DetachedScheduled,
    DetachedStarted,
    Event,
    Failure,
    OrchestrationContinuedAsNew,
    OrchestrationFailed,
    OrchestrationStarted,
    OrchestrationTerminated,
    ParentLink,
)

app = App("ending")


@app.activity
async def step(value: int = 0) -> int:
    """Never runs here."""
    return value


@app.orchestration
async def child(value: int) -> int:
    """Never runs here."""
    return value


def next_start(driven: Driven) -> OrchestrationStarted:
    """The start message of the next execution."""
    action = driven.results[-1].actions[-1]
    assert isinstance(action, ContinueAsNewAction)
    return action.start


def test_continue_as_new_carries_what_is_not_finished() -> None:
    """Unread events, kv, status, parent and headers go on; the seed is a new one made from the old."""

    async def program(n: int) -> None:
        durable.kv["n"] = n
        durable.set_status(f"at {n}")
        await durable.wait_event("go")
        durable.continue_as_new(n + 1)

    driven = Driven(program, 1)
    parent = ParentLink(instance="p", execution=2, event_id=7)
    driven.start(parent=parent, headers={"traceparent": "x"})
    result = driven.turn(driven.event("more", 1), driven.event("go"), driven.event("late", 2))
    assert kinds(result) == ["EventReceived", "EventReceived", "OrchestrationContinuedAsNew"]
    assert result.consumed == (2, 3)  # what came later stays for the next execution
    start = next_start(driven)
    assert start.execution == 2
    assert start.payload == b'{"n":2}'
    assert start.version is None
    assert start.parent == parent
    assert start.headers == {"traceparent": "x"}
    assert start.carried_events == (CarriedEvent(name="more", payload=b"1"),)
    assert start.carried_kv == {"n": b"1"}
    assert start.carried_status == b'"at 1"'
    assert start.carried_cancel is None
    assert start.seed != "5eed"
    driven.close()


def test_what_is_carried_is_there_in_the_next_execution() -> None:
    """The next execution reads events, kv and status as they were left."""

    async def program() -> list[object]:
        return [await durable.wait_event("e"), durable.kv["k"], durable.get_status(), durable.info().execution]

    driven = Driven(program)
    driven.start(
        execution=2,
        carried_events=(CarriedEvent(name="e", payload=b"5"),),
        carried_kv={"k": b"6"},
        carried_status=b"7",
    )
    assert driven.result() == [5, 6, 7, 2]
    driven.close()


def test_continue_as_new_unwinds_like_trio_code() -> None:
    """Branches are cancelled and awaited, `finally` runs durably, then the next execution begins."""

    async def program() -> None:
        try:
            async with durable.open_nursery() as nursery:
                nursery.start_soon(step)
                await durable.wait_event("go")
                durable.continue_as_new(version="2.0")
        finally:
            await step(9)

    driven = Driven(program, app=app)
    driven.start()
    assert kinds(driven.turn(driven.event("go"))) == ["EventReceived", "ActivityCancelRequested"]
    driven.complete(driven.scheduled[0])
    driven.complete(driven.scheduled[1])
    assert isinstance(driven.last, OrchestrationContinuedAsNew)
    assert next_start(driven).version == "2.0"
    driven.close()


def test_anything_beside_continue_as_new_fails_the_execution() -> None:
    """A branch that raises on the way out wins."""

    async def program() -> None:
        async def bad() -> None:
            try:
                await durable.sleep_forever()
            finally:
                raise ValueError("x")

        async with durable.open_nursery() as nursery:
            nursery.start_soon(bad)
            await durable.wait_event("go")
            durable.continue_as_new()

    driven = Driven(program)
    driven.start()
    driven.turn(driven.event("go"))
    assert isinstance(driven.last, OrchestrationFailed)
    driven.close()


def test_two_branches_that_continue_as_new_the_first_in_delivery_order_counts() -> None:
    """Both unwind; one of them decides."""

    async def program(n: int) -> None:
        async def wait(name: str, n: int) -> None:
            try:
                await durable.wait_event(name)
            finally:
                durable.continue_as_new(n)

        async with durable.open_nursery() as nursery:
            nursery.start_soon(wait, "a", 1)
            nursery.start_soon(wait, "b", 2)

    driven = Driven(program, 0)
    driven.start()
    driven.turn(driven.event("b"))
    assert next_start(driven).payload == b'{"n":2}'
    driven.close()


def test_a_cancel_that_was_not_absorbed_is_carried() -> None:
    """The next execution starts with its root scope cancelled, same reason."""

    async def program() -> None:
        try:
            await durable.sleep_forever()
        finally:
            durable.continue_as_new()

    driven = Driven(program)
    driven.start()
    driven.cancel("stop it")
    assert next_start(driven).carried_cancel == CarriedCancel(reason="stop it")
    driven.close()

    async def cancelled() -> str:
        try:
            await durable.lowlevel.checkpoint()
        except durable.Cancelled as exc:
            return str(exc.reason)
        return "went on"

    following = Driven(cancelled)
    following.start(carried_cancel=CarriedCancel(reason="stop it"))
    assert following.result() == "stop it"
    following.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda id: ChildCompleted(answers=id, payload=b"5"), 5),
        (lambda id: ChildFailedEvent(answers=id, failure=Failure(type="x.Y", message="m")), ChildFailed.__name__),
        (lambda id: ChildCancelledEvent(answers=id, reason="r"), ChildCancelled.__name__),
        (lambda id: ChildTerminatedEvent(answers=id), ChildTerminated.__name__),
    ],
)
def test_a_child_is_a_step(answer: object, expected: object) -> None:
    """Its value is returned, any other end is raised."""

    async def program() -> object:
        try:
            return await child(3)
        except Exception as exc:
            return type(exc).__name__

    driven = Driven(program, app=app)
    started = driven.start()
    scheduled = driven.last
    assert isinstance(scheduled, ChildScheduled)
    assert started.actions == (StartChild(scheduled),)
    assert scheduled.instance == "i-1:1:0#1"
    assert scheduled.payload == b'{"value":3}'
    driven.turn(answer(scheduled.id))  # type: ignore[operator]
    assert driven.result() == expected
    driven.close()


def test_a_cancelled_child_is_waited_for() -> None:
    """Asked to unwind, and the branch ends only when it has."""

    async def program() -> bool:
        with durable.move_on_after(5) as scope:
            await child.options(id="c-1", version="1.0.0")(1)
        return scope.cancelled_caught

    driven = Driven(program, app=app)
    driven.start()
    scheduled = driven.history[1]
    assert isinstance(scheduled, ChildScheduled)
    assert scheduled.instance == "c-1"
    assert scheduled.version == "1.0.0"
    result = driven.turn(now=START + 6)
    assert kinds(result) == ["TimerFired", "ChildCancelRequested"]
    assert result.actions == (CancelChild(scheduled, None),)
    driven.turn(ChildCancelledEvent(answers=scheduled.id))
    assert driven.result() is True
    driven.close()


def test_termination_takes_the_children_along() -> None:
    """Nobody would wait for them."""

    async def program() -> None:
        await child(1)

    driven = Driven(program, app=app)
    driven.start()
    scheduled = driven.last
    result = driven.turn(OrchestrationTerminated(reason="r"))
    assert result.actions == (TerminateChild(scheduled, "r"),)  # type: ignore[arg-type]
    driven.close()


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("value", "ChildCompleted"),
        ("error", "ChildFailed"),
        ("cancel", "ChildCancelled"),
        ("terminate", "ChildTerminated"),
    ],
)
def test_the_parent_is_told_of_every_end(what: str, kind: str) -> None:
    """Whoever waits hears of it, with the id of the event that scheduled the child."""

    async def program() -> int:
        if await durable.wait_event("what") == "error":
            raise ValueError("x")
        return 5

    driven = Driven(program)
    parent = ParentLink(instance="p", execution=1, event_id=9)
    driven.start(parent=parent)
    drafts: dict[str, Event] = {"cancel": CancelRequested(), "terminate": OrchestrationTerminated()}
    result = driven.turn(drafts.get(what, driven.event("what", what)))
    (told,) = result.actions
    assert isinstance(told, TellParent)
    assert told.parent == parent
    assert type(told.answer).__name__ == kind
    assert isinstance(told.answer, Answer)
    assert told.answer.answers == 9
    driven.close()


def test_a_detached_start_is_answered_by_the_store() -> None:
    """The id comes back once it is certain; a clash is an error the program can catch."""

    async def program() -> list[str]:
        got = [await durable.start_detached(child, 1)]
        try:
            await durable.start_detached("child", 2, id="taken")
        except InstanceExists as exc:
            got.append(str(exc))
        return got

    driven = Driven(program, app=app)
    driven.start()
    first = driven.last
    assert isinstance(first, DetachedScheduled)
    assert driven.results[-1].actions == (StartDetached(first),)
    driven.turn(DetachedStarted(answers=first.id, instance=first.instance))
    second = driven.last
    assert isinstance(second, DetachedScheduled)
    assert second.instance == "taken"
    driven.turn(DetachedRefused(answers=second.id, failure=Failure(type="InstanceExists", message="it is taken")))
    assert driven.result() == ["i-1:1:0#1", "it is taken"]
    assert actions(driven.results[0]) == ["StartDetached"]
    driven.close()


def test_a_deeply_nested_automatic_id_stays_within_its_limit() -> None:
    """Beyond 512 characters the rest becomes a hash, the same on every replay."""

    async def program() -> str:
        return await durable.start_detached(child, 1)

    driven = Driven(program, app=app)
    driven.args = ()
    from trioflow._ambient import AskDetached
    from trioflow._engine._asking import instance_of

    ask = AskDetached("child", None, None, b"{}")
    started = OrchestrationStarted(id=1, instance="x" * 600, name="parent", payload=b"{}", seed="5eed")
    made = instance_of(ask, "0#1", started)
    assert len(made) <= 512
    assert made == instance_of(ask, "0#1", started)
    assert made != instance_of(ask, "0#2", started)
    driven.live.close()


def test_a_child_hears_why_it_is_cancelled() -> None:
    """The reason that was given for the parent goes on to the child."""

    async def program() -> None:
        await child(1)

    driven = Driven(program, app=app)
    driven.start()
    scheduled = driven.last
    assert isinstance(scheduled, ChildScheduled)
    assert driven.cancel("the order was withdrawn").actions == (CancelChild(scheduled, "the order was withdrawn"),)
    driven.close()


def test_groups_nested_too_deep_fail_the_orchestration() -> None:
    """RecursionError is a failure of the program, also where it comes up behind its end."""

    async def program() -> None:
        group: BaseException = ValueError("innermost")
        for _ in range(5_000):
            group = ExceptionGroup("deeper", [group])  # type: ignore[list-item]
        raise group

    driven = Driven(program)
    driven.start()
    assert isinstance(driven.last, OrchestrationFailed)
    # Python 3.13 goes deeper before it gives up.
    assert driven.last.failure.type in ("builtins.RecursionError", "builtins.ExceptionGroup")
    driven.close()
