"""One turn of a held instance: evaluate, word, commit, and start what was born with it; or what takes a turn's place.

Laws: a turn is one transaction, repeated by its request id until its outcome is known; nothing that follows from it
(bodies, logs, cancels) begins before that; whatever an instance's own code or history brings up parks that instance and
nothing else.

Who calls it: `_conductor.py`. Read next: `_evaluating.py`, `_turns.py`, `_control.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

import attrs

from trioflow._engine import CancelActivity, ScheduleActivity, TurnResult
from trioflow._runtime._activities import Activities
from trioflow._runtime._control import STARTED, Administration, asks_for_termination, needs_control
from trioflow._runtime._evaluating import FUSED, Evaluator
from trioflow._runtime._fatal import goes_through
from trioflow._runtime._holds import Hold
from trioflow._runtime._leases import LeaseKeeper
from trioflow._runtime._options import RuntimeOptions
from trioflow._runtime._telling import Teller
from trioflow._runtime._troubles import log, persistently, told
from trioflow._runtime._turns import TurnWriter
from trioflow._runtime._verdicts import Answered
from trioflow._util import log_extra, with_traceback
from trioflow.abc import (
    ActivityLock,
    BornLeased,
    CommitTurn,
    Ended,
    Env,
    EventRow,
    LockedActivity,
    PruneExecutions,
    SettleActivity,
    Store,
    Subject,
    TurnCommitted,
)
from trioflow.errors import (
    LimitExceeded,
    LockLost,
    NondeterminismError,
    StoreCorrupt,
    StoreReadOnly,
    StoreSchemaNewer,
    UnregisteredError,
)
from trioflow.history import Category, Event, Failure

FATAL: Final = (LockLost, StoreCorrupt, StoreReadOnly, StoreSchemaNewer, MemoryError)
"""What is no fault of one instance, but for damage that is known to be in its rows alone."""


@attrs.define(eq=False)
class TurnRunner:
    """Runs turns of instances that are held."""

    store: Store
    env: Env
    options: RuntimeOptions
    worker: str
    writer: TurnWriter
    evaluator: Evaluator
    activities: Activities
    keeper: LeaseKeeper[Hold]
    teller: Teller
    stopping: bool = False

    async def run(self, hold: Hold) -> bool:
        """Run one turn, or carry out what takes its place. True: the lock is still held."""
        self.env.reached("turn.locked")
        hold.began = self.teller.now()
        if needs_control(hold.state, hold.wake_at, hold.messages):
            return await self._administer(hold, None)
        if hold.overdue is not None:
            return await self._administer(hold, unclaimed(hold))
        if hold.attempts > self.options.max_attempts:
            return await self._administer(hold, Poisoned(self.options.max_attempts))
        try:
            result = await self.evaluator.evaluate(hold)
            return await self._commit(hold, result)
        except BaseException as exc:  # user code may raise anything
            if goes_through(exc) or _is_fatal(exc, hold):
                raise
            self.evaluator.drop(hold)
            log.warning("instance %s cannot go on: %s", hold.lock.instance, told(exc), exc_info=with_traceback(exc))
            return await self._administer(hold, exc)

    # -- a turn

    async def _commit(self, hold: Hold, result: TurnResult) -> bool:
        request_id = self.env.ordered_token()
        born = self._births(hold, result, request_id)
        slots, reserved = self.activities.slots, len(born)
        slots.take(reserved)
        try:
            subject = self.evaluator.headers.subject(hold.live)
            committing = 0.0 if subject is None else self.teller.now()
            request = self._worded(hold, result, request_id, born, subject)
            since = self.env.monotonic()
            answer = await self._write(request)
            if subject is not None:
                self.teller.turn_ran(hold, subject, result, committing, answer.now)
            self._account(hold, result, request, answer, since)
            for item in _born_items(request, answer):
                self.activities.start(item, since, reserved=True)
                reserved -= 1
        finally:
            slots.give(reserved)
        self._hurt(answer.hurt)
        emit_logs(result)
        if request.next_execution is not None and self.options.keep_executions is not None:
            prune = PruneExecutions(instance=hold.lock.instance, keep=self.options.keep_executions)
            await persistently("pruning an instance", self.store.prune_executions, prune)
        return hold.held

    def _births(self, hold: Hold, result: TurnResult, request_id: str) -> dict[int, BornLeased]:
        """The activities that start here at once: as many as there are slots for. What else is for us is expected."""
        born: dict[int, BornLeased] = {}
        activities, waiting = self.activities, 0
        room = activities.slots.free if self.options.born_leased and not activities.backlog else 0
        for action in () if self.stopping or result.ended else result.actions:
            if isinstance(action, ScheduleActivity):
                event = action.event
                if not activities.takes(event.name, event.tag, event.session):
                    continue
                if len(born) < room:
                    token, lease = f"{request_id}:{event.id}", self.options.activity_lease
                    born[event.id] = BornLeased(worker=self.worker, token=token, lease=lease)
                else:
                    waiting += 1
            elif isinstance(action, CancelActivity):
                born.pop(action.event_id, None)  # asked for and given up in one turn: it never starts
        assert hold.live is not None  # it has just been evaluated
        activities.presence.expect(hold.key, waiting, 0 if result.ended else hold.live.in_flight - len(born))
        return born

    def _worded(
        self, hold: Hold, result: TurnResult, request_id: str, born: dict[int, BornLeased], subject: Subject | None
    ) -> CommitTurn:
        here = bool(born or hold.finished) or hold.key in self.activities.presence
        keep = here and self.options.fuse and not result.ended and not self.stopping
        assert hold.live is not None  # it has just been evaluated
        return self.writer.commit(
            result,
            hold.lock,
            hold.revision,
            request_id=request_id,
            subject=subject,
            version=hold.live.definition.version if hold.version is None else None,
            consumed=tuple(seq for seq in result.consumed if seq < FUSED),
            born=born,
            settle=tuple(SettleActivity(lock=done.attempt.lock) for done in hold.fusing),
            keep=self.options.turn_lease if keep else None,
        )

    async def _write(self, request: CommitTurn) -> TurnCommitted:
        self.env.reached("turn.before_commit")
        answer = await persistently("committing a turn", self.store.commit_turn, request)
        self.env.reached("turn.after_commit")
        self.evaluator.clock.heard(answer.now)
        return answer

    def _account(
        self, hold: Hold, result: TurnResult, request: CommitTurn, answer: TurnCommitted, since: float
    ) -> None:
        """The commit is written: say so to everything that stands on it."""
        for done in hold.fusing:
            self.activities.keeper.drop(done.attempt)
            if done.attempt.fact is not None:
                self.teller.ended(done.attempt, Answered(done.event))
        hold.fusing = []
        hold.revision = answer.revision
        hold.recorded += len(request.events)
        hold.version = request.version or hold.version
        hold.wake_at = result.wake_at
        hold.messages = answer.messages
        hold.held = answer.kept
        hold.state, hold.attempts = request.state, 1
        if answer.kept:
            self.keeper.keep(hold, since)
        if result.ended:
            self.evaluator.drop(hold)
        if request.state.ended:
            end = Ended(
                instance=hold.lock.instance,
                name=hold.name,
                version=hold.version,
                state=request.state,
                last_event=request.events[-1],
            )
            self.store.signals.tell_end(end)

    # -- what takes a turn's place

    async def _administer(self, hold: Hold, problem: BaseException | None) -> bool:
        """Carry out control messages, or end or park what cannot go on."""
        lock = hold.lock
        record = await persistently("reading an instance", self.store.read_instance, lock.instance)
        if record is None or record.revision != hold.revision:
            raise LockLost(f"instance {lock.instance!r} has gone on elsewhere")
        history: tuple[EventRow, ...] = ()
        if problem is None or self._ends(problem) or asks_for_termination(hold.messages):
            history = await self._for_children(hold)
        administration = Administration(
            writer=self.writer,
            lock=lock,
            record=record,
            messages=hold.messages,
            history=history,
            now=self.evaluator.clock.now(),
        )
        first = await self._first_event(hold, history) if self.teller else None
        request = self._instead(administration, hold, problem)
        answer = await self._write(request)
        self.teller.administered(record, first, request.events, answer.now)
        self._hurt(answer.hurt)
        hold.held = False
        self.evaluator.drop(hold)
        return False

    async def _first_event(self, hold: Hold, history: tuple[EventRow, ...]) -> Event | None:
        """What the execution began with, or is to begin with, for instruments; None where nobody can read it."""
        lock, draft = hold.lock, next((one.draft for one in hold.messages if one.draft.kind == STARTED), None)
        if draft is not None:
            return self.teller.read(EventRow(0, 0.0, draft.kind, draft.data, draft.payload))
        if not history:
            try:
                history = await persistently(
                    "reading a history", self.store.read_history, lock.instance, lock.execution, limit=1
                )
            except StoreCorrupt:
                return None
        return self.teller.read(history[0]) if history else None

    async def _for_children(self, hold: Hold) -> tuple[EventRow, ...]:
        """The history, for the children that it tells of; where it alone is damaged, none are known."""
        lock = hold.lock
        try:
            return await persistently("reading a history", self.store.read_history, lock.instance, lock.execution)
        except StoreCorrupt as exc:
            if _is_fatal(exc, hold):
                raise
            log.warning("instance %s: nobody can say which children it has: %s", lock.instance, told(exc))
            return ()

    def _instead(self, administration: Administration, hold: Hold, problem: BaseException | None) -> CommitTurn:
        if problem is None:
            return administration.control()
        if asks_for_termination(hold.messages):
            return administration.terminate()
        if administration.may_end_cancelled:
            return administration.end_cancelled()
        failure = self._failure(problem)
        return administration.fail(failure) if self._ends(problem) else administration.park(failure)

    def _ends(self, problem: BaseException) -> bool:
        """Whether a problem ends the instance instead of parking it."""
        if isinstance(problem, LimitExceeded):
            return problem.limit in ("history_events", "history_bytes")
        return isinstance(problem, NondeterminismError) and self.options.on_nondeterminism == "fail"

    def _failure(self, problem: BaseException) -> Failure:
        category = Category.POISON if isinstance(problem, Poisoned) else Category.CONFIGURATION
        return self.evaluator.app.failures.to_failure(problem, category=category, retryable=False)

    def _hurt(self, locks: tuple[ActivityLock, ...]) -> None:
        for lock in locks:
            self.activities.cancel(lock.token)


class Poisoned(Exception):
    """An instance was taken many times, and each time its worker died before the turn was committed."""

    def __init__(self, attempts: int) -> None:
        super().__init__(
            f"the instance was taken {attempts} times without a turn being committed: something in it ends its workers"
        )


def unclaimed(hold: Hold) -> UnregisteredError:
    """An instance has been due for long, and nobody has its orchestration."""
    version = "" if hold.version is None else f" {hold.version}"
    return UnregisteredError(
        f"no worker has taken it for {hold.overdue:g} s, so it seems that none has orchestration "
        f"{hold.name!r}{version}",
        kind="orchestration",
        name=hold.name,
        version=hold.version,
    )


def _is_fatal(exc: BaseException, hold: Hold) -> bool:
    """Whether more than this instance is in trouble."""
    its_own = isinstance(exc, StoreCorrupt) and exc.instance == hold.lock.instance
    return isinstance(exc, FATAL) and not its_own


def _born_items(request: CommitTurn, answer: TurnCommitted) -> Iterator[LockedActivity]:
    """What was born leased, as if it had just been taken from the store."""
    for new in request.activities:
        if new.born is not None:
            yield LockedActivity(
                lock=ActivityLock(request.lock.instance, request.lock.execution, new.event_id, new.born.token),
                name=new.name,
                tag=new.tag,
                session=new.session,
                attempt=1,
                failures=0,
                fetches=1,
                scheduled_at=answer.now,
                heartbeat=None,
                data=new.data,
                payload=new.payload,
            )


def emit_logs(result: TurnResult) -> None:
    """Log what the orchestration logged in this turn."""
    for entry in result.logs:
        try:
            logging.getLogger(entry.logger).log(
                entry.level, entry.message, *entry.args, exc_info=entry.exc_info, extra=log_extra(entry.extra)
            )
        except Exception as exc:
            log.error(
                "a log record of an orchestration could not be emitted: %s", told(exc), exc_info=with_traceback(exc)
            )
