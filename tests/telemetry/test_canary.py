"""No payload leaves by a log, a warning, a span or a metric: a canary is planted wherever a program has values, and
everything that each kind of ending emits is searched for it.

Each test also names what has to have been logged, so that it has really gone where it was to go.
"""

from __future__ import annotations

import threading
from typing import Any

import attrs
import pytest
import trio

import trioflow
from tests.canary import CANARY
from tests.runtime.programs import virtual_store
from tests.telemetry.net import Bird, Net, careless, running
from trioflow import activity, durable
from trioflow.history import Limits
from trioflow.stores import MemoryStore
from trioflow.testing import Crash, FailpointEnv

Clock = trio.testing.MockClock


@attrs.frozen
class Cage:
    """A value that holds it."""

    song: str


def raise_it() -> None:
    """With a cause, and in a group."""
    try:
        raise KeyError(CANARY)
    except KeyError as exc:
        raise ExceptionGroup(CANARY, [Bird(), ValueError(CANARY)]) from exc


# -- what goes well, and what fails in the code's own way -------------------------------------------------------------


async def test_success(net: Net, autojump_clock: Clock) -> None:
    """Arguments, results, events, kv, status, heartbeats, records, children, detached starts, continue-as-new."""
    app = trioflow.App("birds", limits=Limits(warn_events=4))

    @app.activity(tag=None)
    async def sing(cage: Cage, *, loud: str) -> Cage:
        activity.heartbeat({"so far": cage.song})
        await trio.sleep(60)
        return Cage(cage.song + loud)

    @app.orchestration
    async def child(cage: Cage) -> Cage:
        durable.set_status({"song": cage.song})
        return await sing(cage, loud=CANARY)

    @app.orchestration
    async def main(cage: Cage, left: int) -> Cage:
        durable.kv["song"] = cage.song
        durable.set_status(cage)
        heard = await durable.wait_event("song", Cage)
        await durable.record(lambda: heard.song)
        await durable.gather(child(heard), sing(heard, loud=CANARY))
        await durable.start_detached(child, heard, id=f"detached {left}")
        if left:
            durable.continue_as_new(cage, left - 1)
        return await child(heard)

    async with running(app, net, activity_lease=10) as client:
        handle = await client.start(main, Cage(CANARY), 1, id="it")
        for _ in range(2):
            await handle.raise_event("song", Cage(CANARY))
        assert CANARY in (await handle.result()).song
        await client.handle("detached 0").result()
    assert "consider `durable.continue_as_new`" in net.logs
    assert len(net.spans) > 20


async def test_failures_and_retries(net: Net, autojump_clock: Clock) -> None:
    """Messages, notes, causes, groups and attributes of exceptions, registered or not, caught or not."""
    app = trioflow.App("birds")
    app.exception(Bird)

    @app.activity(retry=trioflow.Retry(max_attempts=3, initial=0.5))
    async def fails() -> None:
        raise_it()

    @app.activity
    def fails_in_a_thread() -> None:
        raise Bird

    @app.orchestration
    async def child() -> None:
        await fails_in_a_thread()

    @app.orchestration
    async def main() -> None:
        with pytest.raises(BaseExceptionGroup):
            await fails()
        try:
            await child()
        finally:
            raise_it()

    async with running(app, net, record_tracebacks=True) as client:
        with pytest.raises(trioflow.OrchestrationFailed, match=CANARY):
            await (await client.start(main)).result()
    assert any("KeyError" in span or "Bird" in span for span in net.spans)


async def test_times_that_are_over(net: Net, autojump_clock: Clock) -> None:
    """Of an attempt, for a heartbeat, and of the orchestration's own scope."""
    app = trioflow.App("birds")

    @app.activity(timeout=2, retry=trioflow.Retry(max_attempts=2))
    async def slow(song: str) -> str:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise Bird from None
        return song

    @app.activity(heartbeat_timeout=2)
    async def silent(song: str) -> None:
        activity.heartbeat(song)
        await trio.sleep_forever()

    @app.orchestration
    async def main(song: str) -> None:
        for step in (slow, silent):
            with pytest.raises(trioflow.ActivityTimedOut):
                await step(song)
        with durable.fail_after(3):
            await durable.wait_event(song)

    async with running(app, net) as client:
        with pytest.raises(trioflow.OrchestrationFailed, match="TooSlow"):
            await (await client.start(main, "a song")).result()


async def test_cancellation_and_termination(net: Net, autojump_clock: Clock) -> None:
    """With reasons, while an activity runs, and one whose cleanup fails; suspension, too."""
    app = trioflow.App("birds")

    @app.activity
    async def endless(song: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Bird

    @app.orchestration
    async def main(song: str) -> None:
        try:
            await endless(song)
        finally:
            with durable.CancelScope(shield=True):
                durable.kv["last"] = song
                await durable.sleep(1)

    async with running(app, net) as client:
        first, second = [await client.start(main, CANARY) for _ in range(2)]
        await trio.sleep(1)
        await first.cancel(CANARY)
        await second.suspend(CANARY)
        await trio.sleep(1)
        await second.resume()
        await second.terminate(CANARY)
        with pytest.raises(trioflow.TrioflowError):
            await first.result()
        with pytest.raises(trioflow.OrchestrationTerminated):
            await second.result()


# -- what cannot go on ------------------------------------------------------------------------------------------------


async def test_code_that_is_no_more_what_it_was(net: Net, autojump_clock: Clock) -> None:
    """Other arguments than the recorded ones park the instance, and neither side is told with them."""
    before, after, store = trioflow.App("before"), trioflow.App("after"), virtual_store()

    @before.activity(name="sing")
    async def sing(song: str) -> None:
        await trio.sleep_forever()

    after.activity(name="sing")(sing.fn)

    @before.orchestration(name="main")
    async def main(song: str) -> None:
        durable.set_status("sings")
        await sing(song)

    @after.orchestration(name="main")
    async def changed(song: str) -> None:
        await sing(song + CANARY)

    async with running(before, net, store) as client:
        handle = await client.start(main, CANARY, id="it")
        await handle.wait_status(lambda status: status == "sings")
    async with running(after, net, store) as client:
        await client.cancel("it")
        with pytest.raises(trioflow.InstanceParked):
            await client.handle("it").result()
    assert "instance it cannot go on: NondeterminismError: " in net.logs


@pytest.mark.parametrize("what", ["argument", "activity", "event", "result", "kv", "status", "step"])
async def test_what_cannot_be_recorded_or_read(net: Net, autojump_clock: Clock, what: str) -> None:
    """A value of another type than the declared one, in every place that has a type."""
    app = trioflow.App("birds")

    class Opaque:
        def __repr__(self) -> str:
            return CANARY

    @app.activity
    async def sing(number: int) -> int:
        return CANARY if what == "result" else number  # type: ignore[return-value]

    @app.orchestration
    async def main(number: int) -> Any:
        match what:
            case "activity":
                await sing(CANARY)  # type: ignore[arg-type]
            case "result":
                await sing(1)
            case "event":
                await durable.wait_event("song", Cage)
            case "kv":
                durable.kv["song"] = {CANARY: Opaque()}
            case "status":
                durable.set_status([CANARY, float("nan")])
            case "step":
                return {CANARY: {CANARY: Opaque()}}
        return None

    store = virtual_store()
    async with trioflow.connect(store, careless()) as client:
        given = CANARY if what == "argument" else 1
        await client.start("main", given, id="it")
        await client.raise_event("it", "song", {"tune": CANARY, CANARY: CANARY})
    async with running(app, net, store) as client:
        with pytest.raises(trioflow.TrioflowError):
            await client.handle("it").result()
    if what == "argument":
        assert "instance it cannot go on: DecodeError (at " in net.logs


@pytest.mark.parametrize("limit", ["mailbox", "kv", "status", "payload", "history"])
async def test_limits(net: Net, autojump_clock: Clock, limit: str) -> None:
    """A full mailbox, and values that are too large."""
    limits = Limits(mailbox_events=2, kv_value_size=20, status_size=20, payload_size=2_000, history_events=12)
    app = trioflow.App("birds", limits=limits)

    @app.activity
    async def sing(song: str) -> str:
        return song * (200 if limit == "payload" else 1)

    @app.orchestration
    async def main(song: str) -> None:
        match limit:
            case "kv":
                durable.kv["song"] = song * 10
            case "status":
                durable.set_status(song * 10)
            case "mailbox":
                await durable.sleep(1_000)
        for _ in range(20):
            await sing(song)

    async with running(app, net) as client:
        handle = await client.start(main, CANARY, id="it")
        if limit == "mailbox":
            with pytest.raises(trioflow.MailboxFull):
                for _ in range(3):
                    await handle.raise_event("song", CANARY)
        with pytest.raises(trioflow.TrioflowError):
            await handle.result()
    if limit in ("history", "mailbox"):
        assert "instance it cannot go on: LimitExceeded of 'history_events'" in net.logs


async def test_poison(net: Net, autojump_clock: Clock) -> None:
    """Of an instance, and of an activity."""
    app, store = trioflow.App("birds"), virtual_store()

    @app.activity
    async def deadly(song: str) -> None: ...

    @app.orchestration
    async def main(song: str) -> None:
        await deadly(song)

    async with trioflow.connect(store, app) as client:
        handles = {}
        for moment in ("turn.before_commit", "activity.before_body"):
            handles[moment] = await client.start(main, CANARY, id=moment)
            with pytest.raises(BaseException) as caught:
                async with running(app, net, store, env=FailpointEnv().at(moment)):
                    await trio.sleep_forever()
            assert isinstance(caught.value, Crash) or caught.group_contains(Crash)
            await trio.sleep(60)
            async with running(app, net, store, max_attempts=1):
                with pytest.raises((trioflow.InstanceParked, trioflow.OrchestrationFailed)):
                    await handles[moment].result()


@pytest.mark.parametrize("how", ["spins", "raises", "unknown"])
async def test_what_else_stops_an_instance(net: Net, autojump_clock: Clock, how: str) -> None:
    """Steps without end, an exception that is no `Exception`, an activity that nobody has."""
    app = trioflow.App("birds")

    class Weird(BaseException): ...

    @app.activity
    async def hidden(song: str) -> None: ...

    @app.orchestration
    async def main(song: str) -> None:
        if how == "unknown":
            await hidden(song)
        while how == "spins":
            await durable.lowlevel.checkpoint()
        raise Weird(song)

    elsewhere = trioflow.App("elsewhere")
    elsewhere.orchestration(name="main")(main.fn)
    store = virtual_store()
    async with running(app, net, store, step_limit=100, tags=("nothing",), untagged=False) as client:
        handle = await client.start(main, CANARY, id="it")
        if how != "unknown":
            with pytest.raises(trioflow.TrioflowError):
                await handle.result()
            return
        await trio.sleep(10)
    async with running(elsewhere, net, store, max_attempts=2) as client:
        with pytest.raises(trioflow.TrioflowError):
            await client.handle("it").result()


async def test_code_that_blocks_threads_that_stay_and_tasks_that_do_not_end(net: Net) -> None:
    """They are reported with names and lines."""
    app, go_on, reported = trioflow.App("birds"), threading.Event(), threading.Event()
    net.tell = lambda text: reported.set() if "has been running" in text else None

    @app.activity(timeout=0.2)  # a moment in which it begins
    def deaf(song: str) -> str:
        go_on.wait(600)
        raise Bird(song)

    @app.orchestration
    async def main(song: str) -> None:
        if durable.info().history_length == 1:
            assert reported.wait(60)
        with pytest.raises(trioflow.ActivityTimedOut):
            await deaf(song)

    @app.orchestration
    async def undead(song: str) -> None:
        while not go_on.is_set():
            try:
                await durable.wait_event(song)
            except BaseException:
                pass

    async with running(app, net, MemoryStore(), slow_turn=0.01) as client:
        await client.start(undead, "a song")
        await (await client.start(main, CANARY)).result(timeout=20)
    go_on.set()
    app.undead.pop().coro.close()  # type: ignore[attr-defined]
    for text in ("has been running for", "its thread is abandoned"):
        assert text in net.logs
    assert "was dropped, but" in net.everything()["warnings"]
