"""What a store has to do, said once more and as plainly as can be: the model that all stores are measured by.

Laws: written from the prose of `trioflow.abc`, without a look at how a store does it; no index, no column that repeats
another, no transaction: everything is found by looking at everything. A verb checks all before it changes anything.

Must never know: `trioflow.stores`. Who calls it: `state_machine.py`. Read next: `model_administration.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import attrs

from tests.stores.model_rows import Instance, Item, Message, Session, locked, size_of
from trioflow.abc import (
    ActivitiesCommitted,
    ActivitiesRenewed,
    ActivityLock,
    CommitActivities,
    CommitTurn,
    Draft,
    EventRow,
    InstanceRecord,
    LockActivities,
    LockTurns,
    LockedActivities,
    LockedTurn,
    LockedTurns,
    NextExecution,
    OutMessage,
    PostMessage,
    ReleaseActivity,
    ReleaseTurn,
    RenewActivities,
    RenewSessions,
    RenewTurns,
    SessionsRenewed,
    SettleActivity,
    StartInstance,
    Started,
    State,
    TurnCommitted,
    TurnLock,
    TurnsRenewed,
)
from trioflow.errors import (
    DuplicateRequestError,
    InstanceExists,
    InstanceFinished,
    InstanceNotFound,
    LockLost,
    MailboxFull,
    StoreError,
)
from trioflow.history import ActivityCancelled, EventCodec


@attrs.define(eq=False)
class Model:
    """All but administration: a store of lists and loops. `now` is set by whoever drives it."""

    now: float
    instances: dict[str, Instance] = attrs.field(factory=dict)
    items: list[Item] = attrs.field(factory=list)
    histories: dict[tuple[str, int], list[EventRow]] = attrs.field(factory=dict)
    answered: dict[str, tuple[str, Started]] = attrs.field(factory=dict)  # by request id: the verb, the answer
    settled: dict[str, float] = attrs.field(factory=dict)  # tokens, and when
    sessions: dict[str, Session] = attrs.field(factory=dict)
    last_executions: dict[str, int] = attrs.field(factory=dict)  # of those that were deleted
    numbers: Iterator[int] = attrs.field(factory=itertools.count)

    # -- clients

    def start_instance(self, request: StartInstance) -> Started:
        before = self.recall(request.request_id, "start", request.instance)
        if before is None:
            before = self._begin(request)
            self.answered[request.request_id] = ("start", before)
        return before

    def post_message(self, request: PostMessage) -> None:
        target = request.message.instance
        if self.recall(request.request_id, "post", target) is not None:
            return
        there = self.instances.get(target)
        if there is None:
            raise InstanceNotFound(target)
        if there.state.ended:
            raise InstanceFinished(target)
        mail = [message.meant for message in there.inbox if message.meant.mailbox]
        size = sum(len(meant.draft.payload or b"") for meant in [*mail, request.message])
        too_many = there.unread + len(mail) + 1 > request.mailbox_limit
        if request.message.mailbox and (too_many or there.unread_bytes + size > request.mailbox_bytes):
            raise MailboxFull(target)
        self.deliver(request.message)
        self.answered[request.request_id] = ("post", Started(instance=target, execution=0, created=False))

    def recall(self, request_id: str, verb: str, instance: str) -> Started | None:
        if request_id not in self.answered:
            return None
        before, answer = self.answered[request_id]
        if (before, answer.instance) != (verb, instance):
            raise DuplicateRequestError(request_id)
        return answer

    def _begin(self, request: StartInstance) -> Started:
        old = self.instances.get(request.instance)
        if old is not None and request.if_exists == "attach" and old.start.name == request.name:
            return Started(instance=request.instance, execution=old.execution, created=False)
        replaces = request.if_exists == "replace_finished" or self._is_left_over(request, old)
        if old is not None and not (replaces and old.state.ended):
            raise InstanceExists(request.instance)
        new = Instance(
            start=request,
            execution=(self.last_executions.get(request.instance, 0) if old is None else old.execution) + 1,
            first_execution=0,  # see below
            revision=0 if old is None else old.revision,
            created_at=self.now,
            changed_at=self.now,
            version=request.version,
            semantics=request.semantics,
            wake_at=self.now + request.delay if request.delay else None,
        )
        new.first_execution = new.execution
        self.instances[request.instance] = new
        self.deliver(OutMessage(instance=request.instance, draft=request.start, execution=new.execution))
        return Started(instance=request.instance, execution=new.execution, created=True)

    def _is_left_over(self, request: StartInstance, old: Instance | None) -> bool:
        """Whether a parent starts a child that it had before it was itself started again."""
        before = None if old is None else old.start.parent
        if before is None or request.parent is None or before.instance != request.parent.instance:
            return False
        parent = self.instances.get(before.instance)
        return request.if_exists != "attach" and parent is not None and before.execution < parent.first_execution

    def deliver(self, message: OutMessage) -> None:
        """Post a message, or drop it where nobody is meant."""
        there = self.instances.get(message.instance)
        if there is None or there.state.ended:
            return
        if message.execution in (None, there.execution) and message.child_of in (None, there.start.parent):
            there.inbox.append(Message(next(self.numbers), self.now, message))

    # -- turns

    def lock_turns(self, request: LockTurns) -> LockedTurns:
        self._sweep()
        line = []
        for instance in self.instances.values():
            at = instance.eligible_at()
            suits = instance.suits(request.can_run)
            wanted = not suits if request.others else suits or instance.is_controlled
            if at is not None and at <= self.now - request.overdue and wanted:
                line.append((at, instance.revision, instance.name))
        turns = tuple(self._lock(self.instances[name], request) for _, _, name in sorted(line)[: request.limit])
        times = [instance.eligible_at() for instance in self.instances.values()]
        times += [item.due if item.cancelled else item.late_at for item in self.items]
        return LockedTurns(now=self.now, turns=turns, next_due=self._next_of(times))

    def _next_of(self, times: list[float | None]) -> float | None:
        return min((at for at in times if at is not None and at > self.now), default=None)

    def _lock(self, instance: Instance, request: LockTurns) -> LockedTurn:
        instance.token, instance.until = f"turn {next(self.numbers)}", self.now + request.lease
        instance.attempts += 1
        history = self.histories.get((instance.name, instance.execution), [])
        return LockedTurn(
            lock=TurnLock(instance.name, instance.execution, instance.token),
            name=instance.start.name,
            version=instance.version,
            state=instance.state,
            revision=instance.revision,
            history_length=len(history),
            history_bytes=size_of(history),
            attempts=instance.attempts,
            wake_at=instance.wake_at,
            messages=instance.listed(),
        )

    def commit_turn(self, request: CommitTurn) -> TurnCommitted:
        instance = self.instances.get(request.lock.instance)
        if instance is not None and instance.last_commit == request.request_id:
            hurt = tuple(item.lock for item in self._named(request) if item.cancelled)
            return self._committed(request, instance, hurt)
        if instance is None or self._holder(request.lock) is None or instance.revision != request.revision:
            raise LockLost(request.lock.instance)
        history = self.histories.setdefault((instance.name, instance.execution), [])
        if [event.id for event in request.events] != list(
            range(len(history) + 1, len(history) + len(request.events) + 1)
        ):
            raise StoreError("the ids of the events do not follow")
        settled = [(self.item_of(settle.lock), settle) for settle in request.settle]
        if any(item is None for item, _ in settled):
            raise LockLost("a settled activity")
        for item, settle in settled:
            if item is not None:
                self._settle(item, settle)
        history += request.events
        self._set(instance, request)
        self._schedule(instance, request)
        if request.next_execution is not None:
            self._go_on(instance, request.next_execution)
        hurt = self._cancel(request)
        self._begin_others(request)
        if request.keep is None or instance.state.ended:
            instance.token = None
        else:
            instance.until = self.now + request.keep
        return self._committed(request, instance, hurt)

    def _committed(self, request: CommitTurn, instance: Instance, hurt: tuple[ActivityLock, ...]) -> TurnCommitted:
        kept = request.keep is not None and instance.token == request.lock.token
        return TurnCommitted(
            now=self.now,
            revision=instance.revision,
            execution=instance.execution,
            kept=kept,
            messages=instance.listed() if kept else (),
            hurt=hurt,
        )

    def _set(self, instance: Instance, request: CommitTurn) -> None:
        instance.state, instance.last_commit = request.state, request.request_id
        instance.unread, instance.unread_bytes = request.unread, request.unread_bytes
        instance.revision += 1
        instance.attempts, instance.pause_until, instance.changed_at = 0, 0.0, self.now
        instance.wake_at = request.wake_at
        instance.inbox = [message for message in instance.inbox if message.number not in request.consumed]
        if request.state.ended:
            instance.inbox, instance.wake_at, instance.ended_at = [], None, self.now
        if request.version is not None:
            instance.version = request.version
        if request.status is not None:
            instance.status = request.status
        for key in request.kv_cleared:
            instance.kv.pop(key, None)
        instance.kv.update(request.kv_set)

    def _schedule(self, instance: Instance, request: CommitTurn) -> None:
        for new in request.activities:
            start_by = None if new.start_within is None else self.now + new.start_within
            item = Item(instance.name, instance.execution, new, self.now, self.now, new.data, start_by)
            if new.born is not None:
                item.lease(new.born.worker, new.born.token, self.now + new.born.lease)
            self.items.append(item)

    def _go_on(self, instance: Instance, following: NextExecution) -> None:
        instance.execution += 1
        instance.state, instance.wake_at = State.PENDING, None
        instance.version, instance.semantics = following.version, following.semantics
        stay = [message for message in instance.inbox if message.meant.execution in (None, instance.execution)]
        meant = OutMessage(instance=instance.name, execution=instance.execution, draft=following.start)
        instance.inbox = [Message(-next(self.numbers), self.now, meant), *stay]  # its number is below all others

    def _named(self, request: CommitTurn) -> list[Item]:
        """The items whose end this commit asks for."""
        mine = {
            item.new.event_id: item
            for item in self.items
            if (item.instance, item.execution) == (request.lock.instance, request.lock.execution)
        }
        ids = sorted(mine) if request.cancel_all_activities else request.cancel_activities
        return [mine[event_id] for event_id in ids if event_id in mine]

    def _cancel(self, request: CommitTurn) -> tuple[ActivityLock, ...]:
        hurt = []
        for item in self._named(request):
            if item.token is None:
                self._report(item, "never_started")
            elif item.due <= self.now:
                self._report(item, "lost")
            else:
                item.cancelled = True
                hurt.append(item.lock)
        return tuple(hurt)

    def _begin_others(self, request: CommitTurn) -> None:
        for start in request.starts:
            try:
                self._begin(start)
                reply = start.on_started
            except InstanceExists:
                reply = start.on_refused
            if reply is not None:
                self.deliver(reply)
        for message in request.messages:
            self.deliver(message)

    def _holder(self, lock: TurnLock) -> Instance | None:
        instance = self.instances.get(lock.instance)
        if instance is None or (instance.execution, instance.token) != (lock.execution, lock.token):
            return None
        return instance

    def release_turn(self, request: ReleaseTurn) -> None:
        instance = self._holder(request.lock)
        if instance is not None:
            instance.token = None
            instance.pause_until = self.now + request.delay if request.delay else 0.0
            instance.attempts = max(0, instance.attempts - request.clean)

    def renew_turns(self, request: RenewTurns) -> TurnsRenewed:
        lost = []
        for lock in request.locks:
            instance = self._holder(lock)
            if instance is None:
                lost.append(lock)
            else:
                instance.until = self.now + request.lease
        return TurnsRenewed(lost=tuple(lost))

    # -- activities

    def lock_activities(self, request: LockActivities) -> LockedActivities:
        self._sweep()
        line = [item for item in self.items if not item.cancelled and item.suits(request.tags)]
        taken: list[Item] = []
        for item in sorted((item for item in line if item.due <= self.now), key=lambda item: item.place):
            if len(taken) < request.limit and self._may_have(request, item.new.session):
                taken.append(item)
        for item in taken:
            item.lease(request.worker, f"item {next(self.numbers)}", self.now + request.lease)
        times = [item.due for item in line] + [item.late_at for item in self.items]
        if request.sessions is not None:
            times += [session.until for session in self.sessions.values()]
        return LockedActivities(
            now=self.now, activities=tuple(locked(item) for item in taken), next_due=self._next_of(times)
        )

    def _may_have(self, request: LockActivities, session: str | None) -> bool:
        """Whether a worker gets items of a session; it uses it then, and may have claimed it."""
        if session is None or request.sessions is None:
            return session is None
        alive = {name: found for name, found in self.sessions.items() if found.until > self.now}
        own = [name for name, found in alive.items() if found.worker == request.worker]
        if session not in alive and len(own) < request.sessions.limit:
            self.sessions[session] = Session(request.worker, self.now + request.sessions.lease, self.now)
        elif session not in own:
            return False
        self.sessions[session].used_at = self.now
        return True

    def _note_use(self, item: Item) -> None:
        """The holder of an item does something with it."""
        session = self.sessions.get(item.new.session or "")
        if session is not None and session.worker == item.worker:
            session.used_at = self.now

    def _sweep(self) -> None:
        """Cancelled items whose holders let their leases run out, and items that nobody began in time."""
        lost = [item for item in self.items if item.cancelled and item.due <= self.now]
        late = [(item.late_at, item.place[1:], item) for item in self.items if item.late_at is not None]
        for item in sorted(lost, key=lambda item: item.place):
            self._report(item, "lost")
        for at, _, item in sorted(late, key=lambda entry: entry[:2]):
            if at <= self.now and item.new.late is not None:
                self.items.remove(item)
                message = OutMessage(instance=item.instance, execution=item.execution, draft=item.new.late)
                self.deliver(message)

    def _report(self, item: Item, how: str) -> None:
        """An item ends by its cancellation."""
        self.items.remove(item)
        draft = Draft(*EventCodec().encode(ActivityCancelled(answers=item.new.event_id, how=how)))
        self.deliver(OutMessage(instance=item.instance, execution=item.execution, draft=draft))

    def item_of(self, lock: ActivityLock) -> Item | None:
        return next((item for item in self.items if item.token is not None and item.lock == lock), None)

    def commit_activities(self, request: CommitActivities) -> ActivitiesCommitted:
        lost = []
        for settle in request.settle:
            item = self.item_of(settle.lock)
            if item is not None:
                self._settle(item, settle)
                self.settled[settle.lock.token] = self.now
            elif settle.lock.token not in self.settled:
                lost.append(settle.lock)
        return ActivitiesCommitted(now=self.now, lost=tuple(lost))

    def _settle(self, item: Item, settle: SettleActivity) -> None:
        self._note_use(item)
        if settle.retry_in is not None and item.cancelled:
            self._report(item, "ended")
        elif settle.retry_in is not None:
            item.token, item.due = None, self.now + settle.retry_in
            item.failures, item.fetches, item.start_by = item.failures + 1, 0, None
            item.data = item.data if settle.data is None else settle.data
        else:
            self.items.remove(item)
            if settle.message is not None:
                self.deliver(OutMessage(instance=item.instance, execution=item.execution, draft=settle.message))

    def release_activity(self, request: ReleaseActivity) -> None:
        item = self.item_of(request.lock)
        if item is None:
            return
        if item.cancelled:
            self._report(item, "never_started")
            return
        session = self.sessions.get(item.new.session or "")
        if request.leave and session is not None and session.worker == item.worker:
            del self.sessions[item.new.session or ""]
        item.token, item.due = None, self.now + request.delay
        if request.clean:
            item.attempt, item.fetches = item.attempt - 1, 0

    def renew_activities(self, request: RenewActivities) -> ActivitiesRenewed:
        lost, cancelled = [], []
        for lock in request.locks:
            item = self.item_of(lock)
            if item is None:
                lost.append(lock)
                continue
            self._note_use(item)
            item.due = self.now + request.lease
            item.heartbeat = request.heartbeats.get(lock.token, item.heartbeat)
            if item.cancelled:
                cancelled.append(lock)
        return ActivitiesRenewed(lost=tuple(lost), cancelled=tuple(cancelled))

    # -- sessions

    def renew_sessions(self, request: RenewSessions) -> SessionsRenewed:
        for name, session in list(self.sessions.items()):
            if session.worker == request.worker and self.now - session.used_at >= request.idle:
                del self.sessions[name]
            elif session.worker == request.worker:
                session.until = self.now + request.lease
        held = sorted(name for name, session in self.sessions.items() if session.worker == request.worker)
        return SessionsRenewed(held=tuple(held))

    def release_sessions(self, worker: str) -> None:
        self.sessions = {name: session for name, session in self.sessions.items() if session.worker != worker}

    # -- reading

    def read_instance(self, instance: str) -> InstanceRecord | None:
        found = self.instances.get(instance)
        if found is None:
            return None
        history = self.histories.get((instance, found.execution), [])
        why = found.state.ended or found.state is State.PARKED
        return InstanceRecord(
            instance=instance,
            execution=found.execution,
            name=found.start.name,
            version=found.version,
            state=found.state,
            revision=found.revision,
            parent=found.start.parent,
            attributes=found.start.attributes,
            created_at=found.created_at,
            updated_at=found.changed_at,
            ended_at=found.ended_at,
            wake_at=found.wake_at,
            history_length=len(history),
            history_bytes=size_of(history),
            unread=found.unread,
            unread_bytes=found.unread_bytes,
            queued=len(found.inbox),
            control_queued=found.is_controlled,
            cancel_queued=any(message.meant.draft.kind == "CancelRequested" for message in found.inbox),
            status=found.status,
            last_event=history[-1] if why and history else None,
        )

    def read_history(
        self, instance: str, execution: int, *, after: int = 0, limit: int | None = None
    ) -> tuple[EventRow, ...]:
        later = [event for event in self.histories.get((instance, execution), []) if event.id > after]
        return tuple(later[:limit])

    def read_kv(self, instance: str) -> dict[str, bytes]:
        return dict(self.instances[instance].kv) if instance in self.instances else {}

    def read_clock(self) -> float:
        return self.now
