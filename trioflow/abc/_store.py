"""The store, as a prose contract: what a place that keeps orchestrations must promise.

Laws for every store:

* **All or nothing.** Each verb is one transaction. When it raises anything but `OutcomeUnknown`, nothing of it was
  written.
* **Safe to repeat.** A write whose answer was lost may be sent again, unchanged, and answers as the first did: starts
  and posts by `request_id` (remembered for an hour at least, and in the transaction of the write itself), turns by
  `request_id` against the instance's last commit, settled activities by their lock's token.
* **Fenced.** A lock's token is unique for ever; a verb with a token that is no longer the holder's changes nothing and
  says so (`LockLost`, or `lost` in the answer). A lease runs from the moment it is taken; attempts count when an item
  is taken.
* **Opaque.** A store never reads inside `data` or `payload`, and gives back to the last byte what it was given: ids,
  keys and tags are told apart to the letter, times to the last bit.
* **Walled.** Ids, names and keys that are blank, endless, or not text that can be kept (NUL, half a surrogate pair),
  and payloads beyond 64 MiB, are refused with a typed error before anything is written; reading, or writing to, what
  cannot be there finds nobody, and is no error of the driver.
* **Its own clock.** All times are the store's; a worker's clock is never believed.
* **Nobody blocks anybody.** A message that cannot be delivered is refused or dropped where it is posted; it never waits
  at the head of anything.

Must never know: the engine. Who calls it: `_runtime`, `_client`. Read next: `trioflow.stores`, the reference in memory
first.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from trioflow.abc._administration import (
    DeleteInstances,
    ExecutionRecord,
    InstancePage,
    ListInstances,
    PruneExecutions,
    QueueDepths,
    StoreMetrics,
)
from trioflow.abc._records import (
    ActivitiesCommitted,
    ActivitiesRenewed,
    CommitActivities,
    CommitTurn,
    EventRow,
    InstanceRecord,
    LockActivities,
    LockTurns,
    LockedActivities,
    LockedTurns,
    PostMessage,
    ReleaseActivity,
    ReleaseTurn,
    RenewActivities,
    RenewSessions,
    RenewTurns,
    SessionsRenewed,
    StartInstance,
    Started,
    TurnCommitted,
    TurnsRenewed,
)
from trioflow.abc._signals import Signals


class Store(Protocol):
    """Durable state behind eight symmetrical verbs, two for clients, two for sessions, and some to administer and read.

    A store is opened with `async with store:` by each runtime and client that uses it; the last to leave closes it. All
    methods are checkpoints. All raise `StoreError` subclasses and nothing of the driver underneath.

    A store may be derived from this class. It inherits what is here and has a body: verbs that may do nothing.
    """

    @property
    def signals(self) -> Signals:
        """Hints that something changed. Bumped after the commit that made the change, never before."""
        ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        return

    async def register_worker(self, worker: str) -> None:
        """Say that `worker` lives in this process.

        A store on one machine may use this to notice dead owners: leases of a worker that has died expire at once. One
        that can tell raises `ConfigurationError` while another worker of that name is alive.
        """
        return

    async def unregister_worker(self, worker: str) -> None:
        """Say that `worker` has stopped; leases it still holds are left to expire."""
        return

    # -- clients

    async def start_instance(self, request: StartInstance) -> Started:
        """Create an instance with its start message in its inbox.

        * The id is free: created, state pending, execution 1, or last + 1 where the id has lived before.
        * Taken: `if_exists="fail"` raises `InstanceExists`; "attach" answers `created=False`; "replace_finished"
          replaces an instance that has ended (its next execution) and otherwise raises `InstanceExists`. "attach" to an
          instance of another name raises `InstanceExists`, too.
        * Out of a turn, as a child: an instance that has ended, and that is the child of an earlier life of the same
          parent, before that was replaced, is replaced whatever `if_exists` says.
        * `delay`: visible at once, eligible only after it (messages that arrive meanwhile wait; control messages do
          not). It is the `wake_at` of a pending instance, and a commit that leaves it pending keeps it as any other.
        * `born`, from a client, where it is created without a delay: it is locked at once under that token, as if it
          had been taken by `lock_turns` in the same moment, and the answer holds the turn; so does the answer to a
          repeat, while the lock lasts. Nobody but `LEASED` is told: there is nothing to take.
        """
        ...

    async def post_message(self, request: PostMessage) -> None:
        """Put a message into an inbox, at its end.

        Raises `InstanceNotFound`, `InstanceFinished`, `MailboxFull`. A message for an execution that is not current is
        dropped.
        """
        ...

    # -- turns

    async def lock_turns(self, request: LockTurns) -> LockedTurns:
        """Lease instances that have something to do, each to one holder.

        * Eligible: not locked, or the lock has expired; not ended; past its release delay; and it has a message, or
          its `wake_at` has come. A held instance (suspended, parked): only with a control message in its inbox; a
          pending one with a `wake_at`: with a control message, or once that has come.
        * Fair: the one that has waited longest first (by when it became eligible); an instance that is always busy
          starves nobody.
        * `messages`: all of the inbox, in order of `seq`. What arrives later waits for the next turn.
        * `can_run` is decided here, before anything is decoded: others are left for other workers, but for one with a
          control message, which whoever comes first carries out. `others` gives what `can_run` does not name, whatever
          waits in its inbox, and nothing else.
        * A message of kind `CancelRequested` is a control message as long as one of kind `OrchestrationStarted` is in
          the inbox: there is no code yet that could hear of it.
        * `overdue`: only what has been eligible for that long.
        * Also removes expired items that were marked as cancelled and posts them as `ActivityCancelled(how="lost")`,
          and items that nobody began in time, and posts their `late`.
        """
        ...

    async def commit_turn(self, request: CommitTurn) -> TurnCommitted:
        """Write everything a turn did.

        * Raises `LockLost` if the token or the revision does not fit, or a settled activity's lease had gone: then
          nothing is written.
        * Appends `events`, which have to be numbered one after the other from where the history ends (`StoreError`
          otherwise); removes exactly `consumed`; sets state, wake_at, version, unread and its bytes, status, kv;
          revision + 1; attempts = 0.
        * `activities` enter the queue, free or born leased.
        * `cancel_activities`, of this execution: an item that nobody holds is removed and posted to this instance's
          inbox as `ActivityCancelled(how="never_started")`; an expired lease as `how="lost"`; a leased one is marked,
          named in `hurt`, and its holder woken. Ids that are no longer there are passed over: their outcome is in the
          inbox.
        * `starts`: each for itself; posts its `on_started` or `on_refused`. `messages`: to other inboxes (or its own),
          in order.
        * An instance that ends: its inbox is emptied; marked items run out.  `next_execution`: execution + 1, empty
          history, the start message enters the inbox before what is already there; messages for the old execution are
          dropped, others stay; kv and status stay.
        * Releases the lock, or with `keep` renews it and answers the messages that are in the inbox and not consumed.
        * After an unfinished `commit` was repeated by `request_id`, it is *already applied*: same revision.
        """
        ...

    async def release_turn(self, request: ReleaseTurn) -> None:
        """Give a lock back; nothing happens if it is no longer ours. Clean: attempts - 1, those before still count.

        A store that does nothing here lets the lease run out.
        """
        return

    async def renew_turns(self, request: RenewTurns) -> TurnsRenewed:
        """Extend leases from now. A lock that has expired but that nobody has taken is renewed."""
        ...

    # -- activities

    async def lock_activities(self, request: LockActivities) -> LockedActivities:
        """Lease items whose time has come, oldest first, fairly between instances as far as age goes.

        * Items marked as cancelled are never handed out: an expired one is removed and posted as `how="lost"`.
        * Items that nobody holds and whose `start_within` has passed are removed, and their `late` is posted; one that
          was begun before is not such an item any more.
        * An item of a session is handed out only to the session's owner, or to whoever claims it, which makes that
          worker the owner: a session is claimed by one, whoever else tries. A worker that has as many sessions as it
          may gets items of no others; those who have none stand in nobody's way.
        """
        ...

    async def commit_activities(self, request: CommitActivities) -> ActivitiesCommitted:
        """Settle attempts; an item and its completion are one row: exactly one outcome is ever posted.

        A completion whose execution is not current is dropped with its item.
        """
        ...

    async def release_activity(self, request: ReleaseActivity) -> None:
        """Give an attempt back unrun; nothing happens if it is no longer ours."""
        return

    async def renew_activities(self, request: RenewActivities) -> ActivitiesRenewed:
        """Extend leases from now, keep heartbeats, and hear of cancellations."""
        ...

    # -- sessions

    async def renew_sessions(self, request: RenewSessions) -> SessionsRenewed:
        """Extend a worker's sessions from now, and give back idle ones. One that has expired and that nobody has
        claimed is extended, too, for an hour at least.

        A session is idle while no item of it is taken, renewed or settled by its owner.
        """
        ...

    async def release_sessions(self, worker: str) -> None:
        """Give all of a worker's sessions back: anybody may claim them at once."""
        ...

    # -- administration

    async def delete_instances(self, request: DeleteInstances) -> int:
        """Remove instances, their descendants, and all that belongs to them; how many were removed.

        * One that has not ended makes it raise `InstanceNotFinished`, and nothing is removed; `force` removes it: its
          holder's commit is refused, and so is the outcome of its activities.
        * Ids that are not there are passed over, and so are those whose current execution is not the one that
          `executions` names. A repeat by `request_id` answers as the first did.
        * The execution numbers of a deleted id go on where they stood.
        """
        ...

    async def prune_executions(self, request: PruneExecutions) -> int:
        """Remove histories of earlier executions; how many executions. An id that is not there has none.

        A repeat by `request_id`, where there is one, answers as the first did.
        """
        ...

    async def list_instances(self, request: ListInstances) -> InstancePage:
        """Instances, newest first. Going on from the `next` of a page, none is seen twice, and none is left out that
        fits the query all the time.
        """
        ...

    async def read_executions(
        self, instance: str, *, after: int = 0, limit: int | None = None
    ) -> tuple[ExecutionRecord, ...]:
        """Executions with numbers above `after` whose histories are kept, and the current one, in order."""
        ...

    async def read_depths(self) -> QueueDepths:
        """What waits for runtimes, now."""
        ...

    async def read_metrics(self) -> StoreMetrics:
        """What is in the store. Counts everything, which takes its time in a large one."""
        ...

    # -- reading

    async def read_instance(self, instance: str) -> InstanceRecord | None:
        """What is known of an instance, or None."""
        ...

    async def read_history(
        self, instance: str, execution: int, *, after: int = 0, limit: int | None = None
    ) -> tuple[EventRow, ...]:
        """Events of one execution with ids above `after`, in order; empty if there are none."""
        ...

    async def read_kv(self, instance: str) -> dict[str, bytes]:
        """All current values of an instance."""
        ...

    async def read_clock(self) -> float:
        """The store's time."""
        ...
