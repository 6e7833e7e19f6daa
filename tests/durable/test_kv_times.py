"""When a key of `kv` was last set, and removing those that are old: the same on replays and in later executions."""

from __future__ import annotations

import pytest

from tests.engine.driving import START, Driven
from trioflow import durable
from trioflow._engine import ContinueAsNewAction, Execution
from trioflow.app import App
from trioflow.errors import LimitExceeded
from trioflow.history import Event, EventCodec, Limits

app = App("times", limits=Limits(kv_keys=3))
NO_JSON_FLOAT = START + 0.1 + 0.2  # with all its digits


@app.activity
async def step() -> int:
    """Never runs here."""
    return 0


def test_a_key_knows_when_it_was_last_set() -> None:
    """The time of the event behind which it was set; setting it again, also to the same value, counts."""

    async def program() -> list[float]:
        durable.kv["a"] = durable.kv["b"] = 1
        times = [durable.current_time()]
        await step()
        durable.kv["b"] = 1
        await step()
        del durable.kv["a"]
        durable.kv["a"] = 1
        return [*times, durable.kv.updated_at("b"), durable.kv.updated_at("a"), durable.current_time()]

    driven = Driven(program, app=app)
    driven.start()
    for number in range(2):
        driven.complete(driven.scheduled[number])
    assert driven.result() == [START + 1, START + 2, START + 3, START + 3]
    driven.close()


@pytest.mark.parametrize("key", ["never", "gone"])
def test_a_key_that_is_not_there_has_no_time(key: str) -> None:
    """A KeyError, as for its value."""

    async def program() -> object:
        durable.kv["gone"] = 1
        del durable.kv["gone"]
        try:
            return durable.kv.updated_at(key)
        except KeyError as exc:
            return exc.args

    driven = Driven(program, app=app)
    driven.start()
    assert driven.result() == [key]
    driven.close()


def stored(events: list[Event]) -> list[Event]:
    """A history that has been in a store."""
    codec = EventCodec()
    return [codec.decode(event.id, event.at, *codec.encode(event)) for event in events]


def test_duroxide_stamps_keys_anew_at_every_replay() -> None:
    """Here a replay, however late and however often, finds the times of then, to the last bit."""
    seen: list[float] = []

    async def program() -> None:
        durable.kv["a"] = 1
        await step()
        seen.append(durable.kv.updated_at("a"))
        await step()

    driven = Driven(program, app=app)
    driven.now = NO_JSON_FLOAT - 1
    driven.start()
    driven.turn(driven.completion(driven.scheduled[0]), now=NO_JSON_FLOAT + 1e6)
    seen.clear()
    for _ in range(3):
        replayed = Execution(app, driven.definition)
        for _ in replayed.replay(stored(driven.history)):
            pass
        replayed.close()
    assert seen == [NO_JSON_FLOAT] * 3
    driven.close()


def test_the_times_go_with_the_keys_into_the_next_execution() -> None:
    """Through generation after generation that does not touch them, and through a store each time."""

    async def program(left: int) -> list[float]:
        if left == 3:
            durable.kv["old"] = 1
            await step()
            durable.kv["young"] = 1
        if left:
            durable.continue_as_new(left - 1)
        return [durable.kv.updated_at("old"), durable.kv.updated_at("young")]

    driven = Driven(program, 3, app=app)
    driven.now = NO_JSON_FLOAT - 1
    driven.start()
    result = driven.turn(driven.completion(driven.scheduled[0]), now=NO_JSON_FLOAT + 7)
    driven.close()
    for _ in range(3):
        (action,) = result.actions
        assert isinstance(action, ContinueAsNewAction)
        (start,) = stored([action.start])
        later, driven = driven.now + 1e5, Driven(driven.definition, app=app)
        result = driven.turn(start, now=later)
        driven.close()
    assert driven.result() == [NO_JSON_FLOAT, NO_JSON_FLOAT + 7]


def test_a_key_carried_by_an_execution_that_kept_no_times_is_as_old_as_that_which_got_it() -> None:
    """A history written before there were times says nothing of them; from then on the time stays."""

    async def program() -> float:
        await step()
        return durable.kv.updated_at("k")

    driven = Driven(program, app=app)
    driven.start(carried_kv={"k": b"1"})
    driven.complete(driven.scheduled[0])
    assert driven.result() == START + 1
    driven.close()


def test_old_keys_are_pruned() -> None:
    """Those last set more than so many seconds ago, no others; the turn tells the store."""

    async def program() -> list[object]:
        durable.kv["a"], durable.kv["b"] = 1, 1
        await step()  # a second later
        durable.kv["a"] = 2
        durable.kv["c"] = 1
        await step()  # and another one
        found = [durable.kv.prune(older_than=2), durable.kv.prune(older_than=1.5), list(durable.kv)]
        return [*found, durable.kv.prune(older_than=0), len(durable.kv), durable.kv.prune(older_than=0)]

    driven = Driven(program, app=app)
    driven.start()
    driven.complete(driven.scheduled[0])
    result = driven.complete(driven.scheduled[1])
    assert driven.result() == [0, 1, ["a", "c"], 2, 0, 0]
    assert sorted(result.kv_cleared) == ["a", "b", "c"]
    driven.close()


@pytest.mark.parametrize("seconds", [-1, float("nan"), 10**400, "5"])
def test_an_age_is_a_number_of_seconds(seconds: float) -> None:
    """Anything else is an error, and removes nothing."""

    async def program() -> object:
        durable.kv["k"] = 1
        try:
            durable.kv.prune(older_than=seconds)
        except ValueError:
            return len(durable.kv)
        return None

    driven = Driven(program, app=app)
    driven.start()
    assert driven.result() == 1
    driven.close()


def test_room_can_be_made_where_a_limit_is_met() -> None:
    """`LimitExceeded` is raised by the assignment and may be caught there; what is pruned makes room."""

    async def program() -> list[object]:
        for number in range(3):
            durable.kv[str(number)] = number
        await step()
        try:
            durable.kv["new"] = 1
        except LimitExceeded as exc:
            limit = exc.limit
        durable.kv["2"] = 2
        durable.kv.prune(older_than=0)
        durable.kv["new"] = 1
        return [limit, list(durable.kv)]

    driven = Driven(program, app=app)
    driven.start()
    driven.complete(driven.scheduled[0])
    assert driven.result() == ["kv_keys", ["2", "new"]]
    driven.close()


def test_a_limit_that_nobody_catches_fails_the_orchestration() -> None:
    """Its client hears which limit it was."""

    async def program() -> None:
        for number in range(4):
            durable.kv[str(number)] = number

    driven = Driven(program, app=app)
    result = driven.start()
    assert result.ended
    assert "kv_keys" in repr(driven.last)
    driven.close()
