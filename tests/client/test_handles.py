"""Handles: results, status, events, and what is known of an instance."""

from __future__ import annotations

import enum
import functools
from typing import Any

import attrs
import pytest
import trio

import trioflow
from trioflow import durable
from trioflow.abc import EventRow, InstanceRecord, State, end_topic
from trioflow.stores import MemoryStore
from trioflow.testing import FaultyStore


class Colour(enum.Enum):
    """A type that is not plain JSON."""

    RED = "red"


@attrs.frozen
class Approval:
    """Who approved."""

    by: str


class Unknown(Exception):
    """Not registered with the app."""


def make_app() -> trioflow.App:
    """Orchestrations that end in each way."""
    app = trioflow.App("ends", limits=trioflow.Limits(mailbox_events=3))

    @app.orchestration
    async def colour() -> Colour:
        return Colour.RED

    @app.orchestration
    async def wait(name: str) -> Any:
        return await durable.wait_event(name)

    @app.orchestration
    async def approve() -> str:
        return (await durable.wait_event("approval", Approval)).by

    @app.orchestration
    async def fail(kind: str) -> None:
        if kind == "builtin":
            raise ValueError("bad")
        if kind == "group":
            raise ExceptionGroup("both", [ValueError("a"), KeyError("b")])
        try:
            raise KeyError("deep")
        except KeyError as exc:
            raise Unknown("who") from exc

    @app.orchestration
    async def progress() -> str:
        for number in range(3):
            durable.set_status({"step": number})
            durable.kv[f"key{number}"] = number
            await durable.wait_event("next")
        return "done"

    return app


@pytest.fixture
async def client() -> Any:
    """A client beside a runtime."""
    async with trioflow.open_runtime(make_app(), MemoryStore()) as runtime:
        yield runtime.client


async def test_a_result_has_its_declared_type(client: trioflow.Client) -> None:
    """Results are decoded by the orchestration's return type."""
    handle = await client.start("colour")
    assert await handle.result(timeout=20) is Colour.RED
    assert await client.handle(handle.id).result(timeout=20) is Colour.RED


async def test_a_result_that_is_not_there_in_time(client: trioflow.Client) -> None:
    """`timeout` raises trio's TooSlowError; the instance goes on."""
    handle = await client.start("wait", "go")
    with pytest.raises(trio.TooSlowError):
        await handle.result(timeout=0)
    await handle.raise_event("go", [1, {"a": None}])
    assert await handle.result(timeout=20) == [1, {"a": None}]


@pytest.mark.parametrize(("kind", "cause"), [("builtin", ValueError), ("group", ExceptionGroup)])
async def test_a_failure_has_its_cause(client: trioflow.Client, kind: str, cause: type[BaseException]) -> None:
    """The original exception is the cause, as its own class where that is known."""
    with pytest.raises(trioflow.OrchestrationFailed) as caught:
        await (await client.start("fail", kind)).result(timeout=20)
    assert isinstance(caught.value.__cause__, cause)
    assert caught.value.retryable
    assert caught.value.attempts == 1


async def test_an_unknown_exception_is_told_by_name(client: trioflow.Client) -> None:
    """A class that is not registered is told by type, message and chain."""
    handle = await client.start("fail", "unknown")
    with pytest.raises(trioflow.OrchestrationFailed, match="who") as caught:
        await handle.result(timeout=20)
    assert caught.value.type.endswith("Unknown")
    assert caught.value.message == "who"
    assert isinstance(caught.value.__cause__, KeyError)
    info = await handle.info()
    assert info.failure is not None
    assert info.failure.message == "who"


async def test_nobody_is_there(client: trioflow.Client) -> None:
    """An id that nobody has is a typed error for every question but the kv, which is empty."""
    handle = client.handle("nobody")
    for ask in (handle.result, handle.status, handle.info, handle.history, handle.cancel, handle.terminate):
        with pytest.raises(trioflow.InstanceNotFound, match="nobody"):
            await ask()
    with pytest.raises(trioflow.InstanceNotFound, match="nobody"):
        await handle.history(1)
    with pytest.raises(trioflow.InstanceNotFound, match="nobody"):
        await handle.raise_event("go")
    assert await handle.kv() == {}


async def test_what_has_ended_takes_no_messages(client: trioflow.Client) -> None:
    """Events and control messages to an instance that has ended are refused."""
    handle = await client.start("colour")
    await handle.result(timeout=20)
    for act in (handle.cancel, handle.terminate, handle.suspend, handle.resume):
        with pytest.raises(trioflow.InstanceFinished):
            await act()


async def test_a_full_mailbox_is_an_error_at_the_sender(client: trioflow.Client) -> None:
    """More unread events than the limit allows are refused, and nothing is dropped."""
    handle = await client.start("wait", "go")
    with pytest.raises(trioflow.MailboxFull, match="3"):
        for _ in range(9):
            await handle.raise_event("other")


async def test_an_event_with_a_key_counts_once(client: trioflow.Client) -> None:
    """Events with the same dedupe key are one event, of the same name and instance."""
    handle = await client.start("progress")
    for _ in range(5):
        await handle.raise_event("next", dedupe_key="once")
    await handle.raise_event("next", dedupe_key="twice")
    while (await handle.status()) != {"step": 2}:
        await trio.lowlevel.checkpoint()
    assert not (await handle.info()).state.ended
    with pytest.raises(trioflow.EncodeError):
        await handle.raise_event("next", dedupe_key=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "x" * 300, "a\0", 7])
async def test_an_event_name_is_checked(client: trioflow.Client, name: Any) -> None:
    """Names of events are checked where they are sent."""
    handle = await client.start("wait", "go")
    with pytest.raises(trioflow.PayloadError, match="event name"):
        await handle.raise_event(name)


async def test_an_event_may_carry_a_record(client: trioflow.Client) -> None:
    """An instance of a class travels as its fields and arrives as what the waiter declared."""
    handle = await client.start("approve")
    await handle.raise_event("approval", Approval("me"))
    assert await handle.result(timeout=20) == "me"


async def test_reasons_are_texts(client: trioflow.Client) -> None:
    """A reason that is no text is refused."""
    handle = await client.start("wait", "go")
    for act in (handle.cancel, handle.terminate, handle.suspend):
        with pytest.raises(trioflow.EncodeError, match="reason"):
            await act(5)  # type: ignore[arg-type]
    with pytest.raises(trioflow.EncodeError, match="reason"):
        await handle.cancel("\ud800")
    for steer in (client.cancel, client.terminate, client.suspend):
        with pytest.raises(trioflow.LimitExceeded, match="reason_length") as caught:
            await steer(handle.id, "x" * 2049)
        assert (caught.value.limit, caught.value.allowed, caught.value.actual) == ("reason_length", 2048, 2049)
    info = await handle.info()
    assert (info.state.ended, info.state.held, info.cancel_queued) == (False, False, False)


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
async def test_reasons_are_given_by_place_or_by_name(client: trioflow.Client, verb: str) -> None:
    """Handles and clients take a reason alike."""
    for by_name in (False, True):
        for of_handle in (False, True):
            handle = await client.start("wait", "go")
            act = getattr(handle, verb) if of_handle else functools.partial(getattr(client, verb), handle.id)
            await (act(reason="x" * 2048) if by_name else act("x" * 2048))
            with pytest.raises((trioflow.OrchestrationCancelled, trioflow.OrchestrationTerminated), match="xxx"):
                await handle.result(timeout=20)


async def test_progress_can_be_watched(client: trioflow.Client) -> None:
    """`watch` gives the present status and each change until the end; kv is there for readers."""
    handle = await client.start("progress")
    seen = []
    async for status in handle.watch():
        seen.append(status)
        await handle.raise_event("next")
    assert seen == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert await handle.result() == "done"
    assert await handle.status() == {"step": 2}
    assert await handle.kv() == {"key0": 0, "key1": 1, "key2": 2}
    assert [status async for status in handle.watch()] == [{"step": 2}]


async def test_unread_events_are_listed_at_the_end(client: trioflow.Client) -> None:
    """Events that nobody took are told by `get`, by name and value."""
    handle = await client.start("wait", "go")
    await handle.raise_event("other", 5)
    await handle.raise_event("go")
    await handle.result(timeout=20)
    info = await handle.info()
    assert [(event.name, event.value) for event in info.unread_events] == [("other", 5)]
    assert info.ended_at is not None
    assert info.ended_at >= info.created_at
    assert "5" not in repr(info.unread_events)


# -- what a store might hold ------------------------------------------------------------------------------------------


class Doctored(FaultyStore):
    """A store whose record of an instance was damaged."""

    row: EventRow | None = None

    async def read_instance(self, instance: str) -> InstanceRecord | None:
        """The damaged record."""
        record = await super().read_instance(instance)
        return None if record is None else attrs.evolve(record, state=State.COMPLETED, last_event=self.row)


@pytest.mark.parametrize(
    "row", [None, EventRow(1, 0.0, "OrchestrationCompleted", b"{", b"1"), EventRow(1, 0.0, "Odd", b"{}")]
)
async def test_an_end_that_cannot_be_read_is_a_history_error(row: EventRow | None) -> None:
    """`get` shows what can be shown; `result` says that the history cannot be read."""
    store = Doctored(MemoryStore())
    store.row = row
    async with trioflow.connect(store, make_app()) as client:
        handle = await client.start("colour")
        assert (await handle.info()).failure is None
        with pytest.raises(trioflow.HistoryError):
            await handle.result(timeout=20)


async def test_a_cancelled_instance_says_why(client: trioflow.Client) -> None:
    """The reason given with a cancellation or termination comes back with the error."""
    handle = await client.start("wait", "go")
    await handle.cancel("no longer needed")
    with pytest.raises(trioflow.OrchestrationCancelled, match="no longer needed"):
        await handle.result(timeout=20)
    other = await client.start("wait", "go")
    await other.terminate()
    with pytest.raises(trioflow.OrchestrationTerminated, match=r"was terminated$"):
        await other.result(timeout=20)


async def test_a_lost_hint_is_made_good(autojump_clock: trio.testing.MockClock) -> None:
    """A client that nobody woke looks again after a while."""
    app, store = make_app(), FaultyStore(MemoryStore())
    async with trioflow.connect(store, app) as waiting, trioflow.open_runtime(app, store) as runtime:
        handle = await runtime.client.start("wait", "go")
        results: list[Any] = []

        async def wait() -> None:
            results.append(await waiting.handle(handle.id).result())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(1)
            for watch in store.signals.watches[end_topic(handle.id)]:
                watch.bumped = trio.Event()  # nobody waits for this one
            await handle.raise_event("go", 1)
    assert results == [1]
    assert trio.current_time() >= waiting.poll_interval
