"""The watchdog: orchestration code that blocks the trio thread is named, with the line it is stuck in."""

from __future__ import annotations

import itertools
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator

import attrs
import pytest
import trio

import trioflow
from tests.runtime.programs import running, virtual_store
from trioflow import durable
from trioflow._runtime._watchdog import Watchdog, users_part
from trioflow.abc import Store
from trioflow.stores import MemoryStore

LIMIT = 0.01
PATIENCE = 60.0
"""Seconds after which a test that waits for a report fails."""
STUCK = " in stuck\n"
"""In a stack that shows the orchestration; on a busy machine a report may come before it is reached."""


class Ear(logging.Handler):
    """Hears what the watchdog says, and tells those who wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        self._more = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        with self._more:
            self.heard.append(record.getMessage())
            self._more.notify_all()

    def wait(self, *texts: str, reports: int = 1) -> None:
        """Block the calling thread until there are so many messages that hold all these texts."""
        with self._more:
            if not self._more.wait_for(lambda: self.count(*texts) >= reports, PATIENCE):
                raise AssertionError(f"not reported: {self.heard}")

    def count(self, *texts: str) -> int:
        """Of messages that hold all these texts."""
        return sum(all(text in message for text in texts) for message in self.heard)


@pytest.fixture
def ear() -> Iterator[Ear]:
    """Listens to the runtime's log."""
    ear, log = Ear(), logging.getLogger("trioflow.runtime")
    log.addHandler(ear)
    yield ear
    log.removeHandler(ear)


@attrs.frozen
class Named:
    """What a watchdog needs of a live execution."""

    label: str


def sleeps(dog: Watchdog) -> bool:
    """Whether it waits for the next stretch."""
    return not dog._busy.is_set()


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread."""
    while not condition():
        pass


# -- the part by itself


def test_only_what_is_slow_is_reported(ear: Ear) -> None:
    """A stretch that is quick is passed over, one that is slow is reported and its end too; then it sleeps."""
    limit = 5 * LIMIT
    with Watchdog(limit) as dog:
        quick = dog.over("a turn", Named("quick"))
        with quick:
            pass
        took = time.monotonic() - quick.began
        until(lambda: sleeps(dog))
        with dog.over("a turn", Named("slow")):
            ear.wait("a turn of slow has been running")
        ear.wait("a turn of slow has ended, after 0.")
        until(lambda: sleeps(dog))
    assert ear.count("quick") == 0 or took >= limit  # a busy machine may make anything slow
    assert len(ear.heard) - ear.count("quick") == ear.count("slow") >= 2


def test_slow_ones_that_follow_each_other_are_each_reported(ear: Ear) -> None:
    """It need not sleep in between."""
    with Watchdog(LIMIT) as dog:
        for number in range(3):
            with dog.over("a turn", Named(f"number {number}")):
                ear.wait(f"number {number} has been running")
    assert ear.count(" has ended, after ") == 3


def test_what_is_stuck_is_reported_again_and_again(ear: Ear) -> None:
    """Each time when twice the time has passed; at the end the whole time is told."""
    with Watchdog(LIMIT) as dog, dog.over("a turn", Named("one")):
        ear.wait("has been running", reports=3)
    told = [float(match[1]) for text in ear.heard if (match := re.search(r"(?:for|after) ([0-9.e-]+) s", text))]
    *reports, whole = told
    assert len(reports) >= 3
    assert all(later >= 1.9 * earlier for earlier, later in itertools.pairwise(reports))
    assert whole >= reports[-1]
    assert reports[0] >= LIMIT


def test_nothing_is_kept_when_it_has_ended() -> None:
    """A stretch that is over holds no live execution, and is over for whoever begins to wait for it then."""
    dog = Watchdog(None)
    stretch = dog.over("a turn", Named("one"))
    with stretch:
        assert stretch.what == "a turn of one"
        assert not stretch.over_within(0)
    assert stretch.what is None
    assert stretch._live is None
    assert stretch.over_within(0)


def test_the_end_is_noticed_at_once() -> None:
    """Whoever waits for the end of a stretch is woken by it."""
    stretch = Watchdog(None).over("a turn", Named("one"))
    seen: list[bool] = []
    waits = threading.Thread(target=lambda: seen.append(stretch.over_within(PATIENCE)))
    with stretch:
        waits.start()
        until(lambda: stretch.ended is not None)
    waits.join()
    assert seen == [True]


def test_without_a_limit_nothing_watches() -> None:
    """No thread is started."""
    before = threading.enumerate()
    with Watchdog(None) as dog, dog.over("a turn", Named("one")):
        assert [thread for thread in threading.enumerate() if thread not in before] == []  # idle ones may end any time


def test_a_stack_without_orchestration_code_is_shown_whole() -> None:
    """What ran may be over by the time the stack is taken; a thread that is gone has none."""
    here = users_part(sys._getframe())
    assert here[-1].name == "test_a_stack_without_orchestration_code_is_shown_whole"
    assert len(users_part(None)) == 0


# -- in a runtime


def the_report(ear: Ear, what: str) -> str:
    """The first report about something; it names instance and code, and shows the user's part of the stack only."""
    text = next(text for text in ear.heard if text.startswith(what) and STUCK in text)
    label = "of instance 'the-stuck-one' (orchestration 'stuck' 2.1.0) has been running for "
    assert text.startswith(f"{what} {label}")
    _, _, stack = text.partition("It is at:\n")
    assert stack.startswith(f'  File "{__file__}", line ')
    assert stack.splitlines()[0].endswith(" in stuck")
    assert "trio/_core" not in stack
    assert "_scheduler.py" not in stack
    assert ear.count(f"{what} of instance 'the-stuck-one' (orchestration 'stuck' 2.1.0) has ended, after ") >= 1
    return stack


@pytest.mark.parametrize("way", ["busy", "blocking"])
async def test_a_slow_turn_is_reported_with_its_stack(store: Store, ear: Ear, way: str) -> None:
    """A turn that loops, and one that waits for something outside of trio."""
    app = trioflow.App("slow")

    @app.orchestration(version="2.1.0")
    async def stuck() -> str:
        if way == "busy":
            while not ear.count("a turn of", STUCK):
                pass
        else:
            ear.wait("a turn of", STUCK)
        return "at last"

    async with running(app, store, slow_turn=LIMIT) as client:
        assert await (await client.start(stuck, id="the-stuck-one")).result(timeout=PATIENCE) == "at last"
    stack = the_report(ear, "a turn")
    assert ("ear.count" if way == "busy" else "ear.wait(") in stack or "pass" in stack


async def test_a_slow_replay_is_reported(ear: Ear) -> None:
    """A cold replay runs the code from its beginning, and may be stuck there."""
    app = trioflow.App("slow")

    @app.orchestration(version="2.1.0")
    async def stuck() -> None:
        if durable.info().is_replaying:
            ear.wait("a replay of", STUCK)
        await durable.wait_event("go")

    async with running(app, MemoryStore(), slow_turn=LIMIT, cache_executions=0) as client:
        handle = await client.start(stuck, id="the-stuck-one")
        while (await handle.info()).history_length < 2:
            await trio.lowlevel.checkpoint()
        await handle.raise_event("go")
        await handle.result(timeout=PATIENCE)
    assert "ear.wait(" in the_report(ear, "a replay")


@pytest.mark.parametrize("kept", [0, 10])
async def test_slow_dropping_is_reported(ear: Ear, kept: int) -> None:
    """`finally` blocks run when an orchestration is dropped: out of the cache, or when the runtime stops."""
    app = trioflow.App("slow")

    @app.orchestration(version="2.1.0")
    async def stuck() -> None:
        try:
            await durable.sleep_forever()
        finally:
            ear.wait("the dropping of", STUCK)

    async with running(app, MemoryStore(), slow_turn=LIMIT, cache_executions=kept) as client:
        handle = await client.start(stuck, id="the-stuck-one")
        while (await handle.info()).state is trioflow.State.PENDING:
            await trio.lowlevel.checkpoint()
    assert "ear.wait(" in the_report(ear, "the dropping")


async def test_real_time_is_what_counts(ear: Ear, autojump_clock: trio.testing.MockClock) -> None:
    """On a clock of tests a turn is as slow as it is for people, and months of timers are not."""
    app = trioflow.App("slow")

    @app.orchestration(version="2.1.0")
    async def stuck() -> None:
        await durable.sleep(30 * 86_400)
        ear.wait("a turn of", STUCK)

    async with running(app, virtual_store(), slow_turn=LIMIT) as client:
        await (await client.start(stuck, id="the-stuck-one")).result()
    the_report(ear, "a turn")
