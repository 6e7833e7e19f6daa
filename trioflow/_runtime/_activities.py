"""The activities that run here: taken or born, run, and handed on with their verdicts.

Laws: each runs in a task that runs nothing else meanwhile, in a cancel scope; its lease is kept until its outcome is
committed; a verdict goes to the turn runner if that holds the instance here, otherwise to the settler. Nothing waits
for a commit while it holds a slot.

Must never know: the engine. Who calls it: `_worker.py`, `_conductor.py`. Read next: `_conductor.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import attrs
import trio

from trioflow._runtime._body import Attempt, Ending, Returned, attempt_timeout, run_body
from trioflow._runtime._builtin import Builtins, builtins_of
from trioflow._runtime._clock import StoreClock
from trioflow._runtime._crew import Crew, Within
from trioflow._runtime._dispatcher import Fetched
from trioflow._runtime._heartbeats import listening
from trioflow._runtime._leases import LeaseKeeper, Renewed
from trioflow._runtime._options import RuntimeOptions
from trioflow._runtime._presence import Presence
from trioflow._runtime._sessions import SessionKeeper
from trioflow._runtime._settling import Settlement, Settler
from trioflow._runtime._slots import Slots
from trioflow._runtime._speaking import of_attempt
from trioflow._runtime._strangers import Strangers
from trioflow._runtime._telling import Teller
from trioflow._runtime._troubles import log, persistently
from trioflow._runtime._verdicts import (
    Again,
    Answered,
    GiveBack,
    Nothing,
    Verdict,
    completed,
    decide,
    poisoned,
    too_late,
    unknown,
    unreadable,
)
from trioflow._util import log_context, log_extra
from trioflow.abc import (
    Draft,
    Env,
    LockActivities,
    LockedActivity,
    ReleaseActivity,
    RenewActivities,
    SettleActivity,
    Store,
    TagFilter,
)
from trioflow.app import ActivityDefinition, ActivityOptions, App, decode_options
from trioflow.errors import HistoryError, StoreError, UnregisteredError
from trioflow.history import Answer, EventCodec

LAST_WORDS = 1.0
"""Seconds that giving something back may take when the host has cancelled us."""

KNOWN_OPTIONS = 256
EARLY = 1_000
DEFAULT_OPTIONS = ActivityOptions()

Offer = Callable[[Attempt, Answer], bool]
"""Offers an outcome to whoever holds the instance here; False if nobody does."""


@attrs.define(eq=False)
class Activities:
    """Runs activities."""

    app: App
    store: Store
    env: Env
    options: RuntimeOptions
    worker: str
    clock: StoreClock
    codec: EventCodec
    client: Any  # a `Client`, of a sibling floor: passed on to activities, never used here
    slots: Slots
    keeper: LeaseKeeper[Attempt]
    settler: Settler
    sessions: SessionKeeper
    work: trio.Nursery
    teller: Teller
    offer: Offer = lambda attempt, event: False
    on_gone: Callable[[str, int], None] = lambda instance, execution: None
    builtins: Builtins = attrs.field(init=False)
    limiter: trio.CapacityLimiter = attrs.field(init=False)  # of threads that run user code, and nothing else
    running: dict[str, Attempt] = attrs.field(factory=dict, init=False)  # token -> attempt
    presence: Presence = attrs.field(factory=Presence, init=False)
    # Options and headers in an item's `data`: most items of an activity, or of a part of a trace, say the same.
    _read_options: Callable[[bytes], tuple[ActivityOptions, Mapping[str, str]]] = attrs.field(
        factory=lambda: lru_cache(KNOWN_OPTIONS)(decode_options), init=False
    )
    _early: dict[str, None] = attrs.field(factory=dict, init=False)  # tokens whose end was asked for, not running here
    _none: trio.Event = attrs.field(factory=trio.Event, init=False)  # set when nothing runs any more
    tags: TagFilter = attrs.field(init=False)
    crew: Crew[Attempt] = attrs.field(init=False)
    strange: Strangers = attrs.field(factory=Strangers, init=False)
    backlog: bool = attrs.field(default=False, init=False)  # the store had more than there was room for

    def __attrs_post_init__(self) -> None:
        self.crew = Crew(self.work, self._run)
        self.limiter = trio.CapacityLimiter(self.options.thread_concurrency)
        self.tags = self.options.tag_filter
        self.builtins = builtins_of(self._read_kv, self._read_status)

    # -- beginning

    async def fetch(self, limit: int) -> Fetched:
        """Take up to `limit` from the store and start them."""
        since = self.env.monotonic()
        self.presence.look()
        options, strange = self.options, self.strange.now(since)
        tags = self.tags if not strange else attrs.evolve(self.tags, but=strange)
        request = LockActivities(
            worker=self.worker,
            limit=limit,
            lease=options.activity_lease,
            tags=tags,
            sessions=self.sessions.claim,
        )
        answer = await persistently("looking for activities", self.store.lock_activities, request)
        self.clock.heard(answer.now)
        self.backlog = len(answer.activities) >= limit
        for item in answer.activities:
            self.env.reached("activity.locked")
            self.sessions.took(item.session)
            self.presence.took((item.lock.instance, item.lock.execution))
            self.start(item, since)
        if not self.backlog:
            for execution in self.presence.forget():
                self.on_gone(*execution)
        times = [] if answer.next_due is None else [answer.next_due - answer.now]
        times += self.strange.ends_in(since)
        return Fetched(len(answer.activities), min(times, default=None))

    def start(self, item: LockedActivity, since: float, *, reserved: bool = False) -> None:
        """Run an item whose lease counts from `since`. `reserved`: its slot was taken before."""
        attempt = Attempt(item, DEFAULT_OPTIONS, reserved)
        if not reserved:
            self.slots.take()
        self.running[attempt.token] = attempt
        self.presence.began((item.lock.instance, item.lock.execution))
        self.keeper.keep(attempt, since)
        if attempt.token in self._early:
            del self._early[attempt.token]
            attempt.cancel_asked()
        self.crew.begin(attempt, f"activity {item.name}")

    def cancel(self, token: str) -> None:
        """Tell an attempt, if it runs here, that its end was asked for."""
        attempt = self.running.get(token)
        if attempt is not None:
            attempt.cancel_asked()
            return
        self._early[token] = None  # taken by us in this very moment, perhaps
        if len(self._early) > EARLY:
            del self._early[next(iter(self._early))]

    def takes(self, name: str, tag: str | None, session: str | None) -> bool:
        """Whether an activity that is about to be scheduled is for us, as far as that can be said without asking."""
        if session is not None or not self.options.takes(tag):
            return False
        try:
            self._find(name)
        except UnregisteredError:
            return False
        return True

    # -- what can be run

    def _find(self, name: str) -> ActivityDefinition[..., Any]:
        """The activity of that name, trioflow's own or the app's; raises UnregisteredError."""
        return self.builtins.get(name) or self.app.find_activity(name)

    async def _read_kv(self, instance: str) -> Mapping[str, bytes]:
        return await persistently("reading another instance", self.store.read_kv, instance)

    async def _read_status(self, instance: str) -> bytes | None:
        record = await persistently("reading another instance", self.store.read_instance, instance)
        return None if record is None else record.status

    # -- running

    async def _run(self, attempt: Attempt, within: Within) -> None:
        log_context.set(of_attempt(attempt.item))
        try:
            verdict = await self._attempt(attempt, within)
        except trio.Cancelled:
            self._ended(attempt)
            await self._last_words(attempt, GiveBack())
            raise
        finally:
            if not attempt.ended:
                self._ended(attempt)
        if not isinstance(verdict, Answered):
            await self._carry_out(attempt, verdict)
        elif not self.offer(attempt, verdict.event):
            self.settle(attempt, verdict)

    def _ended(self, attempt: Attempt) -> None:
        """The body has ended: its slot is free."""
        attempt.ended = True
        attempt.ended_at = self.teller.now()
        del self.running[attempt.token]
        self.presence.ended((attempt.lock.instance, attempt.lock.execution))
        self.slots.give()
        if not self.running:
            self._none.set()

    async def _attempt(self, attempt: Attempt, within: Within) -> Verdict:
        """Run the body, unless that makes no sense, and decide what follows."""
        item, options = attempt.item, self.options
        try:
            definition = self._find(item.name)
        except UnregisteredError as exc:
            pause = options.unknown_pause(item.fetches)
            self.strange.met(item.name, self.env.monotonic() + pause)
            return unknown(item, exc, pause, options.max_attempts)
        if item.fetches > options.max_attempts:
            return poisoned(item, options.max_attempts)
        try:
            attempt.options, headers = self._read_options(item.data)
        except HistoryError as exc:
            return unreadable(item, exc, self.app)
        if headers:
            log_context.set(of_attempt(item, headers))
        if attempt.options.timed:
            elapsed = self._elapsed(item)
            late = too_late(item, attempt.options, elapsed)
            if late is not None:
                return late
            attempt.timeout_at = self.env.monotonic() + attempt_timeout(attempt.options, elapsed)
        attempt.fact = self.teller.began(attempt, headers)
        ending = await self._watched(attempt, definition, within)
        if isinstance(ending, Returned):
            return completed(item, ending)
        return decide(
            item,
            attempt.options,
            ending,
            self.app,
            elapsed=self._elapsed(item),
            chance=self.env.random(),
            cancelled=attempt.why == "cancelled",
            with_traceback=options.record_tracebacks,
        )

    async def _watched(self, attempt: Attempt, definition: ActivityDefinition[..., Any], within: Within) -> Ending:
        """Run the body within what is to be around it: mostly nothing."""
        around = [] if attempt.fact is None else [self.teller.inside(attempt.fact)]
        if attempt.options.heartbeat_timeout is not None:
            around.append(listening(attempt, self.env, self.work))
        if not around:
            return await run_body(attempt, definition, self.app, self.env, self.limiter, within, self.client)
        outer, inner = around if len(around) > 1 else (around[0], nullcontext())
        with outer, inner:
            return await run_body(attempt, definition, self.app, self.env, self.limiter, within, self.client)

    def _elapsed(self, item: LockedActivity) -> float:
        return max(self.clock.now() - item.scheduled_at, 0.0)

    # -- ending

    async def _carry_out(self, attempt: Attempt, verdict: Again | GiveBack | Nothing) -> None:
        match verdict:
            case Again():
                try:
                    if attempt.heartbeat is not None:  # what it noted last, for the attempt that follows
                        await persistently("keeping a heartbeat", self.renew, [attempt])
                finally:
                    self.settler.put(
                        Settlement(attempt, SettleActivity(lock=attempt.lock, retry_in=verdict.delay), verdict)
                    )
                    self._gone(attempt)
            case GiveBack():
                self._gone(attempt)
                try:
                    await persistently("giving an activity back", self._release, attempt, verdict)
                except trio.Cancelled:
                    await self._last_words(attempt, verdict)
                    raise
            case Nothing():
                self.keeper.drop(attempt)
                self.teller.ended(attempt, verdict)
                self._gone(attempt)
                log.warning(
                    "activity %s of instance %s was stopped: its lease is lost",
                    attempt.item.name,
                    attempt.lock.instance,
                )

    def settle(self, attempt: Attempt, verdict: Answered) -> None:
        """Have an attempt settled with an answer, outside a turn."""
        message = Draft(*self.codec.encode(verdict.event))
        self.settler.put(Settlement(attempt, SettleActivity(lock=attempt.lock, message=message), verdict))

    def _gone(self, attempt: Attempt) -> None:
        self.on_gone(attempt.lock.instance, attempt.lock.execution)

    async def _release(self, attempt: Attempt, verdict: GiveBack) -> None:
        self.keeper.drop(attempt)
        if attempt.why == "lost":
            return
        if attempt.heartbeat is not None:
            await self.renew([attempt])  # what it noted last, for the attempt that follows
        request = ReleaseActivity(lock=attempt.lock, delay=verdict.delay, clean=verdict.clean, leave=verdict.leave)
        await self.store.release_activity(request)
        self.teller.ended(attempt, verdict)

    async def _last_words(self, attempt: Attempt, verdict: GiveBack) -> None:
        """Give it back although we are cancelled: others need not wait for its lease to run out."""
        with trio.move_on_after(LAST_WORDS, shield=True):
            try:
                await self._release(attempt, verdict)
            except StoreError:
                pass  # its lease runs out

    async def renew(self, attempts: Sequence[Attempt]) -> Renewed:
        """Ask the store for more time, and keep heartbeats."""
        notes = {attempt.token: attempt.heartbeat for attempt in attempts if attempt.heartbeat is not None}
        answer = await self.store.renew_activities(
            RenewActivities(
                locks=tuple(attempt.lock for attempt in attempts), lease=self.options.activity_lease, heartbeats=notes
            )
        )
        for attempt in attempts:
            if attempt.heartbeat is notes.get(attempt.token):
                attempt.heartbeat = None
        return Renewed(tuple(lock.token for lock in answer.lost), tuple(lock.token for lock in answer.cancelled))

    # -- stopping

    async def idle(self) -> None:
        """Return once nothing runs any more."""
        while self.running:
            self._none = trio.Event()
            await self._none.wait()

    def stop_all(self) -> None:
        """Cancel what still runs; it goes back to the store."""
        for attempt in list(self.running.values()):
            attempt.end("stopping")

    def abandon_all(self) -> None:
        """Leave threads that ignore cancellation to themselves; their leases run out."""
        for attempt in list(self.running.values()):
            self.keeper.drop(attempt)
            attempt.why = "lost"
            if attempt.abandon is not None:
                attempt.abandon.cancel()
            log.warning(
                "activity %s of instance %s does not end; its thread is abandoned and its lease left to run out",
                attempt.item.name,
                attempt.lock.instance,
                extra=log_extra(of=of_attempt(attempt.item)),
            )
