"""The frozen records that stores and runtimes exchange.

Laws: everything a store indexes is a plain column here; `data` and `payload` are opaque bytes that a store keeps and
never reads; every write carries a request id or a lock token, so that repeating it is safe; times are seconds on the
store's clock, durations are seconds.

Must never know: the engine, the kernel. Read next: `_store.py`, the prose contract of the verbs.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, Literal

import attrs


class State(enum.StrEnum):
    """Where an instance stands."""

    PENDING = "pending"  # started, no turn has run
    WAITING = "waiting"  # has run, waits for messages or for time
    SUSPENDED = "suspended"  # a client stopped it for a while
    PARKED = "parked"  # it cannot go on until somebody acts
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"

    ended: bool
    """Whether nothing can happen to it any more."""

    held: bool
    """Whether only control messages make it eligible."""

    def __init__(self, value: str) -> None:
        self.ended = value in ("completed", "failed", "cancelled", "terminated")
        self.held = value in ("suspended", "parked")


ENDED: Final = tuple(state for state in State if state.ended)
"""The states in which nothing can happen any more."""

# -- rows -------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Draft:
    """An event that has not happened yet, encoded: what a message carries."""

    kind: str
    data: bytes
    payload: bytes | None = None


@attrs.frozen
class EventRow:
    """One event of a history, encoded."""

    id: int
    at: float
    kind: str
    data: bytes
    payload: bytes | None = None


@attrs.frozen
class MessageRow:
    """One message of an inbox. `seq` grows in the order in which messages entered this inbox."""

    seq: int
    at: float  # when it entered
    draft: Draft


@attrs.frozen(kw_only=True)
class Parent:
    """Who waits for an instance."""

    instance: str
    execution: int
    event_id: int


@attrs.frozen(kw_only=True)
class OutMessage:
    """A message to an instance.

    `execution`: only for that execution (answers to its operations); None means whichever is current (events, cancel).
    `child_of`: only for the child that this parent started, not for another instance that has its id.
    `control`: makes the instance eligible even while it is suspended or parked.
    `mailbox`: counts against the instance's limit of unread events.
    """

    instance: str
    execution: int | None = None
    child_of: Parent | None = None
    draft: Draft
    control: bool = False
    mailbox: bool = False


@attrs.frozen(kw_only=True)
class BornLeased:
    """How an activity item or an instance comes into the world already leased to whoever writes it; that is its first
    attempt. `token` is the lock's, unique for ever; `lease` is in seconds.
    """

    worker: str
    token: str
    lease: float


@attrs.frozen(kw_only=True)
class StartInstance:
    """A new instance, from a client or out of a turn.

    `on_started`, `on_refused`: in a turn, the messages that tell the starter how it went (None: it is not told).
    `born`: from a client, its first turn belongs to this worker, if it is created and not delayed.
    """

    request_id: str
    instance: str
    name: str
    version: str | None = None
    semantics: int = 1
    start: Draft  # the message that becomes the first event
    parent: Parent | None = None
    attributes: Mapping[str, str] = attrs.field(factory=dict)
    delay: float = 0.0
    if_exists: Literal["fail", "attach", "replace_finished"] = "fail"
    on_started: OutMessage | None = None
    on_refused: OutMessage | None = None
    born: BornLeased | None = None


@attrs.frozen(kw_only=True)
class Started:
    """The answer to a start. `created` is False where it attached to an instance that was there (or a repeat found its
    own). `turn` is its first, where that was born leased and still is; a store need not know of that, and then the
    instance is free for everybody.
    """

    instance: str
    execution: int
    created: bool
    turn: LockedTurn | None = None


@attrs.frozen(kw_only=True)
class PostMessage:
    """A message from a client.

    Refused with InstanceNotFound, InstanceFinished, or, if `message.mailbox`, MailboxFull where the instance would hold
    more than `mailbox_limit` unread and queued events with it, or more than `mailbox_bytes` in their payloads.
    """

    request_id: str
    message: OutMessage
    mailbox_limit: int = 10_000
    mailbox_bytes: int = 16 * 1024 * 1024


# -- turns ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class TurnLock:
    """A lease on an instance. The token is unique for ever."""

    instance: str
    execution: int
    token: str


@attrs.frozen(kw_only=True)
class Capabilities:
    """What a worker can run: (name, version) pairs, and the replay-semantics versions it understands.

    An instance whose version is not pinned yet (None) matches any pair of its name.
    """

    orchestrations: tuple[tuple[str, str], ...]
    semantics: tuple[int, ...] = (1,)


@attrs.frozen(kw_only=True)
class LockTurns:
    """Take up to `limit` instances that have something to do.

    `others`: those that `can_run` does not name. `overdue`: only those that have been eligible for so many seconds.
    """

    worker: str
    limit: int
    lease: float
    can_run: Capabilities | None = None  # None: anything
    others: bool = False
    overdue: float = 0.0


@attrs.frozen(kw_only=True)
class LockedTurn:
    """An instance to run a turn of: everything but its history, which a warm worker does not need."""

    lock: TurnLock
    name: str
    version: str | None
    state: State
    revision: int  # counts commits
    history_length: int
    history_bytes: int
    attempts: int  # times it was taken since its last commit, clean releases left out, this one included
    wake_at: float | None
    messages: tuple[MessageRow, ...]


@attrs.frozen(kw_only=True)
class LockedTurns:
    """`now` is the store's clock; `next_due` is when something more becomes eligible by time alone (None: never)."""

    now: float
    turns: tuple[LockedTurn, ...]
    next_due: float | None


@attrs.frozen
class ActivityLock:
    """A lease on an activity's item. The token is unique for ever."""

    instance: str
    execution: int
    event_id: int
    token: str


@attrs.frozen(kw_only=True)
class NewActivity:
    """An item for the activity queue, of the committing execution.

    `start_within`: seconds; an item that nobody has begun by then is removed, and `late` says so to the orchestration.
    """

    event_id: int
    name: str
    tag: str | None = None
    session: str | None = None
    data: bytes  # options, opaque
    payload: bytes  # arguments
    born: BornLeased | None = None
    start_within: float | None = None
    late: Draft | None = None  # without a payload; given together with `start_within`


@attrs.frozen(kw_only=True)
class SettleActivity:
    """How an attempt ended.

    Exactly one of: `message` (the item is done, this tells the orchestration), `retry_in` (the item stays and may be
    taken again after that many seconds; if its cancellation was asked for meanwhile it is removed and posted as
    cancelled), or neither (the item is done and the same transaction delivers its outcome itself: a fused step).
    """

    lock: ActivityLock
    message: Draft | None = None
    retry_in: float | None = None
    data: bytes | None = None  # new options, with a retry


@attrs.frozen(kw_only=True)
class NextExecution:
    """Continue-as-new: the execution that follows in the same transaction."""

    start: Draft
    version: str | None = None
    semantics: int = 1


@attrs.frozen(kw_only=True)
class CommitTurn:
    """Everything a turn did, in one transaction that also checks the lock and the revision."""

    request_id: str
    lock: TurnLock
    revision: int  # the one it was computed from
    events: tuple[EventRow, ...]
    consumed: tuple[int, ...] = ()  # seqs of exactly the messages that were delivered or filtered out
    state: State
    wake_at: float | None = None
    version: str | None = None  # pins the execution; None leaves it as it is
    unread: int = 0  # events delivered and not yet taken by the code
    unread_bytes: int = 0  # in their payloads
    status: bytes | None = None  # None leaves it as it is
    kv_set: Mapping[str, bytes] = attrs.field(factory=dict)
    kv_cleared: tuple[str, ...] = ()
    activities: tuple[NewActivity, ...] = ()
    cancel_activities: tuple[int, ...] = ()  # event ids
    cancel_all_activities: bool = False  # termination
    starts: tuple[StartInstance, ...] = ()
    messages: tuple[OutMessage, ...] = ()  # dropped where the target is unknown, ended, or not the one that is meant
    next_execution: NextExecution | None = None
    settle: tuple[SettleActivity, ...] = ()
    keep: float | None = None  # seconds: renew the lock and hold it, instead of releasing it


@attrs.frozen(kw_only=True)
class TurnCommitted:
    """The answer to a commit; a repeat of the same request gets the same revision."""

    now: float
    revision: int
    execution: int  # the next one's number after continue-as-new
    kept: bool
    messages: tuple[MessageRow, ...] = ()  # with keep: what has arrived and was not consumed
    hurt: tuple[ActivityLock, ...] = ()  # leased items that this commit marked as cancelled


@attrs.frozen(kw_only=True)
class ReleaseTurn:
    """Give a turn back uncommitted. `clean`: this attempt does not count. `delay`: not eligible for so long."""

    lock: TurnLock
    delay: float = 0.0
    clean: bool = True


@attrs.frozen(kw_only=True)
class RenewTurns:
    """Hold these locks for `lease` more seconds from now."""

    locks: tuple[TurnLock, ...]
    lease: float


@attrs.frozen(kw_only=True)
class TurnsRenewed:
    """`lost`: no longer ours; stop the work."""

    lost: tuple[TurnLock, ...]


# -- activities -------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class TagFilter:
    """Which items a worker takes. `tags=None` means every tag. `but`: names of activities that it leaves to others."""

    untagged: bool = True
    tags: tuple[str, ...] | None = ()
    but: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class SessionClaim:
    """Take items of sessions, too: of those that this worker has, and of those that nobody has, which become its own.

    `lease`: seconds for which a session is its own unless renewed. `limit`: sessions it may have at once.
    """

    lease: float
    limit: int


@attrs.frozen(kw_only=True)
class LockActivities:
    """Take up to `limit` items whose time has come."""

    worker: str
    limit: int
    lease: float
    tags: TagFilter = TagFilter()
    sessions: SessionClaim | None = None  # None: only items without a session


@attrs.frozen(kw_only=True)
class LockedActivity:
    """One attempt to run."""

    lock: ActivityLock
    name: str
    tag: str | None
    session: str | None
    attempt: int  # times it was taken, this one included
    failures: int  # attempts that ended with `retry_in`
    fetches: int  # times it was taken since it last settled or was released clean, this one included
    scheduled_at: float
    heartbeat: bytes | None
    data: bytes
    payload: bytes


@attrs.frozen(kw_only=True)
class LockedActivities:
    """As `LockedTurns`."""

    now: float
    activities: tuple[LockedActivity, ...]
    next_due: float | None


@attrs.frozen(kw_only=True)
class CommitActivities:
    """Settle attempts, each for itself."""

    settle: tuple[SettleActivity, ...]


@attrs.frozen(kw_only=True)
class ActivitiesCommitted:
    """`lost`: their lease had gone; nothing was written for them. A repeat of a settled token is not lost."""

    now: float
    lost: tuple[ActivityLock, ...]


@attrs.frozen(kw_only=True)
class ReleaseActivity:
    """Give an attempt back unrun. As `ReleaseTurn`; if its cancellation was asked for it is posted as never started.

    `leave`: the holder cannot run it, so its session is given back, too, if the holder has it.
    """

    lock: ActivityLock
    delay: float = 0.0
    clean: bool = True
    leave: bool = False


@attrs.frozen(kw_only=True)
class RenewActivities:
    """Hold these locks for `lease` more seconds; `heartbeats` are kept for the next attempt."""

    locks: tuple[ActivityLock, ...]
    lease: float
    heartbeats: Mapping[str, bytes] = attrs.field(factory=dict)  # token -> details


@attrs.frozen(kw_only=True)
class ActivitiesRenewed:
    """`lost`: stop the body, its outcome will be refused. `cancelled`: the orchestration asked for its end."""

    lost: tuple[ActivityLock, ...]
    cancelled: tuple[ActivityLock, ...]


@attrs.frozen(kw_only=True)
class RenewSessions:
    """Hold this worker's sessions for `lease` more seconds; give back those that were idle for `idle` seconds."""

    worker: str
    lease: float
    idle: float


@attrs.frozen(kw_only=True)
class SessionsRenewed:
    """`held`: the sessions this worker has now."""

    held: tuple[str, ...]


# -- reading ----------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class InstanceRecord:
    """What is known of an instance without reading its history."""

    instance: str
    execution: int
    name: str
    version: str | None
    state: State
    revision: int
    parent: Parent | None
    attributes: Mapping[str, str]
    created_at: float
    updated_at: float
    ended_at: float | None
    wake_at: float | None  # pending: when the delay of its start is over
    history_length: int
    history_bytes: int
    unread: int
    unread_bytes: int = 0
    queued: int  # messages in the inbox
    control_queued: bool  # one of them is a control message: what holds it back may soon be over
    cancel_queued: bool  # one of them is a CancelRequested
    status: bytes | None
    last_event: EventRow | None  # of an instance that has ended or is parked: the event that says why
