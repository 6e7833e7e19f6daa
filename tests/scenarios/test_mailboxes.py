"""Events: mailboxes that keep what comes, in order, and senders that are told when nobody can take it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

import trioflow
from tests.runtime.programs import find, running, virtual_store
from trioflow import State, durable
from trioflow.abc import Store

Clock = trio.testing.MockClock


async def test_a_configuration_queue_loses_nothing(autojump_clock: Clock) -> None:
    """duroxide: sample_config_hot_reload_persistent_events.

    A loop works in cycles, takes what new settings have come meanwhile, and every so often begins afresh.
    """
    app, store = trioflow.App("reload"), virtual_store()

    @app.activity
    async def cycle(setting: int) -> None:
        await trio.sleep(1)

    @app.orchestration
    async def main(applied: list[int]) -> list[int]:
        for _ in range(5):
            with durable.move_on_after(10):
                applied.append(await durable.wait_event("config", int))
            while True:
                try:
                    applied.append(durable.wait_event_nowait("config", int))
                except durable.WouldBlock:
                    break
            await cycle(applied[-1] if applied else 0)
        if len(applied) < 60:
            durable.continue_as_new(applied)
        return applied

    async with running(app, store) as client:
        handle = await client.start(main, [])
        for number in range(60):
            await handle.raise_event("config", number)
            await trio.sleep(number % 7)
        assert await handle.result() == list(range(60))
        assert (await handle.info()).execution > 2


@attrs.frozen
class Said:
    """A message of a user."""

    seq: int
    text: str


async def test_a_chat(autojump_clock: Clock) -> None:
    """duroxide: copilot_chat_scenario: typed messages in, an activity for each, replies as status, continue-as-new."""
    app, store = trioflow.App("chat"), virtual_store()

    @app.activity
    async def answer(text: str) -> str:
        await trio.sleep(2)
        return f"echo: {text}"

    @app.orchestration
    async def chat() -> str:
        said = await durable.wait_event("message", Said)
        if said.text != "bye":
            durable.set_status({"seq": said.seq, "reply": await answer(said.text)})
            durable.continue_as_new()
        return f"{said.seq} messages"

    async with running(app, store) as client:
        handle = await client.start(chat)
        replies = handle.watch()
        for seq, text in enumerate(["hello", "how are you", "good"], 1):
            await handle.raise_event("message", Said(seq, text))
            assert await anext(replies) == {"seq": seq, "reply": f"echo: {text}"}
        await handle.raise_event("message", Said(4, "bye"))
        assert await handle.result() == "4 messages"


async def test_mailboxes_are_apart_and_in_order(store: Store) -> None:
    """duroxide: persistent_event_fifo_ordering, multi_queue_isolation_and_independent_fifo, duplicates are kept."""
    app = trioflow.App("queues")

    @app.orchestration
    async def main() -> list[list[int]]:
        async def take(name: str, count: int) -> list[int]:
            return [await durable.wait_event(name, int) for _ in range(count)]

        return list(await durable.gather(take("a", 3), take("b", 2)))

    async with running(app, store) as client:
        handle = await client.start(main)
        for name, number in (("b", 1), ("a", 1), ("a", 1), ("b", 2), ("a", 3)):
            await handle.raise_event(name, number)
        assert await handle.result(timeout=20) == [[1, 1, 3], [1, 2]]


async def test_a_loser_takes_nothing(store: Store) -> None:
    """duroxide: persistent_event_survives_select_cancellation, cancelled_subscription_does_not_steal_future_event."""
    app = trioflow.App("losers")

    @app.orchestration
    async def main() -> list[str]:
        await durable.race(durable.wait_event("data"), durable.wait_event("other"))
        with durable.move_on_after(0):
            await durable.wait_event("data")
        return [await durable.wait_event("data", str), await durable.wait_event("data", str)]

    async with running(app, store) as client:
        handle = await client.start(main)
        for name, text in (("other", ""), ("data", "one"), ("data", "two")):
            await handle.raise_event(name, text)
        assert await handle.result(timeout=20) == ["one", "two"]


async def test_events_before_the_first_turn_wait(store: Store) -> None:
    """duroxide: events_enqueued_before_start_orchestration_are_dropped, events before the start turn are lost.

    Here they are kept from the moment that `start` has returned, also for a start that is delayed.
    """
    app = trioflow.App("before")

    @app.orchestration
    async def main() -> list[int]:
        return [await durable.wait_event("n", int) for _ in range(3)]

    async with store, trioflow.connect(store, app) as client:
        handle = await client.start(main, delay=0.05)
        for number in range(3):
            await handle.raise_event("n", number)
        assert (await handle.info()).queued == 4
        async with running(app, store):
            assert await handle.result(timeout=20) == [0, 1, 2]


@pytest.mark.parametrize("verb", ["raise_event", "cancel", "terminate", "suspend", "resume"])
async def test_nobody_is_there_to_take_it(store: Store, verb: str) -> None:
    """duroxide: a message for an unknown instance is left at the head of the queue; for a finished one it is dropped.

    Here the sender is told, nothing is written, and everybody else goes on.
    """
    app = trioflow.App("nobody")

    @app.orchestration
    async def main() -> str:
        return "done"

    async with running(app, store) as client:
        finished = await client.start(main)
        await finished.result(timeout=20)
        args = ("news",) if verb == "raise_event" else ()
        with pytest.raises(trioflow.InstanceNotFound):
            await getattr(client, verb)("nobody", *args)
        with pytest.raises(trioflow.InstanceFinished):
            await getattr(client, verb)(finished.id, *args)
        assert (await finished.info()).queued == 0
        assert await (await client.start(main)).result(timeout=20) == "done"


async def test_a_mailbox_is_bounded(store: Store) -> None:
    """A full mailbox is an error at the sender; what is read makes room; nothing is dropped in silence."""
    app = trioflow.App("bounded", limits=trioflow.Limits(mailbox_events=5))

    @app.orchestration
    async def main() -> list[int]:
        await durable.wait_event("go")
        return [await durable.wait_event("n", int) for _ in range(6)]

    async with running(app, store) as client:
        handle = await client.start(main)
        for number in range(5):
            await handle.raise_event("n", number)
        with pytest.raises(trioflow.MailboxFull):
            await handle.raise_event("n", 99)
        with pytest.raises(trioflow.MailboxFull):  # it counts for all names together
            await handle.raise_event("go")
        assert (await handle.info()).state in (State.PENDING, State.WAITING)
        await handle.terminate()
        with pytest.raises(trioflow.OrchestrationTerminated):
            await handle.result(timeout=20)
        unread = [event.value for event in (await handle.info()).unread_events]
        assert unread == [0, 1, 2, 3, 4]


async def test_a_mailbox_is_bounded_in_bytes(store: Store) -> None:
    """Large events fill a mailbox before many do: unread, carried over continue-as-new, or while it is suspended."""
    app = trioflow.App("large", limits=trioflow.Limits(mailbox_bytes=1000))
    large = "x" * 298  # 300 bytes as JSON

    @app.orchestration
    async def main(round: int = 0) -> int:
        await durable.wait_event("go")
        if not round:
            durable.continue_as_new(1)
        return sum([len(await durable.wait_event("n", str)) for _ in range(3)])

    async def refused(handle: trioflow.Handle[Any]) -> None:
        with pytest.raises(trioflow.MailboxFull, match="mailbox_bytes"):
            await handle.raise_event("n", large)
        await handle.raise_event("other", 1)

    async with running(app, store) as client:
        handle = await client.start(main)
        for _ in range(3):
            await handle.raise_event("n", large)
        await refused(handle)
        while (await handle.info()).unread != 4:
            await trio.sleep(0.01)
        await refused(handle)
        await handle.raise_event("go")
        while (await handle.info()).execution != 2:
            await trio.sleep(0.01)
        await refused(handle)
        await handle.suspend()
        while (await handle.info()).state is not State.SUSPENDED:
            await trio.sleep(0.01)
        await refused(handle)
        await handle.resume()
        await handle.raise_event("go")
        assert await handle.result(timeout=20) == 3 * 298


async def test_the_bytes_of_events_that_are_taken_make_room(store: Store) -> None:
    """A loop that keeps up takes any number of large events."""
    app = trioflow.App("large", limits=trioflow.Limits(mailbox_bytes=1000))

    @app.orchestration
    async def main() -> int:
        for number in range(10):
            await durable.wait_event("n", str)
            durable.set_status(number)
        return number

    async with running(app, store) as client:
        handle = await client.start(main)
        for number in range(10):
            await handle.raise_event("n", "x" * 900)
            await handle.wait_status(lambda status, number=number: status == number)
        assert await handle.result(timeout=20) == 9


async def test_an_event_that_is_taken_makes_room(store: Store) -> None:
    """A loop that keeps up is never full, whatever comes altogether."""
    app = trioflow.App("room", limits=trioflow.Limits(mailbox_events=3))

    @app.orchestration
    async def main() -> int:
        total = 0
        async for number in durable.events("n", int):
            total += number
            durable.set_status(total)
            if number == 19:
                return total
        return -1

    async with running(app, store) as client:
        handle = await client.start(main)
        statuses = handle.watch()
        total = 0
        for number in range(20):
            await handle.raise_event("n", number)
            total += number
            async for status in statuses:
                if status == total:
                    break
        assert await handle.result(timeout=20) == 190


async def test_what_was_never_taken_is_told_at_the_end(store: Store) -> None:
    """duroxide: event_after_completion_is_ignored: unread ones vanish. Here they are listed with the end."""
    app = trioflow.App("unread")

    @app.orchestration
    async def main() -> Any:
        return await durable.wait_event("go")

    async with store, trioflow.connect(store, app) as client:
        handle = await client.start(find(app, "main"))
        await handle.raise_event("extra", 1)
        await handle.raise_event("go", "done")
        await handle.raise_event("extra", 2)
        async with running(app, store):
            assert await handle.result(timeout=20) == "done"
            assert [(event.name, event.value) for event in (await handle.info()).unread_events] == [
                ("extra", 1),
                ("extra", 2),
            ]
