"""What an execution tells for its trace: which parts opened and closed, within what, and when."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.driving import START, Driven
from trioflow import durable
from trioflow._ambient import PartClosed, PartOpened
from trioflow._engine import TurnResult
from trioflow.app import App
from trioflow.history import (
    ActivityCancelled,
    ActivityFailed,
    ChildCompleted,
    ChildScheduled,
    DetachedRefused,
    DetachedScheduled,
    Failure,
    OrchestrationTerminated,
)

app = App("traced")


@app.activity
async def step(value: int) -> int:
    """Never runs here."""
    return value


@app.orchestration
async def child(value: int) -> int:
    """Never runs here."""
    return value


def told(*results: TurnResult) -> list[str]:
    """The spans of turns, a line for each."""
    lines = []
    for result in results:
        for span in result.spans:
            part = span.part
            name = part.name.rsplit(".", 1)[-1]
            where = f"{part.kind} {name} {part.key} in {part.within or 'all'}"
            if isinstance(span, PartOpened):
                lines.append(f"+ {where} at {part.at - START:g}")
            else:
                error = f" {span.error}" if span.error else ""
                lines.append(f"- {where} {part.at - START:g} to {span.at - START:g} {span.how}{error}")
    return lines


def test_a_chain_tells_of_its_activities_when_they_have_ended() -> None:
    """One line for each, with both times out of the history; the execution itself is what they are within."""

    async def program() -> None:
        await step(1)
        await step(2)

    driven = Driven(program, app=app)
    first = driven.start()
    assert first.spans == ()
    assert first.within == {2: ""}
    second = driven.complete(driven.scheduled[0])
    third = driven.complete(driven.scheduled[1])
    assert told(second, third) == [
        "- activity step 0#1 in all 1 to 2 completed",
        "- activity step 0#2 in all 2 to 3 completed",
    ]
    driven.close()


def test_branches_follow_the_nursery_tree() -> None:
    """A branch with code of its own is a part, within what is around its nursery; a bare step is only a step."""

    async def inner(value: int) -> None:
        await step(value)
        async with durable.open_nursery() as nursery:
            nursery.start_soon(step, value + 1)

    async def program() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(inner, 1)
            nursery.start_soon(step, 10)

    driven = Driven(program, app=app)
    first = driven.start()
    assert told(first) == ["+ branch inner 0.1 in all at 1"]
    assert first.within == {2: "0.1", 3: ""}
    second = driven.complete(driven.scheduled[0])
    assert second.within == {5: "0.1"}  # the inner nursery's bare step belongs to the branch that opened it
    third = driven.complete(driven.scheduled[2])
    assert told(third) == [
        "- activity step 0.1.1#1 in 0.1 2 to 3 completed",
        "- branch inner 0.1 in all 1 to 3 completed",
    ]
    driven.complete(driven.scheduled[1])
    driven.close()


def test_gather_map_and_race_add_no_branches_around_bare_steps() -> None:
    """Their own machinery is nobody's code; a user's function that they run is a branch."""

    async def own(value: int) -> int:
        return await step(value)

    async def program() -> None:
        await durable.gather(step(1), lambda: step(2))
        await durable.map(step, [3])
        await durable.race(step(4))
        await durable.gather(own(5))

    driven = Driven(program, app=app)
    opened = list(told(driven.start()))
    for _ in range(5):
        pending = driven.scheduled[len([1 for kind in driven.kinds if kind == "ActivityCompleted"])]
        opened += [line for line in told(driven.complete(pending)) if line.startswith("+")]
    assert opened == ["+ branch own 0.5 in all at 5"]
    driven.live.close()


def test_a_deadline_is_a_part_from_when_it_is_durable() -> None:
    """What is asked for inside is within it, also in branches; a scope that is left before it blocks is nobody's
    business.
    """

    async def program() -> None:
        with durable.move_on_after(5):
            pass
        with durable.move_on_after(60):
            await step(1)
            async with durable.open_nursery() as nursery:
                nursery.start_soon(step, 2)

    driven = Driven(program, app=app)
    first = driven.start()
    assert told(first) == ["+ scope deadline 0@1 in all at 1"]
    assert [span.part.due for span in first.spans] == [START + 61]
    assert first.within == {2: "0@1"}
    second = driven.complete(driven.scheduled[0])
    assert list(second.within.values()) == ["0@1"]
    third = driven.complete(driven.scheduled[1])
    assert told(third)[-1] == "- scope deadline 0@1 in all 1 to 3 completed"
    driven.close()


def test_a_moved_deadline_is_still_the_same_part() -> None:
    """Its timer is another one; the scope is not."""

    async def program() -> None:
        with durable.move_on_after(60) as scope:
            await step(1)
            scope.deadline += 60
            await step(2)

    driven = Driven(program, app=app)
    first, second = driven.start(), driven.complete(driven.scheduled[0])
    third = driven.complete(driven.scheduled[1])
    assert [line for line in told(first, second, third) if "scope" in line] == [
        "+ scope deadline 0@1 in all at 1",
        "- scope deadline 0@1 in all 1 to 3 completed",
    ]
    driven.close()


async def _times_out() -> None:
    with durable.move_on_after(10):
        await durable.sleep(100)


async def _is_cancelled() -> None:
    with durable.move_on_after(10) as scope:
        scope.cancel()
        await durable.lowlevel.checkpoint()
    with durable.move_on_after(10) as scope:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(durable.sleep, 2)
            await durable.sleep(1)
            scope.cancel()


async def _fails() -> None:
    with durable.move_on_after(10):
        await durable.sleep(1)
        raise ExceptionGroup("only one", [KeyError("secret")])


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        (
            _times_out,
            [
                "+ scope deadline 0@1 in all at 1",
                "- sleep sleep 0#1 in 0@1 1 to 11 cancelled",
                "- scope deadline 0@1 in all 1 to 11 timed out",
            ],
        ),
        (
            _is_cancelled,
            [
                "+ scope deadline 0@1 in all at 1",
                "- sleep sleep 0#1 in 0@1 1 to 2 completed",
                "- sleep sleep 0.1#1 in 0@1 1 to 2 cancelled",
                "- scope deadline 0@1 in all 1 to 2 cancelled",
            ],
        ),
        (
            _fails,
            [
                "+ scope deadline 0@1 in all at 1",
                "- sleep sleep 0#1 in 0@1 1 to 2 completed",
                "- scope deadline 0@1 in all 1 to 2 failed KeyError",
            ],
        ),
    ],
    ids=["times out", "is cancelled", "fails"],
)
def test_how_a_scope_ended(program: Any, lines: list[str]) -> None:
    """By its deadline, by somebody's word, by an exception: its class is told, and of a group of one, that one's."""
    driven = Driven(program, app=app)
    results = [driven.start()]
    while not driven.live.ended:
        results.append(driven.turn(now=driven.now + 1))
    assert told(*results) == lines
    driven.close()


def test_events_are_parts_while_somebody_waits() -> None:
    """Taken at once, taken later, or given up."""

    async def program() -> None:
        await durable.wait_event("early")
        await durable.wait_event("late")
        with durable.move_on_after(5):
            await durable.wait_event("never")

    driven = Driven(program, app=app)
    results = [driven.start(carried_events=()), driven.turn(driven.event("late"), driven.event("early"))]
    results.append(driven.turn(now=START + 10))
    assert [line for line in told(*results) if "event" in line] == [
        "- event early 0#1 in all 1 to 2 completed",
        "- event late 0#2 in all 2 to 2 completed",
        "- event never 0#3 in 0@1 2 to 10 cancelled",
    ]
    driven.close()


def test_children_are_opened_at_once_since_they_are_within_them() -> None:
    """What a child or a detached instance is, and how that ended, with the answer that said so."""

    async def program() -> None:
        await child.options(id="c")(1)
        try:
            await durable.start_detached(child, 2, id="d")
        except Exception:  # refused
            pass

    driven = Driven(program, app=app)
    first = driven.start()
    assert told(first) == ["+ child child 0#1 in all at 1"]
    assert [span.part.instance for span in first.spans] == ["c"]
    scheduled = driven.last
    assert isinstance(scheduled, ChildScheduled)
    second = driven.turn(ChildCompleted(answers=scheduled.id, payload=b"1"))
    assert told(second) == [
        "- child child 0#1 in all 1 to 2 completed",
        "+ detached child 0#2 in all at 2",
    ]
    detached = driven.last
    assert isinstance(detached, DetachedScheduled)
    refused = DetachedRefused(answers=detached.id, failure=Failure(type="trioflow.InstanceExists", message="taken"))
    third = driven.turn(refused)
    assert told(third) == ["- detached child 0#2 in all 2 to 3 failed trioflow.InstanceExists"]
    (closed,) = third.spans
    assert isinstance(closed, PartClosed)
    assert isinstance(closed.answer, DetachedRefused)
    driven.close()


def test_compensations_are_a_part() -> None:
    """A saga that undoes says so; one that has nothing to undo opens nothing."""

    async def program() -> None:
        async with durable.saga() as good:
            good.on_failure(step, 8)
        async with durable.saga() as saga:
            saga.on_failure(step, 9)
            await step(1)

    driven = Driven(program, app=app)
    driven.start()
    failed = driven.turn(
        ActivityFailed(answers=driven.scheduled[0].id, failure=Failure(type="ValueError", message="secret"))
    )
    assert told(failed) == [
        "- activity step 0#1 in all 1 to 2 failed ValueError",
        "+ scope compensations 0!1 in all at 2",
    ]
    assert list(failed.within.values()) == ["0!1"]
    last = driven.complete(driven.scheduled[1])
    assert told(last) == [
        "- activity step 0#2 in 0!1 2 to 3 completed",
        "- scope compensations 0!1 in all 2 to 3 completed",
    ]
    driven.close()


def test_a_cancelled_activity_says_so() -> None:
    """Never started or ended: its answer tells which."""

    async def program() -> None:
        with durable.move_on_after(5):
            await step(1)

    driven = Driven(program, app=app)
    driven.start()
    driven.turn(now=START + 10)
    result = driven.turn(ActivityCancelled(answers=driven.scheduled[0].id, how="never_started"))
    assert told(result) == [
        "- activity step 0#1 in 0@1 1 to 11 cancelled",
        "- scope deadline 0@1 in all 1 to 11 timed out",
    ]
    driven.close()


def test_an_operation_that_is_abandoned_is_told_of_no_more() -> None:
    """Nobody hears how it ended, so nothing is said; what it is within is known to the activity all the same."""

    async def program() -> None:
        with durable.move_on_after(5):
            await step.options(on_cancel="abandon")(1)
        await durable.sleep(1)

    driven = Driven(program, app=app)
    first = driven.start()
    assert first.within == {2: "0@1"}
    driven.turn(now=START + 10)
    last = driven.turn(driven.completion(driven.scheduled[0], 1), now=START + 12)
    assert [line for line in told(*driven.results) if "activity" in line] == []
    assert last.ended
    driven.close()


def test_termination_drops_what_is_open() -> None:
    """Its parts end with it, by no word of their own, and once."""

    async def branch() -> None:
        with durable.move_on_after(60):
            await step(1)

    async def program() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(branch)
            await durable.sleep(100)

    driven = Driven(program, app=app)
    driven.start()
    last = driven.turn(OrchestrationTerminated(reason="enough"))
    assert told(last) == [
        "- sleep sleep 0#1 in all 1 to 2 dropped",
        "- scope deadline 0.1@1 in 0.1 1 to 2 dropped",
        "- branch branch 0.1 in all 1 to 2 dropped",
    ]
    assert driven.turn().spans == ()
    driven.live.close()


def test_a_branch_that_waits_before_its_first_step_is_open_from_its_beginning() -> None:
    """Its time counts from when it was spawned, not from when it first asked for something."""

    async def second(ready: durable.Event) -> None:
        await ready.wait()
        await step(2)

    async def program() -> None:
        ready = durable.Event()
        async with durable.open_nursery() as nursery:
            nursery.start_soon(second, ready)
            await step(1)
            ready.set()

    driven = Driven(program, app=app)
    driven.start()
    result = driven.complete(driven.scheduled[0])
    assert told(result)[1] == "+ branch second 0.1 in all at 1"
    driven.complete(driven.scheduled[1])
    driven.close()


def test_a_replay_is_silent() -> None:
    """An execution that has replayed its history tells only of what is new."""
    from trioflow._engine import Execution

    async def program() -> None:
        with durable.move_on_after(60):
            await step(1)
            await step(2)

    driven = Driven(program, app=app)
    driven.start()
    driven.complete(driven.scheduled[0])
    cold = Execution(app, driven.definition, traced=True)
    for _ in cold.replay(driven.history):
        pass
    assert cold.run([], driven.now).spans == ()
    cold.close()
    driven.live.close()
