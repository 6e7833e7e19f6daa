"""What instruments are told by a runtime and its client: each fact once, behind the commit that makes it one."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import virtual_store
from tests.runtime.test_leases import Stolen
from trioflow import durable
from trioflow.abc import (
    Administered,
    Attempt,
    AttemptEnded,
    Fact,
    Instrument,
    Instruments,
    LeaseLost,
    QueuesSeen,
    Start,
    StartAnswered,
    Store,
    StoreCommitted,
    Subject,
    TurnRan,
    WaitEnded,
)
from trioflow.history import OrchestrationCompleted, OrchestrationStarted, OrchestrationTerminated, Parked
from trioflow.stores import MemoryStore, SqliteStore


class Recorder(Instrument):
    """Keeps everything, and gives headers that say what they are for."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.starts: list[Start] = []
        self.bodies: list[tuple[str, str, int]] = []

    def headers(self, start: Start) -> Mapping[str, str]:
        """Who asked."""
        self.starts.append(start)
        return {"by": f"{start.by} {start.key}".strip()}

    def activity_headers(self, subject: Subject, within: str) -> Mapping[str, str]:
        """Which part asked."""
        return {"within": within}

    @contextlib.contextmanager
    def inside(self, attempt: Attempt) -> Iterator[None]:
        """Around a body."""
        self.bodies.append(("in", attempt.name, attempt.attempt))
        try:
            yield
        finally:
            self.bodies.append(("out", attempt.name, attempt.attempt))

    def saw(self, fact: Fact) -> None:
        """Keep it."""
        self.facts.append(fact)

    def of(self, kind: type[Any]) -> list[Any]:
        """The facts of a kind."""
        return [fact for fact in self.facts if type(fact) is kind]

    def events(self) -> Counter[str]:
        """How many events of each kind turns and administration were told to have written."""
        return Counter(
            type(event).__name__
            for fact in self.facts
            if isinstance(fact, TurnRan | Administered)
            for event in fact.events
        )


START = Start(by="client", instance="one", name="child", seed="5eed", at=1.0)
SUBJECT = Subject(instance="one", execution=1, name="child", version="1.0.0", started_at=1.0)
LOST = LeaseLost(what="turn", instance="one", worker="w1")
ATTEMPT = Attempt(
    instance="one",
    execution=1,
    event_id=2,
    name="fine",
    attempt=1,
    failures=0,
    tag=None,
    session=None,
    worker="w1",
    scheduled_at=1.0,
    began=2.0,
    headers={},
)

app = trioflow.App("told")


@app.activity(retry=trioflow.Retry(max_attempts=3, initial=0.01))
async def shaky(value: int) -> int:
    """Fails once."""
    if trioflow.activity.info().attempt == 1:
        raise ValueError(f"not yet: {value}")
    return value


@app.activity
async def fine(value: int) -> int:
    """Does not."""
    return value


@app.activity
async def forever() -> None:
    """Waits until it is cancelled."""
    await trio.sleep_forever()


@app.orchestration
async def child(value: int) -> int:
    """A step."""
    return await fine(value)


@app.orchestration
async def parent(value: int) -> int:
    """A step that fails once, one in a scope, a child, a detached instance, an event."""
    await shaky(value)
    with durable.move_on_after(3600):
        await fine(value)
    await child(value)
    await durable.start_detached(child, value, id="detached")
    return await durable.wait_event("go", int)


@app.orchestration
async def again(rounds: int) -> int:
    """Continues as new."""
    await fine(rounds)
    if rounds:
        durable.continue_as_new(rounds - 1)
    return rounds


@app.orchestration
async def racing() -> None:
    """Cancels an activity."""
    with durable.move_on_after(0.05):
        await forever()


@app.orchestration
async def stuck() -> None:
    """Waits for an activity that does not end."""
    await forever()


@pytest.fixture
def recorder() -> Recorder:
    """An instrument."""
    return Recorder()


async def history_counts(client: trioflow.Client, *ids: str) -> Counter[str]:
    """Events by kind in the histories of instances, counted from the store."""
    found: Counter[str] = Counter()
    for instance in ids:
        for execution in await client.executions(instance):
            found.update(type(event).__name__ for event in await client.history(instance, execution.execution))
    return found


async def test_turns_tell_exactly_what_is_in_the_histories(store: Store, recorder: Recorder) -> None:
    """Counting the events of all facts gives what counting the store's histories gives."""
    async with trioflow.open_runtime(app, store, instruments=[recorder]) as runtime:
        client = runtime.client
        handle = await client.start(parent, 7, id="parent")
        await handle.raise_event("go", 1)
        assert await handle.result(timeout=20) == 1
        assert await (await client.start(again, 3, id="again")).result(timeout=20) == 0
        await (await client.start(racing, id="racing")).result(timeout=20)
        await client.handle("detached").result(timeout=20)
        ids = [info.id async for info in client.list()]
        assert sorted(ids) == sorted({"parent", "again", "racing", "detached"} | {one for one in ids if "#" in one})
        assert recorder.events() == await history_counts(client, *ids)
    ended = Counter((fact.attempt.name, fact.how) for fact in recorder.of(AttemptEnded))
    assert ended == {
        ("shaky", "retried"): 1,
        ("shaky", "completed"): 1,
        ("fine", "completed"): 7,
        ("forever", "cancelled"): 1,
    }
    (retried,) = [fact for fact in recorder.of(AttemptEnded) if fact.how == "retried"]
    assert retried.failure is not None
    assert (retried.failure.type, retried.attempt.attempt) == ("builtins.ValueError", 1)
    assert retried.retry_in is not None
    ran = [(fact.attempt.name, fact.attempt.attempt) for fact in recorder.of(AttemptEnded)]
    assert Counter(recorder.bodies) == Counter((side, *one) for one in ran for side in ("in", "out"))


async def test_headers_are_stored_with_what_they_are_for(store: Store, recorder: Recorder) -> None:
    """Of a client's start, a child's, a detached instance's, a next execution's; and of each activity."""
    async with trioflow.open_runtime(app, store, instruments=[recorder]) as runtime:
        client = runtime.client
        handle = await client.start(parent, 7, id="parent")
        await handle.raise_event("go", 1)
        await handle.result(timeout=20)
        await (await client.start(again, 1, id="again")).result(timeout=20)
        headers = {}
        async for info in client.list():
            for execution in await client.executions(info.id):
                first = (await client.history(info.id, execution.execution))[0]
                assert isinstance(first, OrchestrationStarted)
                headers[info.id, execution.execution] = dict(first.headers)
    assert headers == {
        ("parent", 1): {"by": "client"},
        ("parent:1:0#3", 1): {"by": "parent 0#3"},
        ("detached", 1): {"by": "detached 0#4"},
        ("again", 1): {"by": "client"},
        ("again", 2): {"by": "continued"},
    }
    attempts = [fact.attempt for fact in recorder.of(AttemptEnded)]
    within = {one.event_id: one.headers["within"] for one in attempts if one.instance == "parent"}
    assert list(within.values()) == ["", "0@1"]


async def test_who_begins_what_nobody_gave_headers_gives_them_once(store: Store, recorder: Recorder) -> None:
    """They are recorded by the first turn, so that whoever goes on has the same."""
    async with store, trioflow.connect(store, app, instruments=[]) as client:
        handle = await client.start(child, 1, id="plain")
        async with trioflow.open_runtime(app, store, instruments=[recorder]):
            await handle.result(timeout=20)
        (start,) = recorder.starts
        first = (await handle.history())[0]
        assert isinstance(first, OrchestrationStarted)
        assert (start.by, start.seed, dict(first.headers)) == ("worker", first.seed, {"by": "worker"})


async def test_a_client_tells_how_its_starts_were_answered(recorder: Recorder) -> None:
    """Created, attached, refused; an error before the store was asked is not told."""
    async with trioflow.connect(MemoryStore(), app, instruments=[recorder]) as client:
        await client.start(child, 1, id="one")
        await client.start(child, 1, id="one", if_exists="attach")
        with pytest.raises(trioflow.InstanceExists):
            await client.start(child, 1, id="one")
        with pytest.raises(TypeError):
            await client.start(child, id="one")
    assert [(fact.how, fact.error) for fact in recorder.of(StartAnswered)] == [
        ("created", None),
        ("attached", None),
        ("refused", "trioflow.InstanceExists"),
    ]


async def test_waits_are_told_with_their_end(recorder: Recorder) -> None:
    """A result that came, and one that did not come in time."""
    async with trioflow.open_runtime(app, "memory:", instruments=[recorder]) as runtime:
        handle = await runtime.client.start(parent, 1)
        with pytest.raises(trio.TooSlowError):
            await handle.result(timeout=0.05)
        await handle.raise_event("go", 1)
        await handle.result(timeout=20)
        with pytest.raises(trioflow.InstanceNotFound):
            await runtime.client.handle("nobody").result()
    assert [fact.how for fact in recorder.of(WaitEnded)] == ["cancelled", "answered", "failed"]


async def test_parking_and_termination_are_told(store: Store, recorder: Recorder) -> None:
    """What takes a turn's place says whose it was, headers and all."""
    strange = trioflow.App("strange")

    @strange.orchestration(name="parent")
    async def other(value: int) -> None:
        await durable.sleep(1)

    async with store:
        async with trioflow.open_runtime(app, store, instruments=[recorder]) as runtime:
            handle = await runtime.client.start(parent, 1, id="parked")
            while not recorder.of(AttemptEnded):
                await trio.sleep(0.01)
        async with trioflow.open_runtime(strange, store, instruments=[recorder]) as runtime:
            handle = runtime.client.handle("parked")
            await handle.raise_event("go", 1)
            with pytest.raises(trioflow.InstanceParked):
                await handle.result(timeout=20)
            await handle.terminate("enough")
            with pytest.raises(trioflow.OrchestrationTerminated):
                await handle.result(timeout=20)
    parked, ended = recorder.of(Administered)
    assert [type(event) for fact in (parked, ended) for event in fact.events] == [Parked, OrchestrationTerminated]
    for fact in (parked, ended):
        assert (fact.subject.instance, dict(fact.subject.headers)) == ("parked", {"by": "client"})


async def test_a_lost_lease_is_told(autojump_clock: trio.testing.MockClock, recorder: Recorder) -> None:
    """Of an activity, with how its attempt ended here."""
    store = Stolen(virtual_store())
    options = trioflow.RuntimeOptions(activity_lease=4.0, fuse=False)
    async with trioflow.open_runtime(app, store, options=options, instruments=[recorder]) as runtime:
        await runtime.client.start(stuck)
        while not recorder.of(LeaseLost):
            await trio.sleep(1)
    assert [fact.how for fact in recorder.of(AttemptEnded)] == ["lost"]
    assert [fact.what for fact in recorder.of(LeaseLost)] == ["activity"]


async def test_commits_are_told_as_long_as_somebody_listens(tmp_path: Any, recorder: Recorder) -> None:
    """Each transaction, with how many shared it; after the block nobody listens."""
    store = SqliteStore(tmp_path / "s.db")
    async with store:
        async with trioflow.open_runtime(app, store, instruments=[recorder]) as runtime:
            assert await (await runtime.client.start(child, 1)).result(timeout=20) == 1
        assert store.signals.on_commit == []
    commits = recorder.of(StoreCommitted)
    assert commits
    assert all(fact.operations >= 1 and fact.seconds >= 0 for fact in commits)


async def test_queues_are_looked_at_now_and_then(autojump_clock: trio.testing.MockClock, recorder: Recorder) -> None:
    """Four times a minute, and not at all without an instrument."""
    async with trioflow.open_runtime(app, virtual_store(), instruments=[recorder]):
        await trio.sleep(61)
    assert len(recorder.of(QueuesSeen)) == 5


@pytest.mark.parametrize("born", [True, False])
async def test_an_attempt_tells_whether_it_was_born_leased(recorder: Recorder, *, born: bool) -> None:
    """Only what began where it was asked for, at once: its second attempt was in a queue like any other."""
    options = trioflow.RuntimeOptions(born_leased=born)
    async with trioflow.open_runtime(app, "memory:", options=options, instruments=[recorder]) as runtime:
        handle = await runtime.client.start(parent, 1, id="one")
        await handle.raise_event("go", 1)
        await handle.result()
    attempts = [fact.attempt for fact in recorder.of(AttemptEnded) if fact.attempt.instance == "one"]
    assert [(one.attempt, one.born) for one in attempts] == [(1, born), (2, False), (1, born)]


async def test_a_turn_tells_what_it_cost(recorder: Recorder) -> None:
    """Whether the live execution was at hand, what was replayed, and when what began."""
    store = MemoryStore()
    options = trioflow.RuntimeOptions(cache_executions=0, fuse=False)
    async with trioflow.open_runtime(app, store, options=options, instruments=[recorder]) as runtime:
        await (await runtime.client.start(child, 1)).result(timeout=20)
    first, second = recorder.of(TurnRan)
    assert (first.cached, first.replayed, first.length) == (False, 0, 2)
    assert (second.cached, second.replayed, second.length) == (False, 2, 4)
    assert isinstance(second.events[-1], OrchestrationCompleted)
    for turn in (first, second):
        assert turn.began <= turn.committing <= turn.ended


async def test_an_instrument_that_raises_is_dropped_and_reported_once(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing else notices: the other instrument hears everything, and the orchestration ends as ever."""

    class Broken(Instrument):
        def inside(self, attempt: Attempt) -> contextlib.AbstractContextManager[object]:
            raise RuntimeError("out of order")

    async with trioflow.open_runtime(app, "memory:", instruments=[Broken(), recorder]) as runtime:
        handle = await runtime.client.start(parent, 1)
        await handle.raise_event("go", 1)
        assert await handle.result(timeout=20) == 1
    (said,) = [record.message for record in caplog.records if record.name == "trioflow.instruments"]
    assert said.startswith("an instrument failed and is not told anything any more: ")
    assert ".Broken: RuntimeError (at test_instruments.py:" in said
    assert "out of order" not in caplog.text
    assert recorder.events()["OrchestrationCompleted"] >= 1


@pytest.mark.parametrize("hook", ["headers", "activity_headers", "inside", "leaving", "saw"])
def test_whatever_an_instrument_raises_stays_with_it(hook: str, caplog: pytest.LogCaptureFixture) -> None:
    """In each of its methods, and where it takes its surroundings down; all others are told, on both sides."""

    class Leaving(contextlib.nullcontext[None]):
        def __exit__(self, *raised: object) -> None:
            raise RuntimeError("out of order")

    def fails(*about: object) -> contextlib.AbstractContextManager[None]:
        if hook == "leaving":
            return Leaving()
        raise RuntimeError("out of order")

    broken, around = Recorder(), (Recorder(), Recorder())
    setattr(broken, "inside" if hook == "leaving" else hook, fails)
    all_of_them = Instruments([around[0], broken, around[1]])
    for _ in range(2):
        assert all_of_them.headers(START) == {"by": "client"}
        assert all_of_them.activity_headers(SUBJECT, "0.1") == {"within": "0.1"}
        with all_of_them.inside(ATTEMPT):
            pass
        all_of_them.saw(LOST)
    for one in around:
        assert (one.facts, one.starts) == ([LOST] * 2, [START] * 2)
        assert one.bodies == [("in", "fine", 1), ("out", "fine", 1)] * 2
    assert len(caplog.records) == 1


async def test_headers_that_are_no_texts_are_a_fault_of_the_instrument(recorder: Recorder) -> None:
    """They would go into a history: nothing of them is stored."""

    class Odd(Instrument):
        def headers(self, start: Start) -> Mapping[str, str]:
            return {"number": 7}  # type: ignore[dict-item]

    async with trioflow.open_runtime(app, "memory:", instruments=[Odd(), recorder]) as runtime:
        handle = await runtime.client.start(child, 1)
        await handle.result(timeout=20)
        first = (await handle.history())[0]
        assert isinstance(first, OrchestrationStarted)
        assert dict(first.headers) == {"by": "client"}
