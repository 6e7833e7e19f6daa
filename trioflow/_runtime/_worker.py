"""A worker: everything that runs on behalf of one runtime, in nurseries inside each other.

Laws: services (leases, settling) outlive the work that needs them, and are not hurt by a cancellation from outside
until that work has ended; work outlives the dispatchers. Stopping goes from the inside out: no new work, running turns
end, activities get their grace and are then cancelled, what they leave is settled. It never ends by itself in silence.

Who calls it: `trioflow._open`. Read next: `_dispatcher.py`, `_conductor.py`, `_activities.py`.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

import attrs
import trio

from trioflow._runtime._activities import LAST_WORDS, Activities
from trioflow._runtime._body import Attempt
from trioflow._runtime._cache import LiveCache
from trioflow._runtime._clock import StoreClock
from trioflow._runtime._conductor import Conductor
from trioflow._runtime._dispatcher import Leases, dispatch
from trioflow._runtime._ears import Ears
from trioflow._runtime._evaluating import Evaluator
from trioflow._runtime._first_turns import FirstTurn, first_turn
from trioflow._runtime._gauges import Gauges
from trioflow._runtime._headers import Headers
from trioflow._runtime._holds import Hold
from trioflow._runtime._janitor import Janitor
from trioflow._runtime._leases import LeaseKeeper
from trioflow._runtime._options import RuntimeOptions
from trioflow._runtime._runner import TurnRunner
from trioflow._runtime._sessions import SessionKeeper
from trioflow._runtime._settling import Settler
from trioflow._runtime._slots import Slots
from trioflow._runtime._telling import Teller
from trioflow._runtime._turns import TurnWriter
from trioflow._runtime._vigils import Vigils
from trioflow._runtime._watchdog import Watchdog
from trioflow._util import LogContext, log_context
from trioflow.abc import ACTIVITIES, LEASED, TURNS, Env, Instruments, Store
from trioflow.app import App
from trioflow.history import EventCodec

ABANDON_AFTER: Final = 1.0
"""Seconds that a cancelled thread gets, when a runtime stops, before it is left behind."""


@attrs.define(eq=False)
class Worker:
    """Takes and runs turns and activities.

    Args:
        app: what it can run.
        store: an open store.
        options: how.
        env: the world.
        client: what `activity.client()` gives.
        instruments: who is told of what it does.
    """

    app: App
    store: Store
    options: RuntimeOptions
    env: Env
    client: Any  # a `Client`, of a sibling floor: passed on to activities, never used here
    instruments: Instruments = attrs.field(factory=Instruments)
    name: str = attrs.field(init=False)
    turns: Slots = attrs.field(init=False)
    slots: Slots = attrs.field(init=False)  # of activities
    cache: LiveCache = attrs.field(init=False)
    _sessions: SessionKeeper = attrs.field(init=False)
    _clock: StoreClock = attrs.field(init=False)
    _watchdog: Watchdog = attrs.field(init=False)
    _codec: EventCodec = attrs.field(factory=EventCodec, init=False)
    _teller: Teller = attrs.field(init=False)
    _conductor: Conductor | None = attrs.field(default=None, init=False)  # while it works
    _stop: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        options = self.options
        self.name = options.worker or f"worker-{self.env.token()[:12]}"
        self.turns = Slots(options.turn_concurrency)
        self.slots = Slots(options.activity_concurrency)
        self._sessions = SessionKeeper(self.store, options, self.name)
        self._clock = StoreClock(self.env)
        self._teller = Teller(self.instruments, self.name, self._clock, self._codec)
        self._watchdog = Watchdog(options.slow_turn)
        self.cache = LiveCache(options.cache_executions, options.cache_bytes, self._watchdog)

    @property
    def sessions(self) -> int:
        """How many sessions this worker has."""
        return len(self._sessions.held)

    def first_turn(self, instance: str) -> FirstTurn | None:
        """Room for the first turn of an instance that is about to be started; None if there is none, or others wait."""
        return None if self._conductor is None else first_turn(self._conductor, instance)

    def stop(self) -> None:
        """Begin to stop."""
        self._stop.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until `stop` or a cancellation. RuntimeError if the work ends by itself."""
        log_context.set(LogContext(worker=self.name, messages=self.options.log_exception_messages))
        await self.store.register_worker(self.name)
        try:
            with self._watchdog, closing(self.cache):
                await self._serve(task_status)
            if not self._stop.is_set():  # some `trio.Cancelled` of long ago, raised again, has ended a nursery
                raise RuntimeError(f"{self.name} has ended although nobody stopped or cancelled it")
        finally:
            with trio.move_on_after(LAST_WORDS, shield=True):
                await self._sessions.stop()
                await self.store.unregister_worker(self.name)

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        self._clock.heard(await self.store.read_clock())
        attempts: LeaseKeeper[Attempt] = self._keeper(self.options.activity_lease)
        holds: LeaseKeeper[Hold] = self._keeper(self.options.turn_lease)
        vigils = Vigils(self.store, self.env, self._clock, self.options.poll)
        settler = Settler(self.store, self.env, self._clock, attempts, self._teller)
        async with trio.open_nursery() as services:
            services.start_soon(settler.run)
            patience = LAST_WORDS
            try:
                ears = Ears(self.env, self.store, attempts)
                async with trio.open_nursery() as work:
                    activities = self._activities(attempts, settler, work)
                    conductor = self._conductor = self._new_conductor(activities, holds, vigils, work)
                    services.start_soon(attempts.run, activities.renew)
                    services.start_soon(attempts.end_overdue, Attempt.lost)
                    services.start_soon(holds.run, conductor.renew)
                    services.start_soon(ears.run)
                    services.start_soon(vigils.run)
                    services.start_soon(self._sessions.run)
                    over = trio.Event()
                    work.start_soon(self._leave_threads_behind, activities, over)
                    task_status.started()
                    await self._dispatch(activities, conductor)
                    conductor.stop()
                    await self._let_end(activities)
                    over.set()
                    activities.crew.dismiss()
                    work.cancel_scope.deadline = self.env.monotonic() + max(self.options.grace, LAST_WORDS)
                patience = self.options.grace + LAST_WORDS
            finally:
                if self._conductor is not None:
                    self._conductor.over, self._conductor = True, None
                settler.stop(patience)
                attempts.stop()
                holds.stop()
                ears.stop()
                vigils.stop()
                self._sessions.end()

    async def _dispatch(self, activities: Activities, conductor: Conductor) -> None:
        """Take work until told to stop."""
        signals, poll = self.store.signals, self.options.poll
        async with trio.open_nursery() as dispatchers:
            for topic, slots, fetch, lease in (
                (TURNS, self.turns, conductor.fetch, self.options.turn_lease),
                (ACTIVITIES, self.slots, activities.fetch, self.options.activity_lease),
            ):
                leases = Leases(LEASED, lease) if lease < poll else None  # else it looks sooner anyway
                dispatchers.start_soon(dispatch, signals, topic, slots, poll, fetch, leases)
            if self.instruments:
                dispatchers.start_soon(Gauges(self.store, self.instruments).run)
            dispatchers.start_soon(Janitor(self.store, self.env, self.options, conductor).run)
            await self._stop.wait()
            dispatchers.cancel_scope.cancel()

    async def _let_end(self, activities: Activities) -> None:
        """Activities get their grace, are then cancelled, and threads that do not hear of it are left behind."""
        with trio.move_on_after(self.options.grace):
            await activities.idle()
        activities.stop_all()
        with trio.move_on_after(ABANDON_AFTER):
            await activities.idle()
        activities.abandon_all()

    async def _leave_threads_behind(self, activities: Activities, over: trio.Event) -> None:
        """When the work is cancelled, threads that do not hear of it get a moment, and are then left behind."""
        try:
            await over.wait()
        except trio.Cancelled:
            with trio.move_on_after(ABANDON_AFTER, shield=True):
                await activities.idle()
            activities.abandon_all()
            raise

    # -- making the parts

    def _keeper(self, lease: float) -> LeaseKeeper[Any]:
        return LeaseKeeper(self.env, lease, self.options.renew_after(lease))

    def _activities(self, keeper: LeaseKeeper[Attempt], settler: Settler, work: trio.Nursery) -> Activities:
        return Activities(
            app=self.app,
            store=self.store,
            env=self.env,
            options=self.options,
            worker=self.name,
            clock=self._clock,
            codec=self._codec,
            client=self.client,
            slots=self.slots,
            keeper=keeper,
            settler=settler,
            sessions=self._sessions,
            work=work,
            teller=self._teller,
        )

    def _new_conductor(
        self, activities: Activities, keeper: LeaseKeeper[Hold], vigils: Vigils, work: trio.Nursery
    ) -> Conductor:
        headers = Headers(self.instruments, self._clock)
        evaluator = Evaluator(
            app=self.app,
            store=self.store,
            codec=self._codec,
            clock=self._clock,
            options=self.options,
            cache=self.cache,
            watchdog=self._watchdog,
            headers=headers,
        )
        runner = TurnRunner(
            store=self.store,
            env=self.env,
            options=self.options,
            worker=self.name,
            writer=TurnWriter(codec=self._codec, new_token=self.env.token, headers=headers),
            evaluator=evaluator,
            activities=activities,
            keeper=keeper,
            teller=self._teller,
        )
        conductor = Conductor(
            store=self.store,
            env=self.env,
            options=self.options,
            worker=self.name,
            runner=runner,
            evaluator=evaluator,
            activities=activities,
            vigils=vigils,
            slots=self.turns,
            keeper=keeper,
            work=work,
        )
        activities.offer = conductor.offer
        activities.on_gone = conductor.gone
        return conductor
