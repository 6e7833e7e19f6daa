"""From a locked instance to the result of its turn: the only place where the runtime steps orchestrations.

Laws: a live execution is used where it stands exactly at the instance's revision, else the history is replayed; a long
replay reaches a checkpoint every so often, so that leases are renewed meanwhile; an execution that raised is dropped.

Who calls it: `_conductor.py`.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from trioflow._engine import Execution, Message, TurnResult, log_context_of
from trioflow._runtime._cache import LiveCache
from trioflow._runtime._clock import StoreClock
from trioflow._runtime._headers import Headers
from trioflow._runtime._holds import Hold
from trioflow._runtime._options import RuntimeOptions
from trioflow._runtime._troubles import log, persistently
from trioflow._runtime._watchdog import Watchdog
from trioflow._util import log_context
from trioflow.abc import EventRow, MessageRow, Store
from trioflow.app import App, OrchestrationDefinition
from trioflow.errors import LimitExceeded, history_cut_short
from trioflow.history import Event, EventCodec, OrchestrationStarted

FUSED: Final = 1 << 62
"""Sequence numbers from here on are those of outcomes that never were in an inbox."""

BREATHE_ROWS: Final = 2_000

OVER: Final = object()


@attrs.frozen(kw_only=True)
class Evaluator:
    """Runs turns."""

    app: App
    store: Store
    codec: EventCodec
    clock: StoreClock
    options: RuntimeOptions
    cache: LiveCache
    watchdog: Watchdog
    headers: Headers

    def definition(self, hold: Hold) -> OrchestrationDefinition[..., object]:
        """What to run: the pinned version, or, at the first turn, the one that the app uses."""
        return self.app.find_orchestration(hold.name, hold.version)

    async def evaluate(self, hold: Hold) -> TurnResult:
        """Deliver what has arrived and say what follows; `hold.live` then stands behind it."""
        hold.replayed = None
        taken_up = hold.live is None
        if hold.live is None:
            hold.live = self.cache.take(hold.lock.instance, hold.lock.execution, hold.revision)
        if hold.live is None:
            hold.live = await self._begun(hold)
        messages = [self._message(row, hold) for row in hold.messages]
        hold.fusing, hold.finished = hold.finished, []
        now = self.clock.now()
        messages += [Message(FUSED + index, now, done.event) for index, done in enumerate(hold.fusing)]
        live = hold.live
        before = live.length
        try:
            with self.watchdog.over("a turn", live):
                result = live.run(messages, now)
        except BaseException:
            self.drop(hold)
            raise
        if taken_up and live.started is not None:
            log_context.set(log_context_of(live.started, live.definition))
        self._check_size(hold, before, result)
        return result

    def drop(self, hold: Hold) -> None:
        """The live execution of a hold is of no more use."""
        live, hold.live = hold.live, None
        if live is not None:
            self.cache.drop(live)

    async def _begun(self, hold: Hold) -> Execution:
        """A new execution, brought to where its history ends; most have none yet."""
        history = await self._history(hold) if hold.recorded else []
        hold.replayed = len(history)
        live = Execution(
            self.app, self.definition(hold), step_limit=self.options.step_limit, traced=bool(self.headers.instruments)
        )
        if history:
            await self._replay(live, history)
        return live

    async def _history(self, hold: Hold) -> list[Event]:
        lock = hold.lock
        rows = await persistently("reading a history", self.store.read_history, lock.instance, lock.execution)
        if len(rows) < hold.recorded:
            raise history_cut_short(lock.instance, len(rows), hold.recorded)
        return await self._decoded(rows)

    async def _replay(self, live: Execution, history: list[Event]) -> None:
        try:
            replay, over = live.replay(history), False
            while not over:
                with self.watchdog.over("a replay", live):
                    over = next(replay, OVER) is OVER
                if not over:
                    await trio.lowlevel.checkpoint()
        except BaseException:
            self.cache.drop(live)
            raise

    async def _decoded(self, rows: tuple[EventRow, ...]) -> list[Event]:
        events: list[Event] = []
        for start in range(0, len(rows), BREATHE_ROWS):
            if start:
                await trio.lowlevel.checkpoint()
            chunk = rows[start : start + BREATHE_ROWS]
            events += [self.codec.decode(row.id, row.at, row.kind, row.data, row.payload) for row in chunk]
        return events

    def _message(self, row: MessageRow, hold: Hold) -> Message:
        draft = row.draft
        event = self.codec.decode(0, row.at, draft.kind, draft.data, draft.payload)
        if isinstance(event, OrchestrationStarted):
            if event.execution != hold.lock.execution:
                # Whoever asked for the start could not know how often the id has lived before.
                event = attrs.evolve(event, execution=hold.lock.execution)
            event = self.headers.adopted(event, row.at)
        return Message(row.seq, row.at, event)

    def _check_size(self, hold: Hold, before: int, result: TurnResult) -> None:
        """Raise LimitExceeded for a history that has grown too long; warn once on the way there."""
        limits, live = self.app.limits, hold.live
        assert live is not None
        if result.ended:
            return
        length, size = live.length, live.size
        if length > limits.history_events:
            raise _too_long("history_events", length, "events", limits.history_events)
        if size > limits.history_bytes:
            raise _too_long("history_bytes", size, "bytes", limits.history_bytes)
        if before < limits.warn_events <= length:
            log.warning(
                "instance %s has %d events in its history; %d are allowed: consider `durable.continue_as_new`",
                hold.lock.instance,
                length,
                limits.history_events,
            )


def _too_long(limit: str, size: int, noun: str, allowed: int) -> LimitExceeded:
    return LimitExceeded(
        f"the history has grown to {size:,} {noun}, where the limit {limit!r} allows {allowed:,}; "
        f"use `durable.continue_as_new` before it is as long as that",
        limit=limit,
        allowed=allowed,
        actual=size,
    )
