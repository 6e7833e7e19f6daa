"""Random programs under random histories: live equals replay, batching and the order of ready branches change nothing.

`Driven` asserts at every turn that live continuation and replay from scratch agree, and at the end that every prefix is
replayable; these tests feed it programs and messages that nobody thought of.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine
from typing import Any

import attrs
from hypothesis import given, settings, strategies as st

from tests.engine.driving import START, Driven, define
from trioflow import durable
from trioflow._engine import Execution, Message
from trioflow.app import App
from trioflow.history import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    AskedAt,
    Asking,
    CancelRequested,
    Event,
    EventReceived,
    Failure,
    OrchestrationStarted,
)

app = App("properties")


@app.activity
async def act(value: int) -> int:
    """Never runs here."""
    return value


Program = tuple[Any, ...]

leaves = st.one_of(
    st.tuples(st.just("act"), st.integers(0, 9), st.sampled_from(["wait", "request", "abandon"])),
    st.tuples(st.just("sleep"), st.integers(0, 6)),
    st.tuples(st.just("event"), st.sampled_from("ab")),
    st.tuples(st.just("record"), st.integers(0, 9)),
    st.tuples(st.just("random")),
    st.tuples(st.just("status"), st.integers(0, 9)),
    st.tuples(st.just("kv"), st.sampled_from("xy"), st.integers(0, 9)),
    st.tuples(st.just("checkpoint")),
    st.tuples(st.just("fail")),
)


def _grow(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.tuples(st.just("seq"), several),
        st.tuples(st.just("par"), several),
        st.tuples(st.just("race"), several),
        st.tuples(st.just("timeout"), st.integers(0, 6), inner),
        st.tuples(st.just("shield"), inner),
        st.tuples(st.just("finally"), inner, inner),
        st.tuples(st.just("catch"), inner),
    )


programs: st.SearchStrategy[Program] = st.recursive(leaves, _grow, max_leaves=8)

steps = st.lists(
    st.tuples(st.sampled_from(["complete", "complete", "fail", "a", "b", "time", "cancel", "stop"]), st.integers(0, 7)),
    max_size=12,
)


async def interpret(program: Program) -> Any:
    """Run a generated program."""
    match program:
        case ("act", value, on_cancel):
            return await act.options(on_cancel=on_cancel)(value)
        case ("sleep", seconds):
            return await durable.sleep(seconds)
        case ("event", name):
            return await durable.wait_event(name)
        case ("record", value):
            return await durable.record(int, value)
        case ("random",):
            return durable.random()
        case ("status", value):
            return durable.set_status(value)
        case ("kv", key, value):
            durable.kv[key] = value
            return durable.kv[key]
        case ("checkpoint",):
            return await durable.lowlevel.checkpoint()
        case ("fail",):
            raise ValueError("asked to")
    return await _compound(program)


async def _compound(program: Program) -> Any:
    match program:
        case ("seq", parts):
            return [await interpret(part) for part in parts]
        case ("par", parts):
            return await durable.gather(*(_work(part) for part in parts))
        case ("race", parts):
            return await durable.race(*(_work(part) for part in parts))
        case ("timeout", seconds, inner):
            with durable.move_on_after(seconds):
                return await interpret(inner)
        case ("shield", inner):
            with durable.CancelScope(shield=True):
                return await interpret(inner)
        case ("finally", inner, last):
            try:
                return await interpret(inner)
            finally:
                with durable.CancelScope(shield=True):
                    await interpret(last)
        case ("catch", inner):
            try:
                return await interpret(inner)
            except Exception as exc:
                return type(exc).__name__
    return None


def _work(program: Program) -> Coroutine[Any, Any, Any]:
    return interpret(program)


async def whole(program: list[Any]) -> str:
    """The orchestration: its argument is its program."""
    return repr(await interpret(_tuples(program)))


WHOLE = define(whole)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def draft(driven: Driven, what: str, number: int, answered: list[int]) -> Event | None:
    """The message of a random step, if it makes sense now."""
    open_ones = [event for event in driven.scheduled if event.id not in answered]
    match what:
        case "a" | "b":
            return EventReceived(name=what, payload=str(number).encode())
        case "cancel":
            return CancelRequested(reason=str(number)) if number < 2 else None
        case "time":
            return None
    if not open_ones:
        return None
    event: ActivityScheduled = open_ones[number % len(open_ones)]
    answered.append(event.id)
    match what:
        case "complete":
            return ActivityCompleted(answers=event.id, payload=str(number).encode())
        case "fail":
            return ActivityFailed(answers=event.id, failure=Failure(type="builtins.KeyError", message="k"))
    asked_to_stop = any(type(e).__name__ == "ActivityCancelRequested" and e.about == event.id for e in driven.history)  # type: ignore[attr-defined]
    if asked_to_stop:
        return ActivityCancelled(answers=event.id)
    answered.remove(event.id)
    return None


@given(programs, steps)
@settings(max_examples=150, deadline=None)
def test_live_equals_replay_at_every_turn(program: Program, script: list[tuple[str, int]]) -> None:
    """Whatever the program and whatever happens, one turn more on the live copy is what a cold replay would do."""
    driven = Driven(WHOLE, list(program), app=app)
    driven.start()
    answered: list[int] = []
    for what, number in script:
        if driven.live.ended:
            break
        message = draft(driven, what, number, answered)
        driven.turn(*([] if message is None else [message]), now=driven.now + number)
    driven.close()
    assert driven.live.length == len(driven.history)


def segments_of(history: list[Event]) -> list[tuple[Any, ...]]:
    """Delivered events with what was asked for behind them, as sorted sets, ids left out."""
    places: dict[int, str] = {}
    found: list[tuple[Any, ...]] = []
    for event in history:
        if isinstance(event, AskedAt):
            places[event.id] = event.place
        if event.delivered:
            found.append((type(event).__name__, places.get(getattr(event, "answers", 0)), []))
        elif isinstance(event, AskedAt | Asking):
            where = event.place if isinstance(event, AskedAt) else places[event.about]
            found[-1][2].append((type(event).__name__, where, getattr(event, "payload", None)))
    return [(*rest, sorted(asked, key=repr)) for *rest, asked in found]


@given(programs, st.lists(st.sampled_from(["complete", "a", "b"]), max_size=8), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_batching_of_messages_changes_nothing(program: Program, script: list[str], size: int) -> None:
    """Delivered one by one or several at once: the same segments, the same end."""
    single = Driven(WHOLE, list(program), app=app)
    single.start()
    drafts: list[Event] = []
    answered: list[int] = []
    for number, what in enumerate(script):
        if single.live.ended:
            break
        message = draft(single, what, number, answered)
        if message is not None:
            drafts.append(message)
            single.turn(message, now=START)
    batched = Driven(WHOLE, list(program), app=app)
    batched.start()
    for index in range(0, len(drafts), size):
        if not batched.live.ended:
            batched.turn(*drafts[index : index + size], now=START)
    assert segments_of(batched.history) == segments_of(single.history)
    assert batched.live.ended == single.live.ended
    single.close()
    batched.close()


independent = st.recursive(
    leaves.filter(lambda leaf: leaf[0] not in ("event", "status", "kv", "fail")),
    lambda inner: st.one_of(
        st.tuples(st.just("seq"), st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.tuples(st.just("par"), st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.tuples(st.just("timeout"), st.integers(1, 6), inner),
    ),
    max_leaves=8,
)


@given(independent, steps, st.integers(0, 2**16))
@settings(max_examples=100, deadline=None)
def test_the_order_of_ready_branches_changes_nothing(
    program: Program, script: list[tuple[str, int]], seed: int
) -> None:
    """Branches that do not communicate: permuting the ready queue leaves every segment as it was."""
    plain = Driven(WHOLE, list(program), app=app)
    plain.start()
    shuffled = Execution(plain.app, plain.definition)
    shuffled.kernel.order = random.Random(seed).shuffle
    history: list[Event] = []
    ids: dict[str, int] = {}  # place -> id of the schedule in the shuffled history

    def follow(*drafts: Event) -> None:
        messages = [Message(index, plain.now, item) for index, item in enumerate(drafts)]
        new = shuffled.run(messages, plain.now).events
        history.extend(new)
        ids.update({event.place: event.id for event in new if isinstance(event, AskedAt)})

    follow(_first(plain))
    answered: list[int] = []
    for what, number in script:
        if plain.live.ended:
            break
        message = draft(plain, what, number, answered)
        drafts = [] if message is None else [message]
        place = next((event.place for event in plain.scheduled if event.id == getattr(message, "answers", 0)), None)
        plain.turn(*drafts, now=plain.now + number)
        if message is not None and place is not None:
            message = attrs.evolve(message, answers=ids[place])  # type: ignore[call-arg]
        follow(*([] if message is None else [message]))
    assert segments_of(history) == segments_of(plain.history)
    assert shuffled.ended == plain.live.ended
    shuffled.close()
    plain.close()


def _first(driven: Driven) -> OrchestrationStarted:
    started = driven.history[0]
    assert isinstance(started, OrchestrationStarted)
    return attrs.evolve(started, id=0)
