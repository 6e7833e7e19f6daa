"""`random`, `rng`, `uuid4` and `now`: deterministic, and each branch for itself."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable

from tests.engine.driving import START, Driven
from trioflow import durable
from trioflow._engine import Execution
from trioflow.app import App
from trioflow.history import OrchestrationStarted

app = App("random")


@app.activity
async def step(value: int = 0) -> int:
    """Never runs here."""
    return value


def draws(seed: str, branches: list[Callable[[], object]]) -> list[object]:
    """What each branch draws, under a seed."""

    async def program() -> list[object]:
        async def branch(draw: Callable[[], object]) -> object:
            return draw()

        return list(await durable.gather(*(branch(draw) for draw in branches)))

    driven = Driven(program)
    driven.turn(OrchestrationStarted(instance="i", name="program", payload=b"{}", seed=seed))
    result = driven.result()
    driven.close()
    assert isinstance(result, list)
    return result


def test_a_draw_more_in_one_branch_changes_no_other() -> None:
    """Each branch has its own stream, keyed by its place."""
    one = draws("aa", [durable.random, durable.random, durable.random])
    two = draws("aa", [durable.random, lambda: [durable.random(), durable.random()], durable.random])
    assert (two[0], two[2]) == (one[0], one[2])
    assert isinstance(two[1], list)
    assert two[1][0] == one[1]
    assert len({*map(str, one)}) == 3


def test_another_seed_gives_other_draws() -> None:
    """And the same seed the same ones."""
    assert draws("aa", [durable.random]) == draws("aa", [durable.random])
    assert draws("aa", [durable.random]) != draws("bb", [durable.random])


def test_all_draws_of_a_branch_come_from_one_stream() -> None:
    """`random` is a float in [0, 1), `uuid4` a version 4 UUID, `rng` the stream itself, which goes on between them."""

    async def program() -> list[object]:
        first, second = durable.random(), durable.rng().random()
        made = durable.uuid4()
        assert isinstance(made, uuid.UUID)
        assert made.version == 4
        assert 0 <= first < 1
        assert durable.rng() is durable.rng()
        return [first, second, str(made), durable.rng().randint(1, 6)]

    driven = Driven(program)
    driven.start()
    first, second, *_ = driven.result()
    assert first != second
    driven.close()


def test_a_stream_goes_on_after_a_wait_as_on_a_replay() -> None:
    """What was drawn before a step is not drawn again after it."""

    async def program() -> list[float]:
        drawn = [durable.random()]
        for _ in range(3):
            await step()
            drawn.append(durable.random())
        return drawn

    driven = Driven(program, app=app)
    driven.start()
    for number in range(3):
        driven.complete(driven.scheduled[number])
    assert len({*driven.result()}) == 4
    driven.close()


def test_the_stream_of_a_branch_that_has_ended_is_not_kept() -> None:
    """An execution that has run thousands of branches does not hold thousands of generators."""

    async def program() -> None:
        async def branch() -> None:
            durable.random()

        for _ in range(50):
            async with durable.open_nursery() as nursery:
                nursery.start_soon(branch)
        durable.random()
        await durable.sleep_forever()

    driven = Driven(program)
    driven.start()
    live: Execution = driven.live
    assert len(live._host._streams) == 1
    driven.close()


def test_now_is_the_time_of_the_last_delivered_event() -> None:
    """As an aware UTC datetime; the same as `current_time`."""

    async def program() -> list[object]:
        before = durable.now()
        await durable.sleep(60)
        assert durable.now().timestamp() == durable.current_time()
        return [before.isoformat(), (durable.now() - before).total_seconds()]

    driven = Driven(program)
    driven.start()
    driven.turn(now=START + 61)
    began = datetime.datetime.fromtimestamp(START + 1, datetime.UTC)
    assert driven.result() == [began.isoformat(), 60]
    driven.close()
