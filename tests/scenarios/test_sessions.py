"""Sessions over several workers: conversations stay where their memory is, and nobody else keeps them from idling."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

import trioflow
from tests.runtime.programs import running, virtual_store
from trioflow import activity, durable
from trioflow.abc import RenewSessions, Store
from trioflow.testing import FaultyStore

Clock = trio.testing.MockClock


@attrs.define(eq=False)
class Machine:
    """A worker, what it has in memory for each session, and how often something was not there."""

    name: str
    memory: dict[str, list[str]] = attrs.field(factory=dict)
    misses: int = 0

    def app(self) -> trioflow.App:
        """The application as it is deployed on this machine."""
        app = trioflow.App("chat")

        @app.activity
        async def answer(turn: int, text: str) -> str:
            session = activity.info().session
            assert session is not None
            if turn > 1 and session not in self.memory:
                self.misses += 1
            heard = self.memory.setdefault(session, [])
            heard.append(text)
            return f"{self.name} heard {', '.join(heard)}"

        @app.orchestration
        async def converse(turn: int, session: str | None) -> str:
            session = session or str(durable.uuid4())
            text = await durable.wait_event("message", str)
            reply = await answer.options(session=session)(turn, text)
            if text != "bye":
                durable.set_status({"turn": turn, "reply": reply})
                durable.continue_as_new(turn + 1, session)
            return reply

        return app


async def test_conversations_stay_where_their_memory_is(store: Store) -> None:
    """duroxide: durable_copilot_sdk_scaled_out_multi_conversation.

    Four conversations on two workers that have room for two each: every message of one is answered by the worker that
    answered its first, over continue-as-new, so nothing has to be fetched again.
    """
    machines = [Machine("left"), Machine("right")]
    async with (
        running(machines[0].app(), store, sessions=2) as client,
        running(machines[1].app(), store, sessions=2),
    ):
        handles = [await client.start("converse", 1, None, id=f"conversation {number}") for number in range(4)]
        for turn in range(1, 5):
            for handle in handles:
                await handle.raise_event("message", f"{handle.id}.{turn}")
            with trio.fail_after(60):
                for handle in handles:
                    await handle.wait_status(lambda status, turn=turn: status is not None and status["turn"] == turn)
        for handle in handles:
            await handle.raise_event("message", "bye")
        replies = [await handle.result(timeout=20) for handle in handles]
        assert [(await handle.info()).execution for handle in handles] == [5] * 4
    assert [machine.misses for machine in machines] == [0, 0]
    assert [len(machine.memory) for machine in machines] == [2, 2]
    for handle, reply in zip(handles, replies, strict=True):
        assert reply.split(" heard ")[1] == ", ".join([*(f"{handle.id}.{turn}" for turn in range(1, 5)), "bye"])


class WithoutRenewals(FaultyStore):
    """A store that renews no session of this worker."""

    async def renew_sessions(self, request: RenewSessions) -> Any:
        await trio.sleep_forever()


async def test_a_former_owner_keeps_a_session_from_being_idle(autojump_clock: Clock) -> None:
    """Defect: the guard of `last_activity` does not look at the owner.

    Who has lost a session and still runs an item of it bumps the time for its new owner, who never gives it back.
    Here the new owner's session is idle although the old one's item is renewed all the time.
    """
    app, store, long = trioflow.App("guard"), virtual_store(), 2000.0

    @app.activity
    async def work(seconds: float) -> None:
        await trio.sleep(seconds)

    @app.orchestration
    async def main(seconds: float) -> str:
        await work.options(session="s")(seconds)
        return "done"

    busy: dict[str, Any] = {"activity_concurrency": 1, "session_idle": 60.0}
    async with running(app, WithoutRenewals(store), **busy) as client:
        first = await client.start(main, long)
        await trio.sleep(40)  # by now it has lost the session, and its only place is taken
        async with running(app, store, session_idle=60.0):
            assert await (await client.start(main, 1.0)).result() == "done"
            assert (await client.metrics()).sessions == 1
            await trio.sleep(100)
            assert (await client.metrics()).sessions == 0
            assert await first.result() == "done"
    assert trio.current_time() == pytest.approx(long, abs=1)
